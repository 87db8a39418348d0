"""How the settings of an evaluation's parts are declared: each part owns its numbers and says what they mean.

A part has up to three frozen dataclasses: how much is measured (``amount``), what counts as a failure and what a world
should reach (``limit``). ``worldsim.evaluation.config`` composes those of all parts.
"""

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, Self, get_args

PRESETS = ("quick", "full")


def amount(*, quick: Any, full: Any, help: str, least: int = 0) -> Any:
    """A field of a part's settings: its values in the two presets, its meaning, and the smallest one allowed."""
    return field(default=quick, metadata={"quick": quick, "full": full, "help": help, "least": least})


def limit(value: Any, help: str) -> Any:
    """A field of a part's thresholds or goals: its value and its meaning."""
    return field(default=value, metadata={"value": value, "help": help})


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Numbers have the type of their field and are not below its smallest value (0 if it says none)."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is of the wrong type or too small.
        """
        for one in fields(self):
            object.__setattr__(self, one.name, _checked(one, getattr(self, one.name)))

    @classmethod
    def of(cls, whole: Any) -> Self:
        """Take the fields of this class out of an object that has them all and more."""
        return cls(**{one.name: getattr(whole, one.name) for one in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Composed(Checked):
    """The fields of several parts in one dataclass."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class SharedSettings(Checked):
    """Numbers that several parts read: these name them without a value of their own."""

    clips: int = amount(
        quick=16,
        full=100,
        least=1,
        help="starts of horizon curves and of tests of single actions, drawn evenly over the maps of the split",
    )
    prefix: int = amount(quick=33, full=33, least=1, help="frames of the past, 1 + r k")
    chunks: int = amount(quick=20, full=80, least=1, help="horizon of the curves")


@dataclass(frozen=True, kw_only=True)
class Empty(Checked):
    """A part without settings, thresholds or goals."""


def compose(name: str, about: str, owners: Sequence[type[Checked]]) -> type[Composed]:
    """Make one dataclass of the fields of several; its docstring lists them, its checks are those of the owners.

    Raises:
        TypeError: two owners declare a field of the same name, or one names a field that none declares.
    """
    found: dict[str, Field[Any]] = {}
    for owner in owners:
        for one in fields(owner):
            if one.metadata and found.setdefault(one.name, one) is not one:
                raise TypeError(f"{owner.__qualname__} declares {one.name}, which another part has already")
    if unknown := [(o, one.name) for o in owners for one in fields(o) if one.name not in found]:
        raise TypeError(f"{unknown[0][0].__qualname__} names {unknown[0][1]}, which no part declares")

    def check(self: Composed) -> None:
        for owner in owners:
            made = owner.of(self)
            for one in fields(made):
                object.__setattr__(self, one.name, getattr(made, one.name))

    members = [(one.name, one.type, field(default=one.default, metadata=one.metadata)) for one in found.values()]
    meanings = "\n".join(f"    {one.name}: {one.metadata['help']}." for one in found.values())
    space = {"__post_init__": check, "__doc__": f"{about}\n\nAttributes:\n{meanings}", "__module__": __name__}
    return make_dataclass(name, members, bases=(Composed,), namespace=space, frozen=True, kw_only=True)


def _checked(one: "Field[Any]", value: Any) -> Any:
    kind: Any = one.type
    least = one.metadata.get("least", 0)
    if items := get_args(kind):
        members = tuple(items[0](member) for member in value)
        if min(members, default=least) < least:
            raise ValueError(f"{one.name} must be at least {least}, got {list(members)}")
        return members
    if kind is float and type(value) is int:
        value = float(value)
    if kind in (int, float) and (type(value) is not kind or value < 0):
        raise ValueError(f"{one.name} must be a {kind.__name__} of 0 or more, got {value!r}")
    if kind in (int, float) and value < least:
        raise ValueError(f"{one.name} must be at least {least}, got {value!r}")
    return value
