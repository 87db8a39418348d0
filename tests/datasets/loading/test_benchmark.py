import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from worldsim import cli
from worldsim.datasets.loading import benchmark
from worldsim.datasets.loading.benchmark import (
    Rate,
    likeness,
    measure_store,
    measure_videos,
    measure_whole_videos,
    recorded_clips,
    varied_clips,
    video_clip,
    write_measured_store,
)
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import write_video


def blinking(count: int) -> np.ndarray:
    """Frame t has grey level 2 t, far enough apart to survive an mp4."""
    return np.repeat(np.arange(0, 2 * count, 2, dtype=np.uint8), 16 * 32 * 3).reshape(count, 16, 32, 3)


@pytest.mark.parametrize("start", [0, 1, 37, 104])
def test_clips_of_a_video_are_the_frames_that_were_asked_for(tmp_path: Path, start: int):
    write_video(tmp_path / "a.mp4", blinking(120))
    clip = video_clip(tmp_path / "a.mp4", start, 16)
    assert clip.shape == (16, 16, 32, 3)
    assert np.abs(clip.astype(int) - blinking(120)[start : start + 16]).max() <= 1
    assert len(video_clip(tmp_path / "a.mp4", 0, None)) == 120


def test_varied_clips_differ_and_are_cut_from_what_was_given():
    parts = list(islice(varied_clips([blinking(9), blinking(12)], 30, seed=0), 5))
    assert all(part.shape == (30, 16, 32, 3) and part.dtype == np.uint8 for part in parts)
    assert len({part.tobytes() for part in parts}) == 5
    again = next(varied_clips([blinking(9), blinking(12)], 30, seed=0))
    np.testing.assert_array_equal(again, parts[0])


class Clock:
    """A clock that goes on by a second, and a processor's by two, whenever somebody looks."""

    def __init__(self) -> None:
        self.now, self.worked = 100.0, 10.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now

    def process_time(self) -> float:
        self.worked += 2
        return self.worked


def test_both_are_measured_on_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done: list[int] = []
    store = write_measured_store(tmp_path, iter([blinking(40)] * 3), 3, 2, lambda now, total: done.append(now))
    assert done == [1, 2, 3] and len(store) == 3 and len(list(tmp_path.glob("*.mp4"))) == 2
    files = sorted(tmp_path.glob("*.mp4"))
    sampler = ClipSampler(store, None, frames=8, batch=4, threads=2)
    monkeypatch.setattr(benchmark, "time", Clock())
    rates = [
        measure_store(sampler, 3.5),
        measure_videos(files, [(0, 3), (1, 20)], 8, 2, 3.5),
        measure_whole_videos(files, 2, 3.5),
    ]
    # Three batches until the limit; the batch before the clock starts does not count.
    assert rates == [Rate(3 * frames, 5.0, 2.0) for frames in (32, 64, 80)]
    assert (rates[0].per_second, rates[0].per_cpu_second) == (96 / 5, 48)
    assert likeness(store, store.names(), files, [(0, 3), (1, 20)], 8) > 45
    np.testing.assert_array_equal(next(recorded_clips(store, 40, 0)), blinking(40))


@pytest.mark.slow
def test_the_command_measures_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_measured_store(tmp_path / "from", iter([blinking(40)] * 2), 2, 0, lambda *_: None)
    (tmp_path / "scratch").mkdir()
    small = [
        "episodes=4",
        "episode_frames=20",
        "mp4_episodes=2",
        "seconds=0.1",
        "batch=2",
        "scratch=scratch",
        "folder=run",
    ]
    for source in ([], ["data=from/store"]):
        assert cli.main(["bench", "data", *small, *source]) == 0
        assert "times as fast" in capsys.readouterr().out
        results = json.loads((tmp_path / "run" / "bench.json").read_text())
        store, mp4 = results["store"], results["mp4_random"]
        assert results["ratio_cpu"] == pytest.approx(store["frames_per_cpu_second"] / mp4["frames_per_cpu_second"])
        assert results["ratio_wall"] == pytest.approx(store["frames_per_second"] / mp4["frames_per_second"])
        assert results["same_frames_psnr_db"] > 25
        assert results["size"] == ([32, 16] if source else [144, 80]) and not any((tmp_path / "scratch").iterdir())
    assert len(EpisodeStore("from/store")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["data=missing", "scratch=missing", "episodes=0", "episode_frames=5", "seconds=0"])
def test_mistakes_are_told(wrong: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "data", "episodes=1", wrong]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
