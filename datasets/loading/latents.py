"""The latent clips that dynamics are trained on. T latent frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import join_record, store_record
from worldsim.datasets.loading.latent_cache import STILL_EVERY, LatentCache, LatentRows
from worldsim.diffusion.dynamics_loss import LatentBatch


class Clips(Protocol):
    """Endless batches of clips: number i is a function of the seed and i alone, on every machine.

    Attributes:
        seed: of the draws.
        places: where a clip can begin.
    """

    seed: int
    places: int

    def __call__(self, index: int) -> LatentBatch:
        """Batch number ``index``."""
        ...

    def store_record(self) -> dict[str, Any]:
        """What a checkpoint says of the store behind the clips (see ``worldsim.datasets.governance.provenance``)."""
        ...


class LatentClips:
    """Random clips of T latent frames from a latent cache; batch i depends on (seed, i) alone.

    A clip begins where a still was encoded, and with that still, as a prefix does at play. ``names`` are the episodes
    that are long enough. ``drawn``: what a memory draws and then shows along each episode, (T, D + C, h, w) by
    name. Clips are then of those episodes alone, as far as it goes.

    Raises:
        FileNotFoundError: the folder holds no latents.
        ValueError: no episode is long enough.
    """

    def __init__(
        self,
        latents: Path | LatentRows,
        *,
        frames: int,
        batch: int,
        seed: int = 0,
        mouse: bool = True,
        drawn: Mapping[str, NDArray] | None = None,
    ) -> None:
        self.cache = latents if isinstance(latents, LatentRows) else LatentCache(latents)
        self.drawn = drawn
        self.frames, self.batch, self.seed, self.mouse = frames, batch, seed, mouse
        names, lengths = self.cache.index["names"], self.cache.lengths
        if drawn is not None:
            lengths = np.array([min(n, len(drawn.get(name, ()))) for name, n in zip(names, lengths, strict=True)])
        spans = zip(self.cache.begins, lengths, strict=True)
        self.starts = np.concatenate([np.arange(b, b + n - frames + 1, STILL_EVERY) for b, n in spans])
        self.names = [name for name, length in zip(names, lengths, strict=True) if length >= frames]
        self.places = len(self.starts)
        if not self.names:
            raise ValueError(f"no episode in {latents} has {frames} latent frames")

    def store_record(self) -> dict[str, Any]:
        """What a checkpoint says of the store behind these clips' episodes."""
        wanted = set(self.names)
        records = [record for record in self.cache.index["records"] if record["name"] in wanted]
        return store_record(self.cache.index["store"], records)

    def __call__(self, index: int) -> LatentBatch:
        """Batch number ``index``."""
        rng = np.random.default_rng([self.seed, abs(index), int(index < 0)])
        return self.at(rng.choice(self.starts, self.batch))

    def at(self, starts: NDArray[np.int64]) -> LatentBatch:
        """The clips that begin at the given rows (each a multiple of STILL_EVERY after its episode's first)."""
        cache = self.cache
        span = starts[:, None] + np.arange(self.frames)
        episode = np.searchsorted(cache.begins, starts, side="right") - 1
        stills = cache.first_still[episode] + (starts - cache.begins[episode]) // STILL_EVERY
        latents = torch.from_numpy(cache.arrays["latents"][span].astype(np.float32))
        latents[:, 0] = torch.from_numpy(cache.arrays["stills"][stills].astype(np.float32))
        actions, *rest = (
            torch.from_numpy(np.asarray(cache.arrays[n][span])) for n in ("actions", "motion", "terminated")
        )
        drawn = shown = None
        if self.drawn is not None:
            within = [(cache.index["names"][e], s - cache.begins[e]) for e, s in zip(episode, starts, strict=True)]
            rows = np.stack([self.drawn[name][first : first + self.frames] for name, first in within])
            drawn, shown = torch.from_numpy(rows.astype(np.float32)).split([latents.shape[2] + 1, latents.shape[2]], 2)
        known, backwards = torch.tensor(cache.index["known"])[episode], None
        if "backwards" in cache.index:
            # Of an episode in reverse, not every action is known.
            backwards = torch.tensor(cache.index["backwards"])[episode].float()
            known, actions = known[:, None] & ~actions.isnan().flatten(2).any(-1), actions.nan_to_num()
        return LatentBatch(
            latents,
            actions,
            *rest,
            drawn=drawn,
            shown=shown,
            text=None if cache.text is None else torch.from_numpy(cache.text[episode]),
            known=known,
            backwards=backwards,
            posed=torch.tensor(cache.index["posed"])[episode],
            mouse=self.mouse,
        )


class MixedClips:
    """Clips of several sources, a batch from one of them: pictures of several sizes, none cropped.

    Each source is drawn as often as it has places where a clip can begin.
    """

    def __init__(self, parts: Sequence[Clips]) -> None:
        self.parts = parts
        share = np.array([part.places for part in parts], np.float64)
        self.share = share / share.sum()

    def __call__(self, index: int) -> LatentBatch:
        """Batch number ``index``; which source it is from follows from the first one's seed and the index alone."""
        rng = np.random.default_rng([self.parts[0].seed, abs(index), int(index < 0), len(self.parts)])
        return self.parts[int(rng.choice(len(self.parts), p=self.share))](index)

    def training_record(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a checkpoint says of all sources' episodes; ``before``: the record of the weights begun with."""
        record = dict(before or {})
        for part in self.parts:
            record = join_record(part.store_record(), record or None)
        return record
