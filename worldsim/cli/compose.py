"""Settings of one run: read from words of the command line, put together by hydra, built as dataclasses."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_origin, get_type_hints

from worldsim.cli.schema import Schema, schema_of
from worldsim.cli.values import read_value, suggestion
from worldsim.errors import UserError

T = TypeVar("T")
# KEY=VALUE; hydra's +KEY=VALUE is taken too.
WORD = re.compile(r"\+*([A-Za-z_][\w.]*)=(.*)", re.DOTALL)


def compose(owner: type[T], words: Iterable[str] = (), flags: Mapping[str, str | list[str]] | None = None) -> T:
    """The settings of a command.

    Args:
        owner: the command's dataclass.
        words: ``KEY=VALUE``; the last one of a key counts.
        flags: values by key, which count more than ``words``; a list's items stand as they are.

    Raises:
        UserError: a key is unknown, a value does not fit, or a setting that has no default is missing.
    """
    schema = schema_of(owner)
    given: dict[str, Any] = {}
    for word in words:
        match = WORD.fullmatch(word)
        if match is None:
            raise UserError(f"settings are given as KEY=VALUE, got {word!r}")
        key = current_key(schema, match[1])
        given[key] = _value(schema, key, match[2])
    for key, value in (flags or {}).items():
        texts = value if isinstance(value, list) else None
        given[key] = _value(schema, key, cast(str, value)) if texts is None else texts
    values = _with_hydra(owner, schema, given)
    missing = [one for one in schema.settings.values() if one.key not in given and _at(values, one.path) == "???"]
    if missing:
        raise UserError(f"{missing[0].key} is missing: give, for example, {missing[0].about.example}")
    return _build(owner, values)


def current_key(schema: Schema, key: str) -> str:
    """What a key is called now; former keys of one release ago are taken with a warning.

    Raises:
        UserError: there is no such setting.
    """
    if key in schema.keys:
        return key
    for part, one in schema.groups.items():
        old = key.removeprefix(f"{part}.")
        if key != old and old in one.renamed:
            new = f"{part}.{one.renamed[old]}"
            print(f"worldsim: warning: {key} is called {new} now; the old name goes with the next release",
                  file=sys.stderr)  # fmt: skip
            return new
    raise UserError(f"unknown setting {key!r}{suggestion(key, schema.keys)}")


def is_setting(schema: Schema, key: str) -> bool:
    """Whether a key, current or former, is one of a command's settings."""
    former = {f"{part}.{old}" for part, one in schema.groups.items() for old in one.renamed}
    return key in schema.keys or key in former


def _value(schema: Schema, key: str, text: str) -> Any:
    if key in schema.settings:
        return read_value(schema.settings[key], text)
    options = schema.groups[key].options
    if text not in options:
        raise UserError(f"{key} must be one of {', '.join(options)}, got {text!r}{suggestion(text, options)}")
    return text


def _with_hydra(owner: type, schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults, option files and numbers put together by hydra; texts afterwards, for they are no hydra syntax."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides, texts = [], {}
    for key, value in given.items():
        one = schema.settings.get(key)
        if one is None:
            overrides.append(f"{key}={value}")
        elif one.is_text or one.kind is dict:
            texts[one.path] = value
        else:
            overrides.append(f"++{one.path}={_written(value)}")
    name = _register(owner, schema)
    try:
        with initialize_config_module("worldsim.configs", version_base="1.3"):
            config = hydra_compose(name, overrides=overrides)
        values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from error
    for path, value in texts.items():
        *parts, last = path.split(".")
        inner = values
        for part in parts:
            inner = inner[part]
        inner[last] = value
    return values


def _register(owner: type, schema: Schema) -> str:
    """Put the command's dataclass into hydra's store, with the default choice of each group of files."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    name = owner.__name__
    store = ConfigStore.instance()
    store.store(name=f"{name}_settings", node=_writable(owner, OmegaConf.structured(owner)))
    for key, one in schema.groups.items():
        for option, values in one.values.items():
            store.store(group=key, name=option, node=dict(values))
    choices = [{key: one.option} for key, one in schema.groups.items() if one.option]
    store.store(name=name, node={"defaults": [f"{name}_settings", *choices, "_self_"]})
    return name


def _writable(owner: type, node: Any) -> Any:
    """Hydra's form of a dataclass and of those inside of it: of frozen ones too, which are read-only otherwise."""
    from omegaconf import OmegaConf

    OmegaConf.set_readonly(node, False)
    for name, hint in get_type_hints(owner).items():
        if is_dataclass(hint):
            inner = cast(type, hint)
            if OmegaConf.is_missing(node, name):
                node[name] = OmegaConf.structured(inner)
            _writable(inner, node[name])
    return node


def _build(owner: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Make a dataclass, and those inside of it, from plain values.

    Raises:
        UserError: it refuses a value; the message begins with the setting's key.
    """
    hints, made = get_type_hints(owner), {}
    for one in fields(cast(Any, owner)):
        if one.name not in values:
            continue
        value, hint = values[one.name], hints[one.name]
        if is_dataclass(hint) and isinstance(value, Mapping):
            value = _build(cast(type, hint), value, f"{path}{one.name}.")
        elif get_origin(hint) is tuple and isinstance(value, list):
            value = tuple(value)
        made[one.name] = value
    try:
        return owner(**made)
    except ValueError as error:
        # A message begins with the field, and may already say which group it is of.
        first, _, rest = str(error).partition(" ")
        name = first.rpartition(".")[2]
        raise UserError(f"{path}{name} {rest}" if name in made else str(error)) from error


def _at(values: Mapping[str, Any], path: str) -> Any:
    inner: Any = values
    for part in path.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def _written(value: Any) -> str:
    """Numbers and truth values in hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _one_line(error: BaseException) -> str:
    """Hydra's messages run over several lines and name its insides."""
    inner = error.__cause__ or error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "See http"))]
    return " ".join(kept) or type(error).__name__
