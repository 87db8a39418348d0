"""A world that is the engine itself, and broken ones: a camera in front of a panorama that only turns.

It looks its past up by the last frame, so that it goes on from exactly there. F frames, B rows, r = 2 frames a chunk.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from worldsim.evaluation.measures.clips import Clips
from worldsim.simulation.config import SamplingConfig
from worldsim.spec.actions import MINECRAFT

HEIGHT, WIDTH, DEGREE = 80, 144, 2  # pixels; pixels a degree


@lru_cache
def panorama(seed: int) -> np.ndarray:
    """uint8 (80, 720, 3): all that there is to see."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.normal(size=(HEIGHT, 360 * DEGREE, 3)), (1.5, 1.5, 0), mode="wrap")
    return np.clip(128 + 300 * soft, 0, 255).astype(np.uint8)


def view(wide: np.ndarray, yaw: float) -> np.ndarray:
    """What is seen at a yaw in degrees, to the right."""
    return np.roll(wide, -round(yaw * DEGREE), 1)[:, :WIDTH]


def toy_clips(count: int = 6, frames: int = 49, seed: int = 0) -> Clips:
    """Recorded play in the panoramas: turning to and fro, two clips a map."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((count, frames - 1, MINECRAFT.size), np.float32)
    actions[..., -1] = np.repeat(rng.integers(-4, 5, (count, (frames - 1) // 8)), 8, 1)
    yaw = np.concatenate([np.zeros((count, 1)), np.cumsum(actions[..., -1], 1)], 1)
    shown = np.stack([[view(panorama(i // 2), y) for y in row] for i, row in enumerate(yaw)])
    maps, pitch = np.arange(count) // 2, np.zeros((count, frames), np.float32)
    return Clips(frames=shown, actions=actions, maps=maps, pitch=pitch, places=[(f"e{i}", 0) for i in range(count)])


@lru_cache
def known_views() -> dict[bytes, tuple[int, float]]:
    """Map and yaw of every picture that can be seen at a whole degree."""
    return {view(panorama(m), y).tobytes(): (m, float(y)) for m in range(3) for y in range(360)}


@dataclass(frozen=True)
class ToyState:
    """Where each row's camera stands, and the seed of its noise."""

    rows: list[SimpleNamespace]
    seeds: torch.Tensor


class ToyWorld:
    """``obey`` 1 is the engine, 0 a frozen picture, -1 turns the wrong way; ``blur`` pixels more each chunk.

    One that can ``forget`` makes everything anew once it has looked 60 degrees away from where it began. ``grain``:
    standard deviation of the noise over its pictures, which the seed decides.
    """

    chunk = 2
    spec = MINECRAFT
    memory = None

    def __init__(self, obey: float = 1.0, blur: float = 0.0, forget: bool = False, grain: float = 0.0):
        self.obey, self.blur, self.forget, self.grain = obey, blur, forget, grain
        self.config = SimpleNamespace(fps=20, sampling=SamplingConfig())

    def with_sampling(self, **_):
        return self

    def prefill(self, frames, actions, seeds, **_):
        known = (known_views()[f[-1].tobytes()] for f in frames)
        rows = [SimpleNamespace(map=m, yaw=y, began=y, age=0) for m, y in known]
        return ToyState(rows, torch.tensor(list(seeds)))

    def step(self, state, actions, inplace=False):
        state, shown = replace(state, rows=[SimpleNamespace(**vars(row)) for row in state.rows]), []
        for row, seed, chunk in zip(state.rows, state.seeds.tolist(), actions, strict=True):
            row.age += 1
            rng = np.random.default_rng((seed, row.age))
            pictures = []
            for action in chunk:
                row.yaw += self.obey * float(action[-1])
                if self.forget and row.map < 100 and abs(row.yaw - row.began) > 60:
                    row.map += 100
                soft = gaussian_filter(
                    view(panorama(row.map), row.yaw).astype(np.float32), (self.blur * row.age,) * 2 + (0,)
                )
                soft += self.grain * rng.normal(size=soft.shape)
                pictures.append(soft.clip(0, 255).round().astype(np.uint8))
            shown.append(np.stack(pictures))
        return state, SimpleNamespace(frames=np.stack(shown), latents=torch.ones(len(shown), 1, 1, 1))

    def encode(self, frames):
        return torch.as_tensor(frames)

    def decode(self, latents):
        frames = np.concatenate([np.repeat(latents[:, :1], 1, 1), latents], 1)
        return frames.reshape(len(frames), -1, 2, *frames.shape[2:]), ()


def standing_clips(count: int = 4, frames: int = 9) -> Clips:
    """Clips in which nothing is done."""
    clips = toy_clips(count, frames)
    still = np.stack([[view(panorama(i // 2), 10.0 * i)] * frames for i in range(count)])
    return replace(clips, frames=still, actions=np.zeros_like(clips.actions))
