"""Playing an action script: as an array of actions, or as a policy that reacts to what the game tells.

F video frames, A action vector.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.scripting.syntax_tree import Act, Duration, Key, Repeat, Script, Turn, Until
from worldsim.scripting.tokens import NOTHING, ScriptError
from worldsim.spec.actions import ActionSpec

Action = NDArray[np.float32]
# Keys that begin so take any value from -1 to 1; all others are 0 or 1.
AXIS = "axis."
TURNS = ("yaw", "pitch")
LONGEST = 100_000


def script_frames(script: Script, fps: float) -> int:
    """How many video frames a script lasts, at most where it has ``until``."""
    total = 0
    for one in script:
        if isinstance(one, Repeat):
            total += one.times * script_frames(one.body, fps)
        else:
            total += (one.length if isinstance(one.length, Duration) else one.length.within).frames(fps)
    return total


def script_actions(script: Script, spec: ActionSpec, *, fps: float) -> NDArray[np.float32]:
    """The actions (F, A) of a script without ``until``.

    Args:
        script: parsed.
        spec: the game's actions.
        fps: frames a second.

    Raises:
        ScriptError: it has ``until``, names a key that the game does not have, or lasts longer than 100,000 frames.
    """
    check_script(script, spec, fps=fps)
    for act in _acts(script):
        if isinstance(act.length, Until):
            raise ScriptError(act.length.where, "until needs a game that answers; here every length must be fixed")
    if (frames := script_frames(script, fps)) > LONGEST:
        raise ScriptError(script[0].where, f"the script lasts {frames} frames, more than {LONGEST}")
    parts = [_still(act, spec, fps) for act in _played(script)]
    return np.repeat(np.stack([vector for vector, _ in parts]), [frames for _, frames in parts], axis=0)


def check_script(script: Script, spec: ActionSpec, *, fps: float) -> None:
    """Compare a script with a game's actions.

    Raises:
        ScriptError: a key, a value or a camera that the game does not have.
    """
    for act in _acts(script):
        _vector(act, spec, fps)


class ScriptPolicy:
    """Plays a script once, then does nothing; ``finished`` tells that it is over.

    An event counts for ``until`` when it happens in a frame of its own action; numbers are looked at before each frame.

    Args:
        script: parsed.
        spec: the game's actions.
        fps: frames a second.

    Raises:
        ScriptError: a key, a value or a camera that the game does not have.
    """

    name = "script"

    def __init__(self, script: Script, spec: ActionSpec, *, fps: float):
        check_script(script, spec, fps=fps)
        self.script, self.spec, self.fps = script, spec, fps
        self.finished = False

    def reset(self, rng: np.random.Generator, info: Mapping[str, Any]) -> None:
        """Begin from the first action; ``rng`` is not used."""
        self.finished = False
        self._info, self._frames = info, 0
        self._running = self._play(self.script)

    def act(self, obs: NDArray[np.uint8], info: Mapping[str, Any]) -> Action:
        """The next action (A,); nothing is done any more when ``finished``."""
        self._info = info
        action = next(self._running, None)
        self.finished = action is None
        return self.spec.idle() if action is None else action

    def _play(self, script: Script) -> Iterator[Action]:
        for one in script:
            if isinstance(one, Act):
                yield from self._hold(one)
                continue
            for _ in range(one.times):
                before = self._frames
                yield from self._play(one.body)
                # A block that took no frame takes none the next time either: the game has told nothing new.
                if self._frames == before:
                    break

    def _hold(self, act: Act) -> Iterator[Action]:
        vector, frames = _still(act, self.spec, self.fps)
        for frame in range(frames):
            if isinstance(act.length, Until) and holds(act.length, self._info, begun=frame > 0):
                break
            self._frames += 1
            yield vector.copy()


def holds(until: Until, info: Mapping[str, Any], *, begun: bool) -> bool:
    """Whether what an action waits for is there.

    Raises:
        ScriptError: the game does not tell that number.
    """
    if not until.sign:
        return begun and any(event.get("kind") == until.name for event in _events(until, info))
    value = info.get(until.name)
    position: Any = info.get("position")
    if value is None and until.name in ("x", "y", "z") and np.shape(position) == (3,):
        value = np.asarray(position)["xyz".index(until.name)]
    if value is None or np.size(value) != 1 or not np.issubdtype(np.asarray(value).dtype, np.number):
        numbers = sorted(name for name, v in info.items() if isinstance(v, int | float | np.number))
        raise ScriptError(
            until.where, f"the game tells no number {until.name!r}; it tells {', '.join(numbers) or 'none'}"
        )
    number = float(np.asarray(value).item())
    return number < until.value if until.sign == "<" else number > until.value


def _events(until: Until, info: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    events = info.get("events", ())
    if not isinstance(events, list | tuple) or not all(isinstance(event, Mapping) for event in events):
        raise ScriptError(until.where, f"the game's events are no list of events: {events!s:.60}")
    return events


def _acts(script: Script) -> Iterator[Act]:
    """Every action as written, once."""
    for one in script:
        if isinstance(one, Repeat):
            yield from _acts(one.body)
        else:
            yield one


def _played(script: Script) -> Iterator[Act]:
    """Every action as played, repeats included."""
    for one in script:
        if isinstance(one, Repeat):
            for _ in range(one.times):
                yield from _played(one.body)
        else:
            yield one


def _still(act: Act, spec: ActionSpec, fps: float) -> tuple[Action, int]:
    """The vector of each frame of an action, and for how many frames, at most."""
    length = act.length if isinstance(act.length, Duration) else act.length.within
    return _vector(act, spec, fps), length.frames(fps)


def _vector(act: Act, spec: ActionSpec, fps: float) -> Action:
    # Who presses no key presses the one for it, where a game has one.
    vector = spec.noop() if any(isinstance(term, Key) for term in act.terms) else spec.idle()
    for term in act.terms:
        if isinstance(term, Key):
            vector[_index(term, spec)] = term.value
        elif not spec.camera:
            raise ScriptError(term.where, "this game has no camera to turn")
        else:
            vector[-2 if term.axis == "pitch" else -1] = _degrees(term, act, fps)
    return vector


def _index(term: Key, spec: ActionSpec) -> int:
    if term.name not in spec.keys:
        known = [*spec.keys, *(TURNS if spec.camera else ()), *NOTHING]
        raise ScriptError(term.where, f"unknown key {term.name!r}; known: {', '.join(known)}")
    if term.name.startswith(AXIS):
        if abs(term.value) > 1:
            raise ScriptError(term.where, f"{term.name} takes -1 to 1, got {term.value:g}")
    elif term.value not in (0.0, 1.0):
        raise ScriptError(term.where, f"{term.name} is a key: it takes 0 or 1, got {term.value:g}")
    return spec.keys.index(term.name)


def _degrees(term: Turn, act: Act, fps: float) -> float:
    if term.per == "frame":
        return term.degrees
    if term.per == "s":
        return term.degrees / fps
    assert isinstance(act.length, Duration)
    return term.degrees / act.length.frames(fps)
