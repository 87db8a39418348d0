"""Texts of the command line as values: numbers are checked against type and range, texts stand as they are."""

import contextlib
import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

from worldsim.cli.schema import Setting
from worldsim.errors import UserError

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# An item of [a, "b, c", d]: quoted, or up to the next comma.
ITEM = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^,]*?))\s*(?:,|$)""")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` for a word that is close to a known one, else ""."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=2, cutoff=0.8)
    if not found:
        # The last part alone is enough: rate, or rat, for training.optimizer.rate.
        last = {name: re.split(r"[. ]", name)[-1] for name in known}
        near = difflib.get_close_matches(re.split(r"[. ]", word)[-1], set(last.values()), n=1, cutoff=0.8)
        found = [name for name in known if last[name] in near]
    found = found or difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(found[:2])}?" if found else ""


def read_value(setting: Setting, text: str) -> Any:
    """The value that a text of the command line gives to a setting.

    Raises:
        UserError: the text does not fit the setting's type, range or choices.
    """
    if text == "null":
        if setting.optional:
            return None
        if not setting.is_text:
            raise UserError(f"{setting.key} must be a {setting.type_name}, got null")
    if setting.kind is dict:
        return _names_and_values(setting, text)
    if setting.kind is not list:
        return _checked(setting, _scalar(setting, setting.kind, text), text)
    inside = text.strip()
    items = _items(inside[1:-1]) if inside[:1] == "[" and inside[-1:] == "]" else [text]
    return [_item(setting, item) for item in items]


def _names_and_values(setting: Setting, text: str) -> dict[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    with contextlib.suppress(HydraException):
        value = OverridesParser.create().parse_override(f"{setting.key}={text}").value()
        if isinstance(value, dict):
            return {str(name): each for name, each in value.items()}
    raise UserError(f"{setting.key} must be names and values, as in {setting.key}={{frameskip:4}}, got {text}")


def _item(setting: Setting, text: str) -> Any:
    if setting.holes and text in ("null", "None"):
        return None
    return _checked(setting, _scalar(setting, setting.item, text), text)


def _items(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = ITEM.match(text, at)
        if match is None or match.end() == at:
            # A quote in the middle of an item.
            found.append(text[at:].strip())
            break
        found.append(next(part for part in match.group("double", "single", "plain") if part is not None))
        at = match.end()
    return found


def _scalar(setting: Setting, kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise UserError(f"{setting.key} must be true or false, got {text!r}")
    try:
        number = float(text)
        if kind is float and math.isfinite(number):
            return number
        # 1e5 is a whole number too.
        if number.is_integer():
            return int(text) if re.fullmatch(r"\s*[-+]?[\d_]+\s*", text) else int(number)
    except (ValueError, OverflowError):
        pass
    raise UserError(f"{setting.key} must be a {setting.type_name}, got {text!r}")


def _checked(setting: Setting, value: Any, text: str) -> Any:
    about = setting.about
    if about.choices and value not in about.choices:
        *most, last = about.choices
        allowed = f"{', '.join(most)} or {last}" if most else last
        raise UserError(f"{setting.key} must be {allowed}, got {value!r}{suggestion(value, about.choices)}")
    # The range of a library dataclass's field is checked by itself, where it may depend on other fields.
    if isinstance(value, str | bool) or "." in setting.key:
        return value
    low = about.minimum is not None and value < about.minimum
    if (
        low
        or (about.above is not None and value <= about.above)
        or (about.maximum is not None and value > about.maximum)
    ):
        raise UserError(f"{setting.key} must be {setting.range_name}, got {text}")
    return value
