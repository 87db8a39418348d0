"""The films of a study and the page that shows them.

F frames, H W pixels.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from worldsim.asides import whole_file, write_whole
from worldsim.datasets.store.video import write_video
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.rollouts import begin, future_of, rollout
from worldsim.evaluation.measures.types import Progress
from worldsim.evaluation.study.design import CHOICES, Study, Trial
from worldsim.plotting.pages import render_page
from worldsim.simulation.world_model import WorldModel

# The folder that raters get, inside that of the study.
PAGE = "page"
# Pixels of a film along a side for one that was made.
LARGER = 4
# What a competitor makes of clips: films uint8 (B, F, H, W, 3), the last picture of the past first.
Futures = Callable[[Clips, int], NDArray[np.uint8]]


def recorded(prefix: int) -> Futures:
    """The game itself: what was recorded."""
    return lambda clips, _: clips.frames[:, prefix - 1 :]


def dreamt(world: WorldModel, prefix: int) -> Futures:
    """A world under the recorded actions; ``first`` is the number of the first clip, which decides the noise."""

    def futures(clips: Clips, first: int) -> NDArray[np.uint8]:
        chunks = (clips.frames.shape[1] - prefix) // world.chunk
        future = future_of(clips, prefix, chunks, world.chunk)
        dreams = rollout(world, begin(world, clips, prefix, first), future)
        return np.concatenate(
            [clips.frames[:, prefix - 1 : prefix], dreams.reshape(len(clips), -1, *dreams.shape[3:])], 1
        )

    return futures


def write_films(
    folder: Path, study: Study, competitor: int, clips: Clips, futures: Futures, fps: float, rows: int,
    progress: Progress,
) -> None:  # fmt: skip
    """Write the films of one competitor that are not there yet; of several lengths, of all its trials.

    Args:
        folder: that raters get.
        study: its trials.
        competitor: its number.
        clips: all clips of the study.
        futures: what the competitor makes of them.
        fps: frames a second.
        rows: clips side by side.
        progress: told the stage, clips done, and of how many.
    """
    sides = [(trial, side) for trial in study.trials for side in ("left", "right")]
    missing = [(t, _film(folder, t, s)) for t, s in sides if getattr(t, s) == competitor]
    missing = [(trial, path) for trial, path in missing if not path.is_file()]
    for at, part in clips.batches(rows):
        some = [(trial, path) for trial, path in missing if at <= trial.clip < at + len(part)]
        # The number of the first clip decides the noise: parts are the same when some films are there already.
        films = futures(part, at) if some else None
        for trial, path in some:
            assert films is not None
            _write(path, films[trial.clip - at, : 1 + round(trial.seconds * fps)], fps)
        progress(f"films of {study.competitors[competitor]}", at + len(part), len(clips))


def write_page(folder: Path, study: Study, size: tuple[int, int]) -> Path:
    """Write ``index.html``, which shows the films of a folder; ``size``: their width and height in pixels."""
    path = folder / "index.html"
    shown = [{"name": trial.name, "seconds": trial.seconds} for trial in study.trials]
    values = {"study": study.number, "choices": CHOICES, "trials": shown}
    page = render_page(
        "study.html",
        package="worldsim.evaluation.study",
        question=study.question,
        width=size[0],
        height=size[1],
        values=Markup(json.dumps(values)),
    )
    return write_whole(path, page)


def _film(folder: Path, trial: Trial, side: str) -> Path:
    return folder / f"{trial.name}-{side}.mp4"


def _write(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    with whole_file(path, ".mp4") as aside:
        # Video keeps colours at half the resolution: pixels that are blocks lose nothing by it.
        write_video(aside, frames.repeat(LARGER, 1).repeat(LARGER, 2), fps)
