"""What to train for each kind of game: settings of ``train tokenizer`` and ``train dynamics``, as one types them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worldsim.cli.making.game_kind import FIRST_PERSON, SCROLLING, STILL
from worldsim.training.store_checks import SIDE

# Rates above this are lowered by a whole factor: two pictures in a row should differ, and each costs time.
FASTEST = 30.0
# How much worse it is to stretch a picture than to make it smaller by the same factor.
SHAPE = 4.0
# Optimizer steps below which a network learns pictures and not yet what keys do: a smaller network gets further then.
ENOUGH_STEPS = 3000
# Steps below which a plan is warned of: keys began to matter after 300 to 900 steps in the games that were tried.
FEW_STEPS = 1000

_SMALL_TOKENIZER = (
    "model.chunk=1", "model.channels=48", "model.bound=100", "model.encoder_width=48", "model.encoder_blocks=1",
    "model.decoder_width=64", "model.decoder_blocks=2", "model.detail_width=32", "model.detail_blocks=1",
    "training.latent_std=0.4", "training.latent_noise=0.04", "training.fit_batches=24", "batch=2", "chunks=24",
)  # fmt: skip
_QUICK_DYNAMICS = (
    "batch=4", "frames=16", "training.optimizer.warmup=20", "training.optimizer.rate=2e-3",
    "training.optimizer.matrix_rate=4e-3", "training.optimizer.ema=0.99", "training.image_fraction=0",
    "training.noise.context_noise=0.05", "training.conditioning.text_drop=1",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a world of one kind of game is made.

    Attributes:
        why: the choices in words.
        pixels: larger pictures are scaled to about so many.
        tokenizer: settings of ``train tokenizer``.
        tokenizer_steps: as many at most.
        models: options of ``model=``, the most capable first; the first that is fast enough here is taken.
        dynamics: settings of ``train dynamics``.
        export: settings of ``train export``.
    """

    why: str
    pixels: int
    tokenizer: Sequence[str]
    tokenizer_steps: int
    models: Sequence[str]
    dynamics: Sequence[str]
    export: Sequence[str] = ()


RECIPES: Mapping[str, Recipe] = {
    STILL: Recipe(
        why="each video frame is a step of its own, and half of the loss goes to what differs from the mean picture",
        pixels=96 * 80,
        tokenizer=(*_SMALL_TOKENIZER, "training.saliency_weight=1"),
        tokenizer_steps=300,
        models=("atari", "tiny"),
        dynamics=(*_QUICK_DYNAMICS, "training.loss.saliency_weight=1"),
        export=("exact=true",),
    ),
    SCROLLING: Recipe(
        why="each video frame is a step of its own, so that a key acts at once; a small network sees every cell",
        pixels=96 * 80,
        tokenizer=_SMALL_TOKENIZER,
        tokenizer_steps=1000,
        models=("atari", "tiny"),
        dynamics=_QUICK_DYNAMICS,
        export=("exact=true",),
    ),
    FIRST_PERSON: Recipe(
        why="two video frames a step, and the largest network that this machine trains in the time",
        pixels=144 * 80,
        tokenizer=("batch=2", "chunks=8"),
        tokenizer_steps=4000,
        models=("small", "atari", "tiny"),
        dynamics=("batch=4", "frames=16", "training.image_fraction=0"),
    ),
}


def fitting_size(width: int, height: int, pixels: int) -> tuple[int, int]:
    """The size to scale pictures to: sides are multiples of ``SIDE``, about the same shape, at most ``pixels``.

    Pictures that can be trained on, and are small enough, keep their size. None is made larger by more than rounding.
    """
    if width % SIDE == 0 and height % SIDE == 0 and width * height <= pixels:
        return width, height
    sides = [[SIDE * n for n in range(1, min(pixels // SIDE, math.ceil(side / SIDE) * SIDE) // SIDE + 1)]
             for side in (width, height)]  # fmt: skip
    fits = [(w, h) for w in sides[0] for h in sides[1] if w * h <= pixels]

    def cost(size: tuple[int, int]) -> float:
        stretched = abs(math.log(size[0] / size[1] * height / width))
        return SHAPE * stretched + math.log(pixels / (size[0] * size[1]))

    return min(fits, key=cost)


def fitting_rate(fps: float) -> float:
    """The rate to lower ``fps`` to: the same, or an even part of it that is at most ``FASTEST``."""
    return fps if fps <= FASTEST else fps / math.ceil(fps / FASTEST)


def choose_model(seconds: Mapping[str, float], budget: float) -> str:
    """The first network with ``ENOUGH_STEPS`` in ``budget`` seconds, else the fastest; ``seconds`` a step by name."""
    enough = (name for name, each in seconds.items() if budget / each >= ENOUGH_STEPS)
    return next(enough, min(seconds, key=lambda name: seconds[name]))
