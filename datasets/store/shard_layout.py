"""How the chunks of a zarr v3 array lie in its shards, as its ``zarr.json`` says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Shards in a regular grid whose index comes last, chunks compressed by zstd and checksummed; what ``_form`` finds.
_FORM = {
    "format": (3, "array", False),
    "grid": "regular",
    "keys": ("default", "/"),
    "sharding": ("sharding_indexed", "end"),
    "codecs": ["bytes", "zstd", "crc32c"],
    "index_codecs": ["bytes", "crc32c"],
    "big-endian": False,
}


@dataclass(frozen=True)
class ShardLayout:
    """What ``zarr.json`` says.

    Attributes:
        shape: of the array, rows first.
        dtype: of its values, little-endian.
        chunk_rows: rows in a chunk.
        shard_rows: rows in a shard.
        fill: value of what was left out.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    fill: Any

    @property
    def nbytes(self) -> int:
        """Of the whole array, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def parse(cls, about: Mapping[str, Any]) -> "ShardLayout | None":
        """The layout in the content of a ``zarr.json``; None if it is another one, which only zarr itself reads."""
        try:
            if _form(about) != _FORM:
                return None
            shape = tuple(int(n) for n in about["shape"])
            shard = about["chunk_grid"]["configuration"]["chunk_shape"]
            chunk = about["codecs"][0]["configuration"]["chunk_shape"]
            if not shape or tuple(shard[1:]) != shape[1:] or tuple(chunk[1:]) != shape[1:] or shard[0] % chunk[0]:
                return None
            dtype = np.dtype(about["data_type"]).newbyteorder("<")
            if dtype.hasobject or not isinstance(about["fill_value"], bool | int | float):
                return None
            return cls(shape, dtype, int(chunk[0]), int(shard[0]), about["fill_value"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError):
            return None


def _form(about: Mapping[str, Any]) -> dict[str, Any]:
    [sharding] = about["codecs"]
    inside, keys = sharding["configuration"], about["chunk_key_encoding"]
    separator = keys.get("configuration", {}).get("separator", "/")
    endians = {c.get("configuration", {}).get("endian") for c in inside["codecs"] + inside["index_codecs"]}
    return {
        "format": (about["zarr_format"], about["node_type"], bool(about.get("storage_transformers"))),
        "grid": about["chunk_grid"]["name"],
        "keys": (keys["name"], separator),
        "sharding": (sharding["name"], inside.get("index_location", "end")),
        "codecs": [c["name"] for c in inside["codecs"]],
        "index_codecs": [c["name"] for c in inside["index_codecs"]],
        "big-endian": "big" in endians,
    }
