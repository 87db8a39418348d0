"""Ego-motion: rows apart, exact rest, inertia in the right axes, files; and what it sees of its surroundings."""

import dataclasses
import math

import pytest
import torch

from tests.simulation.memory.room import CAMERA, pose, view
from worldsim.errors import UserError
from worldsim.models.checkpoint import save_tensors
from worldsim.simulation.memory.camera import advance_camera
from worldsim.simulation.memory.ego_motion import (
    FORMAT,
    SCALE,
    EgoMotion,
    EgoMotionConfig,
    load_ego_motion,
    motion_of,
    save_ego_motion,
)
from worldsim.simulation.memory.surroundings import EDGES, LAYERS, SECTORS, SIZE, SOFT, surroundings

A = 6
CONFIG = EgoMotionConfig(actions=A, camera=CAMERA)


def network(seed: int = 0, **changes) -> EgoMotion:
    torch.manual_seed(seed)
    return EgoMotion(dataclasses.replace(CONFIG, **changes)).eval().requires_grad_(False)


def test_a_row_of_a_batch_equals_the_row_alone_to_the_bit():
    model, rows = network(), 5
    poses = torch.stack([pose(x=i - 2, yaw=40 * i, pitch=9 * i) for i in range(rows)])
    depth = torch.stack([view(one)[1] for one in poses])
    actions = torch.randn(rows, 2, A)
    hidden = model.config.hidden
    state = torch.cat([model.initial(rows)[:, :hidden], torch.rand(rows, 7)], 1)
    moved, after = model(state, actions, depth, None, poses[:, 4])
    assert moved.shape == (rows, 2, 3)
    for i in range(rows):
        one = slice(i, i + 1)
        alone, kept = model(state[one], actions[one], depth[one], None, poses[one, 4])
        assert torch.equal(alone, moved[one]) and torch.equal(kept, after[one])


def test_within_the_dead_zone_nothing_moves_and_gradients_pass():
    model = network(still=1.0)
    depth, pitch = torch.rand(2, 80, 144), torch.zeros(2)
    moved, state = model(model.initial(2), torch.randn(2, 2, A), depth, None, pitch)
    assert bool((moved == 0).all()) and bool((state[:, model.config.hidden :][:, :3] == 0).all())
    model.requires_grad_(True)
    moved, _ = model(model.initial(2), torch.randn(2, 2, A), depth, None, pitch)
    moved.sum().backward()
    assert bool((moved == 0).all()) and float(model.input.weight.grad.abs().sum()) > 0  # pyright: ignore


def test_inertia_keeps_its_direction_in_the_world_while_the_camera_turns():
    model = network(still=0.0)
    torch.nn.init.zeros_(model.leave[2].weight)  # pyright: ignore
    model.leave[2].bias.copy_(torch.tensor([40.0, 40, 40, 0, 0, 0]))  # pyright: ignore
    actions = torch.zeros(1, 4, A)
    actions[0, :, CAMERA.yaw_action] = torch.tensor([30.0, 60, -20, 75])
    start = model.measured(model.initial(1), torch.tensor([[0.2, 0.1, -0.05]]), torch.tensor([10.0]))
    moved, _ = model(start, actions, torch.zeros(1, 80, 144), None, torch.zeros(1))
    here, path = pose(yaw=5.0)[None], []
    for frame in range(4):
        here = advance_camera(here, actions[:, frame : frame + 1, -2:], moved[:, frame], (-90, 90))
        path.append(here[:, :3])
    steps = torch.stack(path, 1).diff(dim=1)[0]
    before = advance_camera(
        pose(yaw=-5.0)[None], torch.tensor([[[0.0, 10]]]), torch.tensor([[0.2, 0.1, -0.05]]), (-90, 90)
    )
    torch.testing.assert_close(steps, before[:, :3].expand(3, 3), atol=1e-5, rtol=0)


def rising(model: EgoMotion, metres: float) -> None:
    """Let a network say that every frame moves up by so much."""
    torch.nn.init.zeros_(model.leave[2].weight)  # pyright: ignore
    model.leave[2].bias.copy_(torch.tensor([-40.0, -40, -40, 0, 0, metres / SCALE]))  # pyright: ignore


def test_the_height_above_where_it_stood_counts_until_it_stands_again():
    model = network()

    def run(state: torch.Tensor, up: float) -> torch.Tensor:
        # The dead zone takes its part of what is said.
        rising(model, up + math.copysign(model.config.still, up) if up else 0.0)
        return model(state, torch.zeros(1, 2, A), torch.zeros(1, 80, 144), None, torch.zeros(1))[1]

    def height(state: torch.Tensor):
        return pytest.approx(tuple(state[0, -2:].tolist()), abs=1e-5)

    start = run(model.initial(1), 0.0)
    assert height(start) == (0.0, 1.0)
    jumped = run(run(start, 0.3), 0.1)
    assert height(jumped) == (0.8, 0.0)
    assert height(run(jumped, -0.2)) == (0.4, 0.0)
    # What is measured counts: the last frame rose by .25 instead of .1, or stood.
    told = model.measured(jumped, torch.tensor([[0.0, 0.0, 0.25]]), torch.zeros(1))
    assert height(told) == (0.95, 0.0)
    landed = model.measured(jumped, torch.zeros(1, 3), torch.zeros(1))
    assert height(landed) == (0.7, 1.0)
    assert height(run(landed, 0.0)) == (0.0, 1.0)


def test_networks_of_before_are_not_told_the_height(tmp_path):
    model = network(risen=False)
    about = dataclasses.asdict(model.config) | {"camera": CAMERA.to_json()}
    del about["risen"]
    save_tensors(tmp_path / "a.safetensors", model.state_dict(), {"format": FORMAT, "ego_motion": about})
    other = load_ego_motion(tmp_path / "a.safetensors")
    assert not other.config.risen and other.initial(1).shape == (1, 69)
    told = other.measured(other.initial(1), torch.ones(1, 3), torch.zeros(1))
    moved, after = other(told, torch.ones(1, 2, A), torch.rand(1, 80, 144), None, torch.zeros(1))
    assert moved.shape == (1, 2, 3) and after.shape == (1, 69)


def test_motion_of_recorded_poses_leads_from_pose_to_pose():
    generator = torch.Generator().manual_seed(0)
    turns = torch.rand(1, 20, 2, generator=generator) * 40 - 20
    moved = torch.randn(1, 20, 3, generator=generator)
    poses = [pose(yaw=350.0)[None]]
    for frame in range(20):
        poses.append(advance_camera(poses[-1], turns[:, frame : frame + 1], moved[:, frame], (-90, 90)))
    path = torch.stack(poses, 1)
    path[..., 3] %= 360
    torch.testing.assert_close(motion_of(path), moved, atol=1e-4, rtol=0)


def _nearness(summary: torch.Tensor) -> torch.Tensor:
    return summary[:, : SECTORS * LAYERS].unflatten(1, (SECTORS, LAYERS))


def test_surroundings_name_the_distance_of_a_wall_whatever_the_pitch():
    knee = sum(edge <= 0.5 for edge in EDGES)
    poses = torch.stack([pose(z=5 - metres, pitch=pitch) for metres in (1.0, 2.0, 4.0) for pitch in (0.0, 20.0)])
    near = _nearness(surroundings(torch.stack([view(one)[1] for one in poses]), None, poses[:, 4], CAMERA))
    # At pitch 0 the picture ends above what stands at the knee of a wall 1 m off; 20 degrees down shows it.
    for i, metres in ((1, 1.0), (2, 2.0), (3, 2.0), (4, 4.0), (5, 4.0)):
        assert float(near[i, 0, knee]) == pytest.approx(1 / (metres + SOFT), rel=0.05)


def test_overlay_and_unsure_pixels_are_neither_sky_nor_seen():
    camera = dataclasses.replace(CAMERA, world_rows=0.75)
    depth = torch.full((1, 80, 144), 0.5)
    whole = surroundings(depth, None, torch.zeros(1), camera)
    depth[:, 60:] = 0
    assert torch.equal(surroundings(depth, None, torch.zeros(1), camera), whole)
    blind = surroundings(depth, torch.zeros(1, 80, 144), torch.zeros(1), camera)
    sky = surroundings(torch.zeros(1, 80, 144), None, torch.zeros(1), camera)
    assert blind.shape == (1, SIZE) and bool((blind == 0).all())
    assert float(sky[:, -SECTORS:].sum()) > 0 and float(_nearness(sky).sum()) == 0


def test_a_file_gives_the_same_network_and_others_are_refused(tmp_path):
    model = network(near=128)
    save_ego_motion(tmp_path / "a.safetensors", model, {"seed": 3})
    other = load_ego_motion(tmp_path / "a.safetensors")
    assert other.config == model.config
    inputs = other.initial(1), torch.ones(1, 2, A), torch.rand(1, 80, 144), None, torch.zeros(1)
    assert torch.equal(other(*inputs)[0], model(*inputs)[0])
    save_tensors(tmp_path / "b.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="worldsim train motion"):
        load_ego_motion(tmp_path / "b.safetensors")


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="multiple of 64"):
        dataclasses.replace(CONFIG, hidden=96)
    model = network()
    with pytest.raises(ValueError, match="length 6, got 5"):
        model(model.initial(1), torch.zeros(1, 2, 5), torch.zeros(1, 80, 144), None, torch.zeros(1))
