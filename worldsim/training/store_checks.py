"""What a store must be to be trained on."""

from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.models.tokenizer import SPATIAL

# Sides of pictures: 8 pixels a latent cell, 2x2 cells a token.
SIDE = 2 * SPATIAL


def check_splits(store: EpisodeStore, only: EpisodeFilter) -> None:
    """Whether there is something to train on, and something held out to judge it by.

    Raises:
        UserError: a split is empty.
    """
    for split in ("train", "validation"):
        if not only.names(store, split):
            raise UserError(
                f"{store.url} has no {split} episodes: by default the map's seed or the recording's name decides the "
                f"split; record or import some with split={split}"
            )


def check_size(
    width: int,
    height: int,
    advice: str = "scale them, 'worldsim data import STORE --out SCALED resize={}' (the default world has 144x80)",
) -> None:
    """Whether pictures of this size can be trained on.

    Args:
        width, height: in pixels.
        advice: what to do about a size that cannot; ``{}`` stands for the nearest one that can.

    Raises:
        UserError: a side is no multiple of ``SIDE`` pixels.
    """
    if not (width and height) or width % SIDE or height % SIDE:
        fits = "x".join(str(max(SIDE, round(side / SIDE) * SIDE)) for side in (width, height))
        raise UserError(
            f"pictures of {width}x{height} cannot be trained on: sides are multiples of {SIDE} pixels; "
            + advice.format(fits)
        )


def check_store(store: EpisodeStore, only: EpisodeFilter) -> None:
    """Whether dynamics can be trained on a store.

    Raises:
        UserError: a split is empty, or pictures have a size that cannot be trained on.
        ValueError: episodes differ in their form.
    """
    recordings = recording_format(store, only.names(store))
    check_splits(store, only)
    check_size(recordings.width, recordings.height)
