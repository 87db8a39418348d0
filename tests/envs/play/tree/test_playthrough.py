"""A playthrough's file: small, the same when read, a tree for rollouts, and clear about damage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.envs.play.fake_game import CHUNK, FakeGame, forward
from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_starts
from worldsim.envs.learned.initial_context import choose
from worldsim.envs.learned.snapshot import fingerprint
from worldsim.envs.play.tree.origin import Origin, origin_of
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.envs.play.tree.timeline import Inexact, Timeline
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT

ORIGIN = Origin(
    world="w", weights="abc", sampling={"steps": 1}, keys=MINECRAFT.keys, camera=True, chunk=CHUNK, past="p"
)


def branching() -> tuple[Timeline, dict[int, np.ndarray]]:
    """0 1 2 3 4 5 6; from 3: 7 8; from 7: 9; from the beginning: 10."""
    timeline = Timeline(FakeGame())
    frames = {0: timeline.begin(3)}
    for start, count in ((0, 6), (3, 2), (7, 1), (0, 1)):
        timeline.go(start)
        for _ in range(count):
            shown = timeline.advance(forward(yaw=len(timeline.moments)))
            frames[timeline.here] = shown
    return timeline, frames


def test_a_saved_playthrough_replays_to_the_bit(tmp_path: Path):
    timeline, frames = branching()
    Playthrough.of(timeline, ORIGIN, 3, 9).save(tmp_path / "a.json")
    loaded = Playthrough.load(tmp_path / "a.json")
    assert loaded.origin == ORIGIN and loaded.seed == 3 and loaded.frames == 10 * CHUNK
    again = Timeline(FakeGame())
    again.begin(3)
    here = loaded.fill(again)
    np.testing.assert_array_equal(again.go(here), frames[9])
    actions = np.concatenate([m.actions for m in again.moments])
    assert sorted(actions[:, -1].tolist()) == sorted(y for y in range(1, 11) for _ in range(CHUNK))
    np.testing.assert_array_equal(loaded.actions()[:, -1], np.repeat([1, 2, 3, 7, 9], CHUNK))


def test_what_was_played_before_noise_belonged_to_places_is_played_as_it_was():
    world, starts, options = remembering_world(), tiny_starts(), {"prefix": 0}
    past = choose(world, starts, np.random.default_rng(3), options)
    origin = origin_of("w", world, options, past)
    assert origin.beginning(world, starts, 3)[0].config.sampling.noise_metres == 8
    older = {name: value for name, value in origin.sampling.items() if name != "noise_metres"}
    then, _ = replace(origin, sampling=older).beginning(world, starts, 3)
    assert then.config.sampling.noise_metres == 0 and fingerprint(then) == fingerprint(world)


def test_a_minute_of_play_takes_a_few_kilobytes(tmp_path: Path):
    timeline, rng = Timeline(FakeGame()), np.random.default_rng(0)
    timeline.begin(0)
    yaw = 0.0
    for step in range(600):
        yaw = float(rng.normal(0, 3)) if step % 7 == 0 else yaw
        timeline.advance(forward(yaw=yaw))
    Playthrough.of(timeline, ORIGIN, 0, 600).save(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size < 5000


def test_another_world_is_noticed_by_its_frames():
    timeline, _ = branching()
    saved = Playthrough.of(timeline, ORIGIN, 3, 6)
    other = Timeline(FakeGame())
    other.begin(4)
    here = saved.fill(other)
    with pytest.raises(Inexact):
        other.go(here)
    for name in ("weights", "past"):
        with pytest.raises(UserError, match="this playthrough"):
            ORIGIN.check(Origin(**{**ORIGIN.__dict__, name: "else"}))


def test_the_tree_is_that_of_a_rollout():
    timeline, _ = branching()
    nodes = Playthrough.of(timeline, ORIGIN, 3, 9).nodes()

    def plain(nodes) -> list:
        return [(node.actions[::CHUNK, -1].tolist(), plain(node.branches)) for node in nodes]

    assert plain(nodes) == [
        ([1, 2, 3], [([4, 5, 6], []), ([7], [([8], []), ([9], [])])]),
        ([10], []),
    ]


def test_nothing_played_is_no_tree():
    timeline = Timeline(FakeGame())
    timeline.begin(0)
    with pytest.raises(UserError, match="nothing was played"):
        Playthrough.of(timeline, ORIGIN, 0, 0).nodes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actions", "!!!"),
        ("actions", "eJwDAAAAAAE="),
        ("here", [9, 9]),
        ("here", [0, 400]),
        ("chunk", 0),
        ("stretches", [{"parent": 5, "at": 0, "frames": 2, "digest": None}]),
        ("stretches", [{"parent": -1, "at": 0, "frames": 10**12, "digest": None}]),
        ("keys", 3),
        ("seed", None),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, name: str, value: object):
    timeline, _ = branching()
    Playthrough.of(timeline, ORIGIN, 3, 9).save(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text()) | {name: value}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged playthrough"):
        Playthrough.load(tmp_path / "a.json")


def test_other_files_are_no_playthrough(tmp_path: Path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(UserError, match="is not a playthrough"):
        Playthrough.load(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        Playthrough.load(tmp_path / "b.json")
