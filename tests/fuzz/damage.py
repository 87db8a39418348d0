"""Strategies of damage: bytes that were flipped, cut, moved or repeated; JSON with a value that is of another kind."""

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\n", b'"', b"{", b"\xef\xbb\xbf")
_KINDS = ("flip", "set", "cut out", "cut off", "insert", "word", "repeat", "zero")
# Where somebody expects a number, a text, a list or an object.
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**31, -(2**63), 2**70, 10**400, 1e308, float("inf"), float("nan"), "", "x", "0",
    "../../x", "/etc/hostname", "x" * 5000, "\0", "\u2028", "\ud800", "{0}", "%s", [], {}, [[]], [None], [1], {"a": 1},
    json.loads("[" * 60 + "]" * 60),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes, most: int = 4) -> bytes:
    """``content`` with one to ``most`` kinds of damage, which may undo each other."""
    damage = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        kind, at = draw(st.sampled_from(_KINDS)), draw(st.integers(0, max(0, len(damage) - 1)))
        if kind == "flip" and damage:
            damage[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and damage:
            damage[at] = draw(st.integers(0, 255))
        elif kind == "cut out":
            del damage[at : at + draw(st.sampled_from((1, 2, 4, 16, 256)))]
        elif kind == "cut off":
            del damage[at:]
        elif kind == "insert":
            damage[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "word":
            word = draw(st.sampled_from(_WORDS))
            damage[at : at + len(word)] = word
        elif kind == "repeat":
            damage[at:at] = damage[at : at + draw(st.sampled_from((4, 16, 64, 512)))]
        elif kind == "zero":
            damage[at : at + 8] = bytes(len(damage[at : at + 8]))
    return bytes(damage)


@st.composite
def altered(draw: st.DrawFn, value: Any, junk: Sequence[Any] = JUNK) -> Any:
    """A JSON value in which something, at any depth, is missing, one too many, or something else."""
    root = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(_paths(root[0])))
        owner: Any = root
        for step in (0, *path)[:-1]:
            owner = owner[step]
        last = (0, *path)[-1]
        kind = draw(st.sampled_from(("replace", "remove", "add"))) if path else "replace"
        if kind == "remove":
            del owner[last]
        elif kind == "add" and isinstance(owner, dict):
            owner[draw(st.sampled_from(("", "extra", "x" * 300, "../x")))] = copy.deepcopy(draw(st.sampled_from(junk)))
        else:
            # A copy: a second change may be made inside of it.
            owner[last] = copy.deepcopy(draw(st.sampled_from(junk)))
    return root[0]


def _paths(value: Any) -> list[tuple[Any, ...]]:
    """Ways to every part of a JSON value; of long lists to the first parts."""
    found: list[tuple[Any, ...]] = [()]
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value[:8]) if isinstance(value, list) else ()
    for key, inner in parts:
        found += [(key, *path) for path in _paths(inner)]
    return found
