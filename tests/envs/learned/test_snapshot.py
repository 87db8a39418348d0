"""Snapshots in files: whatever is wrong with one is a named error, and nothing has changed then."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.test_checkpoint import parts, rewrite
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot, fingerprint
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.simulation.state import WorldState

ACTION = np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])


def begun(steps: int = 1) -> WorldSimEnv:
    env = WorldSimEnv(tiny_world(), starts=tiny_starts())
    env.reset(seed=5)
    for _ in range(steps):
        env.step(ACTION)
    return env


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moments") / "moment.safetensors"
    begun().snapshot().save(path)
    return path


Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]
# What somebody may write who knows the format, checksum and all.
CHANGES: dict[str, Change] = {
    "a latent of nan": lambda t, m: t["state/latent"].fill_(float("nan")),
    "an infinite key": lambda t, m: t["state/ring_keys"][0, 0, 0].fill_(float("inf")),
    "no latent": lambda t, m: t.pop("state/latent"),
    "no pose": lambda t, m: t.pop("state/pose"),
    "a latent of another grid": lambda t, m: t.update({"state/latent": t["state/latent"][:, :, 1:]}),
    "a count of another type": lambda t, m: t.update({"state/count": t["state/count"].float()}),
    "a count of nothing": lambda t, m: t["state/count"].zero_(),
    "two rows": lambda t, m: t.update({n: torch.cat([x, x]) for n, x in t.items() if n != "frames"}),
    "no rows": lambda t, m: t.update({n: x[:0] for n, x in t.items() if n != "frames"}),
    "a tensor without rows": lambda t, m: t.update({"state/steps": torch.tensor(1)}),
    "a decoder of another depth": lambda t, m: t.pop("state/decoder1"),
    "a hole in the decoder": lambda t, m: t.update({"state/decoder7": t.pop("state/decoder0")}),
    "frames of another size": lambda t, m: t.update({"frames": t["frames"][:, 1:]}),
    "frames of another type": lambda t, m: t.update({"frames": t["frames"].float()}),
    "no frames": lambda t, m: t.pop("frames"),
    "more metadata": lambda t, m: m.update(extra=1),
    "no elapsed": lambda t, m: m.pop("elapsed"),
    "elapsed as text": lambda t, m: m.update(elapsed="x"),
    "elapsed below 0": lambda t, m: m.update(elapsed=-1),
    "elapsed beyond 64 bits": lambda t, m: m.update(elapsed=2**63),
    "a start beyond 64 bits": lambda t, m: m.update(start=2**70),
    "ended as a number": lambda t, m: m.update(ended=0),
    "start as a list": lambda t, m: m.update(start=[1]),
    "no generator": lambda t, m: m.update(rng=None),
    "another generator": lambda t, m: m["rng"].update(bit_generator="MT19937"),
    "a generator's state as text": lambda t, m: m["rng"].update(state={"state": "x", "inc": 1}),
    "a generator's state without a part": lambda t, m: m["rng"].pop("has_uint32"),
    "another world": lambda t, m: m.update(world="another"),
    "no world": lambda t, m: m.update(world=None),
    "another format": lambda t, m: m.update(format="worldsim-snapshot-9"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_snapshot_is_a_named_error_and_the_episode_goes_on(name: str, saved: Path, tmp_path: Path):
    tensors, metadata = load_tensors(saved)
    CHANGES[name](tensors, metadata)
    save_tensors(tmp_path / "wrong.safetensors", tensors, metadata)
    env, twin = begun(2), begun(2)
    with pytest.raises(ValueError) as caught:
        env.restore(Snapshot.load(tmp_path / "wrong.safetensors"))
    text = str(caught.value)
    assert "snapshot" in text and "\n" not in text, text
    for _ in range(2):
        np.testing.assert_array_equal(env.step(ACTION)[4]["frames"], twin.step(ACTION)[4]["frames"])
    env.reset()
    twin.reset()
    assert env.np_random.bit_generator.state == twin.np_random.bit_generator.state


@pytest.mark.parametrize("text", ["null", "[" * 100_000, "[]", "7"])
def test_metadata_of_another_kind(text: str, saved: Path, tmp_path: Path):
    header, body = parts(saved)
    rewrite(tmp_path / "wrong.safetensors", header | {"__metadata__": {"json": text}}, body)
    with pytest.raises(ValueError, match=r"wrong\.safetensors"):
        Snapshot.load(tmp_path / "wrong.safetensors")


def test_a_page_of_zeros_is_noticed(saved: Path, tmp_path: Path):
    header, body = parts(saved)
    first, last = header["state/latent"]["data_offsets"]
    rewrite(tmp_path / "wrong.safetensors", header, body[:first] + bytes(last - first) + body[last:])
    for load in (Snapshot.load, WorldState.load):
        with pytest.raises(ValueError, match=r"wrong\.safetensors is damaged"):
            load(tmp_path / "wrong.safetensors")


def test_a_snapshot_of_before_has_no_checksum_and_goes_on(saved: Path, tmp_path: Path):
    header, body = parts(saved)
    rewrite(tmp_path / "old.safetensors", header | {"__metadata__": {"json": header["__metadata__"]["json"]}}, body)
    env, twin = begun(0), begun(1)
    env.restore(Snapshot.load(tmp_path / "old.safetensors"))
    np.testing.assert_array_equal(env.step(ACTION)[0], twin.step(ACTION)[0])


def test_rows_stay_as_they_were_when_one_of_several_moments_is_wrong():
    env = WorldSimVectorEnv(3, tiny_world(), starts=tiny_starts())
    env.reset(seed=1)
    twin = WorldSimVectorEnv(3, tiny_world(), starts=tiny_starts())
    twin.reset(seed=1)
    right = begun().snapshot()
    wrongs = [
        Snapshot(**{**vars(right), "rng": {**right.rng, "state": None}}),
        Snapshot(**{**vars(right), "frames": right.frames[:, 1:]}),
        Snapshot(**{**vars(right), "state": WorldState(**{**vars(right.state), "latent": right.state.latent[:, 1:]})}),
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            env.restore([right, wrong], [0, 2])
    actions = np.stack([ACTION] * 3)
    np.testing.assert_array_equal(env.step(actions)[4]["frames"], twin.step(actions)[4]["frames"])
    env.reset()
    twin.reset()
    np.testing.assert_array_equal(env.step(actions)[0], twin.step(actions)[0])


def test_a_saved_state_that_lacks_a_part_is_named(tmp_path: Path):
    state = begun().current()
    state.save(tmp_path / "state.safetensors")
    tensors, metadata = load_tensors(tmp_path / "state.safetensors")
    assert torch.equal(WorldState.load(tmp_path / "state.safetensors").pose, state.pose)
    for name in ("pose", "decoder0", "ring_keys"):
        left = {n: t for n, t in tensors.items() if n != name}
        save_tensors(tmp_path / "wrong.safetensors", left, metadata)
        with pytest.raises(ValueError, match=rf"wrong\.safetensors.*{name}"):
            WorldState.load(tmp_path / "wrong.safetensors")


def test_the_metadata_is_plain_json(saved: Path):
    header, _ = parts(saved)
    assert set(header["__metadata__"]) == {"json", "sha256"}
    assert json.loads(header["__metadata__"]["json"])["elapsed"] == 1


def test_a_snapshot_restores_where_products_run_in_another_number_format(tmp_path: Path):
    """As on a GPU. Other weights are refused all the same, and snapshots of before still restore."""
    plain, rounded = (WorldSimEnv(tiny_world(bf16=bf16), starts=tiny_starts()) for bf16 in (False, True))
    plain.reset(seed=0)
    plain.snapshot().save(tmp_path / "moment")
    expected = plain.step(plain.noop_action)[0]
    rounded.restore(Snapshot.load(tmp_path / "moment"))
    assert np.abs(expected.astype(int) - rounded.step(rounded.noop_action)[0]).max() < 32
    plain.restore(rounded.snapshot())
    plain.restore(replace(plain.snapshot(), world=fingerprint(plain.world)))
    other = WorldSimEnv(tiny_world(seed=1), starts=tiny_starts())
    with pytest.raises(UserError, match="another world"):
        other.restore(plain.snapshot())
