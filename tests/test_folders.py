"""Relative folders are made absolute when something opens them: going elsewhere later changes nothing."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fake_engine import make_fake
from tests.tiny_world import save_tiny_world, tiny_starts, tiny_world
from worldsim.agents.collection.collect import collect
from worldsim.cli.runs import run_folder
from worldsim.datasets.recording.recorder import Recorder
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import VideoWriter, read_video
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, split_optimizers
from worldsim.training.logging import RunLog


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, and ``elsewhere`` beside it, where nothing may appear."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    assert not any((tmp_path / "elsewhere").iterdir())


@dataclass
class Config:
    folder: str | None = None


def leave() -> None:
    os.chdir("../elsewhere")


def record(where: str | Path) -> Recorder:
    recorder = Recorder(where, keys=("a",), fps=10, source="x", licence="CC0-1.0", split="train", name="r")
    for t in range(5):
        recorder.add(np.full((16, 16, 3), t, np.uint8), ["a"])
    return recorder


def test_a_store_is_read_and_a_recording_written_where_they_were_opened(here: Path):
    recorder = record("store")
    leave()
    recorder.close()
    os.chdir(here)
    store, copied = EpisodeStore("store"), pickle.dumps(EpisodeStore("store"))
    [name] = store.names()
    leave()
    assert store.read(name).frames[3, 0, 0, 0] == 3 and store.path == here / "store"
    assert pickle.loads(copied).read(name).frames[4, 0, 0, 0] == 4
    store.verify(name)
    # People read the name that they gave.
    assert store.url == "store"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_collection_goes_where_it_was_sent(here: Path, workers: int):
    def go(world, fps):
        leave()
        return make_fake(world, fps)

    make = go if workers == 0 else make_fake
    collect(out="store", episodes=2, workers=workers, episode_frames=10, episodes_per_world=1, progress=False,
            make_env=make, policy="walk")  # fmt: skip
    assert len(EpisodeStore(here / "store")) == 2


def test_a_video_a_log_and_a_run(here: Path):
    folder = run_folder("play", config := Config())
    assert folder.is_absolute() and config.folder == str(folder) and folder.parent == here / "runs"
    log, module = RunLog(Path("run")), torch.nn.Linear(2, 2)
    optimizers = split_optimizers(module, "x", 1e-3, 1e-3)
    trained = TrainedModule(module, optimizers, Ema(module, 0.9), Path("run/state.safetensors"))
    with VideoWriter("film.mp4", 10) as film:
        film.append(np.zeros((16, 16, 3), np.uint8))
        leave()
    log.write(1, {"loss": 0.5})
    log.close()
    trained.save(3)
    assert len(read_video(here / "film.mp4")) == 1 and "0.5" in (here / "run/metrics.jsonl").read_text()
    assert (here / "run/state.safetensors").is_file()


def test_worlds_of_one_relative_name_are_two_worlds(here: Path, tmp_path: Path):
    save_tiny_world(here / "world")
    other = tiny_world(seed=1)
    other.save(tmp_path / "second/world")
    first = WorldSimEnv("world", starts=tiny_starts())
    os.chdir(tmp_path / "second")
    second = WorldSimEnv("world", starts=tiny_starts())
    assert not torch.equal(tiny_world().dit.start, other.dit.start)
    assert torch.equal(first.world.dit.start, tiny_world().dit.start)
    assert torch.equal(second.world.dit.start, other.dit.start)
    assert WorldSimEnv(here / "world", starts=tiny_starts()).world is first.world
