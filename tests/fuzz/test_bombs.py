"""Small files that would take hours or all memory: each is one clear error within a second and 200 MB."""

import base64
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.datasets.importers import test_lerobot as lerobot
from tests.datasets.importers import test_minari as minari_sets
from tests.datasets.importers import test_minerl as minerl
from tests.datasets.importers import test_vpt as vpt
from tests.fuzz.bounds import check_message, in_memory
from tests.import_film import random_actions, write_film
from tests.timing import little_work
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.datasets.importers.formats import detect_format, find_recordings
from worldsim.datasets.importers.importer import import_recordings
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.manifest import json_sha256, path_sha256
from worldsim.datasets.store.picture import read_picture
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.play.tree.playthrough import FORMAT, Playthrough
from worldsim.envs.rollouts.tree_files import read_tree
from worldsim.models.checkpoint import load_tensors
from worldsim.scripting.action_files import read_actions
from worldsim.spec.actions import MINECRAFT

SECONDS, MEGABYTES = 1.0, 200.0
MILLION = 500_000
# No policy of a tree is asked for in here.
NOBODY: Any = lambda name: lambda: None  # noqa: E731


def told(call: Callable[[], Any]) -> str:
    """The first line of the error that a call ends with, in little time and memory."""
    with ExitStack() as stack:
        stack.enter_context(in_memory(MEGABYTES))
        stack.enter_context(little_work(SECONDS))
        try:
            call()
        except (ValueError, OSError) as error:
            found = error
        else:
            raise AssertionError("it was taken")
    check_message(found)
    return str(found).splitlines()[0]


def left_out(source: Path) -> str:
    """Why the one recording that cannot be imported is left out."""

    def run() -> None:
        report = import_recordings(EpisodeStore(source.parent / "out"), find_recordings(source, detect_format(source)))
        [(_, reason), *_] = report.broken
        raise ValueError(reason)

    return told(run)


TREES: dict[str, tuple[str, str]] = {
    "aliases": ("a.yaml", "- &a0 {play: jump}\n" + "".join(
        f"- &a{i} {{play: jump, branches: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30))),
    "many nodes": ("a.yaml", "- jump\n" * 100_000),
    "many keys": ("a.yaml", "- {" + ", ".join(f"k{i}: 1" for i in range(40_000)) + "}"),
    "one key": ("a.json", '[{"' + "k" * 900_000 + '": 1}]'),
    "deep yaml": ("a.yaml", "[" * 100_000),
    "deep json": ("a.json", '[{"play": "jump", "branches": ' * 3000),
    "deep text": ("a.tree", "".join(" " * i + "jump\n" for i in range(1300))),
    "many lines": ("a.tree", "jump\n" * 200_000),
    "much play": ("a.tree", "jump 90000\n" * 1000),
    "play of policies": ("a.tree", "policy walk 1000000000s\n"),
    "megabytes": ("a.tree", "#" * (2 << 20)),
    "nested repeats": ("a.tree", "repeat 100000 { " * 40 + "jump" + " }" * 40),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_trees(name: str, tmp_path: Path):
    file, text = TREES[name]
    (tmp_path / file).write_text(text)
    line = told(lambda: read_tree(tmp_path / file, MINECRAFT, fps=20, players=NOBODY))
    assert file in line


ACTIONS: dict[str, tuple[str, str]] = {
    "nested repeats": ("a.script", "repeat 100000 { " * 50 + "jump" + " }" * 50),
    "repeats without braces": ("a.script", "jump; repeat 2;" * 20_000),
    "long play": ("a.script", "jump 999999999"),
    "endless digits": ("a.script", "jump " + "9" * 200_000),
    "megabytes": ("a.script", "jump\n" * 100_000),
    "many columns": ("a.csv", ",".join(f"k{i}" for i in range(40_000)) + "\n"),
    "many rows": ("a.csv", "jump\n" + "1\n" * 400_000),
    "long rows": ("a.csv", "jump,repeat\n1,1e30\n"),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_scripts_and_files_of_actions(name: str, tmp_path: Path):
    file, text = ACTIONS[name]
    (tmp_path / file).write_text(text)
    assert file in told(lambda: read_actions(tmp_path / file, MINECRAFT))


@pytest.mark.parametrize("lines", ["left\n" + "0\n" * MILLION, "left" + ",x" * 40_000 + "\n"])
def test_tables(lines: str, tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(4))
    (tmp_path / "in/a.csv").write_text(lines)
    assert "a.csv" in left_out(tmp_path / "in")


def test_json_lines_of_many_keys_and_of_many_lines(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(4))
    for text in (json.dumps({f"k{i}": 0 for i in range(40_000)}) + "\n", "{}\n" * MILLION):
        (tmp_path / "in/a.jsonl").write_text(text)
        assert "more than" in left_out(tmp_path / "in")


def test_inventories_of_ever_new_items(tmp_path: Path):
    write_film(tmp_path / "in/a.mp4", random_actions(12))
    things = [[{"type": f"thing {t} {i}", "quantity": 1} for i in range(2000)] for t in range(12)]
    vpt.write_lines(tmp_path / "in/a.jsonl", [vpt.line(t, inventory=bag) for t, bag in enumerate(things)])
    assert "24000 kinds of items" in left_out(tmp_path / "in")


def header_of(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head


@pytest.mark.parametrize(
    "content", [header_of("(1099511627776,)"), header_of("(-1,)"), header_of("(" + "9" * 50 + ",)"), bytes(90 << 20)]
)
def test_npz_that_promises_or_packs_gigabytes(content: bytes, tmp_path: Path):
    folder = minerl.write_recording(tmp_path / "in/task/bomb", minerl.actions_of(6))
    with zipfile.ZipFile(folder / "rendered.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reward.npy", content)
    left_out(tmp_path / "in")


def test_npz_of_many_small_members(tmp_path: Path):
    folder = minerl.write_recording(tmp_path / "in/task/bomb", minerl.actions_of(6))
    with zipfile.ZipFile(folder / "rendered.npz", "w") as archive:
        for i in range(4000):
            archive.writestr(f"action$key{i}.npy", b"")
    left_out(tmp_path / "in")


@pytest.mark.parametrize("how", ["declared", "wide", "zeros"])
def test_hdf5_that_declares_or_packs_gigabytes(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = minari_sets.write(monkeypatch, tmp_path / "in")
    with minari_sets.h5py.File(root / "data/main_data.hdf5", "a") as file:
        del file["episode_1"]
        if how == "declared":
            del file["episode_0/rewards"]
            file.create_dataset("episode_0/rewards", shape=(10**12,), chunks=(1000,), dtype=np.float64)
        elif how == "wide":
            del file["episode_0/observations"]
            shape = (minari_sets.STEPS + 1, 9000, 6000, 3)
            file.create_dataset("episode_0/observations", shape=shape, chunks=(1, 9000, 6000, 3), dtype=np.uint8,
                                compression="gzip", fillvalue=0)  # fmt: skip
            file["episode_0/observations"][0] = 0
        else:
            for name in ("rewards", "terminations", "truncations", "actions"):
                del file[f"episode_0/{name}"]
                file.create_dataset(f"episode_0/{name}", data=np.zeros(MILLION, np.int8), chunks=(MILLION,),
                                    compression="gzip")  # fmt: skip
    left_out(root)


def test_parquet_of_run_lengths(tmp_path: Path):
    lerobot.write_v2(tmp_path / "in")
    path = tmp_path / "in/data/chunk-000/episode_000000.parquet"
    names = ("frame_index", "episode_index", "action")
    rows = lerobot.pa.table({name: lerobot.pa.array(np.zeros(MILLION, np.int64)) for name in names})
    with lerobot.parquet.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(30):
            writer.write_table(rows)
    # 360 MB of numbers in a file of a fraction of a megabyte.
    assert path.stat().st_size < 300_000
    assert "declares" in left_out(tmp_path / "in")


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def picture_of(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("1", (60_000, 30_000)).save(file, kind, **options)
    return file.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "png": lambda: png_of(2**31 - 1, 2**31 - 1),
    "png of zeros": lambda: png_of(50_000, 50_000),
    "tiff": lambda: picture_of("TIFF", compression="group4"),
    "gif": lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff," + b"\0" * 40,
    "bmp": lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 1, 1, 0, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, tmp_path: Path):
    content = PICTURES[name]()
    told(lambda: read_picture(content))
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/a.{name[:4].strip()}").write_bytes(content)
    if name != "gif":
        left_out(tmp_path / "in")


def episode(frames: int) -> Episode:
    return Episode(
        frames=np.zeros((frames, 16, 16, 3), np.uint8), actions=np.zeros((frames, 2), np.float32),
        rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, np.bool_),
        provenance={"keys": ["a", "b"], "split": "train", "seed": 0},
    )  # fmt: skip


@pytest.mark.parametrize("arrays", [("frames",), ("rewards",), ("frames", "actions", "rewards", "terminated")])
def test_a_store_of_arrays_that_were_left_out(arrays: tuple[str, ...], tmp_path: Path):
    """All numbers agree, checksums too: a black episode without end that takes no room on disk."""
    EpisodeStore(tmp_path / "s").append(episode(6), "e0")
    folder, frames = tmp_path / "s/episodes/e0", 2**30
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("sha256")
    for name in arrays:
        about = json.loads((folder / f"arrays/{name}/zarr.json").read_text())
        about["shape"][0] = frames
        (folder / f"arrays/{name}/zarr.json").write_text(json.dumps(about))
        path = folder / f"arrays/{name}/zarr.json"
        manifest["files"][f"arrays/{name}/zarr.json"] = {"size": path.stat().st_size, "sha256": path_sha256(path)}
    manifest["frames"] = frames
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": json_sha256(manifest)}))
    assert "e0" in told(lambda: EpisodeStore(tmp_path / "s").read("e0"))


def test_safetensors_that_promise_gigabytes(tmp_path: Path):
    for header in (
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [1, 0]} for i in range(5000)},
    ):
        text = json.dumps(header).encode()
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
        told(lambda: load_tensors(tmp_path / "a.safetensors"))
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**62))
    told(lambda: load_tensors(tmp_path / "a.safetensors"))


def test_a_playthrough_of_zeros(tmp_path: Path):
    frames = 1_600_000
    content = {
        "format": FORMAT, "world": "w", "weights": "x", "sampling": {}, "keys": list(MINECRAFT.keys), "camera": True,
        "chunk": 2, "options": {}, "past": "p", "seed": 0, "here": [-1, 0],
        "stretches": [{"parent": -1, "at": 0, "frames": frames}],
        "actions": base64.b64encode(zlib.compress(bytes(4 * frames * MINECRAFT.size), 9)).decode(),
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert "more than" in told(lambda: Playthrough.load(tmp_path / "a.json"))


def test_a_past_of_hours(tmp_path: Path):
    write_film(tmp_path / "a.mp4", np.zeros((2100, MINECRAFT.size), np.float32))
    env = WorldSimEnv(tiny_world(), starts=tiny_starts())
    assert "more than 2000 frames" in told(lambda: env.reset(options={"prefix": str(tmp_path / "a.mp4")}))


def test_named_pipes(tmp_path: Path):
    for name in ("a.csv", "a.script", "a.tree", "a.yaml", "a.safetensors", "a.mp4", "a.png"):
        os.mkfifo(tmp_path / name)
    readers: dict[str, Callable[[Path], Any]] = {
        "a.csv": lambda path: read_actions(path, MINECRAFT),
        "a.script": lambda path: read_actions(path, MINECRAFT),
        "a.tree": lambda path: read_tree(path, MINECRAFT, fps=20, players=NOBODY),
        "a.yaml": lambda path: read_tree(path, MINECRAFT, fps=20, players=NOBODY),
        "a.safetensors": load_tensors,
        "a.mp4": lambda path: WorldSimEnv(tiny_world(), starts=tiny_starts()).reset(options={"prefix": str(path)}),
        "a.png": read_picture,
    }
    for name, read in readers.items():
        told(lambda name=name, read=read: read(tmp_path / name))
