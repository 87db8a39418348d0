"""Trees of actions from files: indented text, or YAML and JSON.

As text, a line is a stretch of play, and deeper lines below it are what may follow; ``#`` begins a comment:

    straight: forward 20
      left: yaw -90 x 10     # negative yaw turns left
        forward 20
        back 20
      policy explore 40
    turn.script

A stretch is an action script (see ``worldsim.scripting.grammar``), a ``.script`` or ``.csv`` file, or ``policy NAME``
and a number of frames (``40``) or seconds (``2s``). A name and a colon may stand before it.

As YAML or JSON, a list whose entries are such stretches, or mappings with ``play`` (the stretch), ``name`` and
``branches`` (a list again).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from worldsim.errors import UserError
from worldsim.scripting.action_files import branch_name, read_actions
from worldsim.scripting.grammar import parse_script
from worldsim.scripting.player import script_actions
from worldsim.scripting.syntax_tree import Duration
from worldsim.scripting.tokens import ScriptError, Where
from worldsim.simulation.branch_tree import Node, Player
from worldsim.spec.actions import ActionSpec
from worldsim.spec.inside import inside
from worldsim.spec.text_files import read_text, text_lines

SUFFIXES = (".tree", ".yaml", ".yml", ".json")
KEYS = ("play", "name", "branches")
MOST_NODES, DEEPEST = 2000, 40
LONGEST_TEXT = 2**20
# Of all stretches together.
MOST_FRAMES = 200_000
# A stretch has a mapping, three keys and their values.
_MOST_YAML_NODES = 8 * MOST_NODES
# Of a list, a mapping and a script's own blocks at each level, and some.
_BRACKET, _DEEPEST_BRACKETS = re.compile(r"[\[\]{}]"), 4 * DEEPEST
_NAMED = re.compile(r"(?P<name>[^:;{}#=<>]+):(?=\s)\s*")
_POLICY = re.compile(r"policy\s+(?P<name>[\w.-]+)\s+x?\s*(?P<amount>\d+\.?\d*)(?P<unit>s?)\s*$")

Players = Callable[[str], Callable[[], Player]]


@dataclass(frozen=True)
class _Entry:
    """A stretch as written, its place, and what follows."""

    text: str
    where: Where
    name: str
    branches: tuple["_Entry", ...] = ()


def read_tree(path: str | Path, spec: ActionSpec, *, fps: float, players: Players) -> tuple[Node, ...]:
    """Read a tree of actions from a file.

    Args:
        path: of a ``.tree`` text, or of YAML or JSON.
        spec: the game's actions.
        fps: frames a second, for stretches that count in seconds.
        players: makes a policy by its name.

    Raises:
        FileNotFoundError: there is no such file, or none of a stretch.
        ScriptError: it has a mistake; tells line and column.
        UserError: the file is no text, or a file that it names has a mistake.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such tree of actions: {path}")
    text = read_text(path, LONGEST_TEXT)
    reader = _Reader(path, spec, fps, players)
    try:
        entries = _from_yaml(text) if path.suffix in (".yaml", ".yml", ".json") else _from_text(text)
        if not entries:
            raise ScriptError(Where(1, 1), "the tree has no branches")
        return tuple(reader.node(entry) for entry in entries)
    except ScriptError as error:
        raise ScriptError(error.where, error.reason, str(path)) from None


@dataclass
class _Reader:
    path: Path
    spec: ActionSpec
    fps: float
    players: Players
    count: int = 0
    frames: int = 0

    def node(self, entry: _Entry, depth: int = 1) -> Node:
        self.count += 1
        if self.count > MOST_NODES or depth > DEEPEST:
            raise ScriptError(entry.where, f"a tree has at most {MOST_NODES} stretches, {DEEPEST} after one another")
        branches = tuple(self.node(below, depth + 1) for below in entry.branches)
        if entry.text.startswith("policy ") or entry.text == "policy":
            node = replace(self.policy(entry), branches=branches)
        else:
            node = Node(name=entry.name or branch_name(entry.text), actions=self.actions(entry), branches=branches)
        self.frames += node.frames if node.actions is None else len(node.actions)
        if self.frames > MOST_FRAMES:
            raise ScriptError(entry.where, f"a tree lasts at most {MOST_FRAMES} frames, all stretches together")
        return node

    def policy(self, entry: _Entry) -> Node:
        found = _POLICY.match(entry.text)
        if found is None:
            raise ScriptError(entry.where, f"expected policy NAME FRAMES, as in policy explore 40, got {entry.text!r}")
        amount = float(found["amount"])
        if not 0 < amount < float("inf") or (not found["unit"] and amount != int(amount)):
            raise ScriptError(entry.where, f"a length is a whole number of frames from 1, or seconds, got {amount:g}")
        frames = Duration(amount, bool(found["unit"])).frames(self.fps)
        try:
            player = self.players(found["name"])
        except UserError as error:
            raise ScriptError(entry.where, str(error)) from error
        return Node(name=entry.name or found["name"], player=player, frames=frames)

    def actions(self, entry: _Entry) -> Any:
        # Files stand beside the tree or below; what is not named as one is a script, whatever files there are.
        if entry.text.endswith((".csv", ".tsv", ".script")):
            beside = inside(self.path.parent, self.path.parent / entry.text)
            try:
                return read_actions(beside, self.spec, fps=self.fps)
            except ScriptError as error:
                raise UserError(str(error)) from None
        try:
            return script_actions(parse_script(entry.text), self.spec, fps=self.fps)
        except ScriptError as error:
            line, column = entry.where.line + error.where.line - 1, entry.where.column + error.where.column - 1
            raise ScriptError(Where(line, column), error.reason) from None


def _from_text(text: str) -> tuple[_Entry, ...]:
    """Entries by indentation."""
    lines: list[tuple[int, _Entry]] = []
    for number, line in text_lines(text):
        bare = line.split("#", 1)[0].rstrip()
        if not bare.strip():
            continue
        indent = len(bare) - len(bare.lstrip())
        if "\t" in bare[:indent]:
            raise ScriptError(Where(number, bare.index("\t") + 1), "indent with spaces, not tabs")
        lines.append((indent, _entry(bare[indent:], Where(number, indent + 1))))
        if len(lines) > MOST_NODES:
            raise ScriptError(Where(number, indent + 1), f"a tree has at most {MOST_NODES} stretches")
    return _nested(lines)


def _nested(lines: list[tuple[int, _Entry]], depth: int = 0) -> tuple[_Entry, ...]:
    if lines and depth == DEEPEST:
        raise ScriptError(lines[0][1].where, f"a tree has at most {DEEPEST} stretches after one another")
    done, at = [], 0
    while at < len(lines):
        indent, entry = lines[at]
        if indent != lines[0][0]:
            raise ScriptError(entry.where, "this line stands deeper or less deep than those it belongs beside")
        end = next((i for i in range(at + 1, len(lines)) if lines[i][0] <= indent), len(lines))
        done.append(replace(entry, branches=_nested(lines[at + 1 : end], depth + 1)))
        at = end
    return tuple(done)


def _entry(text: str, where: Where) -> _Entry:
    """Take the name from before the colon."""
    named = _NAMED.match(text + " ")
    if named is None:
        return _Entry(text.strip(), where, "")
    rest = text[named.end() :]
    if not rest.strip():
        raise ScriptError(Where(where.line, where.column + len(text.rstrip())), "nothing to play after the name")
    return _Entry(rest.strip(), Where(where.line, where.column + named.end()), named["name"].strip())


class _Loader(yaml.SafeLoader):
    """Composes no more nodes than a tree can have: of a long file the beginning is enough to say so."""

    composed = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.composed += 1
        beside = len(parent.value) if parent is not None else 0
        if isinstance(parent, yaml.MappingNode) and beside > len(KEYS):
            raise ScriptError(_where(parent), f"expected a mapping with {', '.join(KEYS)}, got more keys")
        if self.composed > _MOST_YAML_NODES or beside > MOST_NODES:
            raise ScriptError(Where(1, 1), f"a tree has at most {MOST_NODES} stretches")
        return super().compose_node(parent, index)


def _from_yaml(text: str) -> tuple[_Entry, ...]:
    # The parser's time grows with the square of the depth.
    depths = accumulate(1 if found[0] in "[{" else -1 for found in _BRACKET.finditer(text))
    if max(depths, default=0) > _DEEPEST_BRACKETS:
        raise ScriptError(Where(1, 1), "branches are nested too deeply")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Where(mark.line + 1, mark.column + 1) if mark else Where(1, 1)
        raise ScriptError(place, str(error.problem or error.context)) from error
    except RecursionError as error:
        raise ScriptError(Where(1, 1), "branches are nested too deeply") from error
    except yaml.YAMLError as error:
        raise ScriptError(Where(1, 1), " ".join(str(error).split())) from error
    if root is None:
        return ()
    _check_nodes(root)
    return _list(root, text.splitlines())


def _check_nodes(root: Any) -> None:
    """Refuse trees that aliases make large: each of them stands for all that it names, aliases among it."""
    left, count = [root], 0
    while left:
        node = left.pop()
        count += 1
        if count > _MOST_YAML_NODES:
            raise ScriptError(_where(root), f"a tree has at most {MOST_NODES} stretches")
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            left += [part for pair in node.value for part in pair]


def _list(node: Any, lines: list[str], depth: int = 1) -> tuple[_Entry, ...]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise ScriptError(_where(node), "expected a list of branches with at least one entry")
    if depth > DEEPEST:
        raise ScriptError(_where(node), f"a tree has at most {DEEPEST} stretches after one another")
    return tuple(_item(item, lines, depth) for item in node.value)


def _item(node: Any, lines: list[str], depth: int) -> _Entry:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, lines)
    if not isinstance(node, yaml.MappingNode):
        raise ScriptError(_where(node), f"expected a script, or a mapping with {', '.join(KEYS)}")
    parts: dict[str, Any] = {}
    for key, value in node.value:
        if key.value not in KEYS or key.value in parts:
            problem = "stands twice" if key.value in parts else f"is unknown; known: {', '.join(KEYS)}"
            raise ScriptError(_where(key), f"{key.value!r} {problem}")
        parts[key.value] = value
    for name in ("play", "name"):
        if name in parts and not isinstance(parts[name], yaml.ScalarNode):
            raise ScriptError(_where(parts[name]), f"{name} must be text")
    if "play" not in parts:
        raise ScriptError(_where(node), "play is missing: what is done here")
    entry = _scalar(parts["play"], lines)
    name = parts["name"].value if "name" in parts else entry.name
    return replace(entry, name=name, branches=_list(parts["branches"], lines, depth + 1) if "branches" in parts else ())


def _scalar(node: Any, lines: list[str]) -> _Entry:
    """The text of a scalar and where it begins: after a quote, or in the line after the sign of a block."""
    where, value = _where(node), str(node.value)
    if not value.strip():
        raise ScriptError(where, "nothing to play here")
    if node.style in ("'", '"'):
        where = Where(where.line, where.column + 1)
    elif node.style in ("|", ">"):
        below = next((n for n in range(where.line, len(lines)) if lines[n].strip()), where.line - 1)
        where = Where(below + 1, len(lines[below]) - len(lines[below].lstrip()) + 1)
    return _entry(value, where)


def _where(node: Any) -> Where:
    return Where(node.start_mark.line + 1, node.start_mark.column + 1)
