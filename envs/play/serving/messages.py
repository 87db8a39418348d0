"""What a page may send: small JSON objects, checked one by one. All else is refused in words."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worldsim.envs.play.bindings import COMMANDS
from worldsim.spec.actions import MINECRAFT

# Characters of a message; messages a second, and how many may come at once.
MOST_LETTERS, RATE, BURST = 2048, 150.0, 300.0
# Codes of closed connections (RFC 6455 leaves 4000 to 4999 to applications).
MALFORMED, WRONG_TOKEN, NO_WORLD, NO_HELLO, REPLACED, FLOOD, FULL = 4400, 4401, 4404, 4408, 4409, 4429, 4503
GOING_AWAY = 1001
# What a page may have done; the rest of the window's commands is the page's own business.
ASKED = ("pause", "resume", "step", "earlier", "later", "rewind", "quick save", "quick load", "restart", "player",
         "save", "keep")  # fmt: skip
assert set(ASKED) - {"resume"} <= set(COMMANDS)
# Degrees of a single message, numbers of any kind.
MOST_DEGREES, MOST_NUMBER = 360.0, 2**31 - 1


class Refused(Exception):
    """A connection is not welcome; ``str`` says why, ``code`` is that of the connection's end."""

    def __init__(self, code: int, why: str):
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Hello:
    """The first message: the token, the session ("": a new one), and who this was before its connection was lost."""

    token: str
    session: str
    me: str


@dataclass(frozen=True)
class Input:
    """What is held now, and how far the view was turned (pitch, yaw; degrees) since the last such message.

    ``number`` rises; it comes back with the first frame that this input had an effect on.
    """

    number: int
    held: frozenset[str]
    look: tuple[float, float]


@dataclass(frozen=True)
class Do:
    """A command of ``ASKED``; ``further``: a second instead of a step."""

    what: str
    further: bool


@dataclass(frozen=True)
class Go:
    """To a moment of the timeline."""

    stretch: int
    depth: int


@dataclass(frozen=True)
class Begin:
    """Anew, at a start."""

    start: int


@dataclass(frozen=True)
class ShowStarts:
    """Asks for the pictures of the starts."""


@dataclass(frozen=True)
class AskToDrive:
    """Would like to drive."""


@dataclass(frozen=True)
class Give:
    """Lets another person drive."""

    to: int


Message = Hello | Input | Do | Go | Begin | ShowStarts | AskToDrive | Give


def parse(text: str) -> Message:
    """Read a message.

    Raises:
        Refused: it is none.
    """
    if len(text) > MOST_LETTERS:
        raise Refused(MALFORMED, f"a message of more than {MOST_LETTERS} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(MALFORMED, "a message that is not JSON") from None
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise Refused(MALFORMED, f"an unknown message, {_short(kind)}")
    make, readers = _KINDS[kind]
    if content.keys() != {"type", *readers}:
        raise Refused(MALFORMED, f"a message {kind!r} with other fields than {', '.join(readers) or 'none'}")
    values = {}
    for name, read in readers.items():
        try:
            values[name] = read(content[name])
        except (ValueError, TypeError, OverflowError):
            raise Refused(MALFORMED, f"a message {kind!r} with {name} {_short(content[name])}") from None
    return make(**values)


class Allowance:
    """How many messages a connection may send: so many a second, a few hundred at once.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._left, self._since = clock, BURST, clock()

    def take(self) -> None:
        """A message came.

        Raises:
            Refused: too many came.
        """
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._since) * RATE)
        self._since = now
        if self._left < 1:
            raise Refused(FLOOD, "too many messages")
        self._left -= 1


def _short(value: Any) -> str:
    """ASCII, for the end of a connection has 123 bytes for its words."""
    try:
        text = ascii(value)
    except RecursionError:
        return "[...]"
    return text if len(text) <= 32 else f"{text[:29]}..."


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isascii():
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_NUMBER:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _degrees(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > MOST_DEGREES:
        raise ValueError
    return float(value)


def _look(value: Any) -> tuple[float, float]:
    if not isinstance(value, list):
        raise ValueError
    pitch, yaw = value
    return _degrees(pitch), _degrees(yaw)


def _held(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not set(value) <= set(MINECRAFT.keys):
        raise ValueError
    return frozenset(value)


def _command(value: Any) -> str:
    if value not in ASKED:
        raise ValueError
    return value


_KINDS: Mapping[str, tuple[Callable[..., Message], Mapping[str, Callable[[Any], Any]]]] = {
    "hello": (Hello, {"token": _text, "session": _text, "me": _text}),
    "input": (Input, {"number": _whole, "held": _held, "look": _look}),
    "do": (Do, {"what": _command, "further": _flag}),
    "go": (Go, {"stretch": _whole, "depth": _whole}),
    "begin": (Begin, {"start": _whole}),
    "starts": (ShowStarts, {}),
    "drive": (AskToDrive, {}),
    "give": (Give, {"to": _whole}),
}
