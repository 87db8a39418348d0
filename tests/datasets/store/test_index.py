import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.index import FILE, EpisodeIndex, Row
from worldsim.datasets.store.store import EpisodeStore

NAMES = st.sets(st.text("abcz09._-", min_size=1, max_size=8), max_size=30)


def rows_of(names: set[str]) -> dict[str, Row]:
    splits = ("train", "validation", "test", "")
    return {n: Row(n, 7 * i, i + 1, splits[i % 4], "luanti", f"CC {i % 2}") for i, n in enumerate(sorted(names))}


def million(count: int = 1_000_000) -> EpisodeIndex:
    """As ``build`` would make it, without a million Python objects."""
    digits = np.array([f"e{i:06d}" for i in range(1000)], "S7").view(np.uint8).reshape(1000, 7)
    names = np.repeat(digits[None], count // 1000, 0).reshape(count, 7)
    number = np.arange(count)
    for place in range(6):
        names[:, 6 - place] = 48 + number // 10**place % 10
    splits = np.where(number % 12 == 1, 2, np.where(number % 12 == 2, 0, 1)).astype(np.int16)
    return EpisodeIndex(
        names=names.reshape(-1),
        ends=np.arange(7, 7 * count + 1, 7),
        identity=number,
        frames=np.full(count, 1000, np.int32),
        codes={"split": splits, "source": np.zeros(count, np.int16), "licence": np.zeros(count, np.int16)},
        labels={"split": ["test", "train", "validation"], "source": ["luanti"], "licence": ["CC BY-SA 3.0"]},
        settled=True,
    )


@given(NAMES)
def test_what_is_asked_is_what_was_put_in(names: set[str]):
    rows = rows_of(names)
    index = EpisodeIndex.from_bytes(EpisodeIndex.build(rows.values(), version=5, settled=True).to_bytes())
    assert index.as_rows() == rows and (index.version, index.settled, len(index)) == (5, True, len(rows))
    assert index.names_of() == sorted(rows) == [index.name(i) for i in range(len(index))]
    assert [index.row(name) for name in sorted(rows)] == list(range(len(rows)))
    assert index.row("missing") is None and index.row("") is None
    for split in ("train", "test", "unheard of"):
        chosen = index.rows(split=split, licence="CC 0")
        assert index.names_of(chosen) == [n for n, r in sorted(rows.items()) if (r.split, r.licence) == (split, "CC 0")]


def test_a_damaged_index_is_noticed_or_harmless():
    rows = rows_of({f"e{i:03d}" for i in range(40)})
    content, rng, noticed = EpisodeIndex.build(rows.values()).to_bytes(), np.random.default_rng(0), 0
    for position in rng.integers(len(content), size=200):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        try:
            assert EpisodeIndex.from_bytes(bytes(flipped)).as_rows() == rows
        except ValueError:
            noticed += 1
    assert noticed > 100
    for length in (0, 10, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match="index"):
            EpisodeIndex.from_bytes(content[:length])


def test_a_million_episodes_open_in_under_a_second_and_little_memory(tmp_path: Path):
    (tmp_path / FILE).write_bytes(million().to_bytes())
    begun = time.process_time()
    store = EpisodeStore(tmp_path, snapshot=True)
    sampler = ClipSampler(store, "train", frames=16, batch=8)
    places = [sampler.locate(int(clip)) for clip in sampler.draw(0)]
    # CPU time: the machine may be busy.
    assert time.process_time() - begun < 1.0
    assert len(sampler) == 833_332 * 985 and all(int(name[1:]) % 12 not in (1, 2) for name, _ in places)
    assert "e123456" in store and "e1234567" not in store
    kept = [store.index().names, store.index().ends, sampler._ends, sampler._rows]
    assert sum(array.nbytes for array in kept) < 64_000_000
