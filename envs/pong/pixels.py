"""Reads ball and paddles from pictures of Pong, recorded or dreamt, by their colours alone.

N pictures, 80x80 pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUND = (144, 72, 17)
BALL, PADDLE, OPPONENT = (236, 236, 236), (92, 186, 92), (213, 130, 74)
# Columns of the two paddles.
PADDLE_X, OPPONENT_X = slice(70, 72), slice(8, 10)
# The ball covers two pixels, one while it enters or leaves; the paddles sixteen. Less than these is none.
BALL_AREA, PADDLE_AREA = 0.9, 2.0
# Half of the window around the brightest spot whose centre of mass is the ball's place.
REACH = 2

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Middles in pixels, y downwards, each (N,); NaN where the thing is not to be seen."""

    ball_x: Numbers
    ball_y: Numbers
    paddle_y: Numbers
    opponent_y: Numbers


def shares(frames: NDArray[np.uint8]) -> Numbers:
    """How much of each pixel is ball, paddle and opponent: (N, H, W, 3), from pictures uint8 (N, H, W, 3).

    Averaging and the world's decoder mix colours linearly, so three colours against the ground are told apart exactly.
    """
    ground = np.array(GROUND, np.float64)
    mix = np.array([BALL, PADDLE, OPPONENT]) - ground
    return np.clip((frames - ground) @ np.linalg.inv(mix), 0, 1)


def read(frames: NDArray[np.uint8]) -> Sight:
    """Where ball and paddles are in pictures uint8 (N, 80, 80, 3)."""
    share = shares(frames)
    ball_x, ball_y = _spot(share[..., 0])
    return Sight(
        ball_x=ball_x,
        ball_y=ball_y,
        paddle_y=_bar(share[:, :, PADDLE_X, 1]),
        opponent_y=_bar(share[:, :, OPPONENT_X, 2]),
    )


def _spot(share: Numbers) -> tuple[Numbers, Numbers]:
    count, height, width = share.shape
    padded = np.zeros((count, height + 2 * REACH, width + 2 * REACH))
    padded[:, REACH:-REACH, REACH:-REACH] = share
    near = sum(
        padded[:, REACH + dy : REACH + dy + height, REACH + dx : REACH + dx + width]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    )
    brightest = np.asarray(near).reshape(count, -1).argmax(1)
    y, x = np.divmod(brightest, width)
    offset = np.arange(-REACH, REACH + 1)
    rows, columns = y[:, None] + REACH + offset, x[:, None] + REACH + offset
    window = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    mass = window.sum((1, 2))
    seen = np.where(mass >= BALL_AREA, mass, np.nan)
    return (
        x + 0.5 + (window.sum(1) * offset).sum(1) / seen,
        y + 0.5 + (window.sum(2) * offset).sum(1) / seen,
    )


def _bar(share: Numbers) -> Numbers:
    rows = share.sum(2)
    mass = rows.sum(1)
    return (rows * (np.arange(rows.shape[1]) + 0.5)).sum(1) / np.where(mass >= PADDLE_AREA, mass, np.nan)
