"""Files of tensors: damage is noticed, errors name the file, what cannot be written leaves what was there."""

import errno
import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import worldsim
from tests.timing import little_work
from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_dit
from worldsim.models.checkpoint import build_module, load_module, load_tensors, read_metadata, save_tensors
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.optim.ema import Ema
from worldsim.optim.loop import split_optimizers
from worldsim.optim.train_state import load_training, save_training

TENSORS = {
    "weights": torch.arange(12, dtype=torch.float32).view(3, 4),
    "rounded": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "nothing": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
    "depth": torch.tensor([65535, 3], dtype=torch.uint16),
}


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(path: Path, header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def without_checksum(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a file's metadata as somebody would who writes such files, without a checksum."""
    header, body = parts(path)
    metadata = json.loads(header["__metadata__"]["json"])
    changed = change(metadata)
    text = changed if isinstance(changed, str) else json.dumps(metadata)
    rewrite(path, header | {"__metadata__": {"json": text}}, body)


def test_what_other_programs_note_in_a_header_is_no_damage(tmp_path: Path):
    save_file(TENSORS, tmp_path / "a.safetensors", {"DCP_SHARDING_INFO": "{}", "format": "pt"})
    tensors, metadata = load_tensors(tmp_path / "a.safetensors")
    assert tensors.keys() == TENSORS.keys() and metadata == {}


def test_a_checksum_that_damage_itself_has_hit_is_missed(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.zeros(64)}, {"kind": "a"})
    content = path.read_bytes()
    for name in (b"sha256", b"json"):
        hit = content.replace(b'"%s"' % name, b'"%s"' % (b"r" + name[1:]))
        assert hit != content
        # Of the tensor too: nothing else would tell.
        path.write_bytes(hit[:-1] + b"\1")
        with pytest.raises(ValueError, match="damaged"):
            load_tensors(path)


def test_what_is_saved_is_read(tmp_path: Path):
    save_tensors(tmp_path / "a.safetensors", TENSORS, {"steps": 3, "text": "ä\u2028"})
    tensors, metadata = load_tensors(tmp_path / "a.safetensors")
    assert metadata == {"steps": 3, "text": "ä\u2028"} == read_metadata(tmp_path / "a.safetensors")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[n], t) and tensors[n].dtype == t.dtype for n, t in TENSORS.items())
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_equal_contents_are_equal_files(tmp_path: Path):
    for number in range(12):
        save_tensors(
            tmp_path / f"{number}.safetensors", dict(reversed(TENSORS.items())), {"text": 'ä\u2028"\\', "a": 1}
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert load_tensors(tmp_path / "3.safetensors")[1] == {"text": 'ä\u2028"\\', "a": 1}


def test_every_flipped_bit_of_the_content_is_noticed(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"steps": 3})
    whole, (_, body) = path.read_bytes(), parts(path)
    for place in range(len(body)):
        damaged = bytearray(whole)
        damaged[len(whole) - len(body) + place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.safetensors is damaged"):
            load_tensors(path)


def test_altered_metadata_and_renamed_tensors_are_noticed(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"steps": 3})
    header, body = parts(path)
    for text in ('{"steps": 4}', '{"steps": 3, "more": 1}', "{}"):
        rewrite(path, header | {"__metadata__": header["__metadata__"] | {"json": text}}, body)
        with pytest.raises(ValueError, match="differs from what was written"):
            load_tensors(path)
    renamed = {name.replace("weights", "weight"): about for name, about in header.items()}
    rewrite(path, renamed, body)
    with pytest.raises(ValueError, match="differs from what was written"):
        load_tensors(path)


def test_files_of_before_have_no_checksum_and_load(tmp_path: Path):
    save_file({"weights": TENSORS["weights"]}, tmp_path / "old.safetensors", {"json": '{"steps": 3}'})
    tensors, metadata = load_tensors(tmp_path / "old.safetensors")
    assert torch.equal(tensors["weights"], TENSORS["weights"]) and metadata == {"steps": 3}
    save_file({"weights": TENSORS["weights"]}, tmp_path / "bare.safetensors")
    assert load_tensors(tmp_path / "bare.safetensors")[1] == {}


@pytest.mark.parametrize("text", ["null", "[1]", "[" * 100_000, "{", '"a"'])
def test_metadata_that_is_no_object_is_a_named_error(tmp_path: Path, text: str):
    save_file({"weights": TENSORS["weights"]}, tmp_path / "a.safetensors", {"json": text})
    for read in (load_tensors, read_metadata):
        with pytest.raises(ValueError, match=r"a\.safetensors is damaged: its metadata"):
            read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\0" * 100, b"PK\x03\x04" * 20])
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged or not a safetensors file"):
        load_tensors(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path)


def test_a_disk_that_is_full_is_an_oserror_and_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"steps": 3})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError) as caught:
            save_tensors(path, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["a.safetensors"]


def test_weights_that_are_no_numbers_are_refused():
    module = torch.nn.Linear(2, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    broken = {"weight": torch.tensor([[1.0, float("nan")], [0.0, 0.0]]), "bias": torch.zeros(2)}
    with pytest.raises(ValueError, match="somewhere is damaged: weight"):
        load_module(module, broken, "somewhere")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_sizes_are_compared_before_memory_is_taken():
    tensors = tiny_dit().state_dict()
    sizes = vars(tiny_dit().config) | {"channels": 2**24}
    with little_work(5), pytest.raises(ValueError, match=r"does not fit this model: missing .*size"):
        build_module(lambda: WorldDiT(DiTConfig(**sizes)), tensors, "somewhere")  # pyright: ignore
    built = build_module(lambda: WorldDiT(tiny_dit().config), tensors, "somewhere")
    assert torch.equal(built.heads.scale, tiny_dit().heads.scale), "what is not in the file is computed"


DAMAGE: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("dit", lambda m: m.pop("dit")),
    ("dit", lambda m: m["dit"].update(temporal_every=0)),
    ("dit", lambda m: m["dit"].update(channels=-1)),
    ("dit", lambda m: m["dit"].update(channels=2**31)),
    ("dit", lambda m: m["dit"].update(channels=1_000_000)),
    ("dit", lambda m: m["dit"].update(blocks=10**9)),
    ("dit", lambda m: m["dit"].update(width="wide")),
    ("dit", lambda m: m["dit"].update(clean_past=1)),
    ("dit", lambda m: m["dit"].update(taste=1)),
    ("dit", lambda m: m.update(dit=None)),
    ("dit", lambda m: m.pop("world")),
    ("dit", lambda m: m["world"].update(sampling=None)),
    ("dit", lambda m: m["world"].update(prompts=[1])),
    ("dit", lambda m: m["world"]["spec"].update(keys="forward")),
    ("dit", lambda m: m["world"].update(height=0)),
    ("tokenizer", lambda m: m["tokenizer"].update(bound="x")),
    ("tokenizer", lambda m: m["tokenizer"].update(bound=float("nan"))),
    ("tokenizer", lambda m: m["tokenizer"].update(decoder_blocks=10**8)),
    ("tokenizer", lambda m: m.update(tokenizer=[1])),
    ("tokenizer", lambda m: "null"),
    ("memory", lambda m: m.pop("depth")),
    ("memory", lambda m: m["depth"].update(channels=[8, 16])),
    ("memory", lambda m: m["depth"].update(channels=[8, 16, 32000])),
    ("memory", lambda m: m["depth"].update(blocks=[1, 1, 10**8])),
    ("memory", lambda m: m["compositor"].update(blocks="111")),
    ("memory", lambda m: m["compositor"].update(actions=23)),
    ("memory", lambda m: m["motion"].update(hidden="64")),
    ("memory", lambda m: m["motion"].update(hidden=2**22)),
    ("memory", lambda m: m["motion"].update(taste=1)),
    ("memory", lambda m: m["camera"].update(eye_height=None)),
    ("memory", lambda m: m["camera"].update(pitch_limits=[1])),
    ("memory", lambda m: m.update(camera=3)),
    ("memory", lambda m: m.update(changing=[99])),
    ("memory", lambda m: m.update(changing=["attack"])),
    ("memory", lambda m: m.update(trust=float("nan"))),
    ("memory", lambda m: m["keyframes"].update(capacity=0)),
    ("memory", lambda m: m.update(keyframes=None)),
]


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    remembering_world().save(folder)
    return folder


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_world_with_wrong_metadata_is_one_named_error(world_folder: Path, number: int):
    file, change = DAMAGE[number]
    path = world_folder / f"{file}.safetensors"
    whole = path.read_bytes()
    try:
        without_checksum(path, change)
        with pytest.raises(ValueError, match=rf"{file}(\.safetensors| looks at)"):
            worldsim.load(world_folder)
    finally:
        path.write_bytes(whole)


def test_a_damaged_weight_is_noticed_before_it_is_played_with(world_folder: Path):
    path = world_folder / "dit.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-5000] + bytes([whole[-5000] ^ 4]) + whole[-4999:])
        with pytest.raises(ValueError, match=r"dit\.safetensors is damaged: its content differs"):
            worldsim.load(world_folder)
    finally:
        path.write_bytes(whole)


def run_of(module: torch.nn.Module) -> tuple[Ema, list[torch.optim.Optimizer]]:
    optimizers = split_optimizers(module, "0", 1e-3, 1e-3)
    for step in range(2):
        module(torch.ones(1, 4) + step).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    return Ema(module, 0.9), optimizers


@pytest.mark.parametrize("missing", ["model/1.weight", "ema/1.weight", "optimizer0/0/exp_avg", "step", "about"])
def test_a_damaged_state_of_a_training_changes_nothing(tmp_path: Path, missing: str):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    ema, optimizers = run_of(module)
    save_training(tmp_path / "state.safetensors", 2, module, ema, optimizers)
    tensors, metadata = load_tensors(tmp_path / "state.safetensors")
    if missing.startswith("optimizer"):
        tensors[missing] = torch.zeros(3)
    elif missing == "about":
        metadata["about"] = 3
    else:
        tensors.pop(missing, None)
        metadata.pop(missing, None)
    save_tensors(tmp_path / "damaged.safetensors", tensors, metadata)
    fresh = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    its_ema, its_optimizers = run_of(fresh)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises(ValueError, match=r"damaged\.safetensors"):
        load_training(tmp_path / "damaged.safetensors", fresh, its_ema, its_optimizers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    assert load_training(tmp_path / "state.safetensors", fresh, its_ema, its_optimizers).step == 2
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(fresh.state_dict()[name], tensor)
