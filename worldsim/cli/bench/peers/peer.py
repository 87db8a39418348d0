"""A world model to compare: how it is begun, and what a call of it makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from worldsim.models.precision import fast_bf16, fast_precision, hold_in_bf16


@dataclass(frozen=True)
class Peer:
    """A world model, with random weights where it is somebody else's.

    Attributes:
        name: with its version, the size of its pictures and its passes.
        networks: all that compute when it plays.
        frames: video frames that a call makes of each row.
        begin: gives, for so many rows, the call that makes their next frames.
    """

    name: str
    networks: tuple[nn.Module, ...]
    frames: int
    begin: Callable[[int], Callable[[], Any]]

    @property
    def parameters(self) -> int:
        """Of its networks."""
        return sum(weight.numel() for network in self.networks for weight in network.parameters())


def for_play(*networks: nn.Module) -> None:
    """Set somebody else's networks to play as fast as ours: products in bf16 where that pays, weights held in it."""
    for network in networks:
        network.eval().requires_grad_(False)
    if fast_bf16():
        hold_in_bf16(*networks)


def in_fast_precision(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call with its products in bf16 where that pays."""

    def run() -> Any:
        with fast_precision():
            return call()

    return run
