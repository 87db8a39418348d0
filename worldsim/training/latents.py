"""The latents that dynamics are trained on: made of stores, or taken as they are, cached or packed."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.loading.latent_build import build_latents, is_current
from worldsim.datasets.loading.latent_stream import is_packed, open_latents
from worldsim.datasets.store.recording_format import RecordingFormat
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.models.precision import fast_precision
from worldsim.models.shield import shielded
from worldsim.models.text import TextEncoder, encoder_installed
from worldsim.progress import display
from worldsim.spec.damage import reading
from worldsim.training.export import load_tokenizer
from worldsim.training.store_checks import check_store


def prepare_latents(
    data: str | Path | None,
    latents: str,
    tokenizer: Path,
    only: EpisodeFilter,
    also: Mapping[Path, Path],
    reversed_fraction: float = 0.0,
) -> RecordingFormat:
    """Make the latents of all stores that are trained on; returns the format that their recordings share.

    ``reversed_fraction``: of the training episodes that are encoded in reverse too.

    Raises:
        UserError: a store cannot be trained on, ``latents`` are packed and there is a store, or recordings of ``also``
            differ in their actions or their rate.
    """
    if data is not None and is_packed(f"{latents}/train"):
        raise UserError(f"the latents in {latents} are packed, and are trained on as they are: leave data= away")
    for store, cache in ([] if data is None else [(data, Path(latents))]) + list(also.items()):
        check_store(EpisodeStore(store), only)
        cache_latents(store, tokenizer, cache, only=only, reversed_fraction=reversed_fraction)
    recordings = latent_recordings(f"{latents}/train", tokenizer)
    for store, cache in also.items():
        other = latent_recordings(f"{cache}/train", tokenizer)
        if (other.spec, other.fps) != (recordings.spec, recordings.fps):
            raise UserError(f"{store} has other actions or another rate than {data or latents}")
    return recordings


def latent_recordings(latents: str, tokenizer: Path) -> RecordingFormat:
    """The format of the recordings behind the latents of a split.

    Raises:
        FileNotFoundError: there are no latents.
        UserError: another tokenizer made them, or an older version that did not say what they are of.
    """
    index = open_latents(latents).index
    if index.get("tokenizer") != hashlib.sha256(tokenizer.read_bytes()).hexdigest():
        raise UserError(f"the latents in {latents} were made by another tokenizer than {tokenizer}")
    if "recordings" not in index:
        raise UserError(f"the latents in {latents} do not say what they are of: make them anew from their store")
    with reading(latents, "a cache of latents"):
        return RecordingFormat.from_json(index["recordings"])


@shielded
def cache_latents(
    data: str | Path,
    tokenizer: Path,
    folder: Path,
    splits: Sequence[Split] = ("train", "validation"),
    only: EpisodeFilter = ALL,
    reversed_fraction: float = 0.0,
) -> None:
    """Encode the splits of a store into ``folder/SPLIT``, where that is not done already.

    Under the precision that a world plays with: a prefix is then encoded as the latents trained on were.
    ``reversed_fraction``: of the training episodes that are encoded in reverse too.
    """
    folder, store, model = folder.absolute(), EpisodeStore(data), load_tokenizer(tokenizer)
    digest = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    embed = TextEncoder() if encoder_installed() else None

    @torch.inference_mode()
    def encode(chunks: torch.Tensor) -> torch.Tensor:
        with fast_precision():
            return model.encode_chunks(chunks.permute(0, 1, 2, 5, 3, 4).float() / 255)

    for split in splits:
        names, backwards = only.names(store, split), reversed_fraction if split == "train" else 0.0
        if is_current(folder / split, store, names, digest, backwards):
            continue
        with display() as show:
            build_latents(
                store,
                split,
                folder / split,
                encode,
                model.config.chunk,
                show.stage(f"latents {split}"),
                embed,
                digest,
                names,
                backwards,
            )
