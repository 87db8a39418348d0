"""Chunks read one by one equal what the store gives, and each damaged one is known as such."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.store.test_store import make_episode
from worldsim.datasets.checks.chunks import ArrayChunks, DamagedArrayError, read_layout, shard_file
from worldsim.datasets.store.store import EpisodeStore


def arrays(tmp_path: Path, frames: int = 100) -> Path:
    EpisodeStore(tmp_path).append(make_episode(frames), "a")
    return tmp_path / "episodes" / "a" / "arrays"


def shard(folder: Path) -> Path:
    return shard_file(folder, read_layout(folder))


@pytest.mark.parametrize("frames", [6, 32, 33, 100])
def test_what_is_read_is_what_was_written(tmp_path: Path, frames: int):
    folder, episode = arrays(tmp_path, frames), make_episode(frames)
    for name, array in episode.arrays().items():
        chunks = ArrayChunks(folder / name)
        np.testing.assert_array_equal(chunks.read_all(), array)
        assert chunks.read_all().dtype == array.dtype and all(chunks.sound())
    if frames == 100:
        np.testing.assert_array_equal(ArrayChunks(folder / "frames").read_rows(30, 70), episode.frames[30:70])


def test_what_was_left_out_is_the_fill_value(tmp_path: Path):
    """zarr writes no chunk that is all zeros: a game without rewards has no file for them."""
    episode = make_episode(100)
    episode.frames[32:64] = 0
    episode.rewards[:] = 0
    EpisodeStore(tmp_path).append(episode, "a")
    folder = tmp_path / "episodes" / "a" / "arrays"
    np.testing.assert_array_equal(ArrayChunks(folder / "frames").read_all(), episode.frames)
    np.testing.assert_array_equal(ArrayChunks(folder / "rewards").read_all(), episode.rewards)
    with pytest.raises(DamagedArrayError, match="rewards is missing"):
        ArrayChunks(folder / "rewards", present=True)


def test_every_flipped_byte_costs_its_own_chunk_and_no_other(tmp_path: Path):
    folder, episode = arrays(tmp_path), make_episode(100)
    file = shard(folder / "frames")
    content = file.read_bytes()
    index = len(content) - 4 * 16 - 4
    for at in range(0, len(content), 997):
        file.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        chunks = ArrayChunks(folder / "frames")
        sound = list(chunks.sound())
        # A damaged index is made up for by the chunks' own headers.
        assert sound.count(False) == (1 if at < index else 0)
        for number in np.flatnonzero(sound):
            first, last = chunks.span(int(number))
            np.testing.assert_array_equal(chunks.read(int(number)), episode.frames[first:last])


def test_a_file_that_was_cut_keeps_the_chunks_before_the_cut(tmp_path: Path):
    folder, episode = arrays(tmp_path), make_episode(100)
    file = shard(folder / "frames")
    content = file.read_bytes()
    sizes = np.frombuffer(content[-4 * 16 - 4 : -4], "<u8").reshape(4, 2)
    ends = sizes.sum(1)
    for cut in [0, 3, *(int(end) + d for end in ends for d in (-1, 0, 1)), len(content) - 1]:
        file.write_bytes(content[:cut])
        chunks = ArrayChunks(folder / "frames")
        assert list(chunks.sound()) == [bool(end <= cut) for end in ends], cut
        if cut >= ends[0]:
            np.testing.assert_array_equal(chunks.read(0), episode.frames[:32])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"codecs": []}', '{"codecs": [{"configuration": {}}]}', "null"])
def test_a_damaged_description_is_told(tmp_path: Path, text: str):
    folder = arrays(tmp_path) / "actions"
    (folder / "zarr.json").write_text(text)
    with pytest.raises(DamagedArrayError, match=r"zarr\.json"):
        ArrayChunks(folder)
    (folder / "zarr.json").unlink()
    with pytest.raises(DamagedArrayError, match=r"zarr\.json"):
        ArrayChunks(folder)
