from dataclasses import dataclass, field
from typing import Any

import pytest

from worldsim.spec.from_json import LARGEST, dataclass_of


@dataclass(frozen=True, kw_only=True)
class Inner:
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: int
    rate: float = 0.5
    on: bool = False
    kind: str = "a"
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)


def test_values_of_every_kind_are_taken():
    raw = {"size": 3, "rate": 2, "on": True, "kind": "b", "limit": 4, "inner": {"names": ["x", "y"]}}
    assert dataclass_of(Outer, raw) == Outer(size=3, rate=2, on=True, kind="b", limit=4, inner=Inner(names=("x", "y")))
    assert dataclass_of(Outer, {"size": 0, "limit": None}) == Outer(size=0)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "Outer is NoneType"),
        ([], "Outer is list"),
        ({}, "'size' of Outer is missing"),
        ({"size": 1, "sise": 2}, "Outer has no 'sise'"),
        ({"size": 1.0}, "Outer.size must be int, got float"),
        ({"size": True}, "Outer.size must be int, got bool"),
        ({"size": LARGEST + 1}, "Outer.size is beyond"),
        ({"size": 1, "rate": float("inf")}, "Outer.rate must be finite"),
        ({"size": 1, "rate": "1"}, "Outer.rate must be float, got str"),
        ({"size": 1, "on": 1}, "Outer.on must be bool, got int"),
        ({"size": 1, "kind": None}, "Outer.kind must be str"),
        ({"size": 1, "limit": "4"}, "Outer.limit must be int"),
        ({"size": 1, "inner": {"names": "xy"}}, "Inner.names must be"),
        ({"size": 1, "inner": {"names": [1]}}, "Inner.names must be str, got int"),
        ({"size": 1, "inner": 3}, "Inner is int"),
    ],
)
def test_everything_else_is_named(raw: Any, said: str):
    with pytest.raises(ValueError) as caught:
        dataclass_of(Outer, raw)
    assert str(caught.value).startswith(said)
