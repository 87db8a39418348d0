"""How good depth completion is, on walks that it did not learn from: depth, confidence, and what memory draws by it.

N places, K sources, H W pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.simulation.memory.depth import DepthCompletion, encode_depth
from worldsim.simulation.memory.render import Drawing, Sources, draw_turned
from worldsim.simulation.memory.spatial import KEY_FRAMES
from worldsim.training.memory.depth import evidence, moved
from worldsim.training.memory.depth_examples import DepthBatch, Walks
from worldsim.training.memory.depth_losses import COLOUR_SCALE
from worldsim.training.memory.drawings import drawing_of, own_depth

# Frames before a place that it is drawn from: one alone; and many, as a memory has them.
NEAR, MANY = (10,), (2, 10, 19, 28, 36, 45, 53, 62)
# Metres below which errors of depth count.
FARTHEST = 40.0
# How pictures are remembered: what is drawn, and how sure a pixel must be.
MEMORY = KEY_FRAMES


@dataclass(frozen=True)
class Places:
    """N places of walks, and the frames ``MANY`` before each, of which ``last``, ``NEAR`` before, is one."""

    examples: DepthBatch
    sources: Sources
    last: Tensor

    @staticmethod
    def of(walks: Walks, count: int, seed: int = 0) -> "Places":
        """Evenly spread over the walks where the camera has moved since ``NEAR``: elsewhere repeating is right.

        Raises:
            ValueError: none is.
        """
        ahead = MANY[-1]
        free = [
            (number, ahead + int(after))
            for number, w in enumerate(walks.walks)
            for after in moved(w.poses[ahead:-1], w.poses[ahead - NEAR[0] : -1 - NEAR[0]]).nonzero()[:, 0]
        ]
        if not free:
            raise ValueError(f"walks to judge depth by must move and be longer than {ahead + 1} frames")
        at = [free[int(i)] for i in np.linspace(0, len(free) - 1, min(count, len(free)))]
        return Places(
            walks.examples(at, np.random.default_rng(seed)),
            walks.sources(at, [MANY] * len(at), len(MANY)),
            torch.stack([walks.walks[walk].frames[frame - NEAR[0]] for walk, frame in at]),
        )


@torch.no_grad()
def judge(network: DepthCompletion, walks: Walks, places: Places, rows_at_once: int = 8) -> dict[str, float]:
    """Means over places, over the rows that show the world.

    ``error``: mean absolute logarithmic error of depth below 40 m. ``sure``: share of pixels that it is sure of.
    ``promised`` and ``kept``: mean confidence, and what reprojection to neighbouring frames gets right;
    ``miscalibrated``: their mean difference over ten bins. ``overlay``: mean confidence below the rows that show the
    world. ``drawn1_...`` and ``drawn8_...``: PSNR (dB) of what is drawn from the frame 10 before, and from 8 frames up
    to 62 before, with the network's depth and with the game's; what is not covered stays as in the last of these
    frames, which ``repeated`` are too; ``turned`` takes all for infinitely far.
    """
    found: dict[str, list[Tensor]] = {}
    for first in range(0, len(places.last), rows_at_once):
        for name, values in _judged(network, walks, places, slice(first, first + rows_at_once)).items():
            found.setdefault(name, []).append(values)
    together = {name: torch.cat(values) for name, values in found.items()}
    promised, kept = together.pop("_promised"), together.pop("_kept")
    out = {name: float(values[values.isfinite()].mean()) for name, values in together.items()}
    return out | {"miscalibrated": miscalibration(promised, kept)}


def miscalibration(promised: Tensor, kept: Tensor, bins: int = 10) -> float:
    """Mean absolute difference of what pixels (P,) promise and keep, over bins of the promise, by their sizes."""
    number = (promised * bins).long().clamp(max=bins - 1)
    difference = torch.zeros(bins).index_add_(0, number, promised - kept)
    return float(difference.abs().sum() / max(1, len(promised)))


def _judged(network: DepthCompletion, walks: Walks, places: Places, part: slice) -> dict[str, Tensor]:
    """Measures (N,) of some places; of ``_promised`` and ``_kept`` each pixel."""
    e, rows = places.examples, walks.rows
    picture, poses, last = e.pictures[part], e.poses[part], places.last[part]
    true = Sources(*(getattr(places.sources, name)[part] for name in _SOURCES))
    own = own_depth(network, walks.lens, true, MEMORY.least_confidence)
    many = {"own": drawing_of(walks.lens, own, poses, walks.fixed, MEMORY)}
    code, logits = network(picture, walks.lens.descents(poses))
    sure = logits.sigmoid()
    error, known = evidence(walks.lens, code, picture, poses, e.others[part], e.other_poses[part], rows)
    counts = known[:, 0, :rows]
    kept = torch.exp(-error[:, 0, :rows] / COLOUR_SCALE)
    out = {
        "sure": (sure[:, :rows] >= MEMORY.least_confidence).float().mean((1, 2)),
        "promised": _mean(sure[:, :rows], counts),
        "kept": _mean(kept, counts),
        "_promised": sure[:, :rows][counts],
        "_kept": kept[counts],
    }
    if rows < walks.lens.height:
        out["overlay"] = sure[:, rows:].mean((1, 2))
    if e.inverse_depth is not None:
        depth = e.inverse_depth[part]
        near = depth[:, :rows] > 1 / FARTHEST
        out["error"] = _mean((code - encode_depth(depth)).abs()[:, :rows], near)
        many["game"] = drawing_of(walks.lens, true, poses, walks.fixed, MEMORY)
    one = MANY.index(NEAR[0])
    for name, sources in (("own", own), ("game", true))[: len(many)]:
        alone = Sources(*(getattr(sources, field)[:, one : one + 1] for field in _SOURCES))
        drawn = drawing_of(walks.lens, alone, poses, walks.fixed, MEMORY)
        out[f"drawn1_{name}"] = _shown(drawn, last, picture, rows)
        out[f"drawn8_{name}"] = _shown(many[name], true.pictures[:, 0], picture, rows)
    for number, base, at in ((1, last, one), (8, true.pictures[:, 0], 0)):
        hidden = (torch.arange(walks.lens.height) >= rows)[:, None].expand(walks.lens.height, walks.lens.width)
        turned = draw_turned(walks.lens, base, true.poses[:, at], poses, hidden)
        out[f"drawn{number}_turned"] = _shown(turned, base, picture, rows)
        out[f"drawn{number}_repeated"] = _psnr(base, picture, rows)
    return out


_SOURCES = ("pictures", "inverse_depth", "confidence", "poses", "taken")


def _shown(drawn: Drawing, base: Tensor, picture: Tensor, rows: int) -> Tensor:
    """PSNR (N,) of what is drawn over a picture."""
    return _psnr(torch.where(drawn.covered[..., None], drawn.picture, base), picture, rows)


def _psnr(one: Tensor, two: Tensor, rows: int) -> Tensor:
    error = (one[:, :rows].float() - two[:, :rows].float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / error.clamp(min=0.1))


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean (N,) over what counts, not a number where nothing does."""
    return torch.where(counts, values, 0.0).flatten(1).sum(1) / counts.flatten(1).sum(1)
