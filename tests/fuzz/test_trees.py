"""Trees of actions in text, YAML and JSON: few enough branches of real actions, or a mistake with its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.bounds import fuzzed, outcome
from tests.fuzz.damage import altered, damaged
from tests.fuzz.test_tables import place
from worldsim.envs.rollouts.tree_files import read_tree
from worldsim.errors import UserError
from worldsim.simulation.branch_tree import Node
from worldsim.spec.actions import MINECRAFT

TEXT = "straight: forward 20\n  left: yaw -90 x 10  # turn\n    forward 20\n    back 20\n  policy explore 40\n"
TREE = [
    {"play": "forward 20", "name": "straight", "branches": [{"play": "yaw -90 x 10"}, "policy explore 2s"]},
    "attack 4; repeat 3",
]
YAML = """
- &a {play: forward 20, name: straight}
- play: |
    forward 3
    back 2
  branches: [*a, 'jump 2']
"""
LINES = (
    "forward 2", "a: back 1", "policy walk 9", "policy walk 1e9s", "policy", "x:", ":", "b.script", "../a.csv", "c.csv",
    "- forward", "{play: jump}", "[a]", "&a *a", "forward 1e9s", "\tback 1", "repeat 5 { jump }", "\u2028", "# nothing",
)  # fmt: skip
indented = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(LINES)), max_size=12).map(
    lambda rows: "\n".join(" " * depth + line for depth, line in rows).encode()
)
written = altered(TREE).map(lambda tree: json.dumps(tree).encode())
FORMS = {
    "a.tree": damaged(TEXT.encode()) | indented,
    "a.yaml": damaged(YAML.encode()) | indented | written,
    "a.json": damaged(json.dumps(TREE).encode()) | written,
}
drawn_trees = st.sampled_from(sorted(FORMS)).flatmap(lambda name: st.tuples(st.just(name), FORMS[name]))


def players(name: str) -> Any:
    if name not in ("explore", "walk"):
        raise UserError(f"unknown policy {name!r}")
    return lambda: None


@fuzzed(drawn_trees, 3000)
def test_any_tree_is_branches_or_a_mistake(drawn: tuple[str, bytes], tmp_path_factory):
    path: Path = place(tmp_path_factory, *drawn)
    nodes = outcome(lambda: read_tree(path, MINECRAFT, fps=20, players=players))
    if isinstance(nodes, Exception):
        assert isinstance(nodes, UserError | FileNotFoundError), repr(nodes)
        return
    left, count = list(nodes), 0
    while left:
        node: Node = left.pop()
        count += 1
        left += node.branches
        if node.actions is not None:
            assert np.isfinite(np.asarray(node.actions)).all()
    assert 1 <= count <= 2000
