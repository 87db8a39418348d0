"""Snapshots, worlds and other files of tensors with damage: what was saved, or an error that names the file."""

import json
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import worldsim
from tests.fuzz.bounds import fuzzed, in_memory, outcome
from tests.fuzz.damage import altered, damaged
from tests.models.test_checkpoint import parts, rewrite, run_of
from tests.tiny_memory import remembering_world, tiny_memory
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.datasets.loading.starts import load_starts, save_starts
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.optim.train_state import load_training, save_training
from worldsim.simulation.memory.depth import load_depth_completion, save_depth_completion
from worldsim.simulation.memory.ego_motion import load_ego_motion, save_ego_motion
from worldsim.simulation.world_model import WorldModel

ACTION = np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])
# Places in a file of tensors that decide everything: its header. The rest is numbers.
HEAD = 3000


def begun(world: WorldModel) -> WorldSimEnv:
    env = WorldSimEnv(world, starts=tiny_starts())
    env.reset(seed=5)
    return env


@lru_cache
def moment(name: str) -> tuple[bytes, bytes]:
    """A saved snapshot of a world with or without a memory, and the frames that follow it."""
    env = begun(WORLDS[name]())
    with tempfile.TemporaryDirectory() as folder:
        env.snapshot().save(Path(folder) / "moment.safetensors")
        content = (Path(folder) / "moment.safetensors").read_bytes()
    return content, env.step(ACTION)[4]["frames"].tobytes()


@lru_cache
def plain_world() -> WorldModel:
    return tiny_world()


@lru_cache
def memory_world() -> WorldModel:
    return remembering_world()


WORLDS: dict[str, Callable[[], WorldModel]] = {"plain": plain_world, "memory": memory_world}


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage in the header as often as in all the rest."""
    if draw(st.booleans()):
        return draw(damaged(content[:HEAD])) + content[HEAD:]
    return draw(damaged(content, most=2))


moments = st.sampled_from(sorted(WORLDS)).flatmap(lambda name: st.tuples(st.just(name), broken(moment(name)[0])))


@fuzzed(st.deferred(lambda: moments), 2000)
def test_a_damaged_snapshot_is_what_it_was_or_an_error(drawn: tuple[str, bytes], tmp_path_factory: Any):
    name, content = drawn
    path = tmp_path_factory.getbasetemp() / "moment.safetensors"
    path.write_bytes(content)
    env = WorldSimEnv(WORLDS[name](), starts=tiny_starts())
    result = outcome(lambda: env.restore(Snapshot.load(path)))
    if isinstance(result, Exception):
        assert "moment.safetensors" in str(result) or "snapshot" in str(result), result
    else:
        assert env.step(ACTION)[4]["frames"].tobytes() == moment(name)[1]


@st.composite
def forged(draw: st.DrawFn) -> tuple[str, dict[str, Any], Any, int]:
    """What somebody writes who knows the format, checksum and all: other metadata, another tensor."""
    name = draw(st.sampled_from(sorted(WORLDS)))
    told = {"elapsed": 1, "ended": False, "start": 2, "rng": None, "world": "w", "format": "f"}
    return name, told, draw(altered(told)), draw(st.integers(0, 10**6))


CHANGES: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda t: t[:0], lambda t: torch.cat([t, t]), lambda t: t.double(), lambda t: t.half(), lambda t: t[..., :1],
    lambda t: t.flatten(), lambda t: torch.zeros_like(t), lambda t: torch.full_like(t, 127),
    lambda t: torch.full(t.shape, -1.0).to(t.dtype),
    lambda t: torch.zeros(()), lambda t: torch.full(t.shape, float("nan")), lambda t: t.bool(),
)  # fmt: skip


@fuzzed(forged(), 800)
def test_a_forged_snapshot_is_an_error_or_plays(drawn: Any, tmp_path_factory: Any):
    name, told, changed, number = drawn
    path = tmp_path_factory.getbasetemp() / "moment.safetensors"
    path.write_bytes(moment(name)[0])
    tensors, about = load_tensors(path)
    if isinstance(changed, dict):
        # Where the change left a field as it was, the field is the real one.
        about = {k: about.get(k, v) if told.get(k, v) == v else v for k, v in changed.items()}
    if number % 2:
        key = sorted(tensors)[number % len(tensors)]
        change = CHANGES[number // len(tensors) % len(CHANGES)]
        tensors[key] = change(tensors[key]) if tensors[key].ndim else torch.zeros(3)
    save_tensors(path, tensors, about)
    env = begun(WORLDS[name]())
    result = outcome(lambda: env.restore(Snapshot.load(path)))
    if isinstance(result, Exception):
        assert "snapshot" in str(result) or "moment.safetensors" in str(result), result
    outcome(lambda: env.step(ACTION))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "world"
    remembering_world().save(folder)
    save_starts(folder / "starts", tiny_starts())
    return folder


def world_files() -> st.SearchStrategy[tuple[str, int, Any]]:
    names = ("tokenizer.safetensors", "dit.safetensors", "memory.safetensors", "starts/starts.json",
             "starts/starts.safetensors", "starts/000.mp4")  # fmt: skip
    return st.tuples(st.sampled_from(names), st.integers(0, 2**31), st.data())


@fuzzed(world_files(), 1500)
def test_a_damaged_world_is_what_it_was_or_an_error(drawn: tuple[str, int, Any], folder: Path):
    name, kind, data = drawn
    path = folder / name
    whole = path.read_bytes()
    try:
        if name.endswith("safetensors") and kind % 2:
            header, body = parts(path)
            text = header["__metadata__"]["json"]
            rewrite(path, header | {"__metadata__": {"json": json.dumps(data.draw(altered(json.loads(text))))}}, body)
        else:
            path.write_bytes(data.draw(broken(whole)))
        read = load_starts if name.startswith("starts") else worldsim.load
        result = outcome(lambda: read(folder / "starts") if read is load_starts else read(folder))
        if isinstance(result, Exception):
            assert str(folder) in str(result) or "world" in str(result), result
        elif isinstance(result, WorldModel) and not kind % 2:
            # With its checksum, what loads is what was saved.
            for one, other in zip(result.modules(), untouched(folder, whole, path).modules(), strict=True):
                for key, tensor in one.state_dict().items():
                    assert torch.equal(tensor, other.state_dict()[key]), key
    finally:
        path.write_bytes(whole)


def untouched(folder: Path, whole: bytes, path: Path) -> WorldModel:
    path.write_bytes(whole)
    return worldsim.load(folder)


def networks(folder: Path) -> dict[str, Callable[[], Any]]:
    """Files of single networks, and what reads them."""
    from worldsim.agents.policies.policy_net import load_policy

    return {
        "depth.safetensors": lambda: load_depth_completion(folder / "depth.safetensors"),
        "motion.safetensors": lambda: load_ego_motion(folder / "motion.safetensors"),
        "policy.safetensors": lambda: load_policy(folder / "policy.safetensors").policy,
    }


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("stable_baselines3")
    from worldsim.agents.policies.policy_net import NetConfig, make_policy_net, save_policy

    folder, memory = tmp_path_factory.mktemp("fuzz"), tiny_memory()
    save_depth_completion(folder / "depth.safetensors", memory.depth)
    save_ego_motion(folder / "motion.safetensors", memory.motion)
    env, net = WorldSimEnv(tiny_world(), starts=tiny_starts()), NetConfig(shrink=8, stack=2, channels=2, features=8)
    save_policy(folder / "policy.safetensors", make_policy_net(env.observation_space, env.action_space, net), net, {})
    return folder


@fuzzed(st.tuples(st.integers(0, 10**6), st.booleans(), st.data()), 900)
def test_a_damaged_network_is_what_it_was_or_an_error(drawn: tuple[int, bool, Any], single: Path):
    number, forged, data = drawn
    readers = networks(single)
    name = sorted(readers)[number % len(readers)]
    path = single / name
    whole = path.read_bytes()
    before = readers[name]().state_dict()
    try:
        if forged:
            header, body = parts(path)
            text = json.dumps(data.draw(altered(json.loads(header["__metadata__"]["json"]))))
            rewrite(path, header | {"__metadata__": {"json": text}}, body)
        else:
            path.write_bytes(data.draw(broken(whole)))
        with in_memory(300):
            result = outcome(readers[name])
        if isinstance(result, Exception):
            assert name in str(result), result
        elif not forged:
            assert all(torch.equal(tensor, before[key]) for key, tensor in result.state_dict().items())
    finally:
        path.write_bytes(whole)


@fuzzed(st.tuples(st.integers(0, 2**31), st.data()), 600)
def test_a_damaged_state_of_a_training_is_what_it_was_or_changes_nothing(drawn: Any, tmp_path_factory: Any):
    kind, data = drawn
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    ema, optimizers = run_of(module)
    save_training(path, 2, module, ema, optimizers, {"a": torch.ones(2)}, {"b": [1]})
    if kind % 2:
        tensors, told = load_tensors(path)
        save_tensors(path, tensors, data.draw(altered(told).filter(lambda value: isinstance(value, dict))))
    else:
        path.write_bytes(data.draw(broken(path.read_bytes())))
    fresh = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    its_ema, its_optimizers = run_of(fresh)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    result = outcome(lambda: load_training(path, fresh, its_ema, its_optimizers))
    expected = before if isinstance(result, Exception) else module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in fresh.state_dict().items())
