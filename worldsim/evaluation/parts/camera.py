"""Where a world's camera goes, and what its pictures would gain if it went where the recorded player did.

In a world with a spatial memory a picture is wrong because the camera stands elsewhere, or because what is shown from
there is wrong. The same rollouts under the recorded camera tell the two apart: what they gain is ego-motion's to learn,
what they still lack is for depth and the network.

B clips, K chunks, r frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.evaluation.interface.figures import Chart, Overlay, band
from worldsim.evaluation.interface.lines import Line, line, number, point
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.gains import gain_where_it_moves
from worldsim.evaluation.measures.metrics import psnr
from worldsim.evaluation.measures.rollouts import Frames, begin, future_of, stepped, truth_of
from worldsim.evaluation.measures.starts import by_start_at, reported_chunks
from worldsim.evaluation.measures.statistics import curve
from worldsim.evaluation.measures.types import Films, Progress, Results
from worldsim.simulation.memory.camera import turned
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

# Whose camera: the world's own, or the recorded one.
CAMERAS = ("own", "recorded")


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    clips: int
    prefix: int
    chunks: int


def recorded_path(clips: Clips, prefix: int, chunks: int, chunk: int) -> NDArray[np.float32]:
    """Recorded poses (B, K, r, 5) after the past, as a world's memory counts them: from its end, pitch as it is.

    Raises:
        ValueError: the clips have no poses.
    """
    if clips.poses is None:
        raise ValueError("these clips have no poses")
    poses = torch.from_numpy(clips.poses[:, prefix - 1 : prefix + chunks * chunk])
    return turned(poses[:, 1:], poses[:, :1]).unflatten(1, (chunks, chunk)).numpy()


def walked(
    world: WorldModel, state: WorldState, future: NDArray, poses: NDArray | None = None
) -> tuple[Frames, NDArray[np.float32]]:
    """Free-running futures uint8 (B, K, r, H, W, 3), and where the camera was after each chunk (B, K, 5).

    ``future``: actions (B, K, r, A); ``poses``: where the camera is taken to be (B, K, r, 5), None: where they lead.
    """
    frames, places = [], []
    given = None if poses is None else torch.from_numpy(poses).to(world.device)
    for reached, step in stepped(world, state, future, given):
        assert reached.memory is not None
        frames.append(step.frames)
        places.append(reached.memory.pose.cpu().numpy())
    return np.stack(frames, 1), np.stack(places, 1)


def camera_paths(
    world: WorldModel, clips: Clips, prefix: int, chunks: int, rows: int = 8, progress: Progress = lambda *_: None
) -> dict[str, NDArray]:
    """Per clip and chunk (B, K): ``psnr/CAMERA`` and ``psnr/repeat`` in dB, ``off`` and ``gone`` in metres.

    ``off``: from where the world's camera is to where the recorded one was; ``gone``: how far the recorded one went.
    """
    parts: list[dict[str, NDArray]] = []
    for at, part in clips.batches(rows):
        state, truth = begin(world, part, prefix, at), truth_of(part, prefix, chunks, world.chunk)
        path, future = recorded_path(part, prefix, chunks, world.chunk), future_of(part, prefix, chunks, world.chunk)
        own, places = walked(world, state, future)
        known, _ = walked(world, state, future, path)
        repeat = np.broadcast_to(part.frames[:, prefix - 1][:, None, None], truth.shape)
        shown = {"own": own, "recorded": known, "repeat": repeat}
        ends = path[:, :, -1, :3]
        out = {f"psnr/{name}": psnr(frames, truth, 4) for name, frames in shown.items()}
        out["off"] = np.linalg.norm(places[..., :3] - ends, axis=-1)
        out["gone"] = np.linalg.norm(ends, axis=-1)
        parts.append(out)
        progress("camera", at + len(part), len(clips))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def camera_report(found: dict[str, NDArray], maps: NDArray, seed: int = 0) -> Results:
    """Curves of distances with intervals, and gains over repeating the last frame where it moves, by camera."""
    repeat = found["psnr/repeat"]
    report: Results = {"clips": len(maps), "maps": len(np.unique(maps)), "chunks": repeat.shape[1]}
    report |= {name: curve(found[name], maps, seed) for name in ("off", "gone")}
    report["off"] |= by_start_at(found["off"], maps, [chunk - 1 for chunk in reported_chunks(repeat.shape[1])])
    gains = {name: gain_where_it_moves(found[f"psnr/{name}"] - repeat, repeat, maps, seed) for name in CAMERAS}
    lost = gain_where_it_moves(found["psnr/recorded"] - found["psnr/own"], repeat, maps, seed)
    return report | {"gain": gains, "lost": lost}


class CameraPath(EvaluationPart):
    """How far the world's camera strays from the recorded one, and what that costs."""

    name = "camera"
    settings = Settings
    overlays = (Overlay(title="Camera's distance from the recorded one, m", where=("off",), unit="m"),)
    headlines = ("camera off",)

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Dream on from recorded pasts, with the world's own camera and with the recorded one."""
        p = Settings.of(e.preset)
        if e.world.memory is None:
            return {"skipped": "the world has no spatial memory, so no camera whose place is known"}, {}
        clips = e.clips(p.clips, p.prefix, p.chunks)
        if clips.poses is None:
            return {"skipped": "the recordings do not tell where the camera was"}, {}
        found = camera_paths(e.world, clips, p.prefix, p.chunks, e.rows, e.progress)
        return camera_report(found, clips.maps, e.seed), {}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """Distances, and what the recorded camera gains, at some horizons."""
        for chunk in reported_chunks(found["chunks"]):
            gone = f"the recorded camera went {number(found['gone']['value'][chunk - 1], 'm')}"
            yield line(f"camera off the recorded one at chunk {chunk}", point(found["off"], chunk - 1), "m", None, gone)
        for chunk, lost in found["lost"].items():
            gains = (f"{name} camera {number(found['gain'][name][chunk]['value'], 'dB')}" for name in CAMERAS)
            beside = f"gain over the last frame where it moves: {', '.join(gains)}"
            yield line(f"PSNR lost by the camera's path at chunk {chunk}", lost, "dB", None, beside)

    def charts(self, found: Results, chunk_seconds: float) -> Iterator[Chart]:
        """Distance by chunk."""
        curves = {"off the recorded camera": band(found["off"]), "how far that one went": band(found["gone"])}
        yield Chart(title="The camera's path", curves=curves, ends=(1, found["chunks"]), unit="m")
