"""Samplers: free functions over any callable (x, t) -> velocity. They know no network."""

from collections.abc import Callable

from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def sample_euler(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """First-order integration from times[0] to times[-1]."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        x = x + (t_next - t) * velocity(x, t)
    return x


def sample_heun(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Second-order integration (explicit trapezoid): two evaluations a step."""
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        first = velocity(x, t)
        second = velocity(x + (t_next - t) * first, t_next)
        x = x + (t_next - t) * (first + second) / 2
    return x
