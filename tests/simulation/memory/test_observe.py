"""What memory keeps, forgets and shows, in a room that is known exactly."""

import dataclasses

import pytest
import torch

from tests.simulation.memory.room import BLOCK, LENS, look, pose, psnr, view
from worldsim.simulation.memory.keyframes import KeyFrames
from worldsim.simulation.memory.observe import MemoryConfig, observe, recall
from worldsim.simulation.memory.selection import choose, coverage, most_redundant

CONFIG = MemoryConfig(capacity=40, drawn=8)


def walk(memory: KeyFrames, *path: torch.Tensor, config: MemoryConfig = CONFIG, start: int = 0, blocks=()) -> KeyFrames:
    """One world looks from each pose in turn."""
    for step, at in enumerate(path, start):
        memory = observe(LENS, memory, look(at, step=step, blocks=blocks), config)
    return memory


def shown(memory: KeyFrames, at: torch.Tensor, config: MemoryConfig = CONFIG, step: int = 1000):
    return recall(LENS, memory, at[None], torch.tensor([step]), config)


def turn(first: int, last: int, by: int = 10) -> list[torch.Tensor]:
    return [pose(yaw=yaw) for yaw in range(first, last, by)]


def test_nothing_seen_nothing_shown():
    got = shown(KeyFrames.empty(1), pose())
    assert not got.covered.any() and got.picture.shape == (1, LENS.height, LENS.width, 3)


def test_a_full_turn_shows_the_start_again():
    memory = walk(KeyFrames.empty(1), *turn(0, 350))
    truth, _ = view(pose(yaw=0))
    got = shown(memory, pose(yaw=360))
    assert got.covered.all() and psnr(got.picture[0], truth) > 35
    assert (got.age > 900).all()


def test_there_and_back_returns():
    path = [pose(z=0.25 * n, yaw=3 * n) for n in range(12)]
    memory = walk(KeyFrames.empty(1), *path, *(pose(z=2.75, yaw=33 + 15 * n) for n in range(12)), blocks=[])
    truth, _ = view(pose())
    got = shown(memory, pose())
    assert got.covered.all() and psnr(got.picture[0], truth) > 35


def test_standing_still_keeps_one_frame_and_the_picture():
    memory = walk(KeyFrames.empty(1), *[pose(yaw=7)] * 20)
    assert len(memory.rows[0].kept) == 1
    assert torch.equal(shown(memory, pose(yaw=7)).picture[0], view(pose(yaw=7))[0])


def test_the_last_observation_is_drawn_even_where_it_is_not_kept():
    memory = walk(KeyFrames.empty(1), pose(), pose(yaw=2))
    assert len(memory.rows[0].kept) == 1
    assert torch.equal(shown(memory, pose(yaw=2)).picture[0], view(pose(yaw=2))[0])
    assert (shown(memory, pose(yaw=2), step=5).age == 4).all()


def test_at_rest_the_picture_stands_whatever_else_is_remembered():
    """Older key frames saw the same edges from elsewhere, a pixel off; what is seen now is not theirs to change."""
    path = [pose(x=-2 + 0.25 * n, z=-1 + 0.1 * n, yaw=20 - 2.5 * n) for n in range(16)]
    memory = walk(KeyFrames.empty(1), *path, blocks=[BLOCK])
    assert len(memory.rows[0].kept) >= 3
    got = shown(memory, path[-1])
    assert got.covered.all() and torch.equal(got.picture[0], view(path[-1], [BLOCK])[0])


def dug(memory: KeyFrames, at: torch.Tensor) -> float:
    """Share of the block's pixels, seen from a pose, where memory still shows something as near as the block."""
    _, with_block = view(at, [BLOCK])
    _, without = view(at)
    block = with_block > without * 1.2
    assert block.sum() > 200
    got = shown(memory, at)
    return ((got.inverse_depth[0] > without * 1.15) & block).float().sum().item() / block.sum().item()


def test_a_dug_block_is_gone_after_looking_away():
    """The block was seen from three places; from one of them it is seen to be gone."""
    seen = walk(KeyFrames.empty(1), pose(), pose(x=1.5, yaw=-30), pose(x=-1.5, yaw=30), blocks=[BLOCK])
    assert dug(seen, pose()) > 0.95 and dug(seen, pose(x=1, yaw=-20)) > 0.9
    after = walk(seen, pose(), *turn(10, 180), start=3)
    for at in (pose(), pose(x=1, yaw=-20), pose(x=-1, yaw=20)):
        assert dug(after, at) < 0.05, at
        truth, _ = view(at)
        got = shown(after, at)
        assert psnr(got.picture[0], truth, got.covered[0]) > 25
    # The fork that did not look still has it.
    assert dug(seen, pose()) > 0.95


def test_a_placed_block_stands_after_looking_away_and_what_it_hides_returns_when_it_is_dug():
    empty = walk(KeyFrames.empty(1), pose(), pose(x=1.5, yaw=-30))
    placed = walk(empty, pose(), *turn(10, 180), start=2, blocks=[BLOCK])
    assert dug(empty, pose()) < 0.05
    assert dug(placed, pose()) > 0.95
    truth, _ = view(pose(), [BLOCK])
    assert psnr(shown(placed, pose()).picture[0], truth) > 30
    # The wall behind was not forgotten: it is there again as soon as the block is not.
    again = walk(placed, pose(yaw=12), start=100)
    assert dug(again, pose(yaw=12)) < 0.05
    truth, _ = view(pose(yaw=5))
    assert psnr(shown(again, pose(yaw=5)).picture[0], truth) > 30


def test_what_hides_nothing_kills_nothing():
    """A block seen before stays, if the pixels where it should be do not show the world (HUD, hand)."""
    seen = walk(KeyFrames.empty(1), pose(), blocks=[BLOCK])
    blind = look(pose(), step=1, known=torch.zeros(LENS.height, LENS.width))
    after = observe(LENS, seen, blind, CONFIG)
    assert after.rows[0].kept[0] is seen.rows[0].kept[0]
    assert len(after.rows[0].kept) == 1


def test_walking_past_a_block_kills_nothing():
    """Parallax at edges, and surfaces at a grazing angle, are no evidence against what was seen."""
    path = [pose(x=-2 + 0.2 * n, z=-1, yaw=25 - 2.5 * n) for n in range(20)]
    memory = walk(KeyFrames.empty(1), *path, blocks=[BLOCK])
    dead = [(frame.confidence == 0).float().mean().item() for frame in memory.rows[0].kept]
    assert len(dead) > 2 and max(dead) < 0.005


@pytest.mark.slow
def test_memory_is_bounded_and_keeps_what_nobody_else_shows():
    small = MemoryConfig(capacity=9, drawn=8)
    memory = KeyFrames.empty(1)
    for lap in range(3):
        path = [pose(x=0.05 * lap, yaw=yaw + 5 * lap) for yaw in range(0, 360, 15)]
        memory = walk(memory, *path, config=small, start=24 * lap)
        assert len(memory.rows[0].kept) <= 9
    pixels = LENS.height * LENS.width
    assert memory.nbytes() <= 10 * (pixels * 6 + 20)
    for yaw in range(0, 360, 30):
        got = shown(memory, pose(yaw=yaw), small)
        assert got.covered.float().mean() > 0.85, yaw


def test_the_frame_that_goes_is_shown_by_the_others():
    frames = walk(KeyFrames.empty(1), pose(), pose(yaw=120), pose(yaw=240)).rows[0].kept
    double = walk(KeyFrames.empty(1), pose(yaw=122)).rows[0].kept
    assert most_redundant(LENS, (*frames, *double), 0.1) == 1


def test_frames_chosen_are_those_that_show_the_view():
    frames = walk(KeyFrames.empty(1), *turn(0, 360, 30)).rows[0].kept
    assert len(frames) >= 8
    assert [frames[n].pose[3] for n in (3, 4)] == [90, 120]
    assert choose(coverage(LENS, frames, pose(yaw=90)), 1) == [3]
    assert set(choose(coverage(LENS, frames, pose(yaw=105)), 2)) == {3, 4}
    assert choose(coverage(LENS, frames, pose(yaw=90)), 8) == sorted(choose(coverage(LENS, frames, pose(yaw=90)), 8))


def test_of_equal_frames_the_newest_is_chosen():
    frames = [walk(KeyFrames.empty(1), pose()).rows[0].kept[0] for _ in range(3)]
    assert choose(coverage(LENS, frames, pose()), 2) == [2]


def test_sharper_frames_are_preferred():
    far, near = pose(z=-4), pose(z=2)
    frames = walk(KeyFrames.empty(1), near, far).rows[0].kept
    shares = coverage(LENS, frames, pose(z=2.5)).sum(1)
    assert shares[0] > 1.3 * shares[1] > 0


def test_rows_equal_a_row_alone_to_the_bit():
    paths = [
        [pose(), pose(yaw=40), pose(yaw=80), pose(z=1)],
        [pose(x=1, yaw=10), pose(x=1, yaw=11), pose(x=1, yaw=12), pose(x=1, yaw=200)],
        [pose(pitch=30), pose(pitch=-40, yaw=70), pose(yaw=150), pose(yaw=260)],
    ]
    small = MemoryConfig(capacity=3, drawn=2)
    together = KeyFrames.empty(3)
    for step, poses in enumerate(zip(*paths, strict=True)):
        together = observe(LENS, together, look(*poses, step=step, blocks=[BLOCK]), small)
    targets = torch.stack([pose(yaw=20), pose(x=0.5), pose(yaw=200)])
    drawing = recall(LENS, together, targets, torch.tensor([9, 9, 9]), small)
    for row, path in enumerate(paths):
        alone = walk(KeyFrames.empty(1), *path, config=small, blocks=[BLOCK])
        one = recall(LENS, alone, targets[row : row + 1], torch.tensor([9]), small)
        for field in dataclasses.fields(one):
            assert torch.equal(getattr(drawing, field.name)[row], getattr(one, field.name)[0]), field.name
        for name, tensor in together.select([row]).tensors().items():
            assert torch.equal(tensor, alone.tensors()[name]), name


def test_an_observation_of_other_worlds_is_refused():
    with pytest.raises(ValueError, match=r"expected pictures of \(2, 80, 144\)"):
        observe(LENS, KeyFrames.empty(2), look(pose()), CONFIG)


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"drawn": 0}, {"tolerance": 0.0}, {"new_share": 1.5}])
def test_settings_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MemoryConfig(**wrong)


def test_without_depth_a_turn_is_remembered_as_a_panorama():
    memory = KeyFrames.empty(1)
    for step, at in enumerate(turn(0, 360)):
        seen = look(at, step=step)
        flat = dataclasses.replace(seen, inverse_depth=torch.zeros_like(seen.inverse_depth))
        memory = observe(LENS, memory, flat, CONFIG)
    got = shown(memory, pose(yaw=5))
    assert got.covered.float().mean() > 0.98
    assert psnr(got.picture[0], view(pose(yaw=5))[0], got.covered[0]) > 35
