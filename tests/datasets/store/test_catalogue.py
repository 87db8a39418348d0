"""Which episodes there are: the index follows the folder, whatever happens to either."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from tests.datasets.store.test_store import make_episode
from worldsim.datasets.store import catalogue
from worldsim.datasets.store.catalogue import Catalogue
from worldsim.datasets.store.folder import LocalFolder
from worldsim.datasets.store.index import FILE
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore


@pytest.fixture(autouse=True)
def small_stores_keep_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "INDEX_FROM", 1)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    out = EpisodeStore(tmp_path)
    for number in range(4):
        out.append(make_episode(6 + number, seed=number, source=f"s{number % 2}"), f"e{number}")
    rest(tmp_path)
    return out


def rest(path: Path, seconds: float = 100.0) -> None:
    """As if the last episode had come some time ago."""
    then = time.time() - seconds
    os.utime(path / "episodes", (then, then))


def count_manifests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    original = Catalogue.manifest

    def manifest(self: Catalogue, name: str) -> dict:
        read.append(name)
        return original(self, name)

    monkeypatch.setattr(Catalogue, "manifest", manifest)
    return read


def test_a_store_at_rest_is_opened_without_reading_a_manifest(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch):
    assert store.frames_total() == 30 and (store.path / FILE).is_file()
    read = count_manifests(monkeypatch)
    monkeypatch.setattr(LocalFolder, "children", None)
    again = EpisodeStore(store.path)
    assert again.names() == ["e0", "e1", "e2", "e3"] and again.names("validation") == ["e1"]
    assert again.frames_total("test") == 8 and again.index().names_of(again.index().rows(source="s1")) == ["e1", "e3"]
    assert not read


def test_of_a_store_that_grew_only_the_new_manifests_are_read(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch):
    store.index()
    store.append(make_episode(20, seed=12), "new")
    read = count_manifests(monkeypatch)
    assert EpisodeStore(store.path).names("train") == ["e0", "e3", "new"] and read == ["new"]


@pytest.mark.slow
def test_within_the_tick_of_a_clock_nothing_is_missed(store: EpisodeStore):
    reader = EpisodeStore(store.path)
    reader.index()
    for number in range(20):
        store.append(make_episode(6, seed=24), f"x{number}")
        # As a coarse clock would have it: the folder's time does not tell that it changed.
        rest(store.path, -0.5)
        assert len(reader.names("train")) == 3 + number and len(EpisodeStore(store.path).index()) == 5 + number


def test_clocks_that_go_back_cost_time_and_nothing_else(store: EpisodeStore):
    rest(store.path, -10_000)
    assert len(store.index()) == 4 and not store.index().settled
    store.append(make_episode(6, seed=24), "later")
    rest(store.path, 10_000)
    assert "later" in EpisodeStore(store.path).names("train")


def test_episodes_that_vanish_or_are_replaced_are_noticed(store: EpisodeStore):
    store.index()
    shutil.rmtree(store.path / "episodes" / "e0")
    other = EpisodeStore(store.path.with_name("other"))
    other.append(make_episode(30, seed=3), "e3")
    shutil.rmtree(store.path / "episodes" / "e3")
    shutil.move(other.path / "episodes" / "e3", store.path / "episodes" / "e3")
    rest(store.path)
    assert EpisodeStore(store.path).frames_total() == 7 + 8 + 30


def test_an_unreadable_manifest_is_an_error_with_and_without_an_index(store: EpisodeStore):
    manifest = store.path / "episodes" / "e3" / "manifest.json"
    content = manifest.read_text()
    manifest.write_text(content[:-50])
    for _ in range(2):
        with pytest.raises(CorruptEpisodeError, match="e3"):
            EpisodeStore(store.path).names("train")
        # Which episodes there are can be told all the same, so that they can be checked one by one.
        assert EpisodeStore(store.path).names() == ["e0", "e1", "e2", "e3"]
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="e3"):
        EpisodeStore(store.path).names("train")
    manifest.write_text(content)
    assert EpisodeStore(store.path).names("train") == ["e0", "e3"]


def test_a_damaged_index_is_made_anew_and_leftovers_of_killed_writers_do_no_harm(store: EpisodeStore):
    store.index()
    content = (store.path / FILE).read_bytes()
    for damaged in (b"", content[: len(content) // 2], content.replace(b"e0e1", b"e0e9")):
        (store.path / FILE).write_bytes(damaged)
        (store.path / f".{FILE}.1.tmp").write_bytes(damaged)
        assert EpisodeStore(store.path).names("train") == ["e0", "e3"]
        assert EpisodeStore(store.path).frames_total() == 30


def test_a_store_that_cannot_be_written_to_is_read(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(LocalFolder, "replace", refuse)
    assert store.frames_total() == 30 and not (store.path / FILE).exists()


def test_many_readers_and_writers_at_once_agree(store: EpisodeStore):
    errors: list[BaseException] = []

    def write(first: int) -> None:
        for number in range(first, first + 3):
            EpisodeStore(store.path).append(make_episode(6, seed=24), f"w{number:02d}")

    def read() -> None:
        try:
            for _ in range(8):
                index = EpisodeStore(store.path).index()
                assert set(index.names_of()) >= {"e0", "e1", "e2", "e3"} and index.frames.min() >= 6
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(i * 3,)) for i in range(2)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest(store.path)
    assert not errors and len(EpisodeStore(store.path).index()) == 10 == len(EpisodeStore(store.path).index())


def test_the_memory_of_an_open_store_is_bounded(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "_MANIFESTS_KEPT", 2)
    small = EpisodeStore(store.path, memory=22_000)
    verified: list[str] = []
    verify = small.verify
    monkeypatch.setattr(small, "verify", lambda name: (verified.append(name), verify(name)))
    for _ in range(3):
        for name in small:
            small.read(name, 0, 5)
    assert len(small._open) <= 2 and small._open_bytes <= 22_000 and len(small._catalogue._manifests) == 2
    # What was closed is opened again without comparing all its bytes again, unless they changed.
    assert verified == ["e0", "e1", "e2", "e3"]
    shard = next((store.path / "episodes" / "e0" / "arrays" / "frames" / "c").rglob("0/0/0/0"))
    content = bytearray(shard.read_bytes())
    content[3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorruptEpisodeError, match="e0"):
        small.read("e0", 0, 5)


def test_a_snapshot_needs_an_index_and_believes_it(store: EpisodeStore):
    with pytest.raises(FileNotFoundError, match="data index"):
        EpisodeStore(store.path, snapshot=True).names()
    store.write_index()
    snapshot = EpisodeStore(store.path, snapshot=True)
    store.append(make_episode(6, seed=24), "later")
    assert snapshot.names() == ["e0", "e1", "e2", "e3"] and "later" not in snapshot and "e2" in snapshot
    (store.path / FILE).write_bytes(b"nonsense")
    with pytest.raises(CorruptEpisodeError, match="index"):
        EpisodeStore(store.path, snapshot=True).names()
