"""The agent commands on a tiny world: teach it tasks, train, measure, watch; mistakes are one line."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world
from worldsim import cli
from worldsim.agents.policies.policy_net import load_policy
from worldsim.agents.rl.envs import sampled
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.datasets.store.video import read_video
from worldsim.envs.learned.initial_context import shared_world
from worldsim.models.checkpoint import read_metadata
from worldsim.spec.actions import MINECRAFT

SMALL = ["net.shrink=4", "net.channels=4", "net.features=16", "episode=6"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny world, and a store with two maps of each split on which it rains water and trees."""
    path = tmp_path_factory.mktemp("agent")
    save_tiny_world(path / "world")
    store = EpisodeStore(path / "store")
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            wet = rng.random(120) < 0.5
            pictures = (
                rng.integers(0, 255, (120, HEIGHT, WIDTH, 3), np.uint8) // np.where(wet, 4, 1)[:, None, None, None]
            )
            state = {"position": np.zeros((120, 3)), "in_water": wet, "tree_angle": np.where(wet, 180.0, 4.0)}
            store.append(
                Episode(
                    frames=pictures.astype(np.uint8),
                    actions=rng.integers(0, 2, (120, MINECRAFT.size)).astype(np.float32),
                    rewards=np.zeros(120, np.float32), terminated=np.zeros(120, bool), state=state,
                    text="walking in a forest",
                    provenance={"seed": seed, "split": split, "fps": 20, "engine": "luanti",
                                "keys": list(MINECRAFT.keys)},
                ),
                f"map{seed}",
            )  # fmt: skip
    return path


def command(home: Path, *words: str) -> str:
    """Run a command in ``home``, which must succeed; what it printed."""
    printed = io.StringIO()
    with contextlib.chdir(home), contextlib.redirect_stdout(printed):
        assert cli.main(list(words)) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def taught(home: Path) -> str:
    """Tasks taught to the world; what the command printed."""
    words = ["data=store", "world=world", "windows=8", "held_out=8", "training.steps=60", "folder=t"]
    return command(home, "train", "tasks", *words)


@pytest.fixture(scope="module")
def cloned(home: Path, taught: str) -> str:
    """A policy cloned into ``bc``; what the command printed."""
    words = ["algo=bc", "store=store", "world=world", "folder=bc", "cloning.steps=3"]
    return command(home, "agent", "train", *words, *SMALL)


@pytest.fixture(scope="module")
def learned(home: Path, cloned: str) -> Path:
    """The folder of a run that learned by reward, from the cloned policy."""
    schedule = [f"schedule.{s}" for s in ("steps=32", "eval_every=16", "eval_episodes=1", "video_every=16")]
    words = ["task=survive", "world=world", "rows=2", "folder=ppo", "initial=bc", *schedule, *SMALL]
    command(home, "agent", "train", *words, "training.rollout=8", "training.batch=16", "training.epochs=1")
    return home / "ppo"


@pytest.fixture(scope="module")
def evaluated(home: Path, learned: Path) -> tuple[str, dict[str, Any]]:
    """Both policies against one that does nothing: what the command printed, and its results in the learned world."""
    words = ["policy=[ppo,bc]", "world=world", "task=survive", "episodes=2", "episode=4", "folder=e", "against=noop"]
    printed = command(home, "agent", "eval", *words)
    return printed, json.loads((home / "e" / "agent.json").read_text())["places"]["dream"]


def test_a_world_that_was_not_taught_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    world = save_tiny_world(tmp_path / "untaught")
    assert cli.main(["agent", "eval", "policy=noop", f"world={world}", "task=survive", "episodes=1"]) == 2
    assert "worldsim train tasks" in capsys.readouterr().err


@pytest.mark.slow
def test_tasks_are_taught_and_measured(home: Path, taught: str):
    assert "wet" in taught and "AUROC" in taught and "tasks.safetensors" in taught
    results = json.loads((home / "t" / "tasks.json").read_text())
    assert set(results["facts"]) == {"sees_tree", "wet"}
    # The store shows half as bright what is wet.
    assert results["facts"]["wet"]["calibration_error"] < 0.5


@pytest.mark.slow
def test_a_taught_world_says_what_it_was_trained_on(home: Path, taught: str):
    (trained_on,) = read_metadata(home / "world" / "tasks.safetensors")["trained_on"]["stores"]
    assert len(trained_on["episodes"]) == 2


def test_a_policy_is_cloned(home: Path, cloned: str):
    assert "log-likelihood" in cloned
    assert load_policy(home / "bc").about["store"] == "store"


@pytest.mark.slow
def test_a_run_keeps_its_best_policy_and_its_videos(learned: Path):
    assert (learned / "best" / "policy.safetensors").exists() and list((learned / "videos").iterdir())


@pytest.mark.slow
def test_a_policy_says_how_it_was_trained(learned: Path):
    about = load_policy(learned).about
    assert about["initial"] == "bc" and about["training"]["rollout"] == 8
    assert about["store"] is about["min_trust"] is None


def test_a_run_of_another_task_is_refused_and_left_alone(
    home: Path, learned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(home)
    kept = {path: path.read_bytes() for path in learned.rglob("*") if path.is_file()}
    assert cli.main(["agent", "train", "task=explore", "world=world", "rows=2", "folder=ppo", *SMALL]) == 2
    assert "began with task 'survive', not 'explore'" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in learned.rglob("*") if path.is_file()} == kept


@pytest.mark.slow
def test_policies_are_measured_over_seeds_and_episodes(evaluated: tuple[str, dict[str, Any]]):
    printed, found = evaluated
    assert found["seeds"] == 2 and found["episodes"] == 4 and np.shape(found["returns"]) == (2, 2)
    assert "interquartile mean" in printed


@pytest.mark.slow
def test_policies_are_measured_against_another(evaluated: tuple[str, dict[str, Any]]):
    _, found = evaluated
    other = found["against"]
    assert other["policy"] == ["noop"] and np.shape(other["returns"]) == (1, 2)
    assert other["difference"] == pytest.approx(found["iqm"] - other["iqm"])


def test_a_policy_is_watched_at_the_task_that_it_was_trained_for(
    home: Path, learned: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    words = ["policy=ppo", "world=world", "sampling_steps=1", "episode=4", "scale=1", "--out", "w.mp4"]
    assert "return" in command(home, "agent", "watch", *words)
    assert read_video(home / "w.mp4").shape[1:] == (HEIGHT, WIDTH, 3)


@pytest.mark.slow
def test_pong_is_learned_in_its_console_and_played_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ale_py")
    monkeypatch.chdir(tmp_path)
    pong = ["env=WorldSim-Pong-v0", "episode=6"]
    words = ["agent", "train", *pong, "in=engine", "rows=2", "folder=ppo", "schedule.steps=16", *SMALL]
    assert cli.main([*words, "training.rollout=8", "training.batch=16", "training.epochs=1"]) == 0
    about = load_policy(tmp_path / "ppo").about
    assert about["env"] == "WorldSim-PongEngine-v0" and about["steps"] == 16
    words = ["agent", "eval", *pong, "in=both", "policy=ppo", "sampling_steps=1", "episodes=1", "folder=e"]
    assert cli.main(words) == 0
    reported = json.loads((tmp_path / "e" / "agent.json").read_text())
    assert {place: found["steps"] for place, found in reported["places"].items()} == {"dream": 6, "engine": 6}
    assert reported["gap"] == pytest.approx(reported["places"]["dream"]["iqm"] - reported["places"]["engine"]["iqm"])


def test_agents_dream_in_as_many_steps_as_asked(home: Path):
    world = str(home / "world")
    for steps in (1, 3):
        settings = sampled("WorldSim-Minecraft-v0", world, steps)
        assert (
            settings["world"].config.sampling.steps == steps and settings["world"].dit is shared_world(world, "cpu").dit
        )
        assert settings["starts"].frames.shape[2:4] == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "words",
    [
        ["agent", "train", "algo=dqn"],
        ["agent", "train", "algo=bc"],
        ["agent", "train", "task=fly", "world=world"],
        ["agent", "train", "env=Nothing-v0"],
        ["agent", "train", "env=CartPole-v1", "task=explore"],
        ["agent", "train", "env=CartPole-v1", "sampling_steps=1"],
        ["agent", "train", "world=world", "sampling_steps=0"],
        ["agent", "train", "rows=0"],
        ["agent", "eval"],
        ["agent", "eval", "policy=nobody", "world=world"],
        ["agent", "eval", "policy=noop", "world=world", "in=moon"],
        ["agent", "eval", "policy=noop", "world=world", "against=nobody"],
        ["agent", "watch", "policy=noop", "world=nowhere"],
        ["train", "tasks", "data=nowhere"],
        ["train", "tasks", "data=store", "world=nowhere"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(
    words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(home)
    assert cli.main(words) == 2
    reported = capsys.readouterr().err
    assert reported.startswith("worldsim: ") and reported.count("\n") == 1
