"""Latents packed small, to carry a training set to another machine: a sixth of the cache's size, in files of any size.

A pack is a folder of ``pack-NNN.zip`` files of whole episodes: of each an ``.npz`` with the cache's arrays (see
``worldsim.datasets.loading.latent_cache``), latents and stills as int8 multiples of ``step``; and ``index.json``, the
part of the cache's index that is about them. At a step of 0.1, pictures decoded from rounded latents of
Luanti differ from those of the float16 ones by 48 dB.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.asides import aside_of
from worldsim.datasets.loading.latent_cache import ARRAYS, LatentCache, write_cache
from worldsim.errors import UserError
from worldsim.spec.damage import reading
from worldsim.spec.text_files import parse_json

FORMAT = "worldsim-latents-1"
CODED = ("latents", "stills")
LARGEST = 127

Progress = Callable[[int, int], None]


def pack_latents(
    folder: Path, out: Path, *, megabytes: float = 15.0, step: float = 0.1, progress: Progress = lambda *_: None
) -> list[Path]:
    """Pack a latent cache; returns the files.

    Args:
        folder: the cache.
        out: folder for the files; new or empty.
        megabytes: size of a file at most, unless a single episode is larger.
        step: what latents are rounded to; they are clipped at +-127 steps.
        progress: called with episodes done and in all.

    Raises:
        FileNotFoundError: ``folder`` holds no latents.
        UserError: ``out`` holds something, or a size or step makes no sense.
    """
    if megabytes <= 0 or step <= 0:
        raise UserError(f"megabytes and step must be positive, got {megabytes:g} and {step:g}")
    cache = LatentCache(folder)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    rows: list[int] = []
    parts: list[bytes] = []

    def flush() -> None:
        files.append(out / f"pack-{len(files):03d}.zip")
        _write(files[-1], cache, rows, parts, step)
        rows.clear()
        parts.clear()

    for row in range(len(cache.lengths)):
        part = _coded(cache.episode(row), step)
        if parts and sum(map(len, parts)) + len(part) > megabytes * 1e6:
            flush()
        rows.append(row)
        parts.append(part)
        progress(row + 1, len(cache.lengths))
    if rows:
        flush()
    return files


def unpack_latents(packs: Path, folder: Path, *, progress: Progress = lambda *_: None) -> int:
    """Make a latent cache of all packs in a folder; returns the number of episodes.

    Args:
        packs: folder with ``pack-*.zip`` files; some of a set will do.
        folder: the cache; replaced when all is read.
        progress: called with files done and in all.

    Raises:
        FileNotFoundError: there are no packs.
        UserError: a pack is damaged, or they belong to different caches.
    """
    files = sorted(packs.glob("pack-*.zip"))
    if not files:
        raise FileNotFoundError(f"no pack-*.zip in {packs}")
    indices = [_index(path) for path in files]
    common, lists = indices[0]["common"], {}
    for path, index in zip(files, indices, strict=True):
        if index["common"] != common or index["lists"].keys() != indices[0]["lists"].keys():
            raise UserError(f"{path} belongs to another set of latents than {files[0].name}")
        for name, values in index["lists"].items():
            lists.setdefault(name, []).extend(values)

    def episodes() -> Iterator[dict[str, NDArray]]:
        for done, (path, index) in enumerate(zip(files, indices, strict=True)):
            yield from _episodes(path, index)
            progress(done + 1, len(files))

    text = lists.pop("text", None)
    write_cache(folder, episodes(), common | lists, None if text is None else np.array(text, np.float32))
    return len(lists["names"])


def _coded(arrays: dict[str, NDArray], step: float) -> bytes:
    rounded = {n: np.round(arrays[n].astype(np.float32) / step).clip(-LARGEST, LARGEST) for n in CODED}
    # Channel by channel: neighbours in a channel are alike, and deflate finds it.
    coded = {n: np.ascontiguousarray(np.moveaxis(x.astype(np.int8), 1, 0)) for n, x in rounded.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (arrays | coded).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _write(path: Path, cache: LatentCache, rows: list[int], parts: list[bytes], step: float) -> None:
    lists: dict[str, Any] = {n: [v[row] for row in rows] for n, v in cache.index.items() if isinstance(v, list)}
    if cache.text is not None:
        lists["text"] = [[round(float(x), 5) for x in cache.text[row]] for row in rows]
    common = {n: v for n, v in cache.index.items() if not isinstance(v, list)}
    index = {"format": FORMAT, "step": step, "common": common, "lists": lists}
    aside = aside_of(path)
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as pack:
            pack.writestr("index.json", json.dumps(index), zipfile.ZIP_DEFLATED)
            for place, part in enumerate(parts):
                pack.writestr(f"{place:05d}.npz", part)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _index(path: Path) -> dict[str, Any]:
    with reading(path, "a pack of latents", UserError), zipfile.ZipFile(path) as pack:
        index = parse_json(pack.read("index.json"))
        if index.get("format") == FORMAT:
            return index
    raise UserError(f"{path} is damaged or no pack of latents")


def _episodes(path: Path, index: dict[str, Any]) -> Iterator[dict[str, NDArray]]:
    with reading(path, "a pack of latents", UserError), zipfile.ZipFile(path) as pack:
        for place in range(len(index["lists"]["names"])):
            with np.load(io.BytesIO(pack.read(f"{place:05d}.npz")), allow_pickle=False) as found:
                arrays = {name: found[name] for name in ARRAYS}
            for name in CODED:
                channels_first = arrays[name].astype(np.float32) * index["step"]
                arrays[name] = np.moveaxis(channels_first, 0, 1).astype(np.float16)
            yield arrays
