"""Manifests and archives that are no such thing: one named error, whoever made them, checksum and all."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.manifest import CorruptEpisodeError, json_sha256
from worldsim.datasets.store.store import EpisodeStore

MANIFEST = "episodes/e0/manifest.json"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    n = 6
    frames = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((16, 16, 3), np.uint8)
    episode = Episode(
        frames=frames, actions=np.zeros((n, 2), np.float32), rewards=np.zeros(n, np.float32),
        terminated=np.zeros(n, bool), events=[{"frame": 2, "kind": "dig"}],
        provenance={"keys": ["a", "b"], "split": "train", "seed": 0},
    )  # fmt: skip
    EpisodeStore(tmp_path / "store").append(episode, "e0")
    return tmp_path / "store"


Change = Callable[[dict[str, Any]], Any]
CHANGES: dict[str, Change] = {
    "no provenance": lambda m: m.pop("provenance"),
    "provenance of nothing": lambda m: m.update(provenance=None),
    "too many frames": lambda m: m.update(frames=2**40),
    "no frames": lambda m: m.update(frames=0),
    "frames as text": lambda m: m.update(frames="6"),
    "events as a number": lambda m: m.update(events=5),
    "an event that is none": lambda m: m.update(events=[3]),
    "an event without a frame": lambda m: m.update(events=[{"kind": "dig"}]),
    "an event without a kind": lambda m: m.update(events=[{"frame": 1}]),
    "an event after the last frame": lambda m: m.update(events=[{"kind": "dig", "frame": m["frames"]}]),
    "an event before the first frame": lambda m: m.update(events=[{"kind": "dig", "frame": -1}]),
    "no arrays": lambda m: m.update(arrays=[]),
    "files as a list": lambda m: m.update(files=[]),
    "a file without its size": lambda m: [about.pop("size") for about in m["files"].values()],
    "a file without its checksum": lambda m: [about.pop("sha256") for about in m["files"].values()],
    "sums of chunks as text": lambda m: [about.update(crc32c="x") for about in m["files"].values()],
    "too few sums of chunks": lambda m: [about.update(crc32c=[]) for about in m["files"].values() if "crc32c" in about],
    "no name": lambda m: m.pop("name"),
    "no text": lambda m: m.pop("text"),
    "text as a number": lambda m: m.update(text=1),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("verify", ["whole", "parts"])
def test_a_manifest_that_is_none_is_a_named_error(store: Path, name: str, verify: Any):
    manifest = json.loads((store / MANIFEST).read_text())
    manifest.pop("sha256")
    CHANGES[name](manifest)
    (store / MANIFEST).write_text(json.dumps(manifest | {"sha256": json_sha256(manifest)}))
    with pytest.raises(CorruptEpisodeError, match="episode 'e0'"):
        opened = EpisodeStore(store, verify=verify)
        opened.index()
        opened.read("e0")


@pytest.mark.parametrize("content", [b"[" * 200_000, b"null", b"[]", b"\xff\xfe", b"{}", b'{"sha256": 1}'])
def test_a_manifest_of_anything_else(store: Path, content: bytes):
    (store / MANIFEST).write_bytes(content)
    for ask in (EpisodeStore.index, lambda s: s.read("e0")):
        with pytest.raises(CorruptEpisodeError, match="episode 'e0'"):
            ask(EpisodeStore(store))


def test_archives_that_are_damaged_or_none(store: Path, tmp_path: Path):
    pytest.importorskip("fsspec")
    archive = tmp_path / "store.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(store))
    assert EpisodeStore(f"zip://::{archive}").read("e0").frames[3, 0, 0, 0] == 3
    with zipfile.ZipFile(archive) as file:
        place = file.getinfo(MANIFEST).header_offset + 200
    damaged = bytearray(archive.read_bytes())
    damaged[place] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"zip://.*|episode 'e0'"):
        EpisodeStore(f"zip://::{archive}").read("e0")
    (tmp_path / "other").write_bytes(b"no archive at all" * 40)
    for protocol in ("zip", "tar"):
        with pytest.raises(ValueError, match=rf"^{protocol}://::"):
            EpisodeStore(f"{protocol}://::{tmp_path / 'other'}").names()
