"""Packed latents: what comes out is what went in, to half a step, in files as small as asked for."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from worldsim.datasets.loading.latent_cache import ARRAYS, LatentCache, write_cache
from worldsim.datasets.loading.latent_pack import pack_latents, unpack_latents
from worldsim.errors import UserError

LENGTHS = (9, 21, 5, 13)


def make_cache(folder: Path, *, tokenizer: str = "t", text: bool = True) -> LatentCache:
    rng = np.random.default_rng(0)

    def episodes():
        for length in LENGTHS:
            yield {
                "latents": rng.normal(size=(length, 6, 4, 6)).astype(np.float16),
                "actions": rng.normal(size=(length, 2, 22)).astype(np.float32),
                "motion": rng.normal(size=(length, 5)).astype(np.float32),
                "terminated": (np.arange(length) == length - 1).astype(np.float32),
                "stills": rng.normal(size=(-(-length // 4), 6, 4, 6)).astype(np.float16),
            }

    names = [f"e{i}" for i in range(len(LENGTHS))]
    index = {"names": names, "lengths": list(LENGTHS), "texts": ["", "walking", "", "digging"], "chunk": 2,
             "tokenizer": tokenizer, "known": [True] * 4, "posed": [True, True, False, True]}  # fmt: skip
    write_cache(folder, episodes(), index, rng.normal(size=(4, 8)).astype(np.float32) if text else None)
    return LatentCache(folder)


@pytest.mark.parametrize("text", [True, False])
def test_unpacked_is_what_was_packed(tmp_path: Path, text: bool):
    cache = make_cache(tmp_path / "cache", text=text)
    files = pack_latents(tmp_path / "cache", tmp_path / "packs", step=0.1)
    assert files == {"pack-000.zip": (tmp_path / "packs/pack-000.zip").stat().st_size}
    assert unpack_latents(tmp_path / "packs", tmp_path / "again") == 4
    again = LatentCache(tmp_path / "again")
    assert again.index == cache.index
    for row in range(4):
        before, after = cache.episode(row), again.episode(row)
        for name in ARRAYS:
            assert before[name].dtype == after[name].dtype
            tolerance = 0.051 if name in ("latents", "stills") else 0
            np.testing.assert_allclose(after[name].astype(np.float64), before[name], rtol=0, atol=tolerance)
    if text:
        assert again.text is not None and cache.text is not None
        np.testing.assert_allclose(again.text, cache.text, atol=1e-5)
    else:
        assert again.text is None


def test_files_are_as_small_as_asked_for_and_some_of_them_will_do(tmp_path: Path):
    make_cache(tmp_path / "cache")
    files = pack_latents(tmp_path / "cache", tmp_path / "packs", megabytes=0.012)
    assert len(files) > 1 and all(size < 0.012e6 + 3000 for size in list(files.values())[:-1])
    (tmp_path / "packs" / next(iter(files))).unlink()
    some = unpack_latents(tmp_path / "packs", tmp_path / "some")
    cache = LatentCache(tmp_path / "some")
    assert 0 < some < 4 and cache.index["names"] == [f"e{i}" for i in range(4 - some, 4)]
    assert cache.index["lengths"] == list(LENGTHS[4 - some :])


def test_damage_and_strangers_are_told(tmp_path: Path):
    make_cache(tmp_path / "cache")
    [name] = pack_latents(tmp_path / "cache", tmp_path / "packs")
    file = tmp_path / "packs" / name
    content = file.read_bytes()
    make_cache(tmp_path / "other", tokenizer="another")
    pack_latents(tmp_path / "other", tmp_path / "others")
    (tmp_path / "packs" / "pack-001.zip").write_bytes((tmp_path / "others" / name).read_bytes())
    with pytest.raises(UserError, match="another set"):
        unpack_latents(tmp_path / "packs", tmp_path / "out")
    (tmp_path / "packs" / "pack-001.zip").unlink()
    middle = len(content) // 2
    for broken in (content[:middle], content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]):
        file.write_bytes(broken)
        with pytest.raises(UserError, match="damaged"):
            unpack_latents(tmp_path / "packs", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with zipfile.ZipFile(file, "w") as pack:
        pack.writestr("index.json", json.dumps({"format": "else"}))
    with pytest.raises(UserError, match="no pack"):
        unpack_latents(tmp_path / "packs", tmp_path / "out")


def test_mistakes(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no pack"):
        unpack_latents(tmp_path, tmp_path / "out")
    make_cache(tmp_path / "cache")
    with pytest.raises(UserError, match="positive"):
        pack_latents(tmp_path / "cache", tmp_path / "packs", step=0)
    pack_latents(tmp_path / "cache", tmp_path / "packs")
    with pytest.raises(UserError, match="not empty"):
        pack_latents(tmp_path / "cache", tmp_path / "packs")
