"""Branches in the engine: exact where it can be cloned, equal pasts in all, and another world is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.fake_engine import FakeEngine, make_fake
from tests.real_game import needs_game
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.source_engine import LuantiSource
from worldsim.agents.collection.source_gym import GymSource
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.evaluation.counterfactuals.engine_branches import Check, Truth, replay_branches
from worldsim.evaluation.counterfactuals.engine_replays import GymReplay, LuantiReplay, engine_of, pose_of
from worldsim.spec.actions import MINECRAFT

# Sticky actions and all; and the court alone, as the world of Pong shows it.
PONGS = ("ALE/Pong-v5", "WorldSim-PongEngine-v0")


def record(out: Path, source: Any, policy: str, frames: int, script: str = "") -> Episode:
    sizes: dict[str, Any] = {"episodes": 1, "episode_frames": frames, "workers": 0}
    report = collect(out=out, make_env=source, policy=policy, script=script, progress=False, **sizes)
    assert not report.failures
    store = EpisodeStore(out)
    return store.read(next(iter(store)))


def random_actions(spec, frames: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = np.zeros((frames, spec.size), np.float32)
    actions[np.arange(frames), rng.integers(len(spec.keys), size=frames)] = 1
    return actions


@pytest.mark.slow
@pytest.mark.parametrize("name", PONGS)
def test_atari_is_repeated_from_seed_and_actions_and_a_clone_is_as_good_as_playing_again(tmp_path: Path, name: str):
    episode = record(tmp_path, GymSource(env=name), "random", 90)
    prefix = episode.actions[:60]
    with engine_of(episode.provenance) as engine:
        # However often a clone is played, no wrapper's count of steps ends the game.
        engine._stage.env.set_wrapper_attr("_max_episode_steps", 95)  # pyright: ignore[reportAttributeAccessIssue]
        # What was recorded after the prefix is one of the branches.
        branches = [episode.actions[60:89], *(random_actions(engine.spec, 29, seed) for seed in range(3))]
        truth = replay_branches(engine, prefix, branches, again=4)
    np.testing.assert_array_equal(truth.past.frames, episode.frames[:61])
    np.testing.assert_array_equal(truth.branches[0].frames, episode.frames[61:])
    np.testing.assert_array_equal(truth.branches[0].rewards, episode.rewards[60:89])
    for film, other in zip(truth.branches, truth.again, strict=True):
        np.testing.assert_array_equal(film.frames, other.frames)
    assert len({film.frames.tobytes() for film in truth.branches}) == 4
    # Each alone, in an engine of its own that is not cloned but played from its seed.
    for branch, film in zip(branches, truth.branches, strict=True):
        with engine_of(episode.provenance) as engine:
            alone = engine.rewind(np.concatenate([prefix, branch]))
        np.testing.assert_array_equal(alone.frames[61:], film.frames)


def test_an_environment_without_clones_is_played_again(tmp_path: Path):
    gymnasium.register("Tests/branches-v0", "tests.fake_gym:Counting", kwargs={"end": 12})
    engine = GymReplay(GymSource(env="Tests/branches-v0"), seed=7)
    actions = random_actions(engine.spec, 6, 0)
    truth = replay_branches(engine, actions[:4], [actions[4:], random_actions(engine.spec, 10, 1)])
    assert truth.branches[0].frames[:, 0, 0, 0].tolist() == [5, 6] and truth.branches[0].ended is None
    # The game ends in the eighth frame of the second branch, and its last picture stays.
    assert truth.branches[1].frames[:, 0, 0, 0].tolist() == [*range(5, 13), 12, 12] and truth.branches[1].ended == 8
    assert len(truth.branches[1].rewards) == len(truth.branches[1].actions) == 10
    with pytest.raises(UserError, match="over after 12 of 13"):
        engine.rewind(random_actions(engine.spec, 13, 1))


class Counted(FakeEngine):
    """Counts how often its map was made anew."""

    fresh: int = 0

    def reset(self, *, seed=None, options=None):
        self.fresh += bool((options or {}).get("fresh"))
        return super().reset(seed=seed, options=options)


def fake_replay(map_seed: int, provenance: Mapping[str, Any]) -> tuple[LuantiReplay, Counted]:
    env = Counted(map_seed)
    seed, start = provenance["start_seed"], provenance["start"]
    return LuantiReplay(map_seed=map_seed, seed=seed, options=start, make_env=lambda: env), env


def held(frames: int, **action) -> np.ndarray:
    return np.tile(MINECRAFT.vector(action), (frames, 1))


def replayed(tmp_path: Path, map_seed: int | None = None, check: bool = True) -> tuple[Truth, Counted, Episode]:
    episode = record(tmp_path, make_fake, "walk", 60)
    engine, env = fake_replay(episode.provenance["seed"] if map_seed is None else map_seed, episode.provenance)
    wanted = Check(frame=episode.frames[40], pose=pose_of({k: v[40] for k, v in episode.state.items()}))
    branches = [episode.actions[40:59], held(10, back=1), held(10, attack=1), held(10, camera=(0, 3))]
    truth = replay_branches(engine, episode.actions[:40], branches, again=1, check=wanted if check else None)
    return truth, env, episode


def test_an_engine_without_clones_begins_anew_for_each_branch(tmp_path: Path):
    truth, env, episode = replayed(tmp_path)
    np.testing.assert_array_equal(truth.past.frames, episode.frames[:41])
    np.testing.assert_array_equal(truth.branches[0].frames, episode.frames[41:])
    np.testing.assert_array_equal(truth.branches[0].actions, episode.actions[40:59])
    pose = truth.branches[0].pose
    assert pose is not None and np.abs(pose[:, :3] - episode.state["position"][41:]).max() < 1e-4
    assert truth.drift == [0.0] * 5 and len(truth.again) == 1
    # One map at first, another one after the branch that dug; the other branches change nothing.
    dug = [bool(a[:, MINECRAFT.keys.index("attack")].any()) for a in (episode.actions[:59], episode.actions[:40])]
    assert env.fresh == 2 if not any(dug) else env.fresh > 2


def test_another_world_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="does not repeat the recorded past: after 40 frames psnr"):
        replayed(tmp_path, map_seed=1)
    replayed(tmp_path, map_seed=1, check=False)


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({"engine": "minerl"}, "'minerl' cannot be played again"),
        ({}, "None cannot be played again"),
        ({"engine": "luanti", "seed": 1, "mapgen": "v7"}, "lacks start_seed, start"),
        ({"engine": "gymnasium", "seed": 1}, "lacks game"),
    ],
)
def test_episodes_that_do_not_tell_their_start_are_refused(provenance, message):
    with pytest.raises(UserError, match=message):
        engine_of(provenance)


@needs_game
def test_the_real_game_repeats_a_recorded_episode_and_branches_from_it(tmp_path: Path):
    episode = record(tmp_path, LuantiSource(), "script", 40, "forward 12; forward + yaw +60 x 18; jump + forward 20")
    wanted = Check(frame=episode.frames[25], pose=pose_of({k: v[25] for k, v in episode.state.items()}))
    branches = [episode.actions[25:39], held(14, camera=(0, -4)), held(14, back=1)]
    with engine_of(episode.provenance) as engine:
        truth = replay_branches(engine, episode.actions[:25], branches, again=2, check=wanted)
    # The poses are the recorded ones and repeat; of the pictures only what still arrives far away may differ.
    assert max(truth.drift) < 0.05
    recorded = episode.state["position"][26:]
    assert truth.branches[0].pose is not None and np.abs(truth.branches[0].pose[:, :3] - recorded).max() < 0.25
    for film, other in zip(truth.branches, truth.again, strict=False):
        assert film.pose is not None and other.pose is not None and np.abs(film.pose - other.pose).max() < 0.1
        assert np.abs(film.frames.astype(int) - other.frames).mean() < 1
    turned = truth.branches[1].pose
    assert turned is not None and truth.past.pose is not None
    assert (turned[-1, 3] - truth.past.pose[-1, 3] + 56 + 180) % 360 - 180 == pytest.approx(0, abs=1)
    # The branches are further from each other than a branch is from itself.
    apart = np.abs(truth.branches[1].frames[-1].astype(int) - truth.branches[2].frames[-1]).mean()
    assert apart > 3 * np.abs(truth.branches[1].frames[-1].astype(int) - truth.again[1].frames[-1]).mean()
