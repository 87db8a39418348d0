"""Settings of an evaluation: each part's own, and all of them together."""

from dataclasses import asdict, dataclass, fields, replace

import pytest

from worldsim.evaluation.config import PRESETS, EvalGoals, EvalPreset, EvalThresholds
from worldsim.evaluation.interface.settings import Checked, SharedSettings, amount, compose, limit
from worldsim.evaluation.listing import PARTS


@dataclass(frozen=True, kw_only=True)
class Apples(Checked):
    """Apples."""

    apples: int = amount(quick=2, full=9, least=1, help="how many apples")
    sizes: tuple[int, ...] = amount(quick=(1, 2), full=(3,), least=1, help="of the apples")


@dataclass(frozen=True, kw_only=True)
class Pears(Checked):
    """Pears, beside apples."""

    apples: int
    pears: float = limit(0.5, "weight of a pear")


def test_numbers_of_several_parts_are_one_dataclass_and_each_part_takes_its_own():
    made = compose("Fruit", "How much fruit.", [Apples, Pears])
    whole = made(apples=3, pears=2)  # pyright: ignore[reportCallIssue]
    assert asdict(whole) == {"apples": 3, "sizes": (1, 2), "pears": 2.0}
    assert Pears.of(whole) == Pears(apples=3, pears=2.0) and Apples.of(whole).sizes == (1, 2)
    assert made.__doc__ is not None and "    pears: weight of a pear.\n"[:-1] in made.__doc__
    assert asdict(made(sizes=[4, 5]))["sizes"] == (4, 5)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"apples": "many"}, "apples must be a int of 0 or more, got 'many'"),
        ({"apples": -1}, "apples must be a int of 0 or more"),
        ({"apples": 0}, "apples must be at least 1, got 0"),
        ({"sizes": (1, 0)}, r"sizes must be at least 1, got \[1, 0\]"),
        ({"pears": True}, "pears must be a float"),
    ],
)
def test_numbers_are_checked_by_their_parts(given: dict, says: str):
    with pytest.raises(ValueError, match=says):
        compose("Fruit", "How much fruit.", [Apples, Pears])(**given)


def test_a_number_has_one_owner():
    @dataclass(frozen=True, kw_only=True)
    class Cider(Checked):
        apples: int = amount(quick=1, full=1, help="again")

    with pytest.raises(TypeError, match="Cider declares apples, which another part has already"):
        compose("Fruit", "Twice.", [Apples, Cider])
    with pytest.raises(TypeError, match="Pears names apples, which no part declares"):
        compose("Fruit", "Not at all.", [Pears])


def test_presets_differ_where_parts_say_so():
    quick, full = PRESETS["quick"], PRESETS["full"]
    assert (quick.clips, full.clips, quick.chunks, full.chunks, quick.walks, full.walks) == (16, 100, 20, 80, 12, 100)
    assert (quick.memory_seconds, full.memory_seconds) == ((1, 3, 10), (1, 3, 10, 30)) and EvalPreset() == quick
    assert full.prefix % 2 == 1 and full.long_seconds == 60
    assert replace(quick, clips=3) == EvalPreset(clips=3)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="chunks must be at least 1"):
        EvalPreset(chunks=0)  # pyright: ignore[reportCallIssue]


def test_every_number_says_what_it_is():
    for owner in [SharedSettings, *(kind for p in PARTS.values() for kind in (p.settings, p.thresholds, p.goals))]:
        assert all(one.metadata["help"] for one in fields(owner) if one.metadata)
    for owner in (EvalPreset, EvalGoals, EvalThresholds):
        docs = "".join(base.__doc__ or "" for base in owner.__mro__)
        assert all(f"    {one.name}: " in docs for one in fields(owner))


def test_goals_are_part_of_the_thresholds():
    limits = EvalThresholds(goals={"camera": 0.5})  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert limits.goals.camera == 0.5 and limits.goals.above_last_frame_chunks == 60
    assert limits.goals.effect == (0.7, 1.3) and limits.failure_run == 3
    with pytest.raises(ValueError, match=r"recall needs 3 numbers, got \[0.5\]"):
        EvalGoals(recall=[0.5])  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match=r"effect must go .* got \[2, 1\]"):
        EvalGoals(effect=[2, 1])  # pyright: ignore[reportCallIssue]
