"""Does a world heed its text? Errors under own, swapped and no captions, and pictures dreamt from captions alone.

B clips, X length of a sentence embedding, H W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.evaluation.interface.figures import Picture, Section
from worldsim.evaluation.interface.lines import Line, line, number
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked
from worldsim.evaluation.measures.attributes import attributes_report, shown_by_recordings
from worldsim.evaluation.measures.clips import Clips
from worldsim.evaluation.measures.denoising import x0_errors
from worldsim.evaluation.measures.metrics import colours
from worldsim.evaluation.measures.starts import error_ratio
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.measures.types import Films, Results
from worldsim.models.text import encoder_installed
from worldsim.simulation.world_model import WorldModel

# Of the pictures dreamt from captions alone; nothing has to be fast here.
STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """How much is measured."""

    clips: int
    prefix: int
    chunks: int


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
    b, device = len(text_BX), text_BX.device
    shape = (1, world.tokenizer.config.channels, *world.tokenizer.latent_grid(*size))
    actions, present = torch.zeros(b, 1, world.chunk, world.spec.size), torch.zeros(b, 1, dtype=torch.bool)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        tau = level.expand(b, 1)
        return velocity_from_data(x, world.sampler.predict(x, torch.zeros_like(x), tau, actions, present, text_BX), tau)

    latents = sample_euler(velocity, noise(seeds, [0] * b, shape, device), time_steps(STEPS).to(device))
    return world.decode(latents)[0][:, 0, -1]


def text_report(
    world: WorldModel, clips: Clips, texts: Sequence[str], embeddings_BX: Tensor, rows: int = 8, seed: int = 0
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """How much the caption of each clip's episode informs the world, and how much a swapped one misleads it.

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
    conditions = {
        "own": (clips.actions, embeddings_BX),
        "swapped": (clips.actions, swapped),
        "none": (clips.actions, None),
    }
    report: dict[str, Any] = {"captions": len(set(texts))}
    for name, chunks in (("next", None), ("first", 0)):
        loss = x0_errors(world, clips, conditions, rows, chunks=chunks)
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
        embed=lambda sentences: e.world.embed(sentences, len(sentences)),
        dream=lambda text_BX: first_pictures(e.world, text_BX, size, range(len(text_BX))),
        seed=e.seed,
        progress=e.progress,
    )


class Text(EvaluationPart):
    """Captions: own, swapped, none; and with another place or light."""

    name, revision = "text", 1
    settings = Settings

    def run(self, e: Evaluation) -> tuple[Results, Films]:
        """Denoise and dream under several captions."""
        p = Settings.of(e.preset)
        clips = e.clips(p.clips, p.prefix, p.chunks)
        captions = [e.store.read(name, start, start + 1).text for name, start in clips.places]
        if len(set(captions)) < 2:
            return {"skipped": "these recordings all have the same caption, or none: there is none to swap"}, {}
        try:
            embeddings = e.world.embed(captions, len(clips))
        except ValueError as error:
            return {"skipped": str(error)}, {}
        report, pictures = text_report(e.world, clips, captions, embeddings, e.rows, e.seed)
        report["attributes"], films = attribute_adherence(e, clips, captions)
        return report, {"text": pictures[:8], **films}

    def inputs(self) -> Mapping[str, Any]:
        """Sentences that do not ship with the world are used only where they can be embedded."""
        return {"encoder": encoder_installed()}

    def summary(self, found: Results, goals: Any) -> Iterator[Line]:
        """What swapped and missing captions cost, and whether pictures obey their captions."""
        for name, said in (("next", "after a past"), ("first", "of a first frame")):
            beside = f"without a caption {number(found[name]['none_ratio']['value'])}"
            swapped = found[name]["swapped_ratio"]
            yield line(f"error {said} under a swapped caption, ratio", swapped, beside=beside)
        own = found["pictures"]["own_nearer"]
        yield line("pictures nearer under their own caption", own, "%", beside="chance 50 %")
        judged = {kind: part for kind, part in found.get("attributes", {}).items() if "skipped" not in part}
        beside = {k: f"chance 50 %, recorded frames {number(v['recorded']['value'], '%')}" for k, v in judged.items()}
        if (place := judged.get("place")) is not None:
            yield line("pictures nearer to the place they are told", place["nearer"], "%", beside=beside["place"])
        if (light := judged.get("light")) is not None:
            yield line("pictures darker when told a dark time", light["darker"], "%", beside=beside["light"])
            real = f"of 255; recorded frames {number(light['difference_recorded']['value'])}"
            yield line("brightness of day less that of dark times", light["difference"], beside=real)

    def sections(self, found: Results, films: Films) -> Iterator[Section]:
        """Pictures dreamt from captions, and below what was recorded of each value of an attribute."""
        captions = found.get("pictures", {}).get("captions", [])
        rows = zip(captions, films.get("text", ()), strict=False)
        pictures = [Picture(frames=row, caption=f"{own} | {swapped}") for (own, swapped), row in rows]
        if pictures:
            words = "Recorded; dreamt from its caption alone; dreamt from another clip's caption with the same noise."
            yield Section(title="Captions", words=words, pictures=pictures)
        for kind, part in found.get("attributes", {}).items():
            if "skipped" not in part:
                yield attribute_section(kind, part, list(films.get(kind, ())))

    def unmeasured(self, found: Results) -> Iterator[tuple[str, str]]:
        """Why an attribute could not be judged."""
        for kind, part in found.get("attributes", {}).items():
            if "skipped" in part:
                yield f"{kind} in captions", part["skipped"]


def attribute_section(kind: str, found: Results, film: Sequence[NDArray[np.uint8]]) -> Section:
    """An attribute's values, and a strip of pictures per quantile, below what was recorded of each."""
    captions = ["recorded", *(f"{25 * i} % quantile: {caption}" for i, caption in enumerate(found["gallery"]))]
    return Section(
        title=f"The same caption with another {kind}: {'; '.join(found['values'])}",
        words="Dreamt from the caption alone with the same noise, at quantiles of how little it obeys.",
        pictures=[Picture(frames=row, caption=said) for said, row in zip(captions, film, strict=False)],
    )
