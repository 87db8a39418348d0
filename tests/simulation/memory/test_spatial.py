"""A world with a spatial memory: it stands still, it forks, it is saved, and rows are worlds of their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny_memory import remembering_world, tiny_memory
from tests.tiny_world import tiny_dit, tiny_world
from worldsim.errors import UserError
from worldsim.models.checkpoint import read_metadata
from worldsim.simulation.memory.compositor import SOURCES
from worldsim.simulation.memory.depth import encode_depth
from worldsim.simulation.memory.files import FILE, load_memory, replace_part, save_memory
from worldsim.simulation.memory.memory_state import MemoryState
from worldsim.simulation.memory.spatial import BEGINNING
from worldsim.simulation.state import WorldState
from worldsim.spec.camera import INVERSE_DEPTH_STEPS

FIRST_ROW_OF_HUD = int(48 * 61 / 80)


def past(batch=2, chunks=3, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (batch, 1 + 2 * chunks, 48, 80, 3), dtype=np.uint8)
    actions = np.zeros((batch, 2 * chunks, 22), np.float32)
    actions[..., -1] = rng.uniform(-3, 3, (batch, 2 * chunks))
    return frames, actions


def acts(batch=2, seed=1):
    rng = np.random.default_rng(seed)
    actions = (rng.random((batch, 2, 22)) < 0.3).astype(np.float32)
    actions[..., -2:] = rng.normal(0, 4, (batch, 2, 2))
    return actions


def memory_of(state: WorldState) -> MemoryState:
    assert state.memory is not None
    return state.memory


def same(a: WorldState, b: WorldState) -> bool:
    return a.tensors().keys() == b.tensors().keys() and all(
        torch.equal(x, b.tensors()[name]) for name, x in a.tensors().items()
    )


def test_where_nobody_moves_and_memory_knows_the_picture_it_stands_still_for_good():
    world = remembering_world(amount=0)
    frames, actions = past()
    state = world.prefill(frames, actions, [1, 2])
    for _ in range(20):
        state, step = world.step(state, np.zeros((2, 2, 22), np.float32))
    assert np.array_equal(step.frames[:, -1, :FIRST_ROW_OF_HUD], frames[:, -1, :FIRST_ROW_OF_HUD])  # pyright: ignore
    # Below is the hotbar, which memory does not hold: there the network draws.
    assert not np.array_equal(step.frames[:, -1, FIRST_ROW_OF_HUD:], frames[:, -1, FIRST_ROW_OF_HUD:])  # pyright: ignore
    assert step.pose.max() == 0  # pyright: ignore


def test_new_pixels_have_the_depth_that_their_picture_tells_and_not_that_of_what_stands_beside(monkeypatch):
    """Else a wall beside what is new makes a wall of it, and of what is new beside that."""
    world = remembering_world(amount=0)
    memory = world.memory
    assert memory is not None

    def bright_is_far(pictures, descents):
        depth = torch.where(pictures.float().mean(-1) > 128, 0.001, 1.0)
        return encode_depth(depth), torch.full(pictures.shape[:3], 9.0)

    monkeypatch.setattr(memory.depth, "forward", bright_is_far)
    frames, actions = past(batch=1)
    frames[:] = 30
    state = world.prefill(frames, actions, [1])
    bright = np.full((1, 1, 2, 48, 80, 3), 220, np.uint8)
    monkeypatch.setattr(world, "decode", lambda latents, past: (bright, past))
    turn = np.zeros((1, 2, 22), np.float32)
    turn[..., -1] = 15
    for _ in range(3):
        state, _ = world.step(state, turn)
    newest = memory_of(state).frames.rows[0].kept[-1]
    new = (newest.confidence > 0) & (newest.picture.float().mean(-1) > 128)
    assert int(new.sum()) > 100 and float(newest.inverse_depth[new].float().max()) < 0.01


def test_a_step_tells_whose_each_pixel_is():
    world = remembering_world(amount=0)
    state = world.prefill(*past(), [1, 2])
    memory, screen, generated = (SOURCES.index(name) for name in ("memory", "screen", "generated"))
    _, still = world.step(state, np.zeros((2, 2, 22), np.float32))
    assert still.sources is not None and still.sources.shape == still.frames.shape[:-1]
    assert still.sources.dtype == np.uint8 and not (still.sources[..., FIRST_ROW_OF_HUD:, :] == memory).any()
    assert np.isin(still.sources[..., :FIRST_ROW_OF_HUD, :], (memory, screen)).mean() > 0.95
    turn = np.zeros((2, 2, 22), np.float32)
    turn[..., -1] = 9
    _, turned = world.step(state, turn)
    # What comes newly into view at the right edge is the network's.
    assert turned.sources is not None
    assert (turned.sources[:, -1, :FIRST_ROW_OF_HUD, -4:] == generated).mean() > 0.9
    assert tiny_world().step(tiny_world().prefill(*past(), [1, 2]), turn)[1].sources is None


def test_turning_away_and_back_shows_what_was_seen():
    world = remembering_world(amount=0)
    frames, actions = past(chunks=0)
    state = world.prefill(frames, actions, [1, 2])
    turn = np.zeros((2, 2, 22), np.float32)
    turn[..., -1] = 9
    shown = []
    for sign in (1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1):
        state, step = world.step(state, sign * turn)
        shown.append(step.frames[:, -1])
    middle = shown[len(shown) // 2 - 1]
    back = np.abs(shown[-1][:, :FIRST_ROW_OF_HUD].astype(int) - frames[:, -1, :FIRST_ROW_OF_HUD])
    away = np.abs(middle[:, :FIRST_ROW_OF_HUD].astype(int) - frames[:, -1, :FIRST_ROW_OF_HUD])
    assert back.mean() < 2 and away.mean() > 30


def test_pitch_stops_at_the_cameras_limit_and_the_pose_says_so():
    world = remembering_world(amount=0)
    state = world.prefill(*past(chunks=0), [1, 2])
    down = np.zeros((2, 2, 22), np.float32)
    down[..., -2] = 30
    for _ in range(4):
        state, step = world.step(state, down)
    assert step.pose[:, 4].tolist() == [89.5, 89.5]  # pyright: ignore


def test_known_poses_decide_pitch_and_where_the_past_was_seen():
    world = remembering_world(amount=0)
    frames, actions = past()
    poses = np.zeros((2, 7, 5), np.float32)
    poses[..., 0], poses[..., 4] = np.arange(7), 20
    state = world.prefill(frames, actions, [1, 2], poses=poses)
    assert memory_of(state).pose[:, 4].tolist() == [20, 20]
    assert memory_of(state).pose[:, :4].abs().max() == 0
    assert {frame.pose[0].item() for frame in memory_of(state).frames.rows[0].frames()} <= {-6, -4, -2, 0}
    with pytest.raises(ValueError, match="poses"):
        world.prefill(frames, actions, [1, 2], poses=poses[:, :3])


def test_known_depth_of_the_last_frame_is_remembered():
    world = remembering_world(amount=0)
    frames, actions = past(chunks=5)
    depth = np.random.default_rng(0).integers(0, 2**16, (2, 48, 80), dtype=np.uint16)
    told = memory_of(world.prefill(frames, actions, [1, 2], depth=depth))
    metres = torch.from_numpy(depth.astype(np.float32)) / INVERSE_DEPTH_STEPS
    torch.testing.assert_close(told.inverse_depth, metres.half())
    guessed = memory_of(world.prefill(frames, actions, [1, 2]))
    assert torch.equal(told.confidence, guessed.confidence)
    # Of earlier frames nothing is known.
    for one, other in zip(told.frames.rows, guessed.frames.rows, strict=True):
        by_time = ({frame.taken: frame.inverse_depth for frame in row.frames()} for row in (one, other))
        first, second = by_time
        assert first.keys() == second.keys() == {BEGINNING - 4, BEGINNING}
        assert torch.equal(first[BEGINNING - 4], second[BEGINNING - 4])
    with pytest.raises(ValueError, match="depth must be"):
        world.prefill(frames, actions, [1, 2], depth=depth[:, :40])


def test_a_fork_leaves_its_parent_alone_and_shares_key_frames():
    world = remembering_world()
    state = world.prefill(*past(), [1, 2])
    for seed in range(3):
        state, _ = world.step(state, acts(seed=seed))
    before = {name: t.clone() for name, t in state.tensors().items()}
    fork = state.select([0, 0, 1])
    assert memory_of(fork).frames.rows[0] is memory_of(state).frames.rows[0]
    world.step(fork, acts(3, seed=9), inplace=True)
    assert all(torch.equal(t, state.tensors()[name]) for name, t in before.items())
    assert memory_of(state.share([1])).frames.rows == (memory_of(state).frames.rows[1],)


def test_rows_of_a_batch_remember_to_the_bit_what_the_worlds_alone_do():
    memory = remembering_world().memory
    assert memory is not None
    frames, actions = (torch.as_tensor(each) for each in past(3))
    chunks = actions.unflatten(1, (-1, 2))
    together = memory.begin(frames, chunks)
    alone = [memory.begin(frames[i : i + 1], chunks[i : i + 1]) for i in range(3)]
    for k in range(6):
        todo, steps = torch.as_tensor(acts(3, seed=k)), torch.full((3,), k + 1)
        made = torch.randint(0, 256, (3, 2, 48, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(k))
        shown, together, _ = memory.step(memory.look_ahead(together, todo, steps), together, todo, made, steps)
        for i in range(3):
            row = slice(i, i + 1)
            outlook = memory.look_ahead(alone[i], todo[row], steps[row])
            one, alone[i], _ = memory.step(outlook, alone[i], todo[row], made[row], steps[row])
            assert torch.equal(one, shown[row])
            kept = together.rows([i], lambda t, i=i: t[i : i + 1]).tensors()
            assert all(torch.equal(t, kept[name]) for name, t in alone[i].tensors().items())


def test_rows_of_a_batch_are_the_worlds_alone_and_a_saved_state_goes_on_the_same(tmp_path):
    # At half the width, AVX512 kernels round so far apart that a point falls on another pixel, of any colour.
    world = remembering_world(dit=tiny_dit(8, width=64, modulation=64))
    frames, actions = past(3)
    together = world.prefill(frames, actions, [1, 2, 3])
    alone = [world.prefill(frames[i : i + 1], actions[i : i + 1], [i + 1]) for i in range(3)]
    for k in range(4):
        todo = acts(3, seed=k)
        together, shown = world.step(together, todo)
        for i in range(3):
            alone[i], one = world.step(alone[i], todo[i : i + 1])
            differs = np.abs(one.frames.astype(int) - shown.frames[i : i + 1])
            # So narrow a network rounds by the size of the batch: a level here and there, which drawing again spreads.
            assert (differs > 1).mean() < 1e-4 and differs.max() <= 1 + k
    joined = WorldState.concatenate([alone[2], alone[0]])
    assert memory_of(joined).frames.batch == 2
    joined.save(tmp_path / "state.safetensors")
    loaded = WorldState.load(tmp_path / "state.safetensors")
    assert same(joined, loaded)
    one, other = (world.step(state, acts(seed=7))[1].frames for state in (joined, loaded))
    assert np.array_equal(one, other)


def test_what_a_key_frame_shows_is_not_observed_again():
    world = remembering_world(amount=0)
    state = world.prefill(*past(chunks=0), [1, 2])
    frames = memory_of(state).frames
    for _ in range(5):
        state, _ = world.step(state, np.zeros((2, 2, 22), np.float32))
    assert [row.kept for row in memory_of(state).frames.rows] == [row.kept for row in frames.rows]
    assert all(row.last is not None and int(row.last.confidence.max()) == 0 for row in memory_of(state).frames.rows)


def test_what_is_drawn_too_large_is_shown_anew_and_then_remembered():
    plain, frames = remembering_world(amount=0), past(chunks=0)
    state = plain.prefill(*frames, [1, 2], depth=np.full((2, 48, 80), INVERSE_DEPTH_STEPS // 4, np.uint16))
    # 4 m away; 2 m nearer everything is twice as large.
    near = memory_of(state).pose[:, None].repeat(1, 2, 1)
    near[..., 2] += 2.0
    still = np.zeros((2, 2, 22), np.float32)
    of_world, shares = np.s_[:, :, :FIRST_ROW_OF_HUD], []
    for least in (0.0, 2.5, 1.5):
        assert plain.memory is not None
        plain.memory.config = replace(plain.memory.config, refined_from=least)
        moved, step = plain.step(state, still, poses=near)
        assert step.sources is not None
        shares.append((step.sources[of_world] == SOURCES.index("memory")).mean())
    assert shares[0] == shares[1] > 0.9 and shares[2] < 0.01
    # It stays where it is, and is remembered: nothing changes any more.
    again, resting = plain.step(moved, still, poses=near)  # pyright: ignore
    assert resting.sources is not None
    assert (resting.sources[of_world] == SOURCES.index("memory")).mean() > 0.9
    assert np.array_equal(resting.frames[of_world][:, -1], step.frames[of_world][:, -1])  # pyright: ignore
    depths = [memory_of(each).inverse_depth[:, :FIRST_ROW_OF_HUD].float() for each in (moved, again)]  # pyright: ignore
    assert all(abs(float(depth.median()) - 0.5) < 0.02 for depth in depths)


def test_a_memory_gets_another_network_and_says_what_it_was_trained_on(tmp_path):
    memory, other = tiny_memory(), tiny_memory(seed=1)
    save_memory(memory, tmp_path, {"trained_on": {"a": 1}, "motion_trained_on": {"b": 2}})
    replace_part(tmp_path, "motion", other.motion, {"c": 3})
    assert read_metadata(tmp_path / FILE)["about"] == {"trained_on": {"a": 1}, "motion_trained_on": {"c": 3}}
    again = load_memory(tmp_path)
    assert again is not None
    for name, of in (("motion", other), ("depth", memory), ("compositor", memory)):
        for key, tensor in getattr(again, name).state_dict().items():
            torch.testing.assert_close(tensor, getattr(of, name).state_dict()[key], atol=1e-2, rtol=1e-2)
    with pytest.raises(UserError, match="no spatial memory"):
        replace_part(tmp_path / "elsewhere", "motion", other.motion, {})


def test_a_memory_is_saved_and_loaded_whole(tmp_path):
    memory = tiny_memory()
    memory.config = replace(memory.config, refined_from=1.5)
    save_memory(memory, tmp_path, {"seed": 3})
    loaded = load_memory(tmp_path)
    assert loaded is not None
    assert loaded.config == memory.config
    for name in ("depth", "motion", "compositor"):
        one, two = getattr(memory, name), getattr(loaded, name)
        assert one.config == two.config
        for key, tensor in one.state_dict().items():
            assert torch.allclose(tensor, two.state_dict()[key], rtol=0.01, atol=1e-3), key
    assert load_memory(tmp_path / "nowhere") is None
