"""Collection on a real Ray cluster of several worker processes on this machine."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tests.fake_engine import FakeEngine, make_crashing, make_fake
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.source_world import WorldSource
from worldsim.agents.collection.types import MapJob
from worldsim.cli import collect as collect_command
from worldsim.cluster import connected
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError

# Ray starts a dozen processes and gives them seconds to answer.
pytestmark = pytest.mark.alone
ray = pytest.importorskip("ray", reason="Ray is not installed")
ROOT = Path(__file__).resolve().parents[3]
SMALL: dict[str, Any] = {"episode_frames": 40, "episodes_per_world": 2, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with connected("local", 3):
        yield


class Killer:
    """Kills the whole worker process in the second episode of some worlds, the first time; notes who made an engine."""

    def __init__(self, folder: Path, worlds: tuple[int, ...]):
        self.folder, self.worlds = folder, worlds

    def __call__(self, world: MapJob, fps: float) -> FakeEngine:
        self.folder.mkdir(exist_ok=True)
        attempt = sum(1 for _ in self.folder.glob(f"{world.number}-*"))
        (self.folder / f"{world.number}-{attempt}-{os.getpid()}").touch()
        engine = FakeEngine(world.map_seed)
        if world.number in self.worlds and attempt == 0:
            step = engine.step

            def fatal(action: Any) -> Any:
                if engine.steps == 50:
                    os.kill(os.getpid(), signal.SIGKILL)
                return step(action)

            engine.step = fatal  # type: ignore[method-assign]
        return engine


def test_killed_workers_lose_and_double_nothing(tmp_path: Path):
    killer = Killer(tmp_path / "engines", (1, 2))
    collect(out=tmp_path / "here", episodes=7, workers=0, make_env=make_fake, **SMALL)
    report = collect(out=tmp_path / "ray", episodes=7, ray="local", make_env=killer, **SMALL)
    here, there = EpisodeStore(tmp_path / "here"), EpisodeStore(tmp_path / "ray")
    assert there.names() == here.names() and (report.episodes, report.frames) == (7, 280)
    for name in here:
        there.verify(name)
        np.testing.assert_array_equal(there.read(name).frames, here.read(name).frames)
        np.testing.assert_array_equal(there.read(name).actions, here.read(name).actions)
    assert len(report.failures) == 2 and all("worker died" in failure for failure in report.failures)
    assert not report.abandoned and not report.interrupted
    # Two worlds were tried twice, and several processes took part.
    made = [path.name.split("-") for path in (tmp_path / "engines").iterdir()]
    assert sorted(world for world, _, _ in made) == ["0", "1", "1", "2", "2", "3"]
    assert len({pid for _, _, pid in made} - {str(os.getpid())}) >= 2
    # What a killed worker left unfinished is nobody's episode.
    again = collect(out=tmp_path / "ray", episodes=7, ray="local", make_env=killer, **SMALL)
    assert (again.skipped, again.episodes, again.failures) == (7, 0, [])


def test_an_engine_that_always_crashes_is_given_up(tmp_path: Path):
    options = SMALL | {"episode_frames": 100, "make_env": make_crashing}
    report = collect(out=tmp_path, episodes=2, ray="local", attempts=2, **options)
    assert report.episodes == 0 and len(report.failures) == 2 and len(report.abandoned) == 1
    assert "RuntimeError: the engine crashed" in report.failures[0]


def test_workers_may_write_behind_a_url(tmp_path: Path):
    # A file system that knows no renames, as far as the store can tell, and that several processes see.
    url = f"dir::file://{tmp_path}/bucket"
    fsspec.filesystem("file").makedirs(f"{tmp_path}/bucket")
    report = collect(out=url, episodes=3, ray="local", make_env=make_fake, **SMALL)
    assert report.episodes == 3 and not report.failures
    store = EpisodeStore(url)
    assert len(store) == 3 and store.read(store.names()[0]).frames.shape == (40, 16, 24, 3)


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    words = ["source=gym", "env=CartPole-v1", "licence=MIT", "episodes=2", "episodes_per_world=1", "episode_frames=12"]
    assert cli.main(["collect", "+ray=local", "--out", "cart", "folder=run", *words]) == 0
    assert "2 episodes" in capsys.readouterr().out and len(EpisodeStore("cart")) == 2


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("could not find any running Ray instance\nsecond line")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"no Ray cluster at auto: could not find any running Ray instance$"):
        collect(out=tmp_path, episodes=1, ray="auto", make_env=make_fake, **SMALL)


@dataclass(frozen=True, kw_only=True)
class MortalSource(WorldSource):
    """A learned world; the first worker that is to dream of it dies."""

    folder: Path

    def __call__(self, world: MapJob, fps: float) -> Any:
        first = not any(self.folder.iterdir())
        (self.folder / str(os.getpid())).touch()
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(world, fps)


def test_dreams_on_a_cluster_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    # Workers import this module, wherever they are started.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    save_tiny_world(tmp_path / "tiny")
    words = ["collect", "source=worldsim", "world=tiny", "policy=random", "episodes=3", "episodes_per_world=1"]
    words += ["episode_frames=9", "seed=2"]
    assert cli.main([*words, "workers=0", "--out", "here", "folder=run"]) == 0
    (tmp_path / "engines").mkdir()
    everywhere: Any = collect_command._everywhere

    def mortal(source: Any) -> MortalSource:
        # What workers get has its place from the root.
        assert everywhere(source).world == str(tmp_path / "tiny")
        return MortalSource(folder=tmp_path / "engines", **vars(everywhere(source)))

    monkeypatch.setattr(collect_command, "_everywhere", mortal)
    assert cli.main([*words, "ray=local", "--out", "there", "folder=run"]) == 0
    here, there = EpisodeStore("here"), EpisodeStore("there")
    assert there.names() == here.names() and len(here) == 3
    for name in here:
        one, other = here.read(name), there.read(name)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.actions, other.actions)
        assert [one.provenance[key] for key in ("checkpoint", "source", "start")] == [
            other.provenance[key] for key in ("checkpoint", "source", "start")
        ]
    assert len(list((tmp_path / "engines").iterdir())) >= 2
    assert any("worker died" in line for line in json.loads(Path("run/report.json").read_text())["failures"])
