"""Look at an episode's frames window by window: stillness, repeats, motion, hashes and small pictures of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.checks.maps import WORDS, picture_hashes
from worldsim.datasets.checks.motion import MotionWindow, motion_window, shifts
from worldsim.datasets.checks.stillness import difference

# Frames looked at in one go: two chunks of the store.
WINDOW = 64
# Turns by fewer degrees a frame may leave a picture as it is.
SURELY_TURNING = 0.5
# Width in pixels of the small pictures in reports.
THUMB = 144
# Mouse axis against picture axis: (columns from the end of the action vector, axis of the frames).
PAIRS = {"yaw": (-1, 2), "pitch": (-2, 1), "yaw as pitch": (-1, 1), "pitch as yaw": (-2, 2)}

Frames = NDArray[np.uint8]


@dataclass
class PictureCount:
    """What was seen in an episode.

    Attributes:
        frames: looked at.
        pairs: of successive frames looked at.
        frozen: pairs that differ by less than the limit.
        repeated: pairs that are equal although the mouse turned: frames lost by the recorder.
        turning: pairs during which the mouse surely turned.
        longest: frames of the longest frozen stretch, and where it begins.
        windows: normal equations of the motion, by pair of axes.
        hashes: uint64 (N, 4), perceptual, of frames with enough in them; ``hashed`` (N,) tells which frames.
        thumbs: small pictures, with their frame numbers.
    """

    frames: int = 0
    pairs: int = 0
    frozen: int = 0
    repeated: int = 0
    turning: int = 0
    longest: tuple[int, int] = (0, 0)
    windows: dict[str, list[MotionWindow]] = field(default_factory=dict)
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, WORDS), np.uint64))
    hashed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    thumbs: list[tuple[int, Frames]] = field(default_factory=list)


def choose_windows(frames: int, count: int | None) -> list[int]:
    """First frames of ``count`` windows of an episode, all of them for None.

    Windows are taken in bit-reversed order of their number. So they lie evenly, more of them include the fewer, and
    two copies of one recording are looked at in the same places.
    """
    numbers = range(max(1, -(-frames // WINDOW)))
    order = sorted(numbers, key=lambda number: int(f"{number:032b}"[::-1], 2))
    return sorted(WINDOW * number for number in order[:count])


def look_at_pictures(
    windows: Iterable[tuple[int, Frames]],
    actions: NDArray[np.float32],
    *,
    camera: bool,
    frozen_difference: float,
    hash_every: int,
) -> PictureCount:
    """Look at windows of frames, each given with the number of its first frame, in order.

    Args:
        windows: uint8 (F, H, W, 3) each.
        actions: of the whole episode (F, A).
        camera: whether the last two columns are pitch and yaw, and were recorded.
        frozen_difference: mean absolute difference, of 255, below which two frames are one.
        hash_every: frames from one perceptual hash to the next.
    """
    seen, run = PictureCount(), 0
    hashes: list[NDArray[np.uint64]] = []
    hashed: list[NDArray[np.int64]] = []
    turn = np.abs(actions[:, -2:]).max(1) if camera else np.zeros(len(actions), np.float32)
    for start, frames, first_pair in _joined(windows):
        still = difference(frames[:-1], frames[1:]) < frozen_difference
        equal = still & np.array([np.array_equal(a, b) for a, b in zip(frames[:-1], frames[1:], strict=True)], bool)
        at = start + np.arange(len(still))
        surely = turn[at] > SURELY_TURNING
        seen.frames += len(frames) - first_pair
        seen.pairs, seen.frozen = seen.pairs + len(still), seen.frozen + int(still.sum())
        seen.turning, seen.repeated = seen.turning + int(surely.sum()), seen.repeated + int((surely & equal).sum())
        run = run if first_pair else 0
        for t, same in zip(at, still, strict=True):
            run = run + 1 if same else 0
            seen.longest = max(seen.longest, (run, int(t) + 1 - run))
        if camera and len(frames) > 2:
            _add_motion(seen, frames, actions[start : start + len(frames) - 1])
        numbers = np.arange(start + first_pair, start + len(frames), hash_every)
        found, telling = picture_hashes(frames[numbers - start])
        hashes.append(found[telling])
        hashed.append(numbers[telling])
        seen.thumbs.append((int(numbers[0]), thumbnail(frames[first_pair])))
    if hashes:
        seen.hashes, seen.hashed = np.concatenate(hashes), np.concatenate(hashed)
    return seen


def thumbnail(frame: Frames) -> Frames:
    """Every so manieth pixel of a frame (H, W, 3), so that it is at most ``THUMB`` wide."""
    step = -(-frame.shape[1] // THUMB)
    return frame[::step, ::step].copy()


def _joined(windows: Iterable[tuple[int, Frames]]) -> Iterator[tuple[int, Frames, int]]:
    """Windows that follow each other share a frame: (first frame, frames, 1 if the first frame was seen before)."""
    last: tuple[int, Frames] | None = None
    for start, frames in windows:
        if last is not None and last[0] == start:
            yield start - 1, np.concatenate([last[1], frames]), 1
        else:
            yield start, frames, 0
        last = (start + len(frames), frames[-1:])


def _add_motion(seen: PictureCount, frames: Frames, actions: NDArray[np.float32]) -> None:
    measured = {axis: shifts(frames, axis) for axis in (1, 2)}
    for name, (column, axis) in PAIRS.items():
        mouse = np.nan_to_num(actions[:, column], posinf=0, neginf=0)
        seen.windows.setdefault(name, []).append(motion_window(mouse, *measured[axis]))
