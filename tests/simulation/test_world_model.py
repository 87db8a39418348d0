import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

import worldsim
from tests.tiny_world import ROUNDING, tiny_world
from worldsim.models.heads import MOTION
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.pose import advance_pose


def past(world, batch=2, chunks=3, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch, 1 + world.chunk * chunks, world.config.height, world.config.width, 3)
    frames = rng.integers(0, 256, shape, dtype=np.uint8)
    actions = rng.normal(size=(batch, world.chunk * chunks, world.spec.size)).astype(np.float32)
    return frames, actions


def acts(world, batch=2, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, world.chunk, world.spec.size)).astype(np.float32)


def play(world, state, count=4, seed=1):
    frames = []
    for i in range(count):
        state, step = world.step(state, acts(world, state.batch, seed + i))
        frames.append(step.frames)
    return state, np.stack(frames, 1)


def same(a: WorldState, b: WorldState) -> bool:
    return all(torch.equal(x, b.tensors()[name]) for name, x in a.tensors().items())


@pytest.mark.parametrize(
    "sampling",
    [
        {"reuse_last_eval_for_cache": False},
        {"steps": 3},
        {"reuse_last_eval_for_cache": False, "guidance": 1.5},
        {"reuse_last_eval_for_cache": False, "context_tau": 0.9},
    ],
)
def test_step_shows_one_chunk_and_leaves_its_state_alone(sampling):
    world = tiny_world(**sampling)
    state = world.prefill(*past(world), seeds=[1, 2])
    before = state.select([0, 1])
    following, step = world.step(state, acts(world))
    assert step.frames.shape == (2, 2, 48, 80, 3) and step.frames.dtype == np.uint8
    assert step.reward.shape == (2,) and step.pose.shape == (2, 5)
    assert same(state, before)
    assert following.steps.tolist() == [1, 1]
    again, repeated = world.step(state, acts(world))
    assert np.array_equal(step.frames, repeated.frames) and same(following, again)


def test_reward_is_the_growth_of_the_furthest_distance():
    world = tiny_world()
    state, furthest = world.prefill(*past(world), seeds=[1, 2]), np.zeros(2)
    rewards = []
    for i in range(8):
        state, step = world.step(state, acts(world, seed=i))
        distance = np.maximum(furthest, np.hypot(step.pose[:, 0], step.pose[:, 2]))
        np.testing.assert_allclose(step.reward, distance - furthest, atol=1e-5)
        furthest = distance
        rewards.append(step.reward)
    # Both cases occur: steps that lead further away, and steps that do not.
    assert (np.array(rewards) > 1e-3).any() and (np.array(rewards) == 0).any()


def test_temperature_scales_the_noise_and_nothing_else():
    cold, warm = tiny_world(temperature=0.0), tiny_world(temperature=1.0)
    frames, actions = past(cold)
    frames, actions = np.repeat(frames[:1], 2, 0), np.repeat(actions[:1], 2, 0)
    same_actions = np.repeat(acts(cold, 1), 2, 0)
    one, other = cold.step(cold.prefill(frames, actions, seeds=[1, 2]), same_actions)[1].latents
    torch.testing.assert_close(one, other)
    one, other = warm.step(warm.prefill(frames, actions, seeds=[1, 2]), same_actions)[1].latents
    assert float((one - other).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="temperature"):
        SamplingConfig(temperature=-1.0)


@pytest.mark.parametrize("sampling", [{"reuse_last_eval_for_cache": False}, {"steps": 3}])
def test_features_are_what_the_heads_read(sampling):
    world = tiny_world(**sampling)
    state = world.prefill(*past(world), seeds=[1, 2])
    width = world.dit.config.width
    assert state.features.shape == (2, 2 * width) and bool(state.features.any())
    following, step = world.step(state, acts(world))
    assert step.features.dtype == np.float32 and np.array_equal(step.features, following.features.numpy())
    heads = world.dit.heads
    with torch.inference_mode():
        termination = heads.out(heads.trunk(following.features))[:, MOTION].sigmoid()
    np.testing.assert_allclose(termination.numpy(), step.termination, rtol=1e-4)


def test_donated_step_gives_the_same():
    world = tiny_world()
    state = world.prefill(*past(world), seeds=[1, 2])
    kept, a = world.step(state, acts(world))
    donated, b = world.step(state.select([0, 1]), acts(world), inplace=True)
    assert same(kept, donated) and np.array_equal(a.frames, b.frames)


def test_fork_shares_noise_and_differs_by_actions_alone():
    world = tiny_world()
    state = world.prefill(*past(world, 1), seeds=[7])
    fork = state.select([0, 0, 0])
    actions = acts(world, 3)
    actions[1] = actions[0]
    fork, step = world.step(fork, actions)
    for _ in range(4):
        fork, step = world.step(fork, actions)
    assert np.array_equal(step.frames[0], step.frames[1])
    assert not np.array_equal(step.frames[0], step.frames[2])


def test_restored_state_replays_bit_for_bit(tmp_path):
    world = tiny_world()
    state, _ = play(world, world.prefill(*past(world), seeds=[1, 2]), 3)
    state.save(tmp_path / "state.safetensors")
    loaded = WorldState.load(tmp_path / "state.safetensors")
    assert same(state, loaded)
    assert np.array_equal(play(world, state)[1], play(world, loaded)[1])


def test_seed_changes_the_dream_and_rows_are_independent():
    world = tiny_world()
    frames, actions = past(world, 1)
    twice = np.repeat(frames, 2, 0), np.repeat(actions, 2, 0)
    state = world.prefill(*twice, seeds=[1, 2])
    _, step = world.step(state, np.repeat(acts(world, 1), 2, 0))
    assert not np.array_equal(step.frames[0], step.frames[1])
    alone, one = world.step(world.prefill(frames, actions, seeds=[2]), acts(world, 1))
    assert np.abs(one.frames[0].astype(int) - step.frames[1]).max() <= 1
    joined = WorldState.concatenate([alone, alone])
    assert joined.batch == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling",
    [{"reuse_last_eval_for_cache": False}, {"steps": 3}, {"reuse_last_eval_for_cache": False, "guidance": 1.5}],
)
def test_rows_dream_what_they_dream_alone(sampling):
    world = tiny_world(**sampling)
    frames, actions = past(world, 5)
    together = world.prefill(frames, actions, seeds=range(5))
    alone = [world.prefill(frames[i : i + 1], actions[i : i + 1], seeds=[i]) for i in range(5)]
    for step in range(3):
        chunk = acts(world, 5, seed=step)
        together, shown = world.step(together, chunk)
        for i in range(5):
            alone[i], one = world.step(alone[i], chunk[i : i + 1])
            assert np.abs(one.frames[0].astype(int) - shown.frames[i]).max() <= (ROUNDING > 0)
            for name, tensor in together.select([i]).tensors().items():
                torch.testing.assert_close(alone[i].tensors()[name], tensor, rtol=ROUNDING, atol=ROUNDING)


def test_long_rollout_stays_finite_and_the_cache_does_not_grow():
    world = tiny_world(window=3)
    state = world.prefill(*past(world, 1, chunks=7), seeds=[3])
    size = sum(t.numel() for t in state.tensors().values())
    state, _ = play(world, state, 12)
    assert sum(t.numel() for t in state.tensors().values()) == size
    assert all(bool(t.isfinite().all()) for t in state.tensors().values())


def test_one_picture_is_enough_to_start_and_any_grid_works():
    world = tiny_world()
    for height, width in ((32, 32), (32, 64), (64, 32)):
        frames = np.random.default_rng(0).integers(0, 256, (1, 1, height, width, 3), dtype=np.uint8)
        state = world.prefill(frames, np.zeros((1, 0, 22), np.float32), seeds=[0])
        _, step = world.step(state, acts(world, 1))
        assert step.frames.shape == (1, 2, height, width, 3)


def test_checkpoint_round_trip(tmp_path):
    world = tiny_world(steps=3)
    world.save(tmp_path / "w")
    once = WorldModel.load(tmp_path / "w", bf16=False)
    assert once.config == world.config
    once.save(tmp_path / "again")
    twice = worldsim.load(tmp_path / "again", bf16=False)
    state = [w.prefill(*past(w), seeds=[1, 2]) for w in (once, twice)]
    assert np.array_equal(play(once, state[0])[1], play(twice, state[1])[1])
    assert {p.suffix for p in (tmp_path / "w").iterdir()} == {".safetensors"}


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign"])
def test_damaged_checkpoint_is_one_clear_error(tmp_path, damage):
    tiny_world().save(tmp_path / "w")
    path = tmp_path / "w" / "dit.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.write_bytes((tmp_path / "w" / "tokenizer.safetensors").read_bytes())
    with pytest.raises((ValueError, FileNotFoundError)):
        worldsim.load(tmp_path / "w")
    with pytest.raises(FileNotFoundError, match="no world"):
        worldsim.load("nowhere")


def test_bad_input_is_refused():
    world = tiny_world()
    frames, actions = past(world)
    with pytest.raises(ValueError, match="actions must be"):
        world.prefill(frames, actions[:, 1:], seeds=[1, 2])
    with pytest.raises(ValueError, match="uint8"):
        world.prefill(torch.from_numpy(frames).float(), actions, seeds=[1, 2])
    state = world.prefill(frames, actions, seeds=[1, 2])
    with pytest.raises(ValueError, match="finite"):
        world.step(state, np.full((2, 2, 22), np.nan, np.float32))
    with pytest.raises(IndexError, match="rows"):
        state.select([2])


SCRIPT = """
import hashlib, sys
import numpy as np
sys.path.insert(0, {root!r})
from tests.simulation.test_world_model import past, play
from tests.tiny_world import ROUNDING, tiny_world
for bf16 in (False, True):
    world = tiny_world(bf16=bf16)
    _, frames = play(world, world.prefill(*past(world), seeds=[1, 2]), 6)
    print(hashlib.sha256(frames.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_same_seed_and_actions_give_equal_bytes_in_two_processes():
    script = SCRIPT.format(root=str(worldsim.ASSETS.parent.parent))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = []
    for bf16 in (False, True):
        world = tiny_world(bf16=bf16)
        _, frames = play(world, world.prefill(*past(world), seeds=[1, 2]), 6)
        here.append(hashlib.sha256(frames.tobytes()).hexdigest())
    assert run.stdout.split() == here and here[0] != here[1]


def test_pose_integrates_a_square_back_to_its_start():
    pose = torch.zeros(1, 5)
    for _ in range(4):
        pose = advance_pose(pose, torch.tensor([[2.0, 0, 0, 0, 0]]))
        pose = advance_pose(pose, torch.tensor([[0.0, 0, 0, 90.0, 0]]))
    torch.testing.assert_close(pose[:, :3], torch.zeros(1, 3), atol=1e-5, rtol=0)
    right = advance_pose(torch.zeros(1, 5), torch.tensor([[0.0, 1.0, 0, 0, 0]]))
    torch.testing.assert_close(right[0, :3], torch.tensor([1.0, 0, 0]))
