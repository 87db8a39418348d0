"""The words of a caption that name its place or its light, and the same caption with others in their stead."""

import re
from collections.abc import Iterable
from typing import Protocol

from worldsim.datasets.captions.style import LIGHT, PLACES, TIMES
from worldsim.datasets.captions.templates import place_phrase

# Times of day that are darker than day.
DARK_TIMES = ("at night", "at dawn", "at dusk")
# What may follow the name of a place; anything else may be a part of the name.
_AFTER = r"(?=\s*(?:$|[.,:;]|\b(?:at|in|on|by|while|and|then|with)\b))"


class Attribute(Protocol):
    """Something that captions name by words which can be changed alone."""

    def of(self, caption: str) -> str:
        """The value that a caption names; "" where it names none, or several."""
        ...

    def form(self, value: str) -> str:
        """Which parts a value has: captions can be told with other values of their own's form."""
        ...

    def with_value(self, caption: str, value: str) -> str:
        """The caption with another value of the same form; all other words stay."""
        ...


class Place:
    """Where: ``in a snowy grassland``, ``by the sea``, ``underground``.

    Args:
        biomes: of the recordings, whose names are known besides ``caption_style.PLACES``.
    """

    def __init__(self, biomes: Iterable[str] = ()) -> None:
        known = {place_phrase(name).strip() for name in (*PLACES, "the ocean", "the under", *biomes)} - {""}
        # The longest first: a grassland may have dunes.
        self.pattern = _any_of(sorted(known, key=lambda phrase: (-len(phrase), phrase)), _AFTER)

    def of(self, caption: str) -> str:
        """The place in words."""
        return _only(self.pattern, caption)

    def form(self, value: str) -> str:
        """All places are told alike."""
        return ""

    def with_value(self, caption: str, value: str) -> str:
        """The caption with another place."""
        return self.pattern.sub(lambda found: _cased(value, found[0]), caption)


class Light:
    """The time of day, ``at dusk``; or how light it is, ``dim``; or both, ``at dusk, dim``."""

    def __init__(self) -> None:
        self.levels = {phrase: level for level, phrases in LIGHT.items() for phrase in phrases}
        self.times, self.sentences = _any_of(TIMES), _any_of(self.levels)

    def of(self, caption: str) -> str:
        """Time and level."""
        if max(len(pattern.findall(caption)) for pattern in (self.times, self.sentences)) > 1:
            return ""
        parts = _only(self.times, caption), self.levels.get(_only(self.sentences, caption), "")
        return ", ".join(part for part in parts if part)

    def form(self, value: str) -> str:
        """``time``, ``level`` or both."""
        return ", ".join("time" if part in TIMES else "level" for part in value.split(", "))

    def with_value(self, caption: str, value: str) -> str:
        """The caption at another time, in another light."""
        time, level = (next((p for p in value.split(", ") if (p in kinds)), "") for kinds in (TIMES, LIGHT))

        def lit(found: re.Match[str]) -> str:
            old = found[0].lower()
            # Phrasings keep their number, so that only the light differs.
            return _cased(LIGHT[level][LIGHT[self.levels[old]].index(old)], found[0])

        return self.sentences.sub(lit, self.times.sub(lambda found: _cased(time, found[0]), caption))

    @staticmethod
    def dark(value: str) -> bool:
        """Whether it is darker than day: the level decides where it is told, else the time."""
        *_, last = value.split(", ")
        return last in DARK_TIMES if last in TIMES else last != "bright"


def _any_of(phrases: Iterable[str], after: str = "") -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b{after}", re.IGNORECASE)


def _only(pattern: re.Pattern[str], caption: str) -> str:
    found = pattern.findall(caption)
    return found[0].lower() if len(found) == 1 else ""


def _cased(words: str, like: str) -> str:
    return words[:1].upper() + words[1:] if like[:1].isupper() else words
