"""Sizes of a policy's network; they can be read without stable-baselines3."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Sizes of a policy's network.

    Attributes:
        shrink: pixels of a side that are averaged into one before the first layer.
        stack: pictures that a policy sees, the present one and those before it: one alone shows no motion.
        channels: of the first layer.
        features: that the policy and the value are computed from.
    """

    shrink: int = 2
    stack: int = 4
    channels: int = 24
    features: int = 256
