"""Stores behind URLs: fsspec's memory, a local web server, a zip file."""

import functools
import http.server
import io
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tests.datasets.store.test_store import assert_equal, make_episode
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.folder import open_folder
from worldsim.datasets.store.index import FILE
from worldsim.datasets.store.remote import RemoteFolder
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore
from worldsim.errors import UserError


@pytest.fixture
def url() -> Iterator[str]:
    yield "memory://bucket/store"
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "store")
    for number in range(3):
        store.append(make_episode(40 + number, seed=12 * number), f"e{number}")
    store.write_index()
    return store


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that knows ranges, as those before object stores do."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send_head(self) -> Any:
        wanted, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().send_head()
        content = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        return io.BytesIO(part)


def upload(store: EpisodeStore, url: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(store.path) + "/", url.removeprefix("memory:/") + "/", recursive=True)


def test_what_is_written_behind_a_url_is_read_back(url: str):
    store, episode = EpisodeStore(url), make_episode(40)
    assert store.names() == [] and "a" not in store
    store.append(episode, "a")
    assert store.names() == ["a"] == EpisodeStore(url).names("train") and store.frames_total() == 40
    again = EpisodeStore(url)
    assert_equal(again.read("a"), episode)
    again.verify("a")
    with pytest.raises(FileExistsError):
        again.append(episode, "a")
    with pytest.raises(ValueError, match="not a folder of this machine"):
        _ = store.path


def test_a_copied_store_is_the_same_store(local: EpisodeStore, url: str):
    upload(local, url)
    there = EpisodeStore(url)
    assert there.names() == local.names() and there.digest("e1") == local.digest("e1")
    a, b = (ClipSampler(s, "train", frames=16, batch=6, seed=3, threads=2)[4] for s in (local, there))
    np.testing.assert_array_equal(a["frames"], b["frames"])
    np.testing.assert_array_equal(a["actions"], b["actions"])


def test_a_store_written_behind_a_url_is_a_store_when_it_is_copied_here(url: str, tmp_path: Path):
    EpisodeStore(url).append(make_episode(20), "a")
    fsspec.filesystem("memory").get("/bucket/store/", str(tmp_path / "here") + "/", recursive=True)
    here = EpisodeStore(tmp_path / "here")
    assert_equal(here.read("a"), make_episode(20))


def test_a_web_server_is_enough_for_reading(local: EpisodeStore):
    pytest.importorskip("aiohttp")
    handler = functools.partial(Quiet, directory=str(local.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            for snapshot in (False, True):
                there = EpisodeStore(url, snapshot=snapshot)
                assert there.names("train") == local.names("train")
                assert_equal(there.read("e2", 5, 30), local.read("e2", 5, 30))
            there.verify("e0")
            with pytest.raises(FileNotFoundError):
                there.read("missing")
        finally:
            server.shutdown()


def test_an_archive_is_a_store(local: EpisodeStore, tmp_path: Path):
    shutil.make_archive(str(tmp_path / "packed"), "zip", local.path)
    packed = EpisodeStore(f"zip://::{tmp_path / 'packed.zip'}")
    assert packed.names() == local.names()
    assert_equal(packed.read("e1"), local.read("e1"))


def test_of_an_episode_only_what_is_needed_is_fetched(url: str, monkeypatch: pytest.MonkeyPatch):
    EpisodeStore(url).append(make_episode(2000), "a")
    fetched: list[int] = []
    read_range = RemoteFolder.read_range

    def counted(self: RemoteFolder, path: str, start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        return read_range(self, path, start, stop)

    monkeypatch.setattr(RemoteFolder, "read_range", counted)
    store = EpisodeStore(url)
    np.testing.assert_array_equal(store.read("a", 700, 716).frames, make_episode(2000).frames[700:716])
    # Of 576,000 bytes of pictures: the index, and the chunks of the clip.
    assert sum(fetched) < 40_000


def test_damage_behind_a_url_is_noticed_by_whoever_reads_it(url: str):
    episode = make_episode(70)
    EpisodeStore(url).append(episode, "a")
    memory, rng = fsspec.filesystem("memory"), np.random.default_rng(0)
    for path, about in memory.find("/bucket/store/episodes", detail=True).items():
        content = memory.cat_file(path)
        for position in rng.integers(about["size"], size=2):
            flipped = bytearray(content)
            flipped[position] ^= 1 << int(rng.integers(8))
            memory.pipe_file(path, bytes(flipped))
            # A group's own zarr.json is read by a whole verification only.
            with pytest.raises(ValueError):
                EpisodeStore(url, verify="whole").read("a")
            group = path.endswith("state/zarr.json") or path.split("/")[-2].startswith("arrays.")
            if not group:
                with pytest.raises(ValueError):
                    EpisodeStore(url).read("a")
        memory.rm(path)
        with pytest.raises((CorruptEpisodeError, FileNotFoundError)):
            EpisodeStore(url, verify="whole").read("a")
        memory.pipe_file(path, content)
    assert_equal(EpisodeStore(url).read("a"), episode)


def test_shards_that_were_exchanged_are_noticed(url: str):
    store = EpisodeStore(url)
    store.append(make_episode(40, seed=0), "a")
    store.append(make_episode(40, seed=12), "b")
    memory = fsspec.filesystem("memory")
    a, b = (next(p for p in memory.find(f"/bucket/store/episodes/{n}") if "/frames/c/" in p) for n in "ab")
    memory.pipe_file(a, memory.cat_file(b))
    with pytest.raises(CorruptEpisodeError, match="a"):
        EpisodeStore(url).read("a", 0, 5)


def test_an_upload_that_dies_leaves_no_episode_and_blocks_nobody(url: str, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        # Killed outright, a writer cleans nothing up.
        patch.setattr(RemoteFolder, "create", die)
        patch.setattr(RemoteFolder, "remove", lambda *_: None)
        with pytest.raises(Killed):
            EpisodeStore(url).append(make_episode(20), "a")
    assert EpisodeStore(url).names() == [] and "a" not in EpisodeStore(url)
    EpisodeStore(url).append(make_episode(20), "a")
    assert EpisodeStore(url).names() == ["a"]
    EpisodeStore(url).verify("a")
    assert_equal(EpisodeStore(url, verify="whole").read("a"), make_episode(20))


def test_of_two_writers_of_one_name_one_wins_and_nothing_is_mixed(url: str, monkeypatch: pytest.MonkeyPatch):
    create = RemoteFolder.create

    def late(self: RemoteFolder, path: str, content: bytes) -> None:
        monkeypatch.setattr(RemoteFolder, "create", create)
        EpisodeStore(url).append(make_episode(20, seed=12), "a")
        create(self, path, content)

    monkeypatch.setattr(RemoteFolder, "create", late)
    with pytest.raises(FileExistsError):
        EpisodeStore(url).append(make_episode(20, seed=0), "a")
    assert_equal(EpisodeStore(url, verify="whole").read("a"), make_episode(20, seed=12))
    assert len(fsspec.filesystem("memory").ls("/bucket/store/episodes/a")) == 2


def test_a_snapshot_behind_a_url_lists_nothing(local: EpisodeStore, url: str, monkeypatch: pytest.MonkeyPatch):
    upload(local, url)
    assert open_folder(url).exists(FILE)
    monkeypatch.setattr(RemoteFolder, "children", None)
    store = EpisodeStore(url, snapshot=True)
    assert store.names() == ["e0", "e1", "e2"]
    assert_equal(store.read("e0"), local.read("e0"))


def test_another_process_gets_a_store_of_its_own(local: EpisodeStore, url: str):
    upload(local, url)
    for store in (local, EpisodeStore(url)):
        sampler = ClipSampler(store, "train", frames=8, batch=4)
        here, there = sampler[0], pickle.loads(pickle.dumps(sampler))[0]
        np.testing.assert_array_equal(here["frames"], there["frames"])


def test_mistakes_are_told():
    with pytest.raises(UserError, match="nonsense"):
        EpisodeStore("nonsense://bucket/store")
    assert open_folder("file:///tmp/x").local == Path("/tmp/x") and open_folder("a/b").local == Path("a/b").absolute()
