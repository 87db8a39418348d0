"""The words, numbers and signs of action scripts, each with its place; and the error that tells it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from worldsim.errors import UserError

# Actions that press nothing.
NOTHING = ("wait", "noop")
WORDS = (*NOTHING, "repeat", "until", "within", "event", "yaw", "pitch", "x")


@dataclass(frozen=True, slots=True)
class Where:
    """A place in the text, from line 1 and column 1."""

    line: int
    column: int


class ScriptError(UserError):
    """A script that cannot be read or played; the message tells line and column."""

    def __init__(self, where: Where, message: str, name: str = ""):
        super().__init__(f"{name + ', ' if name else ''}line {where.line}, column {where.column}: {message}")
        self.where, self.reason = where, message


_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<times>x(?=\d))
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)
      | (?P<name>[A-Za-z_][\w.]*)
      | "(?P<quoted>[^"\n]+)"
      | (?P<sign>[;{}+=<>/])""",
    re.VERBOSE | re.ASCII,
)


def plain_name(name: str) -> bool:
    """Whether a name needs no quotes: letters, digits, "_" and ".", and not like ``x6``, which means times 6."""
    return _NAME.fullmatch(name) is not None and re.match(r"x\d", name) is None


def reserved(name: str) -> bool:
    """Whether a word has a meaning of its own in the language."""
    return name in WORDS


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a sign of a script."""

    kind: str
    text: str
    where: Where
    # Whether nothing stands between this token and the one before it.
    joined: bool = False

    def __str__(self) -> str:
        return {"end": "the end", "newline": "the end of the line"}.get(self.kind, repr(self.text))


def tokens_of(text: str) -> Iterator[Token]:
    """The tokens of a script, the last one of kind "end"."""
    at, line, begin, joined = 0, 1, 0, False
    while at < len(text):
        where = Where(line, at - begin + 1)
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quoted name is not closed" if text[at] == '"' else f"unexpected {text[at]!r}"
            raise ScriptError(where, what)
        kind = found.lastgroup or ""
        if kind != "skip":
            yield Token(kind, found[kind], where, joined)
        joined, at = kind != "skip", found.end()
        if kind == "newline":
            line, begin = line + 1, at
    yield Token("end", "", Where(line, at - begin + 1))
