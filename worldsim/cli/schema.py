"""The settings of a command as a list: dotted keys with their types, defaults, meanings and ranges."""

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import yaml

from worldsim.cli.settings import About, about_of

CONFIGS = "worldsim.configs"
NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        key: dotted, as it is given on the command line.
        path: the same in fields' names.
        kind: bool, int, float, str, list or dict.
        item: of a list, the type of its items.
        optional: whether it may be null.
        holes: of a list, whether its items may be null.
        default: its value when it is not given; MISSING where it must be given.
        about: meaning, unit and range.
    """

    key: str
    path: str
    kind: type
    item: type = str
    optional: bool = False
    holes: bool = False
    default: Any = MISSING
    about: About = field(default_factory=About)

    @property
    def is_text(self) -> bool:
        """Whether its value is text, or a list of texts."""
        return self.kind is str or (self.kind is list and self.item is str)

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def type_name(self) -> str:
        """Its type, for people."""
        if self.kind is list:
            return f"list of {NAMES[self.item]}s"
        if self.kind is dict:
            return "names and values"
        return NAMES[self.kind]

    @property
    def range_name(self) -> str:
        """Its range, for people; "" without one."""
        about = self.about
        if about.minimum is not None and about.maximum is not None:
            return f"{about.minimum:g} to {about.maximum:g}"
        low = "" if about.minimum is None else f"at least {about.minimum:g}"
        low = low if about.above is None else f"above {about.above:g}"
        high = "" if about.maximum is None else f"at most {about.maximum:g}"
        return ", ".join(part for part in (low, high) if part)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A part of the settings: its dataclass, and where it has them, the names of the files to choose from.

    Attributes:
        key: dotted.
        owner: the dataclass.
        options: names of its choices of defaults.
        option: the default one.
        values: of each choice; empty where they are files in ``configs/KEY/``.
        renamed: former keys inside of it.
    """

    key: str
    owner: type
    options: tuple[str, ...] = ()
    option: str = ""
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The first sentence of the dataclass's docstring."""
        text = " ".join((inspect.getdoc(self.owner) or "").split("\n\n")[0].split())
        return re.split(r"(?<=[.:;])\s", text)[0].rstrip(".:;")


@dataclass(frozen=True)
class Schema:
    """All settings of a command, by key, and its groups."""

    settings: Mapping[str, Setting]
    groups: Mapping[str, Group]

    @property
    def words(self) -> list[Setting]:
        """The settings that can be given as words of their own, in order."""
        return [one for one in self.settings.values() if one.about.word]

    @property
    def keys(self) -> list[str]:
        """Everything that can be given as ``KEY=VALUE``."""
        return [*self.settings, *(key for key, one in self.groups.items() if one.options)]


def key_of(name: str) -> str:
    """The key of a field: without the underscore that keeps a name from being a word of Python (``in_``)."""
    return name.removesuffix("_")


@cache
def schema_of(owner: type) -> Schema:
    """The settings of a command's dataclass."""
    settings: dict[str, Setting] = {}
    groups: dict[str, Group] = {}
    hints = get_type_hints(owner)
    for one in fields(owner):
        about = about_of(one)
        if about is None:
            raise TypeError(f"{owner.__name__}.{one.name} is not declared with setting() or group()")
        if about.owner is None:
            settings[key_of(one.name)] = _setting(one.name, hints[one.name], _default(one), about)
            continue
        options = (tuple(about.options) or option_names(one.name)) if about.option else ()
        given: Mapping[str, Any] = {}
        if about.option:
            given = about.options.get(about.option) or read_option(one.name, about.option)
        groups[one.name] = Group(
            key=one.name, owner=about.owner, options=options, option=about.option, values=about.options,
            renamed=about.renamed,
        )  # fmt: skip
        for each in _walk(one.name, about.owner, given, about.filled):
            (settings if isinstance(each, Setting) else groups)[each.key] = each  # pyright: ignore[reportArgumentType]
    return Schema(settings, groups)


def option_names(part: str) -> tuple[str, ...]:
    """The files to choose from for a group."""
    folder = resources.files(CONFIGS).joinpath(part)
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def read_option(part: str, name: str) -> dict[str, Any]:
    """The values of one file of a group."""
    return yaml.safe_load(resources.files(CONFIGS).joinpath(part, f"{name}.yaml").read_text())


def meanings(owner: type) -> dict[str, str]:
    """Field by field, what the ``Attributes`` section of a dataclass's docstring says."""
    found: dict[str, str] = {}
    for one in reversed(owner.__mro__):
        _, _, section = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        names: list[str] = []
        for line in section.split("\n\n")[0].splitlines():
            begins = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
            if begins:
                names = begins[1].split(", ")
                found |= dict.fromkeys(names, begins[2].strip())
            elif line.startswith(" " * 8):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: text.rstrip(".").replace("``", "") for name, text in found.items()}


def _walk(key: str, owner: type, given: Mapping[str, Any], filled: tuple[str, ...]) -> Iterator[Setting | Group]:
    """The fields of a library dataclass, with those of dataclasses inside of it."""
    hints, told = get_type_hints(owner), meanings(owner)
    values = {one.name: given.get(one.name, _default(one)) for one in fields(owner) if one.init}
    for name, value in values.items():
        if name in filled:
            continue
        hint = hints[name]
        if is_dataclass(hint):
            inner = cast(type, hint)
            inside = value if isinstance(value, Mapping) else {} if value is MISSING else vars(value)
            yield Group(key=f"{key}.{name}", owner=inner)
            yield from _walk(f"{key}.{name}", inner, inside, ())
        else:
            about = replace(_bounds(owner, name, values), help=told.get(name, ""))
            yield _setting(f"{key}.{name}", hint, value, about)


def _default(one: "Field[Any]") -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _setting(path: str, hint: Any, default: Any, about: About) -> Setting:
    key = key_of(path)
    hint, optional = _without_none(hint)
    origin = get_origin(hint)
    if origin in (list, tuple):
        item, holes = _without_none(get_args(hint)[0])
        return Setting(
            key=key, path=path, kind=list, item=item, holes=holes, optional=optional, default=default, about=about
        )
    kind = dict if origin is dict else hint
    if kind not in (bool, int, float, str, dict):
        raise TypeError(f"setting {key} has the type {hint}, which no value on a command line can have")
    return Setting(key=key, path=path, kind=kind, optional=optional, default=default, about=about)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    kept = [one for one in get_args(hint) if one is not types.NoneType]
    return kept[0], len(kept) < len(get_args(hint))


def _bounds(owner: type, name: str, values: Mapping[str, Any]) -> About:
    """The range of a number, by which of -1, 0 and 1.01 the dataclass itself refuses: nothing is written twice."""
    value = values[name]
    if type(value) not in (int, float) or not _accepts(owner, values):
        return About()
    minimum = above = maximum = None
    if not _accepts(owner, values, name, type(value)(-1)):
        if _accepts(owner, values, name, type(value)(0)):
            minimum = 0
        elif type(value) is int:
            minimum = 1
        else:
            above = 0
    if type(value) is float and _accepts(owner, values, name, 1.0) and not _accepts(owner, values, name, 1.01):
        maximum = 1
    return About(minimum=minimum, above=above, maximum=maximum)


def _accepts(owner: type, values: Mapping[str, Any], name: str = "", value: Any = None) -> bool:
    try:
        owner(**{k: v for k, v in values.items() if v is not MISSING} | ({name: value} if name else {}))
    except (ValueError, TypeError, ZeroDivisionError):
        return False
    return True
