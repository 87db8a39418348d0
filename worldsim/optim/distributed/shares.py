"""Which clips of a step's batch are this rank's.

A step learns from one or more parts: batches with random numbers of their own, whose losses are averaged. What is
learned depends on the number of parts and not on the number of ranks:

- As many ranks as parts, or fewer: each rank learns from whole parts, one after another (gradient accumulation).
- More ranks than parts: the ranks of a part share its clips. Each runs the network on its own rows and gathers the
  outputs of the others, so that the loss sees the whole part: its random numbers, means over clips and choices of rows
  are those of one process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, distributed

from worldsim.errors import UserError
from worldsim.optim.distributed.ranks import Ranks, ranks


@dataclass(frozen=True)
class Rows:
    """The rows of a batch that this rank computes.

    Attributes:
        index: of this rank among those that share the batch.
        count: of these ranks.
        group: their process group; None where there is one, or where all ranks share.
    """

    index: int = 0
    count: int = 1
    group: Any = None

    def mine(self, rows: int) -> Tensor | slice:
        """Indices of this rank's rows; as many on every rank, so the last row may come several times."""
        if self.count == 1:
            return slice(None)
        each = -(-rows // self.count)
        return torch.arange(self.index * each, (self.index + 1) * each).clamp_(max=rows - 1)

    def gathered(self, tensors: Sequence[Tensor], rows: int) -> list[Tensor]:
        """All rows of tensors of which each rank has its own; gradients flow to this rank's alone."""
        if self.count == 1:
            return list(tensors)
        # In one message. Each tensor keeps a graph of its own: what the loss does not use gets no gradient.
        flat = torch.cat([t.detach().flatten(1).float() for t in tensors], 1)
        found = [torch.empty_like(flat) for _ in range(self.count)]
        distributed.all_gather(found, flat, group=self.group)
        out, first = [], 0
        for own in tensors:
            last = first + own[0].numel()
            pieces = [other[:, first:last].reshape(own.shape).to(own.dtype) for other in found]
            pieces[self.index], first = own, last
            out.append(torch.cat(pieces)[:rows])
        return out


@dataclass(frozen=True)
class Share:
    """This rank's share of the steps of a training.

    Attributes:
        ranks: of the training.
        parts: of a step's batch.
        mine: the parts that this rank learns from.
        rows: of these parts that it computes.
    """

    ranks: Ranks
    parts: int
    mine: range
    rows: Rows

    @property
    def scale(self) -> float:
        """Factor of a part's loss: engines average gradients over ranks, wanted is the mean over parts."""
        return self.ranks.count / self.parts

    @cached_property
    def all_rows(self) -> Rows:
        """Rows of a batch that all ranks share, whatever the parts: of validation."""
        return Rows(self.ranks.rank, self.ranks.count)

    def indices(self, step: int) -> list[int]:
        """Numbers of the batches that this rank learns from at a step."""
        return [step * self.parts + part for part in self.mine]

    def following(self, index: int) -> int:
        """Number of the batch that this rank learns from after batch ``index``; any next one, where it is none."""
        if index < 0 or index % self.parts != self.mine[-1]:
            return index + 1
        return (index // self.parts + 1) * self.parts + self.mine[0]

    def prefix(self, part: int) -> str:
        """Of the names of what a part keeps in the state of a training."""
        return "" if self.parts == 1 else f"part{part}/"

    def generator(self, seed: int, step: int, part: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Random numbers of a part of a step."""
        number = seed * 1_000_003 + step
        return torch.Generator(device).manual_seed(number * self.parts + part)

    def common_generator(self, seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator | None:
        """Random numbers that all parts of a step draw alike; None where there is one part."""
        return None if self.parts == 1 else torch.Generator(device).manual_seed(seed * 1_000_003 + step)

    def mean(self, results: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Means over all parts of what this rank's parts gave, by name."""
        sums = {name: sum(float(result[name].detach()) for result in results) for name in results[0]}
        if self.parts == 1:
            return sums
        return {n: v / self.parts for n, v in zip(sums, self.total(list(sums.values())), strict=True)}

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums over all parts of numbers that are sums over this rank's parts."""
        if self.parts == 1:
            return list(values)
        return [value / self.rows.count for value in self.ranks.total(values)]


def share_of(parts: int) -> Share:
    """This rank's share of a training with so many parts a step. Called on all ranks alike.

    Raises:
        UserError: parts and ranks cannot be shared out evenly.
    """
    known = ranks()
    count = known.count
    if parts % count == 0:
        each = parts // count
        return Share(known, parts, range(known.rank * each, (known.rank + 1) * each), Rows())
    if count % parts:
        raise UserError(f"training.parts={parts} does not go with {count} ranks: one must be a multiple of the other")
    each = count // parts
    part, index = divmod(known.rank, each)
    # The members of all groups are made by all ranks in the same order.
    groups = [_group(tuple(range(p * each, (p + 1) * each)), count) for p in range(parts)]
    return Share(known, parts, range(part, part + 1), Rows(index, each, groups[part]))


_GROUPS: dict[Any, Any] = {}


def _group(members: tuple[int, ...], count: int) -> Any:
    """The process group of some ranks; None for all of them."""
    if len(members) == count:
        return None
    key = (distributed.group.WORLD, members)
    if key not in _GROUPS:
        _GROUPS[key] = distributed.new_group(list(members))
    return _GROUPS[key]
