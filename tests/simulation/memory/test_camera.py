import math

import pytest
import torch

from tests.simulation.memory.room import CAMERA, EYE, LENS, pose, view
from worldsim.simulation.memory.camera import (
    Intrinsics,
    advance_camera,
    relative_pose,
    reproject,
    rotation,
    to_camera,
    to_world,
)
from worldsim.spec.pose import advance_pose


def some_poses(count: int) -> torch.Tensor:
    scale = torch.tensor([3.0, 1, 3, 180, 80])
    return (torch.rand(count, 5, generator=torch.Generator().manual_seed(count)) * 2 - 1) * scale


def test_the_lens_sees_its_field_of_view():
    _, y = LENS.directions(torch.tensor(0.0), torch.tensor([-0.5, 39.5, 79.5]))
    torch.testing.assert_close(torch.rad2deg(torch.atan(y)), torch.tensor([-36.0, 0, 36.0]))


def test_the_engine_s_projection():
    """Luanti at 72 degrees and 144x80: P00 = .7647, P11 = 1.3764."""
    assert LENS.focal / (LENS.height / 2) == pytest.approx(1.3763819)
    assert LENS.focal / (LENS.width / 2) == pytest.approx(0.7646566)


@pytest.mark.parametrize("height, width", [(0, 144), (80, 0), (-80, 144)])
def test_a_picture_without_pixels_is_refused(height: int, width: int):
    with pytest.raises(ValueError, match=f"at least one pixel, got {height}x{width}"):
        Intrinsics.of(CAMERA, height, width)


def test_project_undoes_unproject():
    u, v = torch.tensor([0.0, 100, 143]), torch.tensor([79.0, 3, 20])
    inverse = torch.tensor([0.2, 1, 0.01])
    for got, want in zip(LENS.project(LENS.unproject(u, v, inverse)), (u, v, inverse), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_rays_descend_as_points_on_level_ground_lie():
    poses = some_poses(5)
    descents = LENS.descents(poses)
    assert descents.shape == (5, LENS.height, LENS.width)
    ground = torch.where(descents > 1e-3, descents / 1.5, 1.0)
    points = to_world(LENS.unproject(*LENS.pixels(), ground), poses[:, None, None], 1.5)
    below = poses[:, None, None, 1].expand_as(descents)
    torch.testing.assert_close(points[..., 1][descents > 1e-3], below[descents > 1e-3], atol=1e-2, rtol=0)
    # Level, the upper half of the picture looks up.
    level = LENS.descents(pose(yaw=30)[None])[0]
    assert bool((level[: LENS.height // 2] < 0).all()) and bool((level[LENS.height // 2 :] > 0).all())


def test_axes():
    """Yaw 0 looks along +z; 90 to the right along +x; positive pitch looks down."""
    ahead = torch.tensor([0.0, 0, 1])
    torch.testing.assert_close(to_world(ahead, pose(), EYE), torch.tensor([0, EYE, 1]))
    torch.testing.assert_close(to_world(ahead, pose(yaw=90), EYE), torch.tensor([1, EYE, 0]))
    torch.testing.assert_close(to_world(ahead, pose(pitch=90), EYE), torch.tensor([0, EYE - 1, 0]))
    torch.testing.assert_close(to_world(torch.tensor([1.0, 1, 0]), pose(), EYE), torch.tensor([1, EYE - 1, 0]))


def test_walking_forward_moves_along_the_view():
    turned = some_poses(5) * torch.tensor([1.0, 1, 1, 1, 0])
    walked = advance_pose(turned, torch.tensor([[2.0, 0, 0, 0, 0]]).expand(5, -1))
    seen = to_camera(walked[:, :3] + torch.tensor([0, EYE, 0]), turned, EYE)
    torch.testing.assert_close(seen, torch.tensor([[0.0, 0, 2]]).expand(5, -1), atol=1e-5, rtol=0)


def test_rotations_are_rotations_of_space_seen_with_y_down():
    turned = rotation(some_poses(20))
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3).expand(20, 3, 3), atol=1e-6, rtol=0)
    # World axes are left-handed (x right, y up, z ahead) and camera axes right-handed.
    torch.testing.assert_close(torch.linalg.det(turned), -torch.ones(20))


def test_reprojection_is_the_way_over_the_world():
    source, target = some_poses(6), some_poses(7)[:6]
    u, v, inverse = torch.full((6,), 30.0), torch.full((6,), 50.0), torch.linspace(0.1, 2, 6)
    there = LENS.project(to_camera(to_world(LENS.unproject(u, v, inverse), source, EYE), target, EYE))
    front = there[2] > 0
    assert 0 < int(front.sum()) < 6
    got = reproject(LENS, relative_pose(source, target), u, v, inverse)
    for one, two in zip(got, there, strict=True):
        torch.testing.assert_close(one[front], two[front], rtol=1e-3, atol=1e-2)
    assert (got[2][~front] == -1).all()


def test_infinitely_far_points_turn_but_do_not_shift():
    far = torch.zeros(1)
    u, v, depth = reproject(LENS, relative_pose(pose(), pose(x=3, z=7)), torch.tensor([20.0]), torch.tensor([9.0]), far)
    torch.testing.assert_close((u, v, depth), (torch.tensor([20.0]), torch.tensor([9.0]), far))
    u, _, _ = reproject(LENS, relative_pose(pose(), pose(yaw=10)), torch.tensor([71.5]), torch.tensor([39.5]), far)
    assert u.item() == pytest.approx(71.5 - LENS.focal * math.tan(math.radians(10)), abs=1e-3)


def test_the_room_s_depth_agrees_with_reprojection():
    """A point of the picture, seen from elsewhere, has the depth that is ray-cast there."""
    here, there = pose(yaw=20, pitch=10), pose(x=0.5, z=0.8, yaw=30)
    _, inverse = view(here)
    _, truth = view(there)
    u, v, depth = reproject(LENS, relative_pose(here, there), torch.tensor(100.0), torch.tensor(20.0), inverse[20, 100])
    assert depth.item() == pytest.approx(truth[round(v.item()), round(u.item())].item(), rel=0.03)


def test_rows_are_alike_to_the_bit():
    poses = some_poses(9)
    together = relative_pose(poses, poses.flip(0))
    for row in range(9):
        alone = relative_pose(poses[row : row + 1], poses[8 - row : 9 - row])
        assert torch.equal(alone.matrix[0], together.matrix[row]) and torch.equal(alone.shift[0], together.shift[row])


def test_pitch_stops_at_its_limits_in_every_frame():
    start = torch.tensor([[0.0, 0, 0, 10, 80], [0, 0, 0, 10, -85]])
    turns = torch.tensor([[[20.0, 5], [-10, 5]], [[3, -7], [0, 0]]])
    got = advance_camera(start, turns, torch.zeros(2, 3), (-89.5, 89.5))
    torch.testing.assert_close(got, torch.tensor([[0, 0, 0, 20, 79.5], [0, 0, 0, 3, -82]]))


def test_turning_there_and_back_returns():
    turns = torch.tensor([[[4.0, 90], [2, 90]]])
    there = advance_camera(pose()[None], turns, torch.zeros(1, 3), (-90, 90))
    torch.testing.assert_close(advance_camera(there, -turns, torch.zeros(1, 3), (-90, 90)), pose()[None])


def test_walking_follows_the_mean_heading():
    got = advance_camera(pose()[None], torch.tensor([[[0.0, 90], [0, 90]]]), torch.tensor([[1.0, 0, 0.5]]), (-90, 90))
    torch.testing.assert_close(got, torch.tensor([[1, 0.5, 0, 180, 0]]))


def test_limits_out_of_order_are_refused():
    with pytest.raises(ValueError, match="limits of pitch"):
        advance_camera(pose()[None], torch.zeros(1, 2, 2), torch.zeros(1, 3), (10, -10))
