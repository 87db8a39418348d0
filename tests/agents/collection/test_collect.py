import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fake_engine import FakeEngine, make_crashing, make_dying, make_fake, make_frozen, make_hanging
from tests.real_game import needs_game
from tests.timing import PATIENCE, wait_until
from worldsim.agents.collection import collect as collect_module
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.job import plan_worlds
from worldsim.agents.collection.types import MapJob
from worldsim.datasets.governance.withdrawal import withdraw
from worldsim.datasets.store.store import EpisodeStore
from worldsim.spec.actions import MINECRAFT

SMALL: dict[str, Any] = {"episode_frames": 60, "episodes_per_world": 2, "progress": False, "make_env": make_fake}


def test_the_recorded_action_leads_from_its_frame_to_the_next(tmp_path: Path):
    collect(out=tmp_path, episodes=3, workers=0, **SMALL)
    store = EpisodeStore(tmp_path)
    for name in store:
        episode = store.read(name)
        turned = (np.diff(episode.state["yaw"]) + 180) % 360 - 180
        np.testing.assert_allclose(turned, episode.actions[:-1, -1], atol=1e-3)
        keys = {key: episode.actions[:-1, MINECRAFT.keys.index(key)] for key in MINECRAFT.keys}
        walking = np.hypot(keys["forward"] - keys["back"], keys["right"] - keys["left"])
        moved = np.linalg.norm(np.diff(episode.state["position"], axis=0), axis=1)
        np.testing.assert_allclose(moved, 0.2 * walking, atol=1e-3)
        assert not episode.actions[-1].any()
        # The picture shows the pose of its own row.
        np.testing.assert_array_equal(episode.frames[:, 0, 0, 2], (episode.state["pitch"] + 90).astype(np.uint8))


def test_collection_is_a_function_of_its_seed(tmp_path: Path):
    for folder in ("a", "b"):
        collect(out=tmp_path / folder, episodes=2, seed=7, workers=0, **SMALL)
    collect(out=tmp_path / "c", episodes=2, seed=8, workers=0, **SMALL)
    a, b, c = (EpisodeStore(tmp_path / folder) for folder in "abc")
    assert a.names() == b.names()
    for name in a:
        np.testing.assert_array_equal(a.read(name).frames, b.read(name).frames)
    assert not np.array_equal(a.read(a.names()[0]).actions, c.read(c.names()[0]).actions)


def test_a_second_call_only_adds_what_is_missing(tmp_path: Path):
    collect(out=tmp_path, episodes=3, workers=0, **SMALL)
    before = {name: EpisodeStore(tmp_path).manifest(name)["files"] for name in EpisodeStore(tmp_path)}
    report = collect(out=tmp_path, episodes=5, workers=0, **SMALL)
    after = EpisodeStore(tmp_path)
    assert (report.skipped, report.episodes, len(after)) == (3, 2, 5)
    assert all(after.manifest(name)["files"] == files for name, files in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_withdrawn_episode_is_not_recorded_anew(tmp_path: Path, workers: int):
    collect(out=tmp_path, episodes=3, workers=0, **SMALL)
    first, second, third = EpisodeStore(tmp_path)
    withdraw(EpisodeStore(tmp_path), second, "the player asked for it")
    report = collect(out=tmp_path, episodes=5, workers=workers, **SMALL)
    # A world that lacks nothing else is not played; one that does records only what it lacks.
    assert (report.skipped, report.withdrawn, report.episodes, report.failures) == (2, 1, 2, [])
    assert "1 were withdrawn and stay away" in report.line()
    store = EpisodeStore(tmp_path)
    assert second not in store and {first, third} < set(store) and len(store) == 4
    shutil.rmtree(tmp_path / "episodes" / first)
    again = collect(out=tmp_path, episodes=5, workers=workers, **SMALL)
    assert (again.episodes, again.failures) == (1, []) and second not in EpisodeStore(tmp_path)


@pytest.mark.slow
def test_workers_record_what_one_process_records(tmp_path: Path):
    collect(out=tmp_path / "here", episodes=4, workers=0, **SMALL)
    report = collect(out=tmp_path / "beside", episodes=4, workers=2, **SMALL)
    here, beside = EpisodeStore(tmp_path / "here"), EpisodeStore(tmp_path / "beside")
    assert report.episodes == 4 and report.frames == 240 and not report.failures
    assert here.names() == beside.names()
    for name in here:
        np.testing.assert_array_equal(here.read(name).actions, beside.read(name).actions)


def test_frozen_episodes_are_rejected_and_counted(tmp_path: Path):
    report = collect(out=tmp_path, episodes=1, workers=0, **{**SMALL, "make_env": make_frozen})
    assert report.episodes == 0 and report.frozen_episodes > 1
    assert len(EpisodeStore(tmp_path)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_engine_that_crashes_is_started_again_and_finished_episodes_stay(tmp_path: Path, workers: int):
    # A player that never stands still: no attempt is thrown away.
    report = collect(out=tmp_path, episodes=2, workers=workers, policy="walk", **{**SMALL, "make_env": make_crashing})
    # The first attempt commits one episode of 59 steps before step 90; the second attempt only needs the other one.
    assert report.episodes == 2 and len(report.failures) == 1 and not report.abandoned
    assert "the engine crashed" in report.failures[0]


def test_a_worker_that_dies_is_given_up_after_some_attempts(tmp_path: Path):
    report = collect(out=tmp_path, episodes=1, workers=1, attempts=2, **{**SMALL, "make_env": make_dying})
    assert report.episodes == 0 and len(report.failures) == 2 and len(report.abandoned) == 1


def test_the_engine_is_closed_even_when_it_fails(tmp_path: Path):
    engines: list[FakeEngine] = []

    def make(world: MapJob, fps: float) -> FakeEngine:
        engines.append(FakeEngine(world.map_seed, crash_at=5))
        return engines[-1]

    collect(out=tmp_path, episodes=1, workers=0, **{**SMALL, "make_env": make})
    assert len(engines) == 3 and all(engine.closed for engine in engines)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_stopping_the_collector_loses_no_committed_episode_and_leaves_no_worker(tmp_path: Path, stop: signal.Signals):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from tests.fake_engine import make_fake\nfrom worldsim.agents.collection.collect import collect\n"
        "if __name__ == '__main__':\n"
        f"    report = collect(out={str(tmp_path / 'out')!r}, episodes=4000, workers=2, episode_frames=60,"
        " progress=False, make_env=make_fake)\n"
        "    sys.exit(0 if report.interrupted else 1)\n"
    )
    script = tmp_path / "collector.py"
    script.write_text(code)
    collector = subprocess.Popen(
        [sys.executable, str(script)],
        start_new_session=True,
        # Where the tests are a background job, Ctrl-C would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    store = EpisodeStore(tmp_path / "out")
    wait_until(lambda: len(store) >= 3, "three episodes")
    seen = store.names()
    if stop == signal.SIGKILL:
        os.kill(collector.pid, stop)
    else:
        os.killpg(collector.pid, stop)  # as a terminal does
    assert collector.wait(timeout=PATIENCE) == (-stop if stop == signal.SIGKILL else 0)
    wait_until(lambda: not _session_members(collector.pid), "workers are gone")
    survivor = EpisodeStore(tmp_path / "out")
    assert len(seen) >= 3 and set(seen) <= set(survivor.names())
    for name in survivor:
        survivor.read(name)
    survivor.discard_unfinished()
    assert not any((tmp_path / "out" / "unfinished").iterdir())


class Clock:
    """The collector's clock: a second goes by at each look in vain, and in some looks a day, while it was stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, days: tuple[int, ...] = ()):
        self.now, self.looks, self.days = 0.0, 0, days
        monkeypatch.setattr(collect_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(collect_module, "wait", self.look)

    def look(self, pipes: Any, timeout: float) -> Any:
        assert timeout == 1.0
        self.looks += 1
        found = wait(pipes, 0.05)
        self.now += 86_400.0 if self.looks in self.days else 0.0 if found else timeout
        return found


@pytest.mark.slow
def test_a_suspended_collector_does_not_blame_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(collect_module, "SILENCE_SECONDS", 3600.0)
    clock = Clock(monkeypatch, days=(1, 3, 5))
    report = collect(out=tmp_path, episodes=2, workers=1, **SMALL | {"episode_frames": 12_000, "frozen_limit": 0.9})
    assert clock.looks > 5 and clock.now > 3 * 86_400
    assert report.episodes == 2 and not report.failures


@pytest.mark.slow
def test_a_collector_suspended_while_it_takes_a_message_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(collect_module, "SILENCE_SECONDS", 3600.0)
    clock, listen, rounds = Clock(monkeypatch), collect_module._listen, []

    def listening(one: Any, display: Any) -> None:
        listen(one, display)
        rounds.append(one)
        clock.now += 86_400.0 if len(rounds) in (1, 3) else 0.0

    monkeypatch.setattr(collect_module, "_listen", listening)
    report = collect(out=tmp_path, episodes=2, workers=1, **SMALL | {"episode_frames": 12_000, "frozen_limit": 0.9})
    assert len(rounds) > 5 and report.episodes == 2 and not report.failures


@pytest.mark.slow
def test_a_worker_that_hangs_is_stopped_when_it_was_silent_for_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(collect_module, "SILENCE_SECONDS", 60.0)
    clock = Clock(monkeypatch)
    report = collect(out=tmp_path, episodes=1, workers=1, attempts=1, **SMALL | {"make_env": make_hanging})  # pyright: ignore
    assert report.episodes == 0 and len(report.abandoned) == 1 and "silent for 60 s" in report.failures[0]
    assert 60 < clock.now < 70


@pytest.mark.alone
def test_a_collector_that_was_really_stopped_does_not_blame_its_workers(tmp_path: Path):
    """With signals and the machine's clock, once a worker is at work: how long it takes to start is not looked at."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from tests.fake_engine import make_fake\nimport worldsim.agents.collection.collect as module\n"
        "def listening(one, display):\n"
        "    before = one.last_message\n"
        "    listen(one, display)\n"
        "    if one.last_message > before and module.SILENCE_SECONDS > 8:\n"
        "        module.SILENCE_SECONDS = 8.0\n"
        "        print('recording', flush=True)\n"
        "if __name__ == '__main__':\n"
        "    listen, module._listen = module._listen, listening\n"
        f"    report = module.collect(out={str(tmp_path / 'out')!r}, episodes=4, workers=1, episode_frames=12_000,"
        " frozen_limit=0.9, progress=False, make_env=make_fake)\n"
        "    sys.exit(len(report.failures))\n"
    )
    script = tmp_path / "collector.py"
    script.write_text(code)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdout is not None and collector.stdout.readline() == "recording\n"
        os.killpg(collector.pid, signal.SIGSTOP)
        time.sleep(11)
        os.killpg(collector.pid, signal.SIGCONT)
        assert collector.wait(timeout=PATIENCE) == 0


def _session_members(session: int) -> list[int]:
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(entry.name))
    return members


def test_a_plan_gives_each_split_its_own_map_seeds_and_grows_by_appending():
    options: dict[str, Any] = {
        "seed": 0, "episodes_per_world": 6, "episode_frames": 10, "policy": "mixture", "frozen_limit": 0.2
    }  # fmt: skip
    worlds = plan_worlds(episodes=454, **options)
    seeds = {split: {w.map_seed for w in worlds if w.split == split} for split in ("train", "validation", "test")}
    assert len({w.map_seed for w in worlds}) == len(worlds) == 76
    assert len(seeds["train"]) >= 40 and 5 <= len(seeds["validation"]) <= 8 and 5 <= len(seeds["test"]) <= 8
    assert sum(len(w.names) for w in worlds) == 454
    assert plan_worlds(episodes=72, **options) == worlds[:12]
    tests = [w for w in worlds if w.split == "test"]
    assert plan_worlds(episodes=6 * len(tests), maps="test", **options) == tests
    assert {w.mapgen for w in worlds if w.split == "test"} == {w.mapgen for w in worlds}


@pytest.mark.parametrize(
    "wrong", [{"episodes": 0}, {"episodes": 1, "hours": 1.0}, {}, {"episodes": 1, "workers": -1}, {"hours": 0.0}]
)
def test_senseless_options_are_refused(tmp_path: Path, wrong: dict[str, Any]):
    with pytest.raises(ValueError):
        collect(out=tmp_path, **wrong)


@needs_game
def test_the_real_engine_records_aligned_episodes(tmp_path: Path):
    report = collect(
        out=tmp_path, episodes=1, workers=1, episode_frames=80, policy="gaze", frozen_limit=0.9, progress=False
    )
    assert report.episodes == 1, report.failures
    store = EpisodeStore(tmp_path)
    episode = store.read(store.names()[0])
    assert episode.frames.shape == (80, 80, 144, 3)
    turned = (np.diff(episode.state["yaw"]) + 180) % 360 - 180
    np.testing.assert_allclose(turned, episode.actions[:-1, -1], atol=0.05)
    # From pixels alone: the picture changes most where the recorded camera moves most, and neither earlier nor later.
    change = np.abs(np.diff(episode.frames[:, :56].astype(np.float32), axis=0)).mean((1, 2, 3))
    moved = np.hypot(episode.actions[:-1, -1], episode.actions[:-1, -2])
    here, before, after = (np.corrcoef(np.roll(moved, k), change)[0, 1] for k in (0, -1, 1))
    assert here > 0.5 and here > before and here > after


def test_rest_is_recorded_where_the_picture_stands_still(tmp_path: Path):
    """Who rests presses nothing, and nothing moves: that is to be learnt, and no engine that has frozen."""
    settings = {**SMALL, "make_env": make_frozen, "policy": "rest", "episode_frames": 150}
    report = collect(out=tmp_path, episodes=1, workers=0, **settings)
    assert report.episodes == 1 and report.frozen_episodes == 0
    [name] = EpisodeStore(tmp_path).names()
    assert EpisodeStore(tmp_path).read(name).actions.any(1).mean() < 0.4
