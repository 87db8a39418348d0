"""Scripted policies: varied, useful behaviour without learning; all randomness comes from the generator of reset."""

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.block_scripts import climb_out
from worldsim.agents.policies.body import PITCH_LIMIT, Action, Body, Info
from worldsim.agents.policies.return_scripts import RESTING
from worldsim.agents.policies.scripts import SCRIPTS, Script, swim, turn_away
from worldsim.datasets.checks.stillness import FROZEN_DIFFERENCE, difference

# Share of time that the mixture gives to each script.
MIXTURE: dict[str, float] = {
    "explore": 0.12,
    "walk": 0.08,
    "single": 0.11,
    "spin": 0.03,
    "look_back": 0.04,
    "gaze": 0.04,
    "still": 0.02,
    "return_trip": 0.03,
    "push": 0.06,
    "climb": 0.03,
    "dig": 0.06,
    "place": 0.05,
    "pillar": 0.02,
    "chop": 0.04,
    # Stillness and return: more than a tenth of all frames are recorded without a key.
    "rest": 0.08,
    "look_round": 0.06,
    "loop": 0.06,
    "mirror": 0.03,
    "alter": 0.04,
}
# Seconds that a script is kept: most are cut short at any point, the others are pointless when cut.
DEFAULT_SECONDS = (1.0, 6.0)
SECONDS = {
    "return_trip": (8.0, 16.0),
    "pillar": (8.0, 12.0),
    "dig": (4.0, 8.0),
    "look_back": (3.0, 8.0),
    "push": (4.0, 10.0),
    "chop": (5.0, 12.0),
    "rest": (2.0, 9.0),
    "look_round": (6.0, 16.0),
    "loop": (12.0, 25.0),
    "mirror": (6.0, 12.0),
    "alter": (10.0, 20.0),
}
# Scripts that may look steeply up or down, and that push against things on purpose.
STEEP = {"dig", "place", "pillar", "chop", "alter"}
PUSHING = {"dig", "push"}
# A picture that stays the same for so many frames is dull: do something else.
DULL_FRAMES = 15
# So many troubles within TROUBLE_FRAMES and TROUBLE_METRES mean a pit.
PIT_TROUBLES, TROUBLE_FRAMES, TROUBLE_METRES = 3, 300, 2.5


@runtime_checkable
class Policy(Protocol):
    """Whoever acts in an environment. ``name`` tells what it is doing now; it goes into captions."""

    name: str

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode; all later randomness comes from ``rng``."""
        ...

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (A,) for the frame that ``obs`` and ``info`` describe."""
        ...


class Scripted:
    """One script for the whole episode, with the reflexes that keep it useful: out of water, away from walls.

    Args:
        name: one of ``SCRIPTS``.
    """

    def __init__(self, name: str):
        self.name = name
        self._script = _script(name)

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode."""
        self.body = Body(rng, info)
        self._running = self._script(self.body)
        self._reflex: Iterator[Action] | None = None
        self._steep_reflex = False
        self._troubles: list[tuple[int, NDArray[np.float64]]] = []
        self._last: NDArray[np.uint8] | None = None
        self._dull = 0

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (A,) of this frame."""
        body = self.body
        body.sense(info)
        self._watch(obs)
        if self._reflex is None:
            self._reflex = self._choose_reflex()
        action = next(self._reflex, None) if self._reflex else None
        if action is None:
            self._reflex, self._steep_reflex = None, False
            action = self._next()
        if self.name not in STEEP and not self._steep_reflex:
            action[-2] = _level(body.pitch, float(action[-2]))
        body.remember(action)
        return action

    def switch(self, name: str) -> None:
        """Go on with another script."""
        self.name, self._script = name, _script(name)
        self._running = self._script(self.body)

    def _watch(self, obs: NDArray[np.uint8]) -> None:
        """Count for how many frames the picture has been the same."""
        same = self._last is not None and bool(difference(obs, self._last) < FROZEN_DIFFERENCE)
        self._dull = self._dull + 1 if same else 0
        self._last = obs.copy()

    def _choose_reflex(self) -> Iterator[Action] | None:
        body = self.body
        if body.wet_frames > 3:
            return swim(body)
        if body.confined:
            return self._leave_pit()
        dull = self._dull >= DULL_FRAMES and self.name not in RESTING
        if not (dull or (body.stuck and self.name not in PUSHING)):
            return None
        body.unstick()
        self._dull = 0
        self._troubles = [(f, p) for f, p in self._troubles if f > body.frame - TROUBLE_FRAMES]
        self._troubles.append((body.frame, body.position))
        near = sum(float(np.linalg.norm(p - body.position)) < TROUBLE_METRES for _, p in self._troubles)
        return turn_away(body) if near < PIT_TROUBLES else self._leave_pit()

    def _leave_pit(self) -> Iterator[Action]:
        self._troubles.clear()
        self.body.unstick(pit=True)
        self._steep_reflex = True
        return climb_out(self.body)

    def _next(self) -> Action:
        action = next(self._running, None)
        if action is None:
            self._running = self._script(self.body)
            action = next(self._running, None)
        return self.body.act() if action is None else action


class Mixture(Scripted):
    """Switches between scripts every few seconds.

    Args:
        weights: share of time of each script; default ``MIXTURE``.
        fps: frames a second.
    """

    def __init__(self, weights: Mapping[str, float] | None = None, fps: float = 20.0):
        chosen = dict(MIXTURE if weights is None else weights)
        if not chosen or min(chosen.values()) < 0 or sum(chosen.values()) <= 0:
            raise ValueError(f"weights must be non-negative with a positive sum, got {chosen}")
        super().__init__(next(iter(chosen)))
        for name in chosen:
            _script(name)
        self._names, self._fps = list(chosen), fps
        # A script that is kept for longer is chosen less often, so that weights are shares of time.
        rates = np.array([chosen[n] / sum(SECONDS.get(n, DEFAULT_SECONDS)) for n in self._names])
        self._chances = rates / rates.sum()

    def reset(self, rng: np.random.Generator, info: Info) -> None:
        """Begin an episode."""
        super().reset(rng, info)
        self._left = 0

    def act(self, obs: NDArray[np.uint8], info: Info) -> Action:
        """The action vector (A,) of this frame."""
        if self._left <= 0:
            rng = self.body.rng
            name = str(rng.choice(self._names, p=self._chances))
            # Captions say that a tree is cut: not where there is none.
            self.switch(name if name != "chop" or len(self.body.trunks) else "explore")
            self._left = int(self._fps * rng.uniform(*SECONDS.get(self.name, DEFAULT_SECONDS)))
        self._left -= 1
        return super().act(obs, info)


def make_policy(name: str = "mixture", *, fps: float = 20.0) -> Policy:
    """A policy by name: ``mixture`` or one of the scripts.

    Raises:
        ValueError: the name is unknown.
    """
    return Mixture(fps=fps) if name == "mixture" else Scripted(name)


def _script(name: str) -> Script:
    if name not in SCRIPTS:
        raise ValueError(f"unknown policy {name!r}; known: mixture, {', '.join(SCRIPTS)}")
    return SCRIPTS[name]


def _level(pitch: float, change: float) -> float:
    """The pitch change that is allowed: free within the limit, outside it only back towards the horizon."""
    target = pitch + change
    if abs(target) <= PITCH_LIMIT:
        return change
    if abs(pitch) <= PITCH_LIMIT + 1.0:
        if change == 0.0:
            return 0.0
        return float(np.clip(target, -PITCH_LIMIT, PITCH_LIMIT)) - pitch
    return float(np.clip(-0.2 * pitch, -6.0, 6.0))
