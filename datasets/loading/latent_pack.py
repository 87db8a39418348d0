"""Latents packed small, to carry a training set to another machine or to stream it from there.

A set of packs is a folder, on this machine or behind a URL: ``pack-NNN.zip`` files of whole episodes, and
``packs.json``, which names each with its checksum and the lengths of its episodes.
A pack has of each episode an ``.npz`` with the cache's arrays (see ``worldsim.datasets.loading.latent_cache``), latents
and stills as int8 multiples of ``step``; and ``index.json``, the part of the cache's index that is about them. That is
a sixth of the cache's size. At a step of 0.1, pictures decoded from rounded latents of Luanti differ from those of the
float16 ones by 48 dB.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import store_record
from worldsim.datasets.loading.latent_cache import ARRAYS, LatentCache, write_cache
from worldsim.datasets.store.folder import open_folder
from worldsim.datasets.store.manifest import json_sha256
from worldsim.errors import UserError
from worldsim.spec.damage import reading
from worldsim.spec.text_files import parse_json

FORMAT = "worldsim-latents-1"
SET, SET_FORMAT = "packs.json", "worldsim-latent-packs-1"
CODED = ("latents", "stills")
LARGEST = 127

Progress = Callable[[int, int], None]


def pack_latents(
    folder: Path, out: str | Path, *, megabytes: float = 15.0, step: float = 0.1, progress: Progress = lambda *_: None
) -> dict[str, int]:
    """Pack a latent cache; returns the packs' names with their sizes in bytes.

    Args:
        folder: the cache.
        out: folder for the files, or its URL; new or empty.
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
    place = open_folder(out)
    if place.files(""):
        raise UserError(f"{out} is not empty: give a new folder")
    if place.local is not None:
        place.local.mkdir(parents=True, exist_ok=True)
    packs: dict[str, list[Any]] = {name: [] for name in ("names", "bytes", "sha256", "episodes")}
    rows: list[int] = []
    parts: list[bytes] = []

    def flush() -> None:
        content = _pack(cache, rows, parts, step)
        name = f"pack-{len(packs['names']):03d}.zip"
        place.replace(name, content)
        about = (name, len(content), hashlib.sha256(content).hexdigest(), len(rows))
        for column, value in zip(packs.values(), about, strict=True):
            column.append(value)
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
    prompts, vectors = cache.common_prompts()
    store = store_record(cache.index["store"], cache.index["records"]) if "records" in cache.index else None
    row_bytes = {name: cache.arrays[name][:1].nbytes for name in ARRAYS}
    # Last: a set is there when its index is.
    index = set_index(_common(cache), packs, cache.lengths, row_bytes, prompts=prompts, vectors=vectors, store=store)
    place.replace(SET, index)
    return dict(zip(packs["names"], packs["bytes"], strict=True))


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
    indices = [pack_index(path, str(path)) for path in files]
    common, lists = indices[0]["common"], {}
    for path, index in zip(files, indices, strict=True):
        if index["common"] != common or index["lists"].keys() != indices[0]["lists"].keys():
            raise UserError(f"{path} belongs to another set of latents than {files[0].name}")
        for name, values in index["lists"].items():
            lists.setdefault(name, []).extend(values)

    def episodes() -> Iterator[dict[str, NDArray]]:
        for done, (path, index) in enumerate(zip(files, indices, strict=True)):
            yield from pack_episodes(path, str(path), index)
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
            with archive.open(_member(f"{name}.npy", zipfile.ZIP_DEFLATED), "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _pack(cache: LatentCache, rows: list[int], parts: list[bytes], step: float) -> bytes:
    """The content of a pack."""
    lists: dict[str, Any] = {n: [v[row] for row in rows] for n, v in cache.index.items() if isinstance(v, list)}
    if cache.text is not None:
        lists["text"] = [_short(cache.text[row]) for row in rows]
    index = {"format": FORMAT, "step": step, "common": _common(cache), "lists": lists}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as pack:
        pack.writestr(_member("index.json", zipfile.ZIP_DEFLATED), json.dumps(index))
        for place, part in enumerate(parts):
            pack.writestr(_member(f"{place:05d}.npz"), part)
    return file.getvalue()


def _member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A file of an archive without the time of day: the same latents make the same pack."""
    member = zipfile.ZipInfo(name)
    member.compress_type = compression
    return member


def set_index(
    common: Mapping[str, Any],
    packs: Mapping[str, Sequence[Any]],
    lengths: NDArray[np.int64],
    row_bytes: Mapping[str, int],
    *,
    prompts: Sequence[str] = (),
    vectors: NDArray[np.float32] | None = None,
    store: Mapping[str, Any] | None = None,
) -> bytes:
    """The content of ``packs.json``: what can be known of a set without its packs.

    Args:
        common: what all episodes share.
        packs: ``names``, ``bytes``, ``sha256`` and number of ``episodes`` of each.
        lengths: latent frames of all episodes, pack by pack.
        row_bytes: bytes of a row of each array, in memory.
        prompts: the most common captions.
        vectors: their embeddings (P, X).
        store: what a checkpoint says of all episodes (``worldsim.datasets.governance.provenance.store_record``).
    """
    body = {
        "format": SET_FORMAT,
        "common": common,
        "packs": packs,
        "lengths": lengths.tolist(),
        "row_bytes": row_bytes,
        "prompts": prompts,
        "vectors": None if vectors is None else [_short(vector) for vector in vectors],
        "store": store,
    }
    return json.dumps(body | {"sha256": json_sha256(body)}).encode()


def _common(cache: LatentCache) -> dict[str, Any]:
    return {n: v for n, v in cache.index.items() if not isinstance(v, list)}


def _short(vector: NDArray[np.float32]) -> list[float]:
    return [round(float(x), 5) for x in vector]


def pack_index(file: Path | BinaryIO, name: str) -> dict[str, Any]:
    """What a pack says of its episodes; ``name`` is for messages.

    Raises:
        UserError: it is damaged.
    """
    with reading(name, "a pack of latents", UserError), zipfile.ZipFile(file) as pack:
        index = parse_json(pack.read("index.json"))
        if index.get("format") == FORMAT:
            return index
    raise UserError(f"{name} is damaged or no pack of latents")


def pack_episodes(file: Path | BinaryIO, name: str, index: dict[str, Any]) -> Iterator[dict[str, NDArray]]:
    """Arrays of a pack's episodes, as a cache has them.

    Raises:
        UserError: the pack is damaged.
    """
    with reading(name, "a pack of latents", UserError), zipfile.ZipFile(file) as pack:
        for place in range(len(index["lists"]["names"])):
            with np.load(io.BytesIO(pack.read(f"{place:05d}.npz")), allow_pickle=False) as found:
                arrays = {kind: found[kind] for kind in ARRAYS}
            for kind in CODED:
                channels_first = arrays[kind].astype(np.float32) * index["step"]
                arrays[kind] = np.moveaxis(channels_first, 0, 1).astype(np.float16)
            yield arrays
