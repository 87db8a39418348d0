"""Noise of places: standard normal, continuous, the same whoever comes by, another elsewhere."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from tests.simulation.test_world_model import past
from tests.tiny_memory import remembering_world
from worldsim.simulation import chunk_sampler
from worldsim.simulation.memory.camera import Intrinsics
from worldsim.simulation.place_noise import place_noise

LENS = Intrinsics(height=80, width=144, focal=55.0)
SHAPE, METRES = (32, 10, 18), 8.0


def of(*poses: tuple[float, float, float, float, float], seeds: list[int] | None = None) -> torch.Tensor:
    given = torch.tensor(poses)
    return place_noise([3] * len(poses) if seeds is None else seeds, given, LENS, SHAPE, METRES)


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Their correlation."""
    return float(np.corrcoef(one.flatten(), other.flatten())[0, 1])


def test_it_is_standard_normal_everywhere():
    rng = np.random.default_rng(0)
    scale = (30.0, 5.0, 30.0, 200.0, 60.0)
    noise = of(*(tuple((rng.uniform(-1, 1, 5) * scale).tolist()) for _ in range(60)))
    assert noise.shape == (60, *SHAPE) and noise.dtype == torch.float32
    assert abs(float(noise.mean())) < 0.02
    # Of each cell, too: knots weigh as much between them as at them.
    np.testing.assert_allclose(noise.square().mean((0, 1)), 1.0, atol=0.2)
    assert 2.7 < float(noise.pow(4).mean()) < 3.3


@pytest.mark.parametrize("change", [(0.05, 0, 0, 0, 0), (0, 0, -0.05, 0, 0), (0, 0, 0, 0.05, 0), (0, 0, 0, 0, 0.05)])
def test_a_little_changes_little(change: tuple[float, ...]):
    begin = (15.99, 0.0, -8.01, 359.99, 3.0)
    moved = tuple(a + b for a, b in zip(begin, change, strict=True))
    noise = of(begin, moved)  # pyright: ignore[reportArgumentType]
    assert 0.999 < likeness(noise[0], noise[1]) < 1


def test_whoever_turns_sees_the_same_noise_elsewhere_in_the_picture():
    angles = [math.degrees(math.atan((8 * x + 3.5 - 71.5) / 55.0)) for x in range(18)]
    turn = angles[12] - angles[9]
    noise = of((0, 0, 0, 20, 0), (0, 0, 0, 20 + turn, 0))
    # In the row of the horizon, where lines of equal height stay level.
    assert likeness(noise[0, :, 4, 12], noise[1, :, 4, 9]) > 0.9
    assert abs(likeness(noise[0, :, 4, 9], noise[1, :, 4, 9])) < 0.5


def test_who_comes_back_finds_the_same():
    noise = of((1, 2, 3, 40, 5), (1, -7, 3, 400, 5), (1, 2, 3, -320, 5))
    assert torch.allclose(noise[0], noise[1], atol=1e-4) and torch.allclose(noise[0], noise[2], atol=1e-4)


@pytest.mark.parametrize("other", [(1 + 2 * METRES, 2, 3, 40, 5), (1, 2, 3 - 2 * METRES, 40, 5), (1, 2, 3, 220, 5)])
def test_elsewhere_it_has_nothing_in_common(other: tuple[float, float, float, float, float]):
    noise = of((1, 2, 3, 40, 5), other)
    assert abs(likeness(noise[0], noise[1])) < 0.06


def test_rows_depend_on_their_own_seed_and_pose_to_the_bit():
    poses = ((1.0, 2.0, 3.0, 40.0, 5.0), (9.5, 0.0, -3.0, -170.0, -80.0), (1.0, 2.0, 3.0, 40.0, 5.0))
    rows = of(*poses, seeds=[7, 8, 9])
    for row, (pose, seed) in enumerate(zip(poses, [7, 8, 9], strict=True)):
        assert torch.equal(rows[row], of(pose, seeds=[seed])[0])
    assert abs(likeness(rows[0], rows[2])) < 0.06


def test_it_looks_up_and_down_without_an_end():
    noise = of((0, 0, 0, 0, 90.0), (0, 0, 0, 0, -90.0))
    assert bool(noise.isfinite().all()) and 0.5 < float(noise.square().mean()) < 1.5


def test_worlds_with_a_memory_dream_by_it(monkeypatch: pytest.MonkeyPatch):
    world, asked = remembering_world().with_sampling(inpaint_level=0), []
    frames, actions = past(world, batch=1)
    state = world.prefill(frames, actions, seeds=[4])

    def noted(seeds: Iterable[int], poses: torch.Tensor, *args: Any) -> torch.Tensor:
        asked.append((list(seeds), poses.clone(), place_noise(seeds, poses, *args)))
        return asked[-1][2]

    monkeypatch.setattr(chunk_sampler, "place_noise", noted)
    turn = np.stack([world.spec.vector({"camera": (0, 3)})] * world.chunk)[None]
    one, _ = world.step(state, turn)
    other, _ = world.step(state, world.spec.noop()[None, None].repeat(world.chunk, 1))
    for (seeds, poses, _), after in zip(asked, (one.memory, other.memory), strict=True):
        assert after is not None and seeds == [4] and torch.equal(poses, after.pose)
    assert not torch.equal(asked[0][2], asked[1][2])
    plain = world.with_sampling(noise_metres=0)
    asked.clear()
    plain.step(state, turn)
    assert not asked
