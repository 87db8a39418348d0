"""Drawing in a room that is known exactly.

Eight key frames at 144x80 took 7 ms on one thread of a busy machine (two cores, load 7; least of 30 draws).
"""

import pytest
import torch

from tests.simulation.memory.room import BLOCK, CAMERA, LENS, look, pose, psnr, view
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.memory.render import Drawing, Sources, draw, draw_turned, filled

NOW = torch.tensor([7])


def sources(*poses: torch.Tensor, **options) -> Sources:
    """What one world saw, the newest first."""
    seen = look(*poses, **options)
    sure = (seen.confidence * 255).to(torch.uint8)
    steps = torch.arange(len(poses)).flip(0)
    return Sources(seen.pictures[None], seen.inverse_depth[None], sure[None], seen.poses[None], steps[None])


def drawn(at: torch.Tensor, known: Sources, **options) -> Drawing:
    return draw(LENS, known, at[None], NOW, **options)


@pytest.mark.parametrize("at", [pose(), pose(1, 0.3, -2, 123, 37), pose(-2, 0, 1, -50, -60)])
def test_the_same_pose_shows_the_same_picture(at: torch.Tensor):
    known = sources(at, blocks=[BLOCK], sky=True)
    got = drawn(at, known)
    assert got.covered.all()
    assert torch.equal(got.picture[0], known.pictures[0, 0])


MOVES = [pose(yaw=5), pose(yaw=15, pitch=8), pose(z=0.5), pose(z=1.5), pose(x=0.5), pose(x=1, z=-0.5, yaw=-10)]


@pytest.mark.parametrize("to", MOVES, ids=str)
def test_a_near_pose_is_drawn_far_better_than_the_last_picture(to: torch.Tensor):
    known = sources(pose(), blocks=[BLOCK])
    truth, depth = view(to, [BLOCK])
    got = drawn(to, known)
    covered = got.covered[0]
    assert covered.float().mean() > 0.6
    assert psnr(got.picture[0], truth, covered) > psnr(known.pictures[0, 0], truth, covered) + 10
    error = (got.inverse_depth[0] - depth).abs()[covered]
    assert error.median() < 0.003


def test_a_surface_come_nearer_has_no_holes():
    got = drawn(pose(z=1.5), sources(pose()))
    assert got.covered.all()


def test_magnification_is_how_many_times_as_large_a_surface_is_drawn_as_it_was_seen():
    known = sources(pose())
    assert torch.allclose(drawn(pose(), known).magnification[0], torch.ones(LENS.height, LENS.width), atol=1e-3)
    got, at = drawn(pose(z=1.5), known), (LENS.height // 2, LENS.width // 2)
    depth = 1 / view(pose(z=1.5))[1][at]
    assert float(got.magnification[0][at]) == pytest.approx(float((depth + 1.5) / depth), rel=0.03)
    away = drawn(pose(yaw=60), known)
    assert bool((away.magnification[~away.covered] == 0).all())
    # The sky is as large from everywhere.
    sky = drawn(pose(z=1.5), sources(pose(), sky=True))
    assert float(sky.magnification[sky.covered & (sky.inverse_depth == 0)].min()) == pytest.approx(1)


def test_what_no_frame_has_seen_is_not_covered():
    got = drawn(pose(yaw=180), sources(pose()))
    assert not got.covered.any()
    assert not got.picture.any() and not got.inverse_depth.any() and not got.confidence.any() and not got.age.any()
    half = drawn(pose(yaw=60), sources(pose())).covered[0]
    assert half[:, 0].all() and not half[:, -1].any()


def test_the_near_hides_the_far_whichever_is_newer():
    """One frame sees the block from the side, the other the wall behind it past the block."""
    beside, behind = pose(x=-3, z=0, yaw=30), pose(z=4)
    truth, depth = view(pose(z=-1), [BLOCK])
    # Well inside of the block's face.
    face = depth > 0.25
    face &= torch.nn.functional.avg_pool2d(face.float()[None], 5, 1, 2)[0] == 1
    assert face.sum() > 100
    for order in ((beside, behind), (behind, beside)):
        got = drawn(pose(z=-1), sources(*order, blocks=[BLOCK]))
        seen = face & got.covered[0]
        near = (got.inverse_depth[0] > 0.25) & seen
        by_beside = drawn(pose(z=-1), sources(beside, blocks=[BLOCK])).covered[0] & face
        assert by_beside.sum() > 50
        assert near[by_beside].float().mean() > 0.95
        assert psnr(got.picture[0], truth, near) > 22


def test_of_frames_that_agree_the_newest_is_shown():
    known = sources(pose(), pose())
    pictures = torch.stack([torch.full_like(known.pictures[0, 0], 50), known.pictures[0, 1]])[None]
    known = Sources(pictures, known.inverse_depth, known.confidence, known.poses, torch.tensor([[5, 2]]))
    got = drawn(pose(), known)
    assert (got.picture == 50).all() and (got.age == 2).all()


def test_older_frames_do_not_redraw_the_edges_of_the_newest():
    """They saw the block's edges from elsewhere, which puts them a pixel off."""
    others = [pose(x=0.07 * n, z=-0.05 * n, yaw=3 * n) for n in (-3, -2, -1, 1, 2, 3)]
    known = sources(pose(), *others, blocks=[BLOCK])
    got = drawn(pose(), known)
    assert torch.equal(got.picture, known.pictures[:, 0]) and (got.age == 7 - 6).all()


def test_pixels_without_confidence_are_neither_drawn_nor_mixed_in():
    known = torch.ones(LENS.height, LENS.width, dtype=torch.bool)
    known[61:] = False
    clean = sources(pose(), known=known)
    dirty = Sources(
        clean.pictures.clone(), *(getattr(clean, n) for n in ("inverse_depth", "confidence", "poses", "taken"))
    )
    dirty.pictures[:, :, 61:] = 255
    for to in (pose(), pose(pitch=5.3), pose(z=0.7, yaw=3.7)):
        one, two = drawn(to, clean), drawn(to, dirty)
        assert torch.equal(one.picture, two.picture) and torch.equal(one.covered, two.covered)
    assert not drawn(pose(), dirty).covered[0, 61:].any()
    # Looking down by 10 degrees brings what was row 61 up to row 51.
    covered = drawn(pose(pitch=10), dirty).covered[0][:, 40:100]
    assert covered[:50].all() and not covered[53:].any()


def test_excluded_pixels_are_never_covered():
    hidden = torch.zeros(LENS.height, LENS.width, dtype=torch.bool)
    hidden[61:] = True
    got = drawn(pose(), sources(pose()), excluded=hidden)
    assert torch.equal(got.covered[0], ~hidden) and not got.picture[0, 61:].any()


def test_confidence_is_that_of_the_source():
    half = look(pose()).confidence * 0.5
    got = drawn(pose(), sources(pose(), known=half[0]))
    torch.testing.assert_close(got.confidence, torch.full_like(got.confidence, 127 / 255))


def test_rows_equal_a_row_alone_to_the_bit():
    poses = [pose(), pose(x=1, yaw=70), pose(z=-2, yaw=-20, pitch=11)]
    worlds = [sources(p, pose(yaw=15), pose(x=-1), blocks=[BLOCK], sky=True) for p in poses]
    targets = torch.stack([pose(z=0.3, yaw=4), pose(yaw=55), pose(x=0.4, pitch=-9)])
    names = ("pictures", "inverse_depth", "confidence", "poses", "taken")
    batch = Sources(*(torch.cat([getattr(w, n) for w in worlds]) for n in names))
    together = draw(LENS, batch, targets, NOW.expand(3))
    for row, world in enumerate(worlds):
        alone = draw(LENS, world, targets[row : row + 1], NOW)
        for name in ("picture", "covered", "inverse_depth", "confidence", "age"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name)[0]), name


def test_filling_up_with_frames_of_no_confidence_changes_nothing():
    known = sources(pose(), pose(yaw=20))
    names = ("pictures", "inverse_depth", "confidence", "poses", "taken")
    filled = Sources(*(torch.cat([getattr(known, n), torch.zeros_like(getattr(known, n))], 1) for n in names))
    one, two = drawn(pose(z=0.4, yaw=9), known), drawn(pose(z=0.4, yaw=9), filled)
    assert torch.equal(one.picture, two.picture) and torch.equal(one.covered, two.covered)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="80x144 do not go with a camera of 40x72"):
        draw(Intrinsics.of(CAMERA, 40, 72), sources(pose()), pose()[None], NOW)


def test_closing_fills_narrow_gaps_and_leaves_edges():
    plane = torch.full((9, 12), -1.0)
    plane[2:7, 2:10] = 1
    holed = plane.clone()
    holed[4, 4:6] = holed[3, 8] = -1
    assert torch.equal(filled(holed, 0.1)[0], plane)


def test_without_depth_pictures_turn():
    """Against a room seen from one place, where turning needs no depth."""
    none = torch.zeros(LENS.height, LENS.width, dtype=torch.bool)
    here, there = pose(), pose(yaw=12, pitch=-7)
    picture, truth = view(here)[0], view(there)[0]
    got = draw_turned(LENS, picture[None], here[None], there[None], none)
    assert got.covered.float().mean() > 0.65
    assert psnr(got.picture[0], truth, got.covered[0]) > 40
    same = draw_turned(LENS, picture[None], here[None], pose(x=3, z=2)[None], none)
    assert torch.equal(same.picture[0], picture)


def test_without_depth_the_overlay_stays_out():
    overlay = torch.zeros(LENS.height, LENS.width, dtype=torch.bool)
    overlay[61:] = True
    white = torch.where(overlay[..., None], 255, 10).to(torch.uint8).expand(-1, -1, 3)
    got = draw_turned(LENS, white[None], pose()[None], pose(pitch=15)[None], overlay)
    assert not got.covered[0, 61:].any() and not (got.picture > 10).any()
