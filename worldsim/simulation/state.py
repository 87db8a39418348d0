"""Everything the next latent frame depends on, as one value that can be forked by row, saved and loaded.

B batch, C channels, h w latent grid, X sentence embedding, D width of the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.models.kv_cache import KVCache
from worldsim.models.shield import shielded
from worldsim.simulation.memory.memory_state import MemoryState
from worldsim.simulation.state_schema import check_finite
from worldsim.spec.damage import reading

FORMAT = "worldsim-state-4"
OLD_FORMAT = "worldsim-state-3"
# Tensors of earlier versions, and their names now.
OLD_NAMES = {"doubt": "uncertainty"}
# An episode is over where the probability of it is higher.
TERMINATION_THRESHOLD = 0.5


@dataclass(frozen=True)
class WorldState:
    """State of B worlds side by side.

    Attributes:
        cache: keys and values of the past, and how many latent frames were written.
        latent: the last clean latent frame (B, C, h, w).
        decoder: stream state of the tokenizer's decoder, one (B, ...) tensor per block.
        pose: learned x, y, z (metres), yaw, pitch (degrees) relative to the start (B, 5).
        furthest: furthest horizontal distance from the start so far, metres (B,).
        text: sentence embedding (B, X), zeros where there is none.
        features: what the network's heads read of the last latent frame (B, 2 D).
        uncertainty: running statistics that trust is computed from (B, 2), see ``worldsim.simulation.confidence``.
        trust: how far the last latent frame can be believed (B,): 1 for the prefix and without a calibration.
        seeds: noise seed of each row (B,).
        steps: steps taken since the prefix (B,).
        memory: what a world with a spatial memory remembers; None in one without.
    """

    cache: KVCache
    latent: Tensor
    decoder: tuple[Tensor, ...]
    pose: Tensor
    furthest: Tensor
    text: Tensor
    features: Tensor
    uncertainty: Tensor
    trust: Tensor
    seeds: Tensor
    steps: Tensor
    memory: MemoryState | None = None

    @staticmethod
    def begin(
        cache: KVCache,
        latent: Tensor,
        decoder: tuple[Tensor, ...],
        text: Tensor | None,
        seeds: Sequence[int],
        sizes: tuple[int, int],
        memory: MemoryState | None,
    ) -> "WorldState":
        """Worlds at the end of a past, on the device of ``latent``; ``sizes``: X and D. Features are zeros at first."""
        batch, (text_size, width) = len(latent), sizes
        zeros = partial(torch.zeros, device=latent.device)
        return WorldState(
            cache=cache, latent=latent, decoder=decoder, pose=zeros(batch, 5), furthest=zeros(batch),
            text=zeros(batch, text_size) if text is None else text, features=zeros(batch, 2 * width),
            uncertainty=zeros(batch, 2), trust=torch.ones(batch, device=latent.device),
            seeds=torch.tensor([int(s) for s in seeds], dtype=torch.long, device=latent.device),
            steps=zeros(batch, dtype=torch.long), memory=memory,
        )  # fmt: skip

    @property
    def batch(self) -> int:
        """Number of rows B."""
        return len(self.seeds)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.seeds.device

    def to(self, device: torch.device | str) -> "WorldState":
        """The same state on a device; itself where it is there already."""
        if self.device == torch.device(device):
            return self
        state = self.from_tensors({name: t.to(device) for name, t in self.network_tensors().items()})
        return replace(state, memory=None if self.memory is None else self.memory.to(device))

    @shielded
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, batch first."""
        return self.network_tensors() | ({} if self.memory is None else self.memory.tensors())

    def network_tensors(self) -> dict[str, Tensor]:
        """Those of the network; key frames are shared between worlds rather than copied."""
        named = {"ring_keys": self.cache.keys, "ring_values": self.cache.values, "count": self.cache.count}
        named |= {name: getattr(self, name) for name in _PLAIN}
        return named | {f"decoder{i}": t for i, t in enumerate(self.decoder)}

    @staticmethod
    def from_tensors(named: dict[str, Tensor]) -> "WorldState":
        """The inverse of ``tensors``; takes names of earlier versions too.

        Raises:
            ValueError: a tensor is missing or has another number of rows.
        """
        named = {OLD_NAMES.get(name, name): tensor for name, tensor in named.items()}
        if "keys" in named and "values" in named and "count" in named:
            # As up to 2026-11.
            old = KVCache.from_unrotated(named.pop("keys"), named.pop("values"), named["count"])
            named |= {"ring_keys": old.keys, "ring_values": old.values}
        decoder = sorted((n for n in named if n.startswith("decoder")), key=lambda n: (len(n), n))
        missing = sorted({"ring_keys", "ring_values", "count", *_PLAIN} - named.keys())
        missing += [f"decoder{i}" for i in range(len(decoder)) if f"decoder{i}" not in named]
        if missing:
            raise ValueError(f"not a world state: {', '.join(missing)} missing")
        if len({len(t) if t.ndim else 0 for t in named.values()}) != 1 or not len(named["seeds"]):
            raise ValueError("not a world state: tensors differ in their number of rows")
        cache = KVCache(named["ring_keys"], named["ring_values"], named["count"])
        return WorldState(
            cache,
            decoder=tuple(named[n] for n in decoder),
            memory=MemoryState.from_tensors(named),
            **{n: named[n] for n in _PLAIN},
        )

    @shielded
    def select(self, rows: Sequence[int] | Tensor) -> "WorldState":
        """Copies of the given rows, in order; rows may repeat, which forks a world.

        Raises:
            IndexError: a row does not exist.
        """
        index = torch.as_tensor(rows, dtype=torch.long)
        if index.ndim != 1 or len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= self.batch:
            raise IndexError(f"rows must be between 0 and {self.batch - 1}, got {index.tolist()}")
        there = index.to(self.device)
        return self._of_rows(index.tolist(), lambda t: t[there])

    def _of_rows(self, rows: Sequence[int], of: Callable[[Tensor], Tensor]) -> "WorldState":
        """The given rows; ``of`` takes them from a tensor."""
        state = self.from_tensors({name: of(t) for name, t in self.network_tensors().items()})
        return state if self.memory is None else replace(state, memory=self.memory.rows(rows, of))

    def share(self, rows: Sequence[int]) -> "WorldState":
        """As ``select``, but without a copy where rows follow one another or one row is repeated.

        The memory stays shared: no row may be stepped in place.

        Raises:
            IndexError: a row does not exist.
        """
        first, count = rows[0] if rows else -1, len(rows)
        if not 0 <= first < self.batch:
            raise IndexError(f"rows must be between 0 and {self.batch - 1}, got {list(rows)}")
        if list(rows) == [first] * count:
            return self._of_rows(rows, lambda t: t[first : first + 1].expand(count, *t.shape[1:]))
        if list(rows) == list(range(first, first + count)) and first + count <= self.batch:
            return self._of_rows(rows, lambda t: t[first : first + count])
        return self.select(rows)

    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        own = sum(t.nbytes for t in self.network_tensors().values())
        return own + (0 if self.memory is None else self.memory.nbytes())

    @staticmethod
    @shielded
    def concatenate(states: Sequence["WorldState"]) -> "WorldState":
        """Worlds of several states as the rows of one."""
        named = [s.network_tensors() for s in states]
        state = WorldState.from_tensors({name: torch.cat([n[name] for n in named]) for name in named[0]})
        memories = [s.memory for s in states if s.memory is not None]
        return replace(state, memory=MemoryState.concatenate(memories)) if memories else state

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_tensors(Path(path), self.tensors(), {"format": FORMAT})

    @staticmethod
    def load(path: str | Path) -> "WorldState":
        """Read a saved state.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or no world state.
        """
        tensors, metadata = load_tensors(Path(path))
        if metadata.get("format") not in (FORMAT, OLD_FORMAT):
            raise ValueError(f"{path} is not a saved world state")
        with reading(path, "a saved world state"):
            check_finite(tensors)
            return WorldState.from_tensors(tensors)


@dataclass(frozen=True)
class Step:
    """Output of one step.

    Attributes:
        frames: uint8 (B, r, H, W, 3).
        reward: metres by which the furthest distance from the start grew (B,).
        termination: probability (B,), nan in a world whose termination head was taught no end.
        pose: learned x, y, z (m), yaw, pitch (degrees) relative to the start (B, 5).
        latents: (B, C, h, w), on the world's device.
        features: input of the heads, the registers' mean and the picture's mean (B, 2 D).
        trust: probability that the frames are right (B,), nan without a calibration.
        statistics: what trust is computed from (B, S).
        sources: whose each pixel is, uint8 (B, r, H, W), a number of ``worldsim.simulation.memory.compositor.SOURCES``;
            None in a world without a spatial memory.
    """

    frames: NDArray[np.uint8]
    reward: NDArray[np.float32]
    termination: NDArray[np.float32]
    pose: NDArray[np.float32]
    latents: Tensor
    features: NDArray[np.float32]
    trust: NDArray[np.float32]
    statistics: NDArray[np.float32]
    sources: NDArray[np.uint8] | None = None

    @staticmethod
    def of(
        state: WorldState,
        *,
        frames: Tensor,
        reward: Tensor,
        termination: Tensor | None,
        trust: Tensor | None,
        statistics: Tensor,
        sources: Tensor | None,
    ) -> "Step":
        """Output of a step that led to a state, on the CPU whatever the device; None stands for what is not known."""
        unknown = np.full(state.batch, np.nan, np.float32)
        return Step(
            frames=frames.cpu().numpy(),
            reward=reward.cpu().numpy(),
            termination=unknown if termination is None else termination.cpu().numpy(),
            # Copies of what the state keeps.
            pose=state.pose.cpu().numpy().copy(),
            latents=state.latent,
            features=state.features.cpu().numpy().copy(),
            trust=unknown.copy() if trust is None else trust.cpu().numpy().copy(),
            statistics=statistics.cpu().numpy(),
            sources=None if sources is None else sources.cpu().numpy(),
        )

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """Whether the world takes the episode to be over (B,); never where its head was taught no end."""
        return self.termination > TERMINATION_THRESHOLD


_PLAIN = ("latent", "pose", "furthest", "text", "features", "uncertainty", "trust", "seeds", "steps")
