"""The command line's rollouts against an engine: the same branches, scored; another world is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fake_engine import FakeEngine
from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world
from worldsim import cli
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.source_gym import GymSource
from worldsim.agents.collection.types import MapJob
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import read_video
from worldsim.envs.pong.engine import PongEngine
from worldsim.evaluation.counterfactuals import engine_replays
from worldsim.evaluation.counterfactuals.engine_replays import LuantiReplay

FOLLOW = "worldsim.envs.pong.tasks:follow_ball"


class OtherPlace(FakeEngine):
    """Moves its player ten metres aside at every reset, as another map would."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.position = self.position + [10.0, 0, 0]
        return self._picture(), self._info(np.zeros(22, np.float32))


def make_sized(world: MapJob, fps: float) -> FakeEngine:
    return FakeEngine(world.map_seed, size=(WIDTH, HEIGHT))


def record(folder: Path) -> str:
    """A store with one episode; returns its name."""
    collect(
        out=folder / "store",
        make_env=make_sized,
        policy="walk",
        episodes=1,
        episode_frames=60,
        workers=0,
        progress=False,
    )
    return next(iter(EpisodeStore(folder / "store")))


def play_with(monkeypatch: pytest.MonkeyPatch, engine: type[FakeEngine]) -> None:
    """Let episodes be played again in a fake engine in place of the real game."""

    def replay(provenance: dict[str, Any]) -> LuantiReplay:
        env = engine(provenance["seed"], size=(WIDTH, HEIGHT))
        return LuantiReplay(
            map_seed=0, seed=provenance["start_seed"], options=provenance["start"], make_env=lambda: env
        )

    monkeypatch.setattr(engine_replays, "engine_of", replay)


def test_a_tree_is_scored_against_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    world, name = str(save_tiny_world(tmp_path / "tiny")), record(tmp_path)
    play_with(monkeypatch, FakeEngine)
    (tmp_path / "a.tree").write_text("forward 4\n  yaw +40 x 4\n  back 4\n")
    words = ["rollout", "--world", world, "--prefix", f"store:{name}@20", "--tree", "a.tree", "--against", "engine"]
    assert cli.main([*words, "prefix_frames=9", "again=2", "--policy", "walk", "seconds=0.4", "--out", "out"]) == 0
    written = json.loads((tmp_path / "out" / "divergence.json").read_text())
    scores = written["engine"]
    assert len(scores["branches"]) == 3 and scores["floor"] == {"branches": 2, "psnr": 60.0, "metres": 0.0}
    # What the engine did: 4 frames ahead at 4 m/s, and then a turn by 40 degrees or the way back.
    turned, back, walked = (branch["engine_pose"] for branch in scores["branches"])
    assert turned[2] == pytest.approx(0.8, abs=0.01) and turned[3] == pytest.approx(40, abs=0.5)
    assert back[2] == pytest.approx(0, abs=0.01) and np.hypot(walked[0], walked[2]) > 0
    # Metres explored: as far as it got, also where it came back.
    assert [scores["branches"][i]["engine_reward"] for i in (0, 1)] == pytest.approx([0.8, 0.8], abs=0.01)
    for made, scored in zip(written["branches"], scores["branches"], strict=True):
        assert scored["drift"] == 0
        apart = np.subtract(made["pose"][:3], scored["engine_pose"][:3])
        assert scored["metres"] == pytest.approx(np.linalg.norm(apart), abs=1e-3) and scored["metres"] > 0.01
    out = capsys.readouterr().out
    assert "in the engine:" in out and "engine against itself 60.0 dB" in out
    assert read_video(tmp_path / "out" / "rollout.mp4").shape[0] == 9 + 8


@pytest.mark.slow
def test_pong_is_scored_against_its_console_by_points_or_by_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ale_py")
    monkeypatch.chdir(tmp_path)
    source: Any = GymSource(env="WorldSim-PongEngine-v0")
    sizes: dict[str, Any] = {"episodes": 1, "episode_frames": 40, "workers": 0}
    assert not collect(out=tmp_path / "store", make_env=source, policy="random", progress=False, **sizes).failures
    store = EpisodeStore(tmp_path / "store")
    [name] = store
    played = store.read(name)
    words = ["rollout", "--world", "pong", "--prefix", f"store:{name}@20", "--actions", "up 4", "--actions", "down 2"]
    words += ["--against", "engine", "prefix_frames=9"]
    for task, given in (("points", []), (FOLLOW, [f"task={FOLLOW}"]), ("explore", ["task=explore"])):
        assert cli.main([*words, *given, "--out", "out"]) == 0
        first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("1 "))
        # A court has no metres.
        assert "the others are compared with it" in first and "ends at" not in first
        reported = json.loads((tmp_path / "out" / "divergence.json").read_text())
        assert reported["task"] == task and reported["engine"]["floor"]["psnr"] == 60
        rewards = [branch["engine_reward"] for branch in reported["engine"]["branches"]]
        judged = PongEngine("points" if task == "explore" else task)
        expected = []
        for script in ([1, 1, 1, 1], [2, 2, 0, 0]):
            judged.reset(seed=played.provenance["seed"])
            # The past: frames 20 to 28.
            for action in played.actions[:28].argmax(1):
                judged.step(action)
            expected.append(pytest.approx(sum(judged.step(action)[1] for action in script), abs=1e-3))
        assert rewards == ([None, None] if task == "explore" else expected)


def test_another_world_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    world, name = str(save_tiny_world(tmp_path / "tiny")), record(tmp_path)
    play_with(monkeypatch, OtherPlace)
    words = ["rollout", "--world", world, "--prefix", f"store:{name}@20", "--actions", "back 2", "--against", "engine"]
    assert cli.main([*words, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert "does not repeat the recorded past" in error and "metres 10.00" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
