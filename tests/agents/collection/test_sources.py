"""Sources: whatever plays, the recorded action leads from its frame to the next, and provenance says what it was."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.fake_engine import make_fake
from tests.fake_gym import OldGym, OldMineRL
from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world, tiny_starts
from worldsim import cli
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.source_choice import make_source, name_prefix
from worldsim.agents.collection.source_engine import LuantiSource
from worldsim.agents.collection.source_gym import GymSource, GymStage
from worldsim.agents.collection.source_minerl import MineRLSource
from worldsim.agents.collection.source_world import WorldSource
from worldsim.agents.policies.random import StickyRandom, sample_minecraft
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split, split_of
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec

SMALL: dict[str, Any] = {"workers": 0, "progress": False, "episodes_per_world": 2}
GAMES: dict[str, dict[str, Any]] = {
    "discrete": {"actions": spaces.Discrete(4), "meanings": ["NOOP", "FIRE", "LEFT", "RIGHT"]},
    "multidiscrete": {"actions": spaces.MultiDiscrete([3, 2])},
    "multibinary": {"actions": spaces.MultiBinary(4)},
    "box": {"actions": spaces.Box(np.array([-1, 0], np.float32), np.array([1, 1], np.float32))},
    "rendered": {"observed": False},
    "ends": {"end": 7},
    "cut": {"cut": 7},
}


@pytest.fixture(scope="module", autouse=True)
def games() -> None:
    for name, kwargs in GAMES.items():
        gymnasium.register(f"Tests/{name}-v0", "tests.fake_gym:Counting", kwargs=kwargs)


def record(out: Path, source: Any, *, policy: str | None = None, **options: Any) -> list[Episode]:
    settings: dict[str, Any] = {"episodes": 2, "episode_frames": 15} | SMALL | options
    report = collect(out=out, make_env=source, policy=policy or source.policy, **settings)
    assert not report.failures, report.failures
    store = EpisodeStore(out)
    return [store.read(name) for name in store]


@pytest.mark.parametrize("game", ["discrete", "multidiscrete", "multibinary", "box", "rendered"])
@pytest.mark.parametrize("policy", ["random", "noop"])
def test_any_gymnasium_environment_is_recorded_as_it_was_played(tmp_path: Path, game: str, policy: str):
    source = GymSource(env=f"Tests/{game}-v0", licence="CC0-1.0")
    codec = GymStage(source).codec
    for episode in record(tmp_path, source, policy=policy):
        assert episode.frames.shape == (15, 20, 24, 3)
        np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], range(15))
        shown = [
            np.abs(np.asarray(spaces.flatten(codec.space, codec.action(a)))).sum() * 10 for a in episode.actions[:-1]
        ]
        np.testing.assert_allclose(episode.frames[1:, 0, 0, 2], shown, atol=1)
        np.testing.assert_array_equal(episode.rewards[:-1], np.arange(1, 15) % 3 == 0)
        assert not episode.actions[-1].any() and not episode.terminated.any()
        np.testing.assert_array_equal(episode.state["lives"], 3 - np.arange(15) // 5)
        assert set(episode.state) == {"lives"}
        about = episode.provenance
        assert about["keys"] == list(codec.spec.keys) and about["fps"] == 25 and about["policy"] == policy
        assert about["source"] == f"gym:Tests/{game}-v0" and about["licence"] == "CC0-1.0" and about["consent"]
        assert about["split"] == split_of(about["seed"]) and about["seed"] % 256 == episode.frames[0, 0, 0, 1]
        assert about["frames_from"] == ("render" if game == "rendered" else "observation")
        if policy == "noop":
            assert (episode.actions[:-1] == codec.noop()).all()


@pytest.mark.parametrize("game", ["ends", "cut"])
def test_an_episode_ends_where_the_game_does(tmp_path: Path, game: str):
    for episode in record(tmp_path, GymSource(env=f"Tests/{game}-v0")):
        assert len(episode) == 8
        assert episode.terminated.tolist() == [False] * 7 + [game == "ends"]
        assert episode.provenance["ended"] == ("terminated" if game == "ends" else "truncated")


def test_a_collection_from_a_game_is_a_function_of_its_seed_and_can_be_resumed(tmp_path: Path):
    source = GymSource(env="Tests/discrete-v0")
    once = record(tmp_path / "a", source, episodes=3, seed=4)
    record(tmp_path / "b", source, episodes=1, seed=4)
    twice = record(tmp_path / "b", source, episodes=3, seed=4)
    other = record(tmp_path / "c", source, episodes=3, seed=5)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.frames, b.frames)
    assert any((a.actions != c.actions).any() for a, c in zip(once, other, strict=True))


@pytest.mark.slow
def test_workers_record_a_real_game_natively(tmp_path: Path):
    pytest.importorskip("ale_py")
    source = GymSource(env="ALE/Breakout-v5")
    assert source.check("random", "") == 15
    episodes = record(tmp_path, source, workers=1, episodes=1, episode_frames=40)
    assert episodes[0].frames.shape == (40, 210, 160, 3)
    about = episodes[0].provenance
    assert about["keys"] == ["noop", "fire", "right", "left"] and about["fps"] == 15
    assert about["package_version"].startswith("ale_py ") and about["game_settings"]["frameskip"] == 4
    assert (episodes[0].actions[:-1].sum(1) == 1).all()


def test_a_script_plays_a_game_and_ends_the_episode(tmp_path: Path):
    source = GymSource(env="Tests/discrete-v0")
    script = "left 3; wait; fire until reward > 0"
    [episode] = record(tmp_path, source, policy="script", script=script, episodes=1)
    assert episode.actions[:-1].argmax(1).tolist() == [2, 2, 2, 0, 1, 1]
    assert episode.provenance["ended"] == "script" and episode.provenance["policy_version"].startswith("sha256:")


def test_the_same_script_plays_an_engine_and_a_learned_world(tmp_path: Path, world_folder: str):
    script = "forward 4; yaw +30 x 4; attack until event dig within 9; wait 3"
    options: dict[str, Any] = {"policy": "script", "script": script, "episodes": 1, "episode_frames": 60} | SMALL
    collect(out=tmp_path / "engine", make_env=make_fake, **options)
    collect(out=tmp_path / "dream", make_env=WorldSource(world=world_folder), **options)
    engine, dream = (EpisodeStore(tmp_path / name) for name in ("engine", "dream"))
    played = engine.read(engine.names()[0])
    # The fake engine digs at the first stroke; the world tells no events.
    assert len(played) == 4 + 4 + 1 + 3 + 1
    dreamt = dream.read(dream.names()[0])
    assert len(dreamt) == 4 + 4 + 9 + 3 + 1
    np.testing.assert_allclose(dreamt.actions[4:8, -1], 7.5)
    np.testing.assert_allclose(played.actions[4:8, -1], 7.5, atol=0.1)
    assert dreamt.actions[8:17, MINECRAFT.keys.index("attack")].all()
    np.testing.assert_allclose(played.state["yaw"][8] - played.state["yaw"][4], 30, atol=0.5)


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_world(tmp_path_factory.mktemp("dreams") / "tiny"))


@pytest.mark.parametrize("policy", ["mixture", "random"])
def test_a_learned_world_dreams_episodes(tmp_path: Path, world_folder: str, policy: str):
    source = WorldSource(world=world_folder)
    episodes = record(tmp_path / "a", source, policy=policy, episodes=2, episode_frames=10)
    again = record(tmp_path / "b", source, policy=policy, episodes=2, episode_frames=10)
    for episode, same in zip(episodes, again, strict=True):
        np.testing.assert_array_equal(episode.frames, same.frames)
        assert episode.frames.shape == (10, HEIGHT, WIDTH, 3)
        about = episode.provenance
        # It begins at the last real frame of a start clip; what follows is dreamed under the recorded actions.
        clip = about["start"]["clip"]
        world, starts = source.load()
        np.testing.assert_array_equal(episode.frames[0], starts.frames[clip][-1])
        state = world.prefill(starts.frames[clip][None], starts.actions[clip][None], [about["start"]["noise_seed"]])
        shown = []
        for t in range(0, 8, 2):
            state, out = world.step(state, episode.actions[None, t : t + 2])
            shown.append(out.frames[0])
            # A chunk ends where the world says; within it the view turns as the mouse did.
            reported = np.stack([episode.state["yaw"], episode.state["pitch"]], 1)[t : t + 3]
            ends = (out.pose[0, 3:] - reported[2] + 180) % 360 - 180
            np.testing.assert_allclose(ends, 0, atol=1e-3)
            first, second = (np.diff(reported, axis=0) + 180) % 360 - 180
            mouse = episode.actions[t : t + 2, :-3:-1]
            np.testing.assert_allclose(first - second, mouse[0] - mouse[1], atol=1e-3)
        np.testing.assert_array_equal(np.concatenate(shown), episode.frames[1:9])
        assert about["engine"] == "worldsim" and about["source"] == "worldsim:tiny"
        assert {len(digest) for digest in about["checkpoint"].values()} == {64} and len(about["checkpoint"]) == 2
        assert set(episode.state) >= {"position", "yaw", "pitch"} and about["keys"] == list(MINECRAFT.keys)
    assert any((episodes[0].actions != 0).any(1)[:-1])


@pytest.mark.slow
def test_dreams_belong_to_the_split_of_the_map_that_they_begin_on(tmp_path: Path, world_folder: str):
    store = EpisodeStore(tmp_path / "real")
    for seed in (5, 13):
        provenance = {"seed": seed, "split": split_of(seed), "licence": "CC0-1.0"}
        frames = np.repeat(tiny_starts().frames[0][-1:], 40, 0)
        actions = np.zeros((40, MINECRAFT.size), np.float32)
        rest = {"rewards": np.zeros(40, np.float32), "terminated": np.zeros(40, bool)}
        episode = Episode(frames=frames, actions=actions, text="walking at noon", provenance=provenance, **rest)
        store.append(episode, f"map{seed}")
    places: tuple[tuple[Split, int], ...] = (("train", 5), ("validation", 13))
    for split, seed in places:
        source = WorldSource(world=world_folder, starts=str(store.path), split=split)
        [dream] = record(tmp_path / split, source, episodes=1, episode_frames=5, policy="still")
        about = dream.provenance
        assert about["seed"] == seed and about["split"] == split and about["licence"] == "CC0-1.0"
        assert about["start"]["episode"] == f"map{seed}" and dream.text == "standing still at noon"


def test_minerl_is_played_through_its_old_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gym = with_old_gym(monkeypatch)
    episodes = record(tmp_path, MineRLSource(), episodes=1, episode_frames=30)
    [episode] = episodes
    assert len(episode) == 10 and episode.terminated.tolist() == [False] * 9 + [True]
    np.testing.assert_array_equal(episode.frames[1:, 0, 0, 1], 100 * episode.actions[:-1, 0])
    np.testing.assert_allclose(
        episode.frames[1:, 0, 0, 2], np.clip(128 + 10 * episode.actions[:-1, -1], 0, 255), atol=1
    )
    about = episode.provenance
    played = gym.made[-1]
    assert about["source"] == "minerl:MineRLBasaltFindCave-v0" and about["seed"] == played.seeded
    assert all(engine.closed for engine in gym.made) and about["split"] == split_of(about["seed"])


def test_minerls_own_time_limit_is_no_end_of_the_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with_old_gym(monkeypatch, limit=OldMineRL.end)
    [episode] = record(tmp_path, MineRLSource(), episodes=1, episode_frames=30)
    assert len(episode) == 10 and not episode.terminated.any()


def with_old_gym(monkeypatch: pytest.MonkeyPatch, limit: int = 2400) -> OldGym:
    gym = OldGym(limit)
    monkeypatch.setitem(sys.modules, "gym", gym)  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "minerl", SimpleNamespace())  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    return gym


@pytest.mark.parametrize("absent", ["minerl", "gym"])
def test_without_the_extra_minerl_is_a_clear_error(absent: str, monkeypatch: pytest.MonkeyPatch):
    with_old_gym(monkeypatch)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UserError, match=rf"source=minerl needs the package {absent}: pip install 'worldsim\[minerl\]'"):
        MineRLSource().check("random", "")


def test_without_java_minerl_is_a_clear_error(monkeypatch: pytest.MonkeyPatch):
    with_old_gym(monkeypatch)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="source=minerl needs Java 8"):
        MineRLSource().check("random", "")


@pytest.mark.parametrize(
    ("source", "policy", "script", "message"),
    [
        (GymSource(env="Nowhere-v0"), "random", "", "doesn't exist"),
        (GymSource(env="Tests/discrete-v0"), "mixture", "", "use random, noop, script"),
        (GymSource(env="Tests/discrete-v0"), "clever", "", "unknown policy 'clever'"),
        (GymSource(env="Tests/discrete-v0"), "tests.nowhere:Player", "", "tests.nowhere"),
        (GymSource(env="Tests/discrete-v0"), "tests.fake_gym:Nobody", "", "Nobody"),
        (GymSource(env="Tests/discrete-v0"), "script", "", "needs a script"),
        (GymSource(env="Tests/discrete-v0"), "script", "fly 3", "line 1, column 1: unknown key 'fly'"),
        (GymSource(env="Tests/discrete-v0"), "script", "yaw 3", "no camera"),
        (GymSource(env="Tests/discrete-v0", kwargs={"x": 1}), "random", "", "cannot be made"),
        (GymSource(env="Tests/rendered-v0", frames="observation"), "random", "", "not pictures"),
        (GymSource(env="Tests/rendered-v0", frames="sometimes"), "random", "", "auto, observation or render"),
        (LuantiSource(), "clever", "", "unknown policy"),
        (LuantiSource(), "script", "forward 2; fly", "column 12: unknown key 'fly'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(source: Any, policy: str, script: str, message: str):
    with pytest.raises(UserError, match=message):
        source.check(policy, script)


class Repeater:
    """A policy of someone's own: the first key, always."""

    name = "repeater"

    def __init__(self, spec: ActionSpec, fps: float):
        self.spec = spec

    def reset(self, rng: np.random.Generator, info: Any) -> None:
        """Nothing to begin."""

    def act(self, obs: Any, info: Any) -> Any:
        """The first key."""
        return np.eye(self.spec.size, dtype=np.float32)[0]


def test_a_player_of_ones_own_is_recorded_in_the_size_that_was_asked_for(tmp_path: Path):
    source = GymSource(env="Tests/discrete-v0", size=(48, 32), policy="tests.agents.collection.test_sources:Repeater")
    collect(
        out=tmp_path,
        make_env=source,
        episodes=1,
        episode_frames=6,
        workers=0,
        policy=source.policy,
        fps=30,
        progress=False,
    )
    store = EpisodeStore(tmp_path)
    episode = store.read(store.names()[0])
    assert episode.frames.shape[1:] == (32, 48, 3)
    assert (episode.actions[:-1, 0] == 1).all() and (episode.actions[:, 1:] == 0).all()
    assert episode.provenance["resized"] == [48, 32]


def test_different_collections_have_different_names():
    plain: dict[str, Any] = {"policy": "random", "script": "", "episode_frames": 100}
    sources = [GymSource(env="A-v0"), GymSource(env="B-v0"), GymSource(env="A-v0", kwargs={"x": 1}), WorldSource()]
    prefixes = [name_prefix(source, **plain) for source in sources]
    prefixes += [
        name_prefix(sources[0], policy="noop", script="", episode_frames=100),
        name_prefix(LuantiSource(), **plain),
    ]
    assert len(set(prefixes)) == len(prefixes) and all(p[0].isalnum() for p in prefixes)
    assert name_prefix(LuantiSource(), policy="mixture", script="", episode_frames=1000) == ""
    assert isinstance(make_source("worldsim"), WorldSource)
    mistakes: list[dict[str, Any]] = [{"kind": "doom"}, {"kind": "gym"}, {"kind": "worldsim", "split": "none"}]
    for wrong in mistakes:
        with pytest.raises(UserError):
            make_source(**wrong)


def test_random_play_is_sticky_and_keeps_its_head_level():
    policy = StickyRandom(lambda rng: sample_minecraft(MINECRAFT, rng), camera=True, fps=20)
    actions = []
    for _ in range(2):
        policy.reset(np.random.default_rng(0), {})
        actions.append(np.stack([policy.act(np.zeros((2, 2, 3), np.uint8), {}) for _ in range(3000)]))
    np.testing.assert_array_equal(*actions)
    keys = actions[0][:, :-2]
    changes = (keys[1:] != keys[:-1]).any(1).mean()
    assert 0.03 < changes < 0.15
    assert np.abs(np.cumsum(actions[0][:, -2])).max() < 40
    used = dict(zip(MINECRAFT.keys, keys.mean(0), strict=True))
    assert used["forward"] > used["back"] > 0 and used["inventory"] == used["drop"] == 0


@pytest.mark.slow
def test_the_command_records_and_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, world_folder: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.script").write_text("forward 3; yaw +5/frame x 3 # turn\n")
    small = ["episodes=1", "workers=0", "episode_frames=20", "--out", "store"]
    game = ["collect", "source=gym", "env=Tests/discrete-v0"]
    assert cli.main([*game, "env_kwargs={cut:5}", *small]) == 0
    assert cli.main([*game, "--script", "fire 4", *small]) == 0
    dream = ["collect", "source=worldsim", f"world={world_folder}", *small]
    assert cli.main([*dream, "policy=script", "script=walk.script"]) == 0
    assert cli.main(dream) == 0
    assert "7 frames in 1 episodes" in capsys.readouterr().out
    lengths = {name.split("-")[0]: 0 for name in EpisodeStore("store")}
    assert set(lengths) == {"gym", "worldsim"} and len(EpisodeStore("store")) == 4
    assert sorted(len(EpisodeStore("store").read(n)) for n in EpisodeStore("store")) == [5, 6, 7, 20]
    for wrong in (
        ["collect", "source=doom"],
        ["collect", "source=gym"],
        [*game, "env_kwargs=3"],
        [*game, "policy=noop", "--script", "fire 4"],
        [*game, "--script", "missing.script"],
        [*game, "--human", "--script", "fire"],
    ):
        before = len(EpisodeStore("store"))
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
            monkeypatch.delenv(name, raising=False)
        assert cli.main([*wrong, *small]) == 2
        assert capsys.readouterr().err.startswith("worldsim: ") and len(EpisodeStore("store")) == before


def test_a_collection_that_gave_something_up_says_so_in_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    gymnasium.register("Tests/fails-v0", "tests.fake_gym:FailsLater")
    settings = [
        "source=gym",
        "env=Tests/fails-v0",
        "episodes=2",
        "episodes_per_world=1",
        "episode_frames=10",
        "workers=0",
    ]
    settings += ["policy=random", "licence=CC0-1.0", f"out={tmp_path / 'store'}", f"folder={tmp_path / 'run'}"]
    # Enough steps for one episode of ten frames.
    assert cli.main(["collect", *settings]) == 1
    assert len(EpisodeStore(tmp_path / "store")) == 1
    captured = capsys.readouterr()
    assert "1 worlds abandoned" in captured.out and "1 episodes are missing" in captured.err
    monkeypatch.setattr("tests.fake_gym.FailsLater.left", 100)
    assert cli.main(["collect", *settings]) == 0
    assert len(EpisodeStore(tmp_path / "store")) == 2
