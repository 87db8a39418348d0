"""What a world itself shows along recorded walks: the past that play has, for dynamics to learn from.

The world begins anew every few chunks and is played with the recorded actions, along the recorded poses. So what it
shows is of the place that the recording shows, and has the faults of play: its blur, its seams, its dreams in holes.
F frames, T latent frames, r frames per chunk, C h w latents.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.loading.walks import Walk, read_walk
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.progress import display
from worldsim.simulation.memory.camera import turned
from worldsim.simulation.world_model import WorldModel
from worldsim.training.export import load_tokenizer
from worldsim.training.memory.drawn import AlongEpisodes, drawer

# Chunks that a world is played for before it begins anew, and of the recording that it begins with.
STRETCH, PAST = 16, 8
# Beginnings that are played side by side.
ROWS = 16


@torch.inference_mode()
def shown_along(world: WorldModel, walk: Walk, seed: int = 0) -> torch.Tensor:
    """What is shown of each latent frame, as latents (T, C, h, w), of the first F = 1 + r k frames.

    The first is recorded, and each stretch ends with what was shown after ``STRETCH`` chunks.
    """
    r = world.chunk
    last = (len(walk) - 1) // r
    shown = world.encode(walk.frames[None, : 1 + r * last])[0].float()
    begins = range(0, last, STRETCH)
    # Beginnings with less of a past go apart.
    groups = [[b for b in begins if b < PAST], [b for b in begins if b >= PAST]]
    for group in groups:
        for at in range(0, len(group), ROWS):
            _play(world, walk, group[at : at + ROWS], shown, seed)
    return shown


def _play(world: WorldModel, walk: Walk, begins: list[int], shown: torch.Tensor, seed: int) -> None:
    """Play on from some latent frames, written into ``shown``."""
    r, past = world.chunk, min(PAST, min(begins))
    frames = torch.stack([walk.frames[(b - past) * r : b * r + 1] for b in begins])
    actions = torch.stack([walk.actions[(b - past) * r : b * r] for b in begins])
    poses = torch.stack([walk.poses[(b - past) * r : b * r + 1] for b in begins])
    origin = torch.cat([poses[:, -1, :4], torch.zeros(len(begins), 1)], 1)
    state = world.prefill(frames, actions, [seed + b for b in begins], poses=poses)
    for t in range(STRETCH):
        # Beyond the end of the recording its last chunk goes on, and is not kept.
        now = [min(b + t, len(shown) - 2) for b in begins]
        places = torch.stack([walk.poses[n * r + 1 : (n + 1) * r + 1] for n in now])
        places = torch.stack([turned(place, origin) for place in places.unbind(1)], 1)
        given = torch.stack([walk.actions[n * r : (n + 1) * r] for n in now])
        state, _ = world.step(state, given, inplace=True, poses=places)
        for row, b in enumerate(begins):
            if b + t + 1 < len(shown):
                shown[b + t + 1] = state.latent[row].float()


def show_along(
    data: str | Path | None, world: Path, tokenizer: Path, latents: Path, only: EpisodeFilter, also: Mapping[Path, Path]
) -> Mapping[str, NDArray]:
    """What a world shows along a store's training episodes, beside their latents; what is there already is taken over.

    Raises:
        UserError: there is no store, or several; or the world has no spatial memory, or a tokenizer of its own.
    """
    if data is None or also:
        raise UserError("what a world shows is made from one store: say data=..., and no also=")
    store, model = EpisodeStore(data), WorldModel.load(world)
    if model.memory is None:
        raise UserError(f"{world} has no spatial memory: it cannot be played along the poses of recordings")
    given, own = load_tokenizer(tokenizer).state_dict(), model.tokenizer.state_dict()
    # A world's weights are kept in bf16.
    if given.keys() != own.keys() or not all(torch.equal(given[n].bfloat16(), own[n].bfloat16()) for n in own):
        raise UserError(f"{world} has another tokenizer than {tokenizer}: its latents mean something else")
    whose = drawer(*(world / f"{part}.safetensors" for part in ("dit", "memory", "tokenizer")))
    kept = AlongEpisodes(latents.with_name(f"{latents.name}-shown"), store, whose)

    def make(names: Sequence[str]) -> list[NDArray[np.float16]]:
        return [shown_along(model, read_walk(store, name, depth=False)).half().numpy() for name in names]

    names = only.names(store, "train")
    with display() as show:
        kept.build(names, make, 1, show.stage("what the world shows"))
    return kept.load(names)
