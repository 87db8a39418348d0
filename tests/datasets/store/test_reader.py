import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, GzipCodec, ZstdCodec

from tests.datasets.store.test_store import assert_equal, make_episode
from worldsim.datasets.store import episode_files
from worldsim.datasets.store.folder import LocalFolder
from worldsim.datasets.store.reader import ShardedArray, ShardError
from worldsim.datasets.store.shard_layout import ShardLayout
from worldsim.datasets.store.store import EpisodeStore

CODECS = (ZstdCodec(level=1), Crc32cCodec())


def write(folder: Path, array: np.ndarray, chunk: int, shard: int, codecs: Any = CODECS, **options: Any) -> None:
    target = zarr.create_array(
        store=folder / "a", shape=array.shape, dtype=array.dtype, chunks=(chunk, *array.shape[1:]),
        shards=(shard, *array.shape[1:]), compressors=codecs, overwrite=True, **options,
    )  # fmt: skip
    target[:] = array


def layout(folder: Path) -> ShardLayout | None:
    return ShardLayout.parse(json.loads((folder / "a" / "zarr.json").read_text()))


def open_array(folder: Path) -> ShardedArray:
    about = layout(folder)
    assert about is not None
    sizes = {f"a/{name}": size for name, size in LocalFolder(folder / "a").files("").items()}
    return ShardedArray(about, "a", sizes, LocalFolder(folder).read_range)


@given(
    rows=st.integers(1, 40),
    chunk=st.integers(1, 9),
    chunks=st.integers(1, 5),
    dtype=st.sampled_from(["uint8", "bool", "int16", "int32", "float32", "float64"]),
    width=st.sampled_from([(), (3,), (2, 3)]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_range_is_what_zarr_reads(
    tmp_path: Path, rows: int, chunk: int, chunks: int, dtype: str, width: tuple[int, ...], seed: int
):
    rng = np.random.default_rng(seed)
    # Zeros here and there: chunks and shards that hold nothing else are left out by zarr.
    array = (rng.integers(0, 99, (rows, *width)) * (rng.random((rows, *(1 for _ in width))) < 0.3)).astype(dtype)
    write(tmp_path, array, chunk, chunk * chunks)
    mine, theirs = open_array(tmp_path), zarr.open_array(store=tmp_path / "a", mode="r")
    np.testing.assert_array_equal(np.asarray(theirs[:]), array)
    for _ in range(5):
        first = int(rng.integers(rows))
        last = int(rng.integers(first, rows)) + 1
        out = np.full((last - first, *width), 77, dtype)
        np.testing.assert_array_equal(mine.read(first, last), array[first:last])
        np.testing.assert_array_equal(mine.read(first, last, out), array[first:last])
        np.testing.assert_array_equal(out, array[first:last])


def test_no_damage_is_silent(tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 9, (30, 4, 5), dtype=np.uint8)
    write(tmp_path, array, 4, 16)
    rng, noticed = random.Random(0), 0
    for file in sorted(p for p in (tmp_path / "a" / "c").rglob("*") if p.is_file()):
        content = file.read_bytes()
        for position in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[position] ^= 1 << rng.randrange(8)
            file.write_bytes(flipped)
            with pytest.raises(ShardError):
                open_array(tmp_path).read(0, 30)
            noticed += 1
        reader = open_array(tmp_path)
        for length in (0, 1, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length])
            for one in (reader, open_array(tmp_path)):
                with pytest.raises(ShardError):
                    one.read(0, 30)
        file.unlink()
        with pytest.raises(FileNotFoundError):
            reader.read(0, 30)
        file.write_bytes(content)
    assert noticed > 100
    np.testing.assert_array_equal(open_array(tmp_path).read(0, 30), array)


def test_only_the_chunks_of_a_clip_are_read(tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 255, (64, 30), dtype=np.uint8)
    write(tmp_path, array, 4, 64)
    reader, folder, asked = open_array(tmp_path), LocalFolder(tmp_path), []

    def count(path: str, start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return folder.read_range(path, start, stop)

    reader._read_range = count
    np.testing.assert_array_equal(reader.read(9, 14), array[9:14])
    index, clip = asked
    assert index == 16 * 16 + 4 and 0 < clip < 2 * (4 * 30 + 30)
    reader.read(40, 44)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("codecs", "options"),
    [((GzipCodec(),), {}), (CODECS, {"fill_value": 3}), ((Crc32cCodec(),), {}), (CODECS, {"filters": ()})],
)
def test_a_layout_is_read_right_or_left_to_zarr(tmp_path: Path, codecs: Any, options: dict[str, Any]):
    array = np.full((20, 3), 3, np.uint8)
    array[5] = 0
    write(tmp_path, array, 4, 20, codecs, **options)
    about = layout(tmp_path)
    assert (about is None) == (codecs is not CODECS)
    if about is not None:
        np.testing.assert_array_equal(open_array(tmp_path).read(0, 20), array)


@pytest.mark.parametrize("about", [{}, {"zarr_format": 2}, {"zarr_format": 3, "node_type": "array", "codecs": [1]}])
def test_nonsense_is_no_layout(about: dict[str, Any]):
    assert ShardLayout.parse(about) is None


def test_an_episode_of_another_layout_is_read_through_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ShardLayout, "parse", classmethod(lambda cls, about: None))
    monkeypatch.setattr(episode_files, "_chunk_sums", lambda *_: {})
    episode, store = make_episode(40), EpisodeStore(tmp_path)
    store.append(episode, "a")
    assert_equal(store.read("a"), episode)
    np.testing.assert_array_equal(
        store.read("a", 5, 9, out=np.empty((4, 8, 12, 3), np.uint8)).frames, episode.frames[5:9]
    )


def test_zarr_and_tensorstore_read_what_is_written(tmp_path: Path):
    episode, store = make_episode(70), EpisodeStore(tmp_path)
    store.append(episode, "a")
    frames = tmp_path / "episodes" / "a" / "arrays" / "frames"
    np.testing.assert_array_equal(np.asarray(zarr.open_array(store=frames, mode="r")[3:60]), episode.frames[3:60])
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(frames)}}
    np.testing.assert_array_equal(
        tensorstore.open(spec, read=True).result()[3:60].read().result(), episode.frames[3:60]
    )


def test_chunks_fit_their_frames():
    rows = {size: episode_files.chunk_rows(size) for size in (80 * 144 * 3, 640 * 360 * 3, 84 * 84 * 3, 3)}
    assert rows == {34560: 8, 691200: 1, 21168: 12, 3: 32}
