"""What a playthrough was played in, and from what beginning.

A action vector.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import UserError
from worldsim.simulation.config import BEFORE_MEMORY_HAD

if TYPE_CHECKING:
    from worldsim.datasets.loading.starts import StartClips
    from worldsim.envs.learned.initial_context import InitialContext
    from worldsim.simulation.world_model import WorldModel


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a playthrough was played in, and from what beginning.

    Attributes:
        world: a shipped world's name, or a checkpoint folder.
        weights: fingerprint of the world's weights and settings.
        sampling: how it was sampled.
        keys: names of the action vector.
        camera: whether the mouse is part of it.
        chunk: frames a step, r.
        options: as for ``WorldSimEnv.reset``: a start clip's number or a file as ``prefix``, a ``prompt``.
        past: digest of the frames and actions that it began from.
    """

    world: str
    weights: str
    sampling: Mapping[str, Any]
    keys: tuple[str, ...]
    camera: bool
    chunk: int
    options: Mapping[str, Any] = field(default_factory=dict)
    past: str = ""

    @property
    def size(self) -> int:
        """Length A of an action vector."""
        return len(self.keys) + 2 * self.camera

    def check(self, other: "Origin") -> None:
        """Whether it is the same world and beginning.

        Raises:
            UserError: it is not; says what differs.
        """
        if self.weights != other.weights:
            raise UserError(f"this playthrough belongs to other weights of {self.world!r}: it would become another one")
        if self.past != other.past:
            raise UserError("this playthrough began from other frames: the start clips or the prefix have changed")

    def beginning(self, world: "WorldModel", starts: "StartClips", seed: int) -> "tuple[WorldModel, InitialContext]":
        """The world sampled as it was then, and the past that play began from.

        Raises:
            UserError: the world or the beginning is another one.
            FileNotFoundError: the file that play began from is gone.
        """
        from worldsim.envs.learned.initial_context import choose

        try:
            # What was played before there were such settings is played as it was.
            world = world.with_sampling(**{**BEFORE_MEMORY_HAD, **self.sampling})
        except TypeError as error:
            raise UserError(f"this playthrough is of another version of worldsim: {error}") from error
        past = choose(world, starts, np.random.default_rng(seed), self.options)
        self.check(origin_of(self.world, world, self.options, past))
        return world, past


def origin_of(name: str, world: "WorldModel", options: Mapping[str, Any], past: "InitialContext") -> Origin:
    """Where play in a world begins; ``name`` is how the world was named."""
    from worldsim.envs.learned.snapshot import fingerprint

    return Origin(
        world=name, weights=fingerprint(world), sampling=asdict(world.config.sampling), keys=world.spec.keys,
        camera=world.spec.camera, chunk=world.chunk, options=dict(options), past=_digest(past),
    )  # fmt: skip


def _digest(past: "InitialContext") -> str:
    out = hashlib.sha256(np.ascontiguousarray(past.frames).tobytes())
    out.update(np.ascontiguousarray(past.actions).tobytes())
    out.update(f"{past.seed} {past.prompt or ''}".encode())
    return out.hexdigest()[:32]
