"""Players for any game: at random but sticky, and doing nothing."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.body import Action, Info
from worldsim.envs.learned.action_spaces import CHOICES, has_choices
from worldsim.spec.actions import ActionSpec

Sample = Callable[[np.random.Generator], Action]
# Mean time for which a random action is held.
HOLD_SECONDS = 0.4
# The view is kept within so many degrees of where it began.
PITCH_LIMIT = 30.0
# Chance that a choice of keys is made at all, by its first key; walking on is what shows most of a world.
CHANCES = {"forward": 0.7, "left": 0.25, "jump": 0.15, "sneak": 0.05, "sprint": 0.2, "attack": 0.15, "hotbar.1": 0.02}


class StickyRandom:
    """Draws an action, holds it for a while (a geometric time), and draws another.

    Args:
        sample: draws an action vector (A,).
        camera: whether the last two values are pitch and yaw: the pitch is then turned back towards the horizon.
        fps: frames a second.
    """

    name = "random"

    def __init__(self, sample: Sample, *, camera: bool, fps: float):
        self._sample, self._camera = sample, camera
        self._change = min(1.0, 1 / (HOLD_SECONDS * fps))

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode."""
        self._rng, self._held, self._pitch = rng, self._sample(rng), 0.0

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (A,) of this frame."""
        if self._rng.random() < self._change:
            self._held = self._sample(self._rng)
        action = self._held.copy()
        if self._camera:
            if abs(self._pitch + action[-2]) > PITCH_LIMIT:
                action[-2] = np.clip(-0.2 * self._pitch, -3, 3)
            self._pitch += float(action[-2])
        return action


class Idle:
    """Does nothing."""

    name = "noop"

    def __init__(self, action: Action):
        self._action = action

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode."""

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (A,) that does nothing."""
        return self._action.copy()


def sample_minecraft(spec: ActionSpec, rng: np.random.Generator) -> Action:
    """A random action of a game with (some of) Minecraft's keys; menus are left alone. Other keys: one or none."""
    vector = spec.idle()
    if spec.keys and not has_choices(spec) and rng.random() < 0.8:
        vector = spec.noop()
        vector[rng.integers(len(spec.keys))] = 1
    for choice in CHOICES:
        keys = [key for key in choice if key in spec.keys]
        # Drawn in any case, so that the keys of a game do not shift later draws.
        wanted, which = rng.random() < CHANCES[choice[0]], rng.random()
        if wanted and keys:
            if keys == ["forward", "back"]:
                which **= 2
            vector[spec.keys.index(keys[int(which * len(keys))])] = 1
    if spec.camera and rng.random() < 0.6:
        vector[-2:] = rng.normal(0, (0.8, 3.0))
    return vector
