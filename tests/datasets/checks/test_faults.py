"""What disks, people and clocks do to a store: each a named error or a clean recovery, never zeros or silence."""

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.checks.test_check import turning_episode
from tests.datasets.store.test_store import assert_equal, data_files, make_episode
from tests.fake_engine import make_fake
from tests.timing import wait_until
from worldsim import cli
from worldsim.agents.collection.collect import collect
from worldsim.datasets.checks.repair import repair
from worldsim.datasets.checks.run import CheckLimits, check_store
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore

CHECK = ["data", "check", "full=true"]


def filled(path: Path, episodes: int = 3) -> EpisodeStore:
    store = EpisodeStore(path)
    for seed in range(episodes):
        store.append(turning_episode(seed, frames=70), f"e{seed}")
    return store


def failures(path: Path, full: bool = True) -> str:
    """Messages of a check, as the command prints them."""
    report = check_store(EpisodeStore(path), limits=CheckLimits(), frames=64, gigabytes=0, full=full, workers=1)
    assert report.failed()
    return "\n".join(f.message for f in report.findings if f.severity == "failure")


def expect_recovery(path: Path, whole: set[str]) -> EpisodeStore:
    """After a repair in place every episode reads; those that were whole are as before."""
    repair(EpisodeStore(path))
    store = EpisodeStore(path)
    for name in store:
        store.verify(name)
    assert whole <= set(store.names())
    for name in whole:
        assert_equal(store.read(name), turning_episode(int(name[1:]), frames=70))
    return store


def test_a_flipped_byte_anywhere(tmp_path: Path):
    store, rng = filled(tmp_path), random.Random(0)
    for file in data_files(store, "e1"):
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(CorruptEpisodeError, match="e1"):
            EpisodeStore(tmp_path).read("e1")
        assert "e1" in failures(tmp_path)
        assert_equal(EpisodeStore(tmp_path).read("e0"), turning_episode(0, frames=70))
        file.write_bytes(content)
    file = next(f for f in data_files(store, "e1") if "frames/c" in str(f))
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    repaired = expect_recovery(tmp_path, {"e0", "e2"})
    kept = repaired.read("e1.f000032-000070")
    np.testing.assert_array_equal(kept.frames, turning_episode(1, frames=70).frames[32:])


def test_a_deleted_shard(tmp_path: Path):
    store = filled(tmp_path)
    for file in [f for f in data_files(store, "e1") if "/c/" in str(f)]:
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(CorruptEpisodeError, match="missing"):
            EpisodeStore(tmp_path).read("e1")
        # Sizes are compared even in the quickest check.
        assert "is missing" in failures(tmp_path, full=False)
        file.write_bytes(content)
    next(f for f in data_files(store, "e1") if "frames/c" in str(f)).unlink()
    assert expect_recovery(tmp_path, {"e0", "e2"}).names() == ["e0", "e2"]
    assert (tmp_path / "damaged" / "e1" / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_manifest(tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]):
    manifest = filled(tmp_path).path / "episodes" / "e1" / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CorruptEpisodeError, match="manifest cannot be read"):
        EpisodeStore(tmp_path).read("e1")
    assert cli.main([*CHECK, f"data={tmp_path}", f"folder={tmp_path}/run"]) == 1
    assert "'e1': its manifest cannot be read" in capfd.readouterr().out
    part = expect_recovery(tmp_path, {"e0", "e2"}).read("e1.f000000-000070")
    np.testing.assert_array_equal(part.frames, turning_episode(1, frames=70).frames)
    assert part.provenance["recovered"]["manifest"] == "it is not whole"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"this system mounts no tmpfs: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def noise(number: int) -> Episode:
    """An episode of about 0.6 MB that does not compress."""
    episode = make_episode(64, seed=number)
    frames = np.random.default_rng(number).integers(0, 256, (64, 48, 64, 3), dtype=np.uint8)
    return Episode(**{**vars(episode), "frames": frames})


def test_a_full_disk(small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    store = EpisodeStore(small_disk)
    with pytest.raises(OSError) as full:
        for number in range(10):
            store.append(noise(number), f"e{number}")
    assert full.value.errno == errno.ENOSPC
    names = EpisodeStore(small_disk).names()
    assert 2 <= len(names) < 10 and not any((small_disk / "unfinished").iterdir())
    for name in names:
        assert_equal(EpisodeStore(small_disk).read(name), noise(int(name[1:])))
    # Commands say it in one line, and leave nothing half copied.
    source = EpisodeStore(tmp_path / "source")
    source.append(noise(99), "late")
    words = ["data", "repair", f"data={source.path}", f"out={small_disk}", f"folder={tmp_path}/run"]
    assert cli.main(words) == 2
    assert "No space left on device" in capfd.readouterr().err
    assert EpisodeStore(small_disk).names() == names and not any((small_disk / "unfinished").iterdir())
    # With room again, all is well.
    for path in data_files(store, names[0]):
        path.unlink()
    repair(EpisodeStore(small_disk))
    store = EpisodeStore(small_disk)
    store.append(noise(50), "e50")
    assert_equal(EpisodeStore(small_disk).read("e50"), noise(50))


def write_on_and_on(out: str, first: int) -> None:
    store = EpisodeStore(out)
    for number in range(first, first + 100_000):
        store.append(make_episode(40, seed=number), f"e{number:06d}")
        (Path(out) / "committed").mkdir(exist_ok=True)
        (Path(out) / "committed" / f"e{number:06d}").touch()


def writers(*jobs: tuple[object, ...]) -> Sequence[BaseProcess]:
    """Processes from one server that has imported everything, so that each starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.datasets.checks.test_faults"])
    processes = [context.Process(target=job[0], args=job[1:]) for job in jobs]  # type: ignore[arg-type]
    for process in processes:
        process.start()
    return processes


@pytest.mark.slow
def test_kill_minus_nine_twenty_times(tmp_path: Path):
    rng = random.Random(0)
    for _ in range(20):
        before = len(EpisodeStore(tmp_path))
        (writer,) = writers((write_on_and_on, str(tmp_path), before))
        wait_until(lambda before=before: len(EpisodeStore(tmp_path)) > before, "a first episode")
        time.sleep(rng.uniform(0, 0.08))
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        committed = {path.name for path in (tmp_path / "committed").iterdir()}
        assert committed <= set(EpisodeStore(tmp_path).names())
    store = EpisodeStore(tmp_path)
    assert len(store) >= 20
    for name in store:
        assert_equal(store.read(name), make_episode(40, seed=int(name[1:])))
    left = sum(1 for _ in (tmp_path / "unfinished").iterdir())
    assert store.discard_unfinished() == left and not any((tmp_path / "unfinished").iterdir())


def write_all(out: str, mark: int, start: str) -> None:
    store = EpisodeStore(out)
    while not Path(start).exists():
        time.sleep(0.002)
    for number in range(12):
        try:
            store.append(make_episode(40, seed=number, writer=mark), f"e{number:02d}")
        except FileExistsError:
            (Path(start).parent / f"lost-{mark}-{number:02d}").touch()


@pytest.mark.slow
def test_two_writers_of_the_same_episodes(tmp_path: Path):
    out, start = tmp_path / "store", tmp_path / "start"
    both = writers((write_all, str(out), 0, str(start)), (write_all, str(out), 1, str(start)))
    start.touch()
    for process in both:
        process.join()
        assert process.exitcode == 0
    store = EpisodeStore(out)
    assert len(store) == 12 and not any((out / "unfinished").iterdir())
    for number, name in enumerate(store.names()):
        winner = store.read(name).provenance["writer"]
        assert_equal(store.read(name), make_episode(40, seed=number, writer=winner))
        # The other one was told, every time.
        assert (tmp_path / f"lost-{1 - winner}-{number:02d}").exists()
        assert not (tmp_path / f"lost-{winner}-{number:02d}").exists()


@pytest.mark.slow
def test_a_clock_that_goes_back_while_writing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"seed": 3, "workers": 0, "episode_frames": 20, "episodes_per_world": 2, "progress": False}
    collect(out=tmp_path / "steady", episodes=4, make_env=make_fake, **options)
    now = [2_000_000_000.0]

    def backwards() -> float:
        now[0] -= 86_400
        return now[0]

    gmtime = time.gmtime
    monkeypatch.setattr(time, "time", backwards)
    monkeypatch.setattr(time, "gmtime", lambda seconds=None: gmtime(backwards() if seconds is None else seconds))
    for episodes in (2, 4):
        report = collect(out=tmp_path / "back", episodes=episodes, make_env=make_fake, **options)
        assert not report.failures
    assert report.skipped == 2
    steady, back = EpisodeStore(tmp_path / "steady"), EpisodeStore(tmp_path / "back")
    assert steady.names() == back.names() and len(back) == 4
    for name in back:
        for array, values in back.read(name).arrays().items():
            np.testing.assert_array_equal(values, steady.read(name).arrays()[array])


def test_a_clock_that_went_back_in_a_recording_fails_the_check(tmp_path: Path):
    episode = turning_episode(0, frames=70)
    times = np.arange(70) / 20.0
    times[40:] -= 3600
    EpisodeStore(tmp_path).append(Episode(**{**vars(episode), "state": {"time": times}}), "a")
    assert "a: the clock stands still or runs back 1 times (first at frame 40)" in failures(tmp_path)


def test_tensorstore_reads_the_same_frames(tmp_path: Path):
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    store = EpisodeStore(tmp_path)
    episode = make_episode(70)
    store.append(episode, "a")
    for name, array in episode.arrays().items():
        path = str(tmp_path / "episodes" / "a" / "arrays" / name)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        read = tensorstore.open(spec, read=True).result().read().result()
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(read, store.read("a").arrays()[name])
