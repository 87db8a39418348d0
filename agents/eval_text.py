"""Does a world heed its text? Errors under own, swapped and no captions, and pictures dreamt from captions alone.

B clips, X length of a sentence embedding, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.agents.eval_actions import error_ratio, x0_errors
from worldsim.agents.eval_attributes import attributes_report, shown_by_recordings
from worldsim.agents.eval_clips import Clips
from worldsim.agents.eval_run import HELD_OUT, Evaluation, Films
from worldsim.agents.eval_statistics import estimate
from worldsim.agents.measures import colours
from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.simulation.world_model import WorldModel

# Of the pictures dreamt from captions alone; nothing has to be fast here.
STEPS = 8


def others(texts: Sequence[str]) -> list[int]:
    """For each caption the number of another one that says something else.

    Raises:
        StopIteration: all are alike.
    """
    count = len(texts)
    # Begin far away: neighbours are often clips of one episode.
    turned = ([(row + count // 2 + i) % count for i in range(count)] for row in range(count))
    return [next(i for i in order if texts[i] != text) for text, order in zip(texts, turned, strict=True)]


@torch.inference_mode()
def first_pictures(world: WorldModel, text_BX: Tensor, size: tuple[int, int], seeds: Sequence[int]) -> NDArray:
    """Pictures uint8 (B, H, W, 3) of ``size``, dreamt from text alone: no past, no action."""
    b = len(text_BX)
    shape = (1, world.tokenizer.config.channels, *world.tokenizer.latent_grid(*size))
    actions, present = torch.zeros(b, 1, world.chunk, world.spec.size), torch.zeros(b, 1, dtype=torch.bool)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        tau = level.expand(b, 1)
        return velocity_from_data(x, world.predict(x, torch.zeros_like(x), tau, actions, present, text_BX), tau)

    latents = sample_euler(velocity, noise(seeds, [0] * b, shape), time_steps(STEPS))
    return world.decode(latents)[0][:, 0, -1]


def text_report(
    world: WorldModel, clips: Clips, texts: Sequence[str], embeddings_BX: Tensor, rows: int = 8, seed: int = 0
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """How much the caption of each clip's episode tells the world, and how much a swapped one misleads it.

    ``next``: x0 errors of frames that have a past; ``first``: of a first frame without one, whose place and light text
    alone can tell. ``pictures``: of pictures dreamt from captions alone, same noise, how many have colours nearer to
    the recorded first frame under its own caption than under the swapped one (a half: text tells nothing).

    Args:
        world: to be judged.
        clips: recorded play.
        texts: captions (B,), at least two different ones.
        embeddings_BX: of the captions.
        rows: side by side.
        seed: of the intervals.

    Returns:
        The report, and per clip (B, 3, H, W, 3): recorded, dreamt from its own caption, from the swapped one.
    """
    other = others(texts)
    swapped = embeddings_BX[other]
    told = {"own": (clips.actions, embeddings_BX), "swapped": (clips.actions, swapped), "none": (clips.actions, None)}
    report: dict[str, Any] = {"captions": len(set(texts))}
    for name, chunks in (("next", None), ("first", 0)):
        loss = x0_errors(world, clips, told, rows, chunks=chunks)
        report[name] = {kind: estimate(values, clips.maps, seed=seed) for kind, values in loss.items()}
        for kind in ("swapped", "none"):
            report[name][f"{kind}_ratio"] = error_ratio(loss, kind, "own", clips.maps, seed)
    recorded = clips.frames[:, 0]
    seeds = range(len(clips))
    dreamt = [first_pictures(world, text, recorded.shape[1:3], seeds) for text in (embeddings_BX, swapped)]
    seen = [colours(pictures) for pictures in (recorded, *dreamt)]
    far = [np.abs(colour - seen[0]).mean((1, 2)) for colour in seen[1:]]
    report["pictures"] = {
        "own_nearer": estimate((far[0] < far[1]).astype(float), clips.maps, seed=seed),
        "colour_distance_own": estimate(far[0], clips.maps, seed=seed),
        "colour_distance_swapped": estimate(far[1], clips.maps, seed=seed),
        "captions": [[text, texts[i]] for text, i in zip(texts, other, strict=True)],
    }
    return report, np.stack([recorded, *dreamt], 1)


def attribute_adherence(e: Evaluation, clips: Clips, texts: Sequence[str]) -> tuple[dict[str, Any], Films]:
    """``attributes_report`` of the clips' captions, beside frames of all held-out recordings."""
    shown = shown_by_recordings(e.store, HELD_OUT, e.seed)
    size = clips.frames.shape[2:4]
    return attributes_report(
        texts,
        clips.maps,
        shown,
        embed=lambda told: e.world.embed(told, len(told)),
        dream=lambda text_BX: first_pictures(e.world, text_BX, size, range(len(text_BX))),
        seed=e.seed,
        progress=e.progress,
    )
