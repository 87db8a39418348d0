"""Another picture size or a lower rate for a recording, with every action still between the frames it lay between.

Resampling is an explicit step: an import keeps the native size and rate unless asked.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.importers.recording import Footage, Frame
from worldsim.datasets.recording.action_codec import AXIS
from worldsim.datasets.store.episode import DEPTH
from worldsim.datasets.store.picture import scale_picture


def resample(footage: Footage, *, size: tuple[int, int] | None = None, fps: float | None = None) -> Footage:
    """Scale the frames to ``size`` (width, height in pixels) and lower the rate to ``fps`` frames a second.

    A lower rate keeps, for every instant k / fps, the frame nearest to it. Between two kept frames keys are joined by
    OR, the mouse and the rewards by SUM, continuous controls (``axis.``) by MEAN; ``terminated`` by OR;
    state is that of the kept frame; depth is taken at the middle of each new pixel; an event goes to the first kept
    frame that shows it.

    Raises:
        ValueError: the size is not positive, or the rate is not positive or above the recording's own.
    """
    if size is not None:
        footage = _resized(footage, size)
    if fps is not None:
        footage = _slowed(footage, fps)
    return footage


def kept_frames(length: int, native: float, fps: float, times: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Which of ``length`` frames at ``native`` frames a second stay at ``fps``: strictly rising, from 0.

    Args:
        length: number of frames.
        native: frames a second of the recording.
        fps: frames a second wanted, at most ``native``.
        times: float64 (length,), seconds, when the frames are shown, if they do not last equally long.

    Raises:
        ValueError: a rate is not positive, or ``fps`` is above ``native``.
    """
    if not 0 < fps < np.inf:
        raise ValueError(f"the rate must be positive, got {fps:g} frames a second")
    if fps > native * 1.001:
        raise ValueError(f"the recording has {native:g} frames a second: it cannot be raised to {fps:g}")
    if times is None:
        times = np.arange(length) / native
    wanted = np.arange(int(np.floor(times[-1] * fps + 1e-6)) + 1) / fps
    after = np.searchsorted(times, wanted - 1e-9).clip(0, length - 1)
    before = (after - 1).clip(0)
    # Ties go to the earlier frame: half steps then alternate instead of wandering with rounding.
    nearest = np.where(np.abs(times[before] - wanted) <= np.abs(times[after] - wanted) + 1e-9, before, after)
    # Where the recording stood still for longer than 1 / fps, a frame is not repeated.
    return np.unique(nearest)


def join_actions(
    actions: NDArray[np.float32], kept: NDArray[np.int64], *, camera: bool, axes: list[int] | None = None
) -> NDArray[np.float32]:
    """Actions (F, A) between all frames to those (K, A) between the K kept frames; the last row is zeros.

    Args:
        actions: row t leads from frame t to frame t + 1.
        kept: the kept frames, rising.
        camera: whether the last two columns are the mouse, in degrees.
        axes: columns of continuous controls.
    """
    out = np.zeros((len(kept), actions.shape[1]), np.float32)
    if len(kept) < 2:
        return out
    within = actions[: kept[-1]]
    out[:-1] = np.maximum.reduceat(within, kept[:-1], axis=0)
    if axes:
        lengths = np.diff(kept)[:, None]
        out[:-1, axes] = np.add.reduceat(within[:, axes], kept[:-1], axis=0) / lengths
    if camera:
        out[:-1, -2:] = np.add.reduceat(within[:, -2:], kept[:-1], axis=0)
    return out


def _resized(footage: Footage, size: tuple[int, int]) -> Footage:
    if min(size) < 1:
        raise ValueError(f"a picture size must be positive, got {size[0]}x{size[1]}")

    def frames() -> Iterator[Frame]:
        return (scale_picture(frame, size) for frame in footage.frames())

    state = dict(footage.state)
    if DEPTH in state:
        state[DEPTH] = _nearest(state[DEPTH], size)
    return replace(footage, frames=frames, state=state)


def _nearest(depth_FHW: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Depth at the middle of each new pixel: between two distances lies none that is seen."""
    width, height = size
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip((height, width), depth_FHW.shape[1:], strict=True)
    )
    return np.ascontiguousarray(depth_FHW[:, rows[:, None], columns])


def _slowed(footage: Footage, fps: float) -> Footage:
    native = float(footage.provenance["fps"])
    kept = kept_frames(len(footage), native, fps, footage.times)
    # The rate is even from here on, whatever it was.
    about = {name: value for name, value in footage.provenance.items() if name != "rate"}
    if len(kept) == len(footage):
        return replace(footage, provenance={**about, "fps": _plain(fps)}, times=None)
    keys = list(footage.provenance["keys"])
    axes = [i for i, name in enumerate(keys) if name.startswith(AXIS)]
    camera = footage.actions.shape[1] - len(keys) == 2

    def frames() -> Iterator[Frame]:
        wanted = iter(kept.tolist())
        following = next(wanted)
        for number, frame in enumerate(itertools.islice(footage.frames(), int(kept[-1]) + 1)):
            if number == following:
                yield frame
                following = next(wanted, -1)

    return replace(
        footage,
        frames=frames,
        actions=join_actions(footage.actions, kept, camera=camera, axes=axes),
        rewards=_between(np.add, footage.rewards, kept),
        terminated=_until(footage.terminated, kept),
        state={name: array[kept] for name, array in footage.state.items()},
        events=_events(footage.events, kept),
        provenance={**about, "fps": _plain(fps), "native_fps": _plain(native)},
        times=None,
    )


def _between(how: np.ufunc, rows: NDArray[np.float32], kept: NDArray[np.int64]) -> NDArray[np.float32]:
    out = np.zeros(len(kept), np.float32)
    if len(kept) > 1:
        out[:-1] = how.reduceat(rows[: kept[-1]], kept[:-1])
    return out


def _until(flags: NDArray[np.bool_], kept: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What was set in a frame since the kept one before it is set in the kept one; the rest after the last too."""
    counts = np.cumsum(flags)[np.append(kept[:-1], len(flags) - 1)]
    return np.diff(counts, prepend=0) > 0


def _events(events: Any, kept: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [{**e, "frame": int(np.searchsorted(kept, e["frame"]))} for e in events if e["frame"] <= kept[-1]]


def _plain(rate: float) -> float | int:
    return int(rate) if float(rate).is_integer() else float(rate)
