"""Pictures that tell which action led to them: what tests of importers are made of.

Frame t + 1 shows action t as gray blocks of 8x8 pixels: white or black for a key, the mouse and axes around the middle.
Blocks survive H.264 and scaling by two.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.video import write_video
from worldsim.spec.actions import MINECRAFT

BLOCK, COLUMNS, ROWS = 8, 8, 4
HEIGHT, WIDTH = BLOCK * ROWS, BLOCK * COLUMNS
# Gray levels per degree or unit of a continuous value.
GAIN = 8.0


def random_actions(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """MINECRAFT actions (F, 22) of rarely pressed keys and whole mouse counts; the last row is zeros."""
    rng = np.random.default_rng(seed)
    actions = (rng.random((frames, MINECRAFT.size)) < 0.2).astype(np.float32)
    # Slots are selected without the state of a hotbar in most formats: leave these keys out.
    actions[:, 11:20] = 0
    actions[:, -2:] = rng.integers(-60, 61, (frames, 2)) * 0.15
    actions[-1] = 0
    return actions


def film(actions: NDArray[np.float32], continuous: Sequence[int] = (-2, -1)) -> NDArray[np.uint8]:
    """Frames (F, 32, 64, 3) for actions (F, A) whose last row is unused; columns ``continuous`` are not keys."""
    shown = np.zeros((len(actions), ROWS * COLUMNS))
    levels = actions[:-1] * 255.0
    for column in continuous:
        levels[:, column] = 128 + GAIN * actions[:-1, column]
    shown[1:, : actions.shape[1]] = levels
    blocks = shown.reshape(-1, ROWS, COLUMNS).clip(0, 255).astype(np.uint8)
    return np.repeat(blocks.repeat(BLOCK, 1).repeat(BLOCK, 2)[..., None], 3, -1)


def shown_actions(frames: NDArray[np.uint8], size: int, continuous: Sequence[int] = (-2, -1)) -> NDArray[np.float32]:
    """The actions (F - 1, A) that frames (F, H, W, 3) tell of, whatever size they were scaled to."""
    height, width = frames.shape[1] // ROWS, frames.shape[2] // COLUMNS
    blocks = frames.reshape(len(frames), ROWS, height, COLUMNS, width, 3)
    middles = blocks[:, :, height // 4 : -height // 4, :, width // 4 : -width // 4]
    levels = middles.mean((2, 4, 5)).reshape(len(frames), -1)[1:, :size]
    out = (levels > 127).astype(np.float32)
    for column in continuous:
        out[:, column] = (levels[:, column] - 128) / GAIN
    return out


def assert_aligned(episode: Episode, continuous: Sequence[int] = (-2, -1)) -> None:
    """Every picture shows the action in the row before it; the last row is zeros."""
    shown = shown_actions(episode.frames, episode.actions.shape[1], continuous)
    np.testing.assert_allclose(shown, episode.actions[:-1], atol=0.6)
    assert not episode.actions[-1].any()


def write_film(path: Path, actions: NDArray[np.float32], fps: float = 20, **options: Sequence[int]) -> None:
    """A video of ``film(actions)``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, film(actions, **options), fps, crf=8)
