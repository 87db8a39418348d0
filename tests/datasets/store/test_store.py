import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.manifest import json_sha256
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore, split_of


def make_episode(frames: int = 70, seed: int = 0, **provenance: Any) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        frames=rng.integers(0, 256, (frames, 8, 12, 3), dtype=np.uint8),
        actions=rng.normal(size=(frames, 22)).astype(np.float32),
        rewards=rng.normal(size=frames).astype(np.float32),
        terminated=np.arange(frames) == frames - 1,
        state={
            "position": rng.normal(size=(frames, 3)).astype(np.float32),
            "inventory": rng.integers(0, 99, (frames, 2)).astype(np.int32),
        },
        events=[{"frame": 5, "kind": "dig", "node": "dirt"}, {"frame": frames - 1, "kind": "place"}],
        text="walking through a forest",
        provenance={"seed": seed, "split": split_of(seed), "engine": "none", "fps": 20} | provenance,
    )


def assert_equal(a: Episode, b: Episode) -> None:
    assert a.arrays().keys() == b.arrays().keys()
    for name, array in a.arrays().items():
        np.testing.assert_array_equal(array, b.arrays()[name])
        assert array.dtype == b.arrays()[name].dtype
    assert (list(a.events), a.text, a.provenance) == (list(b.events), b.text, b.provenance)


def data_files(store: EpisodeStore, name: str) -> list[Path]:
    return sorted(p for p in (store.path / "episodes" / name).rglob("*") if p.is_file())


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 70])
def test_what_is_read_is_what_was_written(tmp_path: Path, frames: int):
    episode = make_episode(max(frames, 6))
    EpisodeStore(tmp_path).append(episode, "a")
    assert_equal(EpisodeStore(tmp_path).read("a"), episode)


def test_a_part_keeps_the_alignment_of_every_array_and_event(tmp_path: Path):
    episode, store = make_episode(70), EpisodeStore(tmp_path)
    store.append(episode, "a")
    part = store.read("a", 4, 41)
    for name, array in part.arrays().items():
        np.testing.assert_array_equal(array, episode.arrays()[name][4:41])
    assert part.events == [{"frame": 1, "kind": "dig", "node": "dirt"}]


def test_changing_what_was_read_does_not_change_the_store(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(), "a")
    store.read("a").actions[:] = 0
    assert store.read("a").actions.any()


def test_every_flipped_byte_is_noticed(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(), "a")
    rng = random.Random(0)
    for file in data_files(store, "a"):
        content = file.read_bytes()
        for position in {0, len(content) - 1, *(rng.randrange(len(content)) for _ in range(3))}:
            flipped = bytearray(content)
            flipped[position] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            with pytest.raises((CorruptEpisodeError, ValueError)):
                EpisodeStore(tmp_path).read("a")
        file.write_bytes(content)
    assert_equal(EpisodeStore(tmp_path).read("a"), make_episode())


def test_every_deleted_cut_or_foreign_file_is_noticed(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(), "a")
    for file in data_files(store, "a"):
        content = file.read_bytes()
        file.unlink()
        with pytest.raises((CorruptEpisodeError, FileNotFoundError)):
            EpisodeStore(tmp_path).read("a")
        file.write_bytes(content[:-1])
        with pytest.raises(CorruptEpisodeError):
            EpisodeStore(tmp_path).read("a")
        file.write_bytes(content)
    (store.path / "episodes" / "a" / "arrays" / "stray").write_text("x")
    with pytest.raises(CorruptEpisodeError):
        EpisodeStore(tmp_path).read("a")


def test_an_episode_is_verified_once_per_opened_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(), "a")
    verified = []
    verify = store.verify
    monkeypatch.setattr(store, "verify", lambda name: (verified.append(name), verify(name)))
    for start in range(5):
        store.read("a", start, start + 10)
    assert verified == ["a"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    store = EpisodeStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("worldsim.datasets.store.commit.sync_tree", fail)
        with pytest.raises(OSError, match="disk full"):
            store.append(make_episode(), "a")
    assert store.names() == [] and not any((tmp_path / "unfinished").iterdir())
    store.append(make_episode(), "a")
    assert store.names() == ["a"]


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from tests.datasets.store.test_store import make_episode
from worldsim.datasets.store.store import EpisodeStore
store = EpisodeStore({out!r})
for number in range({first}, 100_000):
    store.append(make_episode(40, seed=number), f"e{{number:06d}}")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killing_a_writer_at_random_moments_loses_nothing_committed_and_shows_nothing_torn(tmp_path: Path):
    rng, committed, store = random.Random(0), set[str](), EpisodeStore(tmp_path)
    for _ in range(6):
        first = len(EpisodeStore(tmp_path))
        code = WRITER.format(tests=str(Path(__file__).parents[3]), out=str(tmp_path), first=first)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            committed.add(f"e{int(writer.stdout.readline()):06d}")
            time.sleep(rng.uniform(0, 0.2))
            os.kill(writer.pid, signal.SIGKILL)
            committed.update(f"e{int(line):06d}" for line in writer.stdout.read().split())
        store = EpisodeStore(tmp_path)
        assert committed <= set(store.names())
        for name in store:
            assert_equal(store.read(name), make_episode(40, seed=int(name[1:])))
    left = sum(1 for _ in (tmp_path / "unfinished").iterdir())
    assert store.discard_unfinished() == left
    assert not any((tmp_path / "unfinished").iterdir())


def test_unfinished_episodes_of_living_writers_are_left_alone(tmp_path: Path):
    (tmp_path / "unfinished" / f"a.{os.getpid()}.0").mkdir(parents=True)
    assert EpisodeStore(tmp_path).discard_unfinished() == 0


def test_of_two_episodes_of_one_name_the_first_stays(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(seed=0), "a")
    with pytest.raises(FileExistsError):
        store.append(make_episode(seed=12), "a")
    assert_equal(store.read("a"), make_episode(seed=0))


@pytest.mark.slow
def test_splits_are_disjoint_in_map_seeds(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    for number in range(30):
        store.append(make_episode(6, seed=number % 15), f"e{number:02d}")
    seeds = {
        split: {store.manifest(name)["provenance"]["seed"] for name in store.names(split)}
        for split in ("train", "validation", "test")
    }
    assert all(seeds.values()) and sum(len(s) for s in seeds.values()) == 15
    assert store.frames_total() == sum(store.frames_total(split) for split in ("train", "validation", "test")) == 180


def test_a_map_seed_cannot_enter_a_split_that_is_not_its_own(tmp_path: Path):
    with pytest.raises(ValueError, match="belongs to split 'validation'"):
        EpisodeStore(tmp_path).append(make_episode(6, seed=1, split="train"), "a")


def test_a_file_is_no_store(tmp_path: Path):
    (tmp_path / "file").touch()
    for where in (tmp_path / "file", f"file://{tmp_path}/file"):
        with pytest.raises(NotADirectoryError, match="file"):
            EpisodeStore(where)


def test_mistakes_are_told(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(), "a")
    with pytest.raises(FileNotFoundError):
        store.read("b")
    with pytest.raises(ValueError, match="outside"):
        store.read("a", 60, 90)
    with pytest.raises(ValueError, match="name"):
        store.append(make_episode(), "../a")
    with pytest.raises(ValueError, match="split"):
        store.names("dev")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows"):
        Episode(
            frames=np.zeros((3, 2, 2, 3), np.uint8),
            actions=np.zeros((2, 1), np.float32),
            rewards=np.zeros(3, np.float32),
            terminated=np.zeros(3, bool),
        )


def test_a_store_of_the_first_version_is_read():
    """The archive was written before chunks were listed in manifests and sized by their frames."""
    store = EpisodeStore(f"zip://::{Path(__file__).with_name('format-1-store.zip')}", verify="whole")
    episode, time = store.read("first"), np.arange(70)
    assert store.names("train") == ["first"] and episode.frames.shape == (70, 8, 12, 3) and episode.actions[5, 0] == 1
    np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], np.where(time < 40, time, 0))
    np.testing.assert_array_equal(episode.state["yaw"], time / 2)
    assert store.read("first", 30, 45).terminated.sum() == 0 and episode.terminated[-1]
    assert episode.events == [{"frame": 5, "kind": "dig", "node": "dirt"}] and not episode.rewards.any()


def make_deep(frames: int = 70, seed: int = 0) -> Episode:
    episode, rng = make_episode(frames, seed), np.random.default_rng(seed)
    depth = rng.integers(0, 65536, (frames, 8, 12)).astype(np.uint16)
    return dataclasses.replace(episode, state={**episode.state, "depth": depth})


def test_depth_comes_back_whole_in_part_and_not_at_all(tmp_path: Path):
    episode, store = make_deep(), EpisodeStore(tmp_path)
    store.append(episode, "a")
    store.append(make_episode(), "none")
    assert_equal(store.read("a"), episode)
    np.testing.assert_array_equal(store.read("a", 33, 50).state["depth"], episode.state["depth"][33:50])
    assert "depth" not in store.read("a", 33, 50, depth=False).state and "depth" not in store.read("none").state


def test_depth_that_was_not_asked_for_is_not_read(tmp_path: Path):
    store = EpisodeStore(tmp_path, verify="parts")
    store.append(make_deep(), "a")
    (tmp_path / "episodes" / "a" / "arrays" / "state" / "depth" / "c").rename(tmp_path / "gone")
    assert len(store.read("a", depth=False)) == 70
    with pytest.raises(CorruptEpisodeError):
        store.read("a", 0, 2)


def test_a_chunk_of_another_episodes_depth_is_noticed(tmp_path: Path):
    """Every chunk is sound in itself; the manifest tells which one belongs here."""
    store = EpisodeStore(tmp_path)
    for seed, name in enumerate("ab"):
        store.append(make_deep(seed=seed), name)
    files = [p for name in "ab" for p in data_files(store, name) if "depth/c" in p.as_posix()]
    sizes = [path.stat().st_size for path in files]
    files[0].write_bytes(files[1].read_bytes())
    assert len(files) == 2 and sizes[0] == sizes[1]  # noise does not compress
    with pytest.raises(CorruptEpisodeError, match="not the one that was written"):
        EpisodeStore(tmp_path, verify="parts").read("a")


@pytest.mark.parametrize("depth", [np.zeros((6, 8, 12), np.float32), np.zeros((6, 8, 11), np.uint16)])
def test_depth_of_another_type_or_size_than_documented_is_refused(depth: np.ndarray):
    with pytest.raises(ValueError, match="depth must be uint16"):
        dataclasses.replace(make_episode(6), state={"depth": depth})


@pytest.mark.parametrize("path", ["../a/arrays/zarr.json", "/etc/hostname", "arrays//zarr.json", "arrays\\\\zarr.json"])
@pytest.mark.parametrize("where", ["files", "arrays", "folder"])
def test_a_manifest_that_leads_out_of_its_episode_is_refused(tmp_path: Path, where: str, path: str):
    store = EpisodeStore(tmp_path / "s")
    store.append(make_episode(8), "a")
    file = tmp_path / "s/episodes/a/manifest.json"
    manifest = json.loads(file.read_text())
    manifest.pop("sha256")
    changes = {
        "files": manifest["files"] | {path: {"size": 1, "sha256": ""}},
        "arrays": [*manifest["arrays"], path],
        "folder": path,
    }
    manifest[where] = changes[where]
    file.write_text(json.dumps(manifest | {"sha256": json_sha256(manifest)}))
    for url in (str(tmp_path / "s"), f"local://{tmp_path / 's'}"):
        with pytest.raises(CorruptEpisodeError, match="outside of the episode"):
            EpisodeStore(url).read("a")


def test_links_in_an_episode_are_not_followed(tmp_path: Path):
    store = EpisodeStore(tmp_path / "s")
    store.append(make_episode(8), "a")
    # A store, or an episode, may be reached by a link; its files may not be any.
    (tmp_path / "alias").symlink_to(tmp_path / "s")
    assert len(EpisodeStore(tmp_path / "alias").read("a")) == 8
    file = data_files(store, "a")[0]
    file.replace(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    for url in (str(tmp_path / "s"), f"file://{tmp_path / 's'}", f"local://{tmp_path / 's'}"):
        with pytest.raises(CorruptEpisodeError, match="link to another file"):
            EpisodeStore(url).read("a")
    with pytest.raises(CorruptEpisodeError, match="link to another file"):
        EpisodeStore(tmp_path / "s").verify("a")
