"""Replaying a network from a recording of its GPU kernels (a CUDA graph), which spares the CPU launching each of them.

One latent frame takes some thousand small kernels: launched one by one, they take longer than the GPU needs for them. A
recording has fixed shapes and addresses, so inputs are copied to where it reads them, and outputs from where it writes.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Inputs = tuple[Tensor | None, ...]
Function = Callable[..., Sequence[Tensor]]
Replay = Callable[[], None]
# Runs a function of nothing and records it: how to run the same again, and the tensors that this writes each time.
Record = Callable[[Callable[[], Sequence[Tensor]]], tuple[Replay, Sequence[Tensor]]]
# Recordings kept: of one batch with and without text, say. Each holds the network's activations.
MOST = 8
WARM_UP = 2


class Replayed:
    """A function of tensors that is recorded when shapes come up for the second time, and replayed from then on.

    The first time it is run as it is, so that shapes that come up once cost nothing. Where recording fails it is run as
    it is for good, with a warning. May be called from several threads on one stream.

    Args:
        function: takes tensors, and None where one is missing; gives tensors. What it computes may depend on nothing
            else, nor may it look at values on the CPU.
        record: records a run; None: there is nothing to record with.
        most: recordings kept; beyond them, the one that was used longest ago goes.
    """

    def __init__(self, function: Function, record: Record | None, most: int = MOST) -> None:
        self.function, self.record, self.most = function, record, most
        self._seen: set[Any] = set()
        self._kept: OrderedDict[Any, tuple[Inputs, Replay, Sequence[Tensor]]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor | None) -> Sequence[Tensor]:
        """What the function gives; the tensors belong to the caller."""
        kind = tuple(None if x is None else (x.shape, x.dtype, x.device) for x in inputs)
        with self._lock:
            if kind in self._seen and (kind in self._kept or self._recorded(kind, inputs)):
                self._kept.move_to_end(kind)
                given, replay, made = self._kept[kind]
                for place, x in zip(given, inputs, strict=True):
                    if place is not None and x is not None:
                        place.copy_(x)
                replay()
                # The next replay writes to the same place.
                return [x.clone() for x in made]
            self._seen.add(kind)
        return self.function(*inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies begin without recordings, which belong to one process."""
        return Replayed, (self.function, self.record, self.most)

    def _recorded(self, kind: Any, inputs: Inputs) -> bool:
        """Record a run with tensors of its own as inputs; whether that was possible."""
        if self.record is None:
            return False
        given = tuple(None if x is None else x.clone(memory_format=torch.contiguous_format) for x in inputs)
        try:
            replay, made = self.record(lambda: self.function(*given))
        except RuntimeError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warnings.warn(f"stepping without CUDA graphs, which could not be recorded: {reason}", stacklevel=4)
            self.record = None
            self._kept.clear()
            return False
        self._kept[kind] = given, replay, made
        if len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return True


def record_cuda(device: torch.device, run: Callable[[], Sequence[Tensor]]) -> tuple[Replay, Sequence[Tensor]]:
    """Record a run on a GPU as a CUDA graph, with memory of its own.

    Raises:
        RuntimeError: it does something that a graph cannot hold.
    """
    # On a stream of its own at first, as recording wants it: libraries take their memory and choose their kernels then.
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU meanwhile.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            made = run()
    return graph.replay, made
