"""Clips out of packs, here, in memory:// and behind a web server and an S3 server: those of the unpacked cache."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from tests.buckets import bucket  # noqa: F401
from tests.datasets.loading.test_latent_pack import LENGTHS, make_cache
from tests.datasets.store.test_remote import Quiet
from worldsim.datasets.loading import latent_stream
from worldsim.datasets.loading.latent_cache import LatentCache
from worldsim.datasets.loading.latent_pack import SET, pack_latents, unpack_latents
from worldsim.datasets.loading.latent_stream import LatentPacks, StreamedClips, clips_of, is_packed, open_latents
from worldsim.datasets.loading.latents import LatentClips
from worldsim.datasets.store.remote import RemoteFolder
from worldsim.errors import UserError
from worldsim.spec.batch import LatentBatch

FRAMES = 4
# Places where a clip of 4 latent frames can begin, by episode: 2, 5, 1 and 3.
PLACES = sum(len(range(0, n - FRAMES + 1, 4)) for n in LENGTHS)


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A pack of each of four episodes."""
    make_cache(tmp_path / "cache")
    assert len(pack_latents(tmp_path / "cache", tmp_path / "packs", megabytes=1e-6)) == len(LENGTHS)
    return tmp_path / "packs"


@pytest.fixture
def served(packs: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    handler = functools.partial(Quiet, directory=str(packs))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.fixture
def url(packs: Path) -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    memory.put(f"{packs}/", "/bucket/packs/", recursive=True)
    yield "memory://bucket/packs"
    memory.rm("/bucket", recursive=True)


def stream(where: str | Path, *, batch: int = 2, **options) -> StreamedClips:
    return StreamedClips(LatentPacks(where), frames=FRAMES, batch=batch, **options)


def same(one: LatentBatch, other: LatentBatch) -> bool:
    pairs = zip(vars(one).items(), vars(other).values(), strict=True)
    return all(a is b is None or (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b) for (_, a), b in pairs)


def rows(batch: LatentBatch) -> list[bytes]:
    """What tells the clips of a batch from all others."""
    return [row.numpy().tobytes() for row in batch.actions]


def test_an_epoch_has_every_clip_of_the_unpacked_cache_once(packs: Path, tmp_path: Path):
    unpack_latents(packs, tmp_path / "again")
    cache = LatentClips(tmp_path / "again", frames=FRAMES, batch=1)
    wanted = {rows(clip)[0]: clip for clip in (cache.at(cache.starts[[i]]) for i in range(cache.places))}
    assert len(wanted) == PLACES == stream(packs).places
    clips = stream(packs, batch=1)
    found = [clips(index) for index in range(PLACES)]
    assert {key for batch in found for key in rows(batch)} == set(wanted)
    assert all(same(batch, wanted[rows(batch)[0]]) for batch in found)
    # And in the next one, in another order.
    again = [rows(clips(index))[0] for index in range(PLACES, 2 * PLACES)]
    assert set(again) == set(wanted) and again != [rows(batch)[0] for batch in found]


def test_a_clip_is_a_function_of_seed_and_index_wherever_packs_are(packs: Path, url: str, served: str):
    clips = stream(packs, seed=5, lanes=2, limit=1)
    expected = [clips(index) for index in range(12)]
    for place in (url, served, f"file://{packs}"):
        there = stream(place, seed=5, lanes=2, limit=1)
        assert all(same(expected[index], there(index)) for index in (11, 0, 1, 2, 7))
    assert not all(same(expected[index], stream(url, seed=6, lanes=2, limit=1)(index)) for index in range(4))
    assert {str(path) for path in (packs.parent / "packs").iterdir()} == {
        str(packs / name) for name in (SET, *(f"pack-{i:03d}.zip" for i in range(4)))
    }


@pytest.mark.slow
def test_packs_are_written_to_s3_and_streamed_from_there(packs: Path, tmp_path: Path, bucket: dict[str, bytes]):
    url = "s3://worlds/packs/train"
    names = pack_latents(tmp_path / "cache", url, megabytes=1e-6)
    bucket.pop("/worlds", None)
    # The same latents make the same packs.
    assert bucket == {f"/worlds/packs/train/{path.name}": path.read_bytes() for path in packs.iterdir()}
    assert len(names) == 4 and all(same(stream(packs)(index), stream(url)(index)) for index in (0, 3))
    with pytest.raises(UserError, match="not empty"):
        pack_latents(tmp_path / "cache", url)
    with pytest.raises(FileNotFoundError, match=r"no packed latents in s3://worlds/nothing: it has no packs\.json"):
        LatentPacks("s3://worlds/nothing")
    del bucket["/worlds/packs/train/pack-001.zip"]
    with pytest.raises(UserError, match=r"^s3://worlds/packs/train/pack-001\.zip is missing: it is one of 4"):
        [stream(url)(index) for index in range(PLACES)]


def test_a_rank_reads_the_packs_of_its_own_parts_and_holds_two_blocks(url: str, monkeypatch: pytest.MonkeyPatch):
    read = RemoteFolder.read
    seen: list[str] = []
    monkeypatch.setattr(RemoteFolder, "read", lambda self, path: (seen.append(path), read(self, path))[1])

    def epoch(rank: int) -> set[str]:
        """What rank 0 or 1 reads for the first batches of its lane."""
        clips = stream(url, lanes=2, batch=1, limit=1, ahead=False)
        seen.clear()
        blocks = {clips.shuffle.locate(index)[0].number for index in range(rank, 40, 2)}
        last = next(i for i in range(rank, 400, 2) if clips.shuffle.locate(i)[0].epoch == 1)
        for index in range(rank, last, 2):
            clips(index)
            assert len(clips._blocks) == 1
        assert len(seen) == len(set(seen)) == len(blocks)
        return set(seen)

    one, two = epoch(0), epoch(1)
    assert one and two and not one & two and one | two == {f"pack-{i:03d}.zip" for i in range(4)}
    # The next block is read while clips are drawn from one, and no other.
    clips = stream(url, lanes=1, batch=1, limit=1)
    for index in range(3 * PLACES):
        clips(index)
        block = clips.shuffle.locate(index)[0]
        assert set(clips._blocks) == {block, clips.shuffle.after(block)}


def test_a_block_takes_the_memory_that_the_set_declares(packs: Path):
    found = LatentPacks(packs)
    for number, declared in enumerate(found.nbytes):
        held = found.read([number])
        assert sum(array.nbytes for array in held.arrays.values()) == declared
    everything = found.read(range(4))
    assert everything.index["names"] == ["e0", "e1", "e2", "e3"] and everything.lengths.tolist() == list(LENGTHS)


def test_a_lost_or_damaged_pack_is_named(packs: Path):
    victim = packs / "pack-002.zip"
    content = victim.read_bytes()
    for wrong in (content[:-1], content[:99] + bytes([content[99] ^ 1]) + content[100:], b""):
        victim.write_bytes(wrong)
        with pytest.raises(UserError, match=rf"^{victim} is damaged: its sha256 is not the one in packs.json$"):
            [stream(packs)(index) for index in range(PLACES)]
    victim.unlink()
    with pytest.raises(UserError, match=rf"^{victim} is missing: it is one of 4 in packs.json$"):
        [stream(packs)(index) for index in range(PLACES)]


def test_a_place_that_fails_for_a_moment_is_asked_again(url: str, monkeypatch: pytest.MonkeyPatch):
    expected = stream(url)(0)
    read, fails, waited = RemoteFolder.read, 2, []

    def moody(self: RemoteFolder, path: str) -> bytes:
        nonlocal fails
        if path != SET and fails:
            fails -= 1
            if fails % 2:
                raise OSError("connection reset")
            return read(self, path)[:-1]
        return read(self, path)

    monkeypatch.setattr(latent_stream.time, "sleep", lambda seconds: waited.append(seconds))
    monkeypatch.setattr(RemoteFolder, "read", moody)
    assert same(expected, stream(url, ahead=False)(0)) and [s for s in waited if s] == [latent_stream.PAUSE] * 2
    fails = 1000
    with pytest.raises(UserError, match=r"^memory://bucket/packs/pack-00\d.zip (cannot be read: conn|is damaged)"):
        stream(url, ahead=False)(0)
    assert fails == 997


def test_a_set_says_what_it_is_of(packs: Path, tmp_path: Path):
    cache = LatentCache(tmp_path / "cache")
    found = open_latents(packs)
    assert isinstance(found, LatentPacks) and found.index == {
        name: value for name, value in cache.index.items() if not isinstance(value, list)
    }
    texts, vectors = found.common_prompts()
    expected, wanted = cache.common_prompts()
    assert texts == expected == ["walking", "digging"] and vectors is not None and wanted is not None
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    with pytest.raises(UserError, match="do not say what they are of"):
        found.store_record()
    assert isinstance(open_latents(tmp_path / "cache"), LatentCache)
    assert is_packed(packs) and not is_packed(tmp_path / "cache") and not is_packed(tmp_path / "nowhere")


def test_damage_and_mistakes(packs: Path, tmp_path: Path):
    index = packs / SET
    body = json.loads(index.read_text())
    for wrong in ("{", "[]", "{}", json.dumps(body | {"lengths": [9, 21, 5, 14]})):
        index.write_text(wrong)
        with pytest.raises(UserError, match=r"packs\.json is damaged or not the index of packed latents"):
            LatentPacks(packs)
    with pytest.raises(FileNotFoundError, match=r"^no packed latents in memory://nothing: it has no packs\.json$"):
        open_latents("memory://nothing")
    with pytest.raises(FileNotFoundError, match="no latents in"):
        open_latents(tmp_path / "nowhere")
    index.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"no episode in .* has 30 latent frames"):
        StreamedClips(LatentPacks(packs), frames=30, batch=1)
    with pytest.raises(UserError, match="are packed"):
        clips_of(LatentPacks(packs), drawn={}, frames=4, batch=1, lanes=1, limit=1)
