"""The kind of a game, told from its pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim.cli.making.game_kind import (
    FIRST_PERSON,
    SCROLLING,
    STILL,
    GameLook,
    explained_by_shift,
    measure,
)

Frames = NDArray[np.uint8]


def texture(height: int, width: int, seed: int = 0) -> Frames:
    small = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def ball_on_ground() -> Frames:
    """A ball of 3 x 3 pixels that crosses a textured court."""
    frames = np.repeat(texture(48, 64)[None], 40, 0)
    for t, frame in enumerate(frames):
        frame[10 + t // 2 : 13 + t // 2, 3 + t : 6 + t] = 255
    return frames


def sliding(rate: int) -> Frames:
    wide = texture(48, 64 + 40 * rate)
    return np.stack([wide[:, t * rate : t * rate + 64] for t in range(40)])


def walking() -> Frames:
    """A view that comes nearer: every picture is the middle of the one before, enlarged."""
    big, frames = texture(480, 640), []
    for t in range(40):
        share = 0.97**t
        rows = (240 + (np.arange(48) - 24) * 10 * share).astype(int)
        columns = (320 + (np.arange(64) - 32) * 10 * share).astype(int)
        frames.append(big[rows][:, columns])
    return np.stack(frames)


def kind_of(frames: Frames, camera: bool = False) -> str:
    ground, changed, shifted = measure(frames)
    return GameLook(ground=ground, changed=changed, shifted=shifted, camera=camera).kind


def test_each_kind_is_told_from_pictures_alone():
    assert kind_of(ball_on_ground()) == STILL
    assert kind_of(sliding(2)) == SCROLLING
    assert kind_of(walking()) == FIRST_PERSON


def test_a_camera_is_a_first_person():
    assert kind_of(ball_on_ground(), camera=True) == FIRST_PERSON


def test_measures_are_exact_where_the_truth_is_known():
    ground, changed, shifted = measure(ball_on_ground())
    # The ball covers 9 of 3,072 pixels; a step to the right uncovers 3 and covers 3, one down as well 5 and 5.
    assert ground == pytest.approx(1 - 9 / 3072, abs=0.001) and 6 / 3072 * 0.9 < changed < 10 / 3072
    assert shifted < 0.2
    assert measure(sliding(3))[2] == 1
    assert measure(np.repeat(texture(48, 64)[None], 40, 0)) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(("down", "right"), [(0, 3), (-2, 1), (5, -6)])
def test_a_shift_explains_itself_and_nothing_explains_standing(down: int, right: int):
    one = texture(48, 64).astype(np.int16)
    assert explained_by_shift(one, np.roll(one, (down, right), (0, 1))) == 1
    assert explained_by_shift(one, one) == 0


def test_tiny_pictures_are_measured_too():
    assert measure(np.zeros((2, 16, 16, 3), np.uint8)) == (1.0, 0.0, 0.0)


def test_a_look_survives_json():
    look = GameLook(ground=0.5, changed=0.25, shifted=0.125, camera=True, depth=True, idle=0.5)
    assert GameLook.from_json(look.to_json()) == look
