"""What an action script is made of: held keys, turns of the camera, lengths, and repeated blocks of them.

``worldsim.scripting.grammar`` has the language they are written in.
"""

from dataclasses import dataclass, field

from worldsim.scripting.tokens import Where

# Frames after which ``until`` gives up, unless ``within`` says otherwise.
PATIENCE = 1000


def _place() -> Where:
    return Where(1, 1)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key, held at a value (1 unless it is an axis)."""

    name: str
    value: float = 1.0
    where: Where = field(default_factory=_place, compare=False)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Camera degrees along ``axis`` (yaw or pitch), per frame, per second ("s") or in all ("")."""

    axis: str
    degrees: float
    per: str = ""
    where: Where = field(default_factory=_place, compare=False)


@dataclass(frozen=True)
class Duration:
    """A number of frames, or of seconds."""

    amount: float
    seconds: bool = False

    def frames(self, fps: float) -> int:
        """Whole frames, at least one."""
        return max(1, round(self.amount * fps)) if self.seconds else int(self.amount)


@dataclass(frozen=True, kw_only=True)
class Until:
    """An event's kind (``sign`` empty), or a number that the game tells, compared ("<" or ">") with ``value``."""

    name: str
    sign: str = ""
    value: float = 0.0
    within: Duration = field(default=Duration(PATIENCE))
    where: Where = field(default_factory=_place, compare=False)


@dataclass(frozen=True, kw_only=True)
class Act:
    """Terms that happen together for a while; no terms: wait."""

    terms: tuple[Key | Turn, ...] = ()
    length: Duration | Until = field(default=Duration(1))
    where: Where = field(default_factory=_place, compare=False)


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A block, several times."""

    times: int
    body: "Script"
    where: Where = field(default_factory=_place, compare=False)


Script = tuple[Act | Repeat, ...]
