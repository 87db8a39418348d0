"""The processes (ranks) of a training, as torchrun, Slurm or Ray Train started them.

Everything else asks here. A process that trains alone is rank 0 of 1: it waits for nobody and sends nothing.
"""

import contextlib
import functools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch import distributed

from worldsim.processes import started_ranks

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

P = ParamSpec("P")
R = TypeVar("R")

# Ranks wait for the first one while it encodes a store or writes samples. Of a rank that died, torchrun tells at once.
PATIENCE = timedelta(hours=12)
# Seconds between looks into the store that ranks meet in.
PAUSE = 0.02


@dataclass
class Ranks:
    """The ranks of this training.

    Attributes:
        rank: this process.
        count: of processes.
        control: group for short messages on the CPU; None where there is one process.
        stopping: all ranks agreed to stop after this step.
    """

    rank: int = 0
    count: int = 1
    control: Any = None
    stopping: bool = field(default=False, init=False)

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all ranks."""
        if self.alone:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(found, group=self.control)
        return found.tolist()

    def any(self, flag: bool) -> bool:
        """Whether it holds on any rank: the same answer on all."""
        return self.total([float(flag)])[0] > 0

    def stop(self, flag: bool) -> bool:
        """Whether any rank wants to stop; all of them then save together."""
        self.stopping = self.any(flag)
        return self.stopping

    def agreed(self, number: int) -> int:
        """The first rank's number, on all ranks."""
        return int(self.total([float(number) if self.first else 0.0])[0])

    def wait(self) -> None:
        """Go on when all ranks are here."""
        self.any(False)

    @contextlib.contextmanager
    def first_ahead(self) -> Iterator[None]:
        """The first rank runs the block while the others wait; then they do, and find what it wrote."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


ALONE = Ranks()
_KNOWN: dict[Any, Ranks] = {}


def ranks() -> Ranks:
    """The ranks that this process belongs to. Where there are several, the first call is made on all of them."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return ALONE
    world = distributed.group.WORLD
    if world not in _KNOWN:
        _KNOWN.clear()
        control = distributed.new_group(backend="gloo", timeout=PATIENCE)
        _KNOWN[world] = Ranks(distributed.get_rank(), distributed.get_world_size(), control)
    return _KNOWN[world]


def own_device(device: str) -> str:
    """This rank's device of a kind: each rank of a machine has a GPU of its own."""
    if device != "cuda" or ranks().alone:
        return device
    index = int(os.environ.get("LOCAL_RANK", ranks().rank % torch.cuda.device_count()))
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def ranked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs as one of torchrun's ranks, where torchrun started this process.

    Where others have made a process group before (Ray Train does), that one is used.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if started_ranks() == 1 or distributed.is_initialized():
            return function(*args, **kwargs)
        # PyTorch can be built without it: then there is one process.
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        store, rank, count = next(iter(rendezvous("env://", timeout=PATIENCE)))
        own = PrefixStore(f"start{_start(store, rank, count)}", store)
        distributed.init_process_group(backend, store=own, rank=rank, world_size=count, timeout=PATIENCE)
        try:
            return function(*args, **kwargs)
        finally:
            distributed.destroy_process_group()

    return run


def _start(store: "Store", rank: int, count: int) -> str:
    """A number that this start of all ranks has to itself.

    torchrun keeps one store while it restarts ranks, and machines count restarts apart: what ranks that died wrote
    there would be taken for what these write (pytorch/pytorch issues 135712 and 167288).
    """
    if rank:
        token = uuid.uuid4().hex
        store.set(f"asks/{rank}", token)
        while True:
            # Asked for again: a first rank that dies just now may have answered.
            number = store.get(f"number/{token}").decode()
            store.set(f"heard/{number}/{rank}", "")
            if store.check([f"complete/{number}"]):
                return number
            time.sleep(PAUSE)
    number, answered, waiting = str(store.add("starts", 1)), {}, set(range(1, count))
    while waiting:
        waiting -= {other for other in waiting if store.check([f"heard/{number}/{other}"])}
        for other in waiting:
            if store.check([f"asks/{other}"]) and (token := store.get(f"asks/{other}").decode()) != answered.get(other):
                store.set(f"number/{token}", number)
                answered[other] = token
        time.sleep(PAUSE)
    store.set(f"complete/{number}", "")
    return number
