"""A world computes on the device that it is moved to, and what leaves it is NumPy (``tests/elsewhere.py``)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.elsewhere import ELSEWHERE, Elsewhere, elsewhere, fetched
from tests.tiny_memory import remembering_world, tiny_memory
from tests.tiny_world import PROMPTS, TEXT, shaken, tiny_dit, tiny_starts, tiny_world, trusting_world
from worldsim.diffusion.noise import noise
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.pace import DEPTH, MEMORY
from worldsim.errors import UserError
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.denoising import x0_errors
from worldsim.evaluation.parts.text import first_pictures
from worldsim.models.fact_heads import FactHeads, FactHeadsConfig
from worldsim.simulation.devices import device_of
from worldsim.simulation.state import Step, WorldState
from worldsim.simulation.world_model import WorldModel

# Kernels are not the same everywhere: convolutions and norms of one device round otherwise than those of another.
NEAR = 0.02
GREYS = 4
FORWARD = np.zeros((2, 4, 22), np.float32)
FORWARD[..., 0] = 1
FORWARD[1, :, -1] = 5


def with_drawing() -> WorldModel:
    """A world whose network is given what its memory draws."""
    plain = tiny_world()
    return WorldModel(
        plain.config, plain.tokenizer, tiny_dit(8, drawn=True), prompt_embeddings=plain.prompt_embeddings, bf16=False,
        memory=tiny_memory(),
    )  # fmt: skip


def with_heads() -> WorldModel:
    """A world that tells facts and text goals, and whose trust falls."""
    world = trusting_world()
    torch.manual_seed(0)
    heads = shaken(FactHeads(FactHeadsConfig(features=64, hidden=16, text=TEXT)), 0).eval().requires_grad_(False)
    assert isinstance(heads, FactHeads)
    return WorldModel(
        world.config, world.tokenizer, world.dit, prompt_embeddings=world.prompt_embeddings, fact_heads=heads,
        trust=world.trust, bf16=False,
    )  # fmt: skip


def sure(world: WorldModel) -> WorldModel:
    """With a memory that is sure of every depth: at the edge of what it believes, rounding decides what it shows."""
    assert world.memory is not None and world.memory.depth.leave.bias is not None
    world.memory.depth.leave.bias.data[16:] = 5.0
    return world


WORLDS = {
    "plain": tiny_world,
    "guided": lambda: tiny_world(
        guidance=1.5, context_tau=0.9, reuse_last_eval_for_cache=False, steps=2, temperature=0.8
    ),
    "shortcut": lambda: tiny_world(shortcut=True, steps=1),
    "memory": lambda: sure(remembering_world()),
    "drawing": lambda: sure(with_drawing()),
    "heads": with_heads,
}


def played(world: WorldModel, steps: int = 3) -> tuple[WorldState, list[Step]]:
    """Two rows with prompts and poses, from a past that does not begin at rest."""
    starts = tiny_starts()
    poses = np.zeros((2, 5, 5), np.float32)
    poses[:, :, 2] = np.arange(5)
    state = world.prefill(starts.frames[:2], starts.actions[:2], [3, 4], [PROMPTS[0], ""], poses)
    outs = []
    for _ in range(steps):
        state, out = world.step(state, FORWARD[:, :2], inplace=bool(outs))
        outs.append(out)
    return state, outs


def check_alike(a: Step, b: Step) -> None:
    """The same step, on the CPU and elsewhere; arrays in both."""
    # A pixel that two of its sources share alike may be either's, as below.
    assert (np.abs(a.frames.astype(int) - b.frames) > GREYS).mean() < 0.005
    for name in ("reward", "termination", "pose", "features", "trust", "statistics"):
        assert type(getattr(b, name)) is np.ndarray
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), NEAR, NEAR, err_msg=name)
    np.testing.assert_allclose(fetched(b.latents), a.latents.numpy(), NEAR, NEAR)
    assert (a.sources is None) == (b.sources is None)
    if a.sources is not None and b.sources is not None:
        assert (a.sources == b.sources).mean() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_a_world_computes_elsewhere_what_it_computes_here(name: str):
    world = WORLDS[name]()
    _, here = played(world)
    with elsewhere() as device:
        moved = world.to(device)
        state, there = played(moved)
        assert moved is not world and moved.to(device) is moved and moved.device == state.device == device
        assert all(isinstance(t, Elsewhere) for t in state.tensors().values())
        if world.memory is not None:
            assert sum(len(row.frames()) for row in state.memory.frames.rows) >= 4  # pyright: ignore
    assert world.device.type == "cpu" and not any(isinstance(p, Elsewhere) for p in world.dit.parameters())
    for a, b in zip(here, there, strict=True):
        check_alike(a, b)
    assert not np.array_equal(here[0].frames, here[-1].frames)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "memory"])
def test_a_state_goes_on_elsewhere_by_way_of_a_file(name: str, tmp_path: Path):
    """Saved on one device and loaded on the other, both ways; forks and rows stay what they are."""
    world = WORLDS[name]()
    state, _ = played(world, 2)
    expected = world.step(state, FORWARD[:, :2])[1]
    state.save(tmp_path / "here")
    with elsewhere() as device:
        moved = world.to(device)
        loaded = WorldState.load(tmp_path / "here")
        with pytest.raises(ValueError, match="a state on cpu for a world on meta"):
            moved.step(loaded, FORWARD[:, :2])
        there = loaded.to(device)
        assert there.to(device) is there
        check_alike(expected, moved.step(there, FORWARD[:, :2])[1])
        both = WorldState.concatenate([there.select([1]), there.share([0])])
        turned = moved.step(both, FORWARD[::-1, :2].copy())[1]
        assert np.abs(turned.frames[::-1].astype(int) - expected.frames).max() <= GREYS
        there.save(tmp_path / "there")
    again = WorldState.load(tmp_path / "there")
    for key, tensor in state.tensors().items():
        assert torch.equal(tensor, again.tensors()[key]), key
    np.testing.assert_array_equal(world.step(again, FORWARD[:, :2])[1].frames, expected.frames)


def test_what_frames_of_a_memory_share_stays_shared_when_it_moves():
    state, _ = played(remembering_world(), 1)
    memory = state.select([0, 0]).memory
    assert memory is not None
    with elsewhere() as device:
        one, two = memory.to(device).frames.rows
        assert one.frames() and all(a is b for a, b in zip(one.frames(), two.frames(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["memory", "heads"])
def test_environments_play_elsewhere(name: str, tmp_path: Path):
    """Observations, rewards and infos are NumPy; snapshots go from a device to the other."""
    world, task = WORLDS[name](), "explore" if name == "memory" else f"goal: {PROMPTS[0]}"
    kept: dict[str, Any] = {"task": task, "starts": tiny_starts()}
    env = WorldSimEnv(world, **kept)
    env.reset(seed=0)
    here = env.snapshot()
    obs, reward, *_, info = env.step(env.noop_action)
    with elsewhere() as device:
        far = WorldSimEnv(world.to(device), **kept)
        far.reset(seed=0)
        seen, earned, *_, told = far.step(far.noop_action)
        assert np.abs(obs.astype(int) - seen).max() <= GREYS and earned == pytest.approx(reward, abs=0.02)
        assert type(told["pose"]) is np.ndarray and told.keys() == info.keys()
        far.restore(here)
        assert far.current().device == device
        assert np.abs(obs.astype(int) - far.step(far.noop_action)[0]).max() <= GREYS
        assert far.fork(1)[0].step(far.noop_action)[0].shape == obs.shape
        far.snapshot().save(tmp_path / "far")
        envs = WorldSimVectorEnv(3, world.to(device), **kept)
        envs.reset(seed=0)
        rows, rewards, *_, infos = envs.step(np.stack([env.noop_action] * 3))
        assert np.abs(obs.astype(int) - rows[0]).max() <= GREYS and rewards.dtype == np.float64
        envs.reset(seed=7, options={"reset_mask": np.array([True, False, False])})
        envs.restore(here, [1])
        envs.restore([here, envs.snapshot(2)], [0, 2])
        assert type(infos["pose"]) is np.ndarray and envs.step(np.stack([env.noop_action] * 3))[0].dtype == np.uint8
    env.restore(Snapshot.load(tmp_path / "far"))
    assert env.step(env.noop_action)[0].dtype == np.uint8


@pytest.mark.slow
def test_play_and_branches_elsewhere():
    world, starts = remembering_world(), tiny_starts()
    scripts = ["forward 4", ("forward 2", ["yaw +20 x 2"])]
    plain = world.branch(starts.frames[0], scripts)
    with elsewhere() as device:
        moved = world.to(device)
        for a, b in zip(plain, moved.branch(starts.frames[0], scripts), strict=True):
            assert np.abs(a.frames.astype(int) - b.frames).max() <= 2 * GREYS
        game = WorldGame(moved, starts)
        game.reset(0)
        moment = game.snapshot()
        assert game.advance(FORWARD[0, :2]).shape == (2, 48, 80, 3)
        assert "m from the start" in game.status() and game.latent().dtype == np.float16
        for game.watch in (DEPTH, MEMORY):
            assert game.insight()[game.watch].dtype == np.uint8
        game.restore(moment)
        assert np.array_equal(game.advance(FORWARD[0, :2]), game.advance(FORWARD[0, :2])) is False


@pytest.mark.slow
def test_what_measures_a_world_elsewhere():
    world, starts = tiny_world(), tiny_starts()
    clips = Clips(
        frames=starts.frames, actions=starts.actions, maps=np.arange(4), pitch=np.zeros((4, 5), np.float32)
    )  # fmt: skip

    def measured(world: WorldModel) -> tuple[Any, Any]:
        texts = world.embed([PROMPTS[0], PROMPTS[1], "", PROMPTS[0]], 4)
        errors = x0_errors(world, clips, {"own": (clips.actions, texts), "none": (clips.actions, None)})
        return errors, first_pictures(world, texts, (48, 80), range(4))

    errors, pictures = measured(world)
    with elsewhere() as device:
        far, shown = measured(world.to(device))
    for name, values in errors.items():
        np.testing.assert_allclose(far[name], values, NEAR, NEAR)
    assert np.abs(pictures.astype(int) - shown).max() <= GREYS


def test_noise_is_the_same_on_every_device():
    here = noise([1, 2], [5, 6], (3, 4))
    with elsewhere() as device:
        assert torch.equal(here, noise([1, 2], [5, 6], (3, 4), device).cpu())


def test_the_second_device_does_not_meet_the_cpu():
    """Or these tests could not fail."""
    with elsewhere() as device:
        far = torch.arange(3.0, device=device)
        for fault in (
            lambda: far + torch.ones(3),
            lambda: torch.where(far > 0, torch.zeros(3), far),
            lambda: torch.cat([far, torch.zeros(2)]),
            lambda: far[far > 0] + torch.as_tensor(np.ones(2, np.float32)),
        ):
            with pytest.raises(RuntimeError, match="two devices"):
                fault()
        with pytest.raises(RuntimeError, match="numpy"):
            far.numpy()
        assert (far + torch.tensor(1.0)).device == ELSEWHERE and far[torch.tensor([0, 2])].tolist() == [0.0, 2.0]
        assert far.cpu().numpy().tolist() == [0.0, 1.0, 2.0] and torch.zeros_like(far).device == ELSEWHERE


def test_a_device_that_was_left_on_the_cpu_is_found():
    world = remembering_world()
    with elsewhere() as device:
        moved = world.to(device)
        assert moved.memory is not None
        moved.memory.overlay = torch.zeros(48, 80, dtype=torch.bool)
        with pytest.raises(RuntimeError, match="two devices"):
            played(moved, 1)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch):
    assert device_of("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(None) == "cpu"
    for name in ("cuda", "cuda:0", "meta", "cpu:1", "", "abacus"):
        with pytest.raises(UserError, match=f"device '{name}' is not available"):
            device_of(name)
        with pytest.raises(UserError, match="is not available"):
            WorldSimEnv(tiny_world(), starts=tiny_starts(), device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of(name) for name in (None, "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match="'cuda:2'"):
        device_of("cuda:2")


def test_a_world_here_stays_the_same_object():
    world = tiny_world()
    state, _ = played(world, 1)
    assert world.to("cpu") is world and state.to("cpu") is state
    env = WorldSimEnv(world, starts=tiny_starts(), device="cpu")
    assert env.world is world and replace(env.world.config) == world.config
