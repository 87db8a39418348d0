"""The package ``dreamer4`` (PyPI, lucidrains), where it is installed: a reproduction of Dreamer 4 (Hafner et al. 2025).

Sizes are those of its README: 256x256 pixels, width 512, 228 M parameters.
"""

import importlib.util
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from worldsim.cli.bench.peers.peer import Peer, for_play, in_fast_precision
from worldsim.errors import UserError

PACKAGE = "dreamer4"
SIDE, WIDTH, LATENT, PATCH, ACTIONS = 256, 512, 32, 32, 4
# Denoising passes of a frame; one more writes its cache.
PASSES = 4
# Frames of a call, after one that was there: its decoder takes whole films, and its cache begins anew with each call.
FRAMES = 8


def dreamer4() -> Peer | None:
    """The package's world with random weights; None where it is not installed.

    Raises:
        UserError: it is installed and cannot be imported.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        return None
    try:
        package: Any = importlib.import_module(PACKAGE)
        make_tokenizer, make_world = package.VideoTokenizer, package.DynamicsWorldModel
    except (ImportError, AttributeError, RuntimeError) as error:
        raise UserError(f"{PACKAGE} is installed but cannot be imported: {error}") from error
    # Without the perceptual loss, which is for training and would fetch a network.
    tokenizer = make_tokenizer(
        dim=WIDTH, dim_latent=LATENT, patch_size=PATCH, image_height=SIDE, image_width=SIDE, lpips_loss_weight=0.0
    )
    world = make_world(dim=WIDTH, dim_latent=LATENT, video_tokenizer=tokenizer, num_discrete_actions=ACTIONS)
    for_play(world)
    try:
        name = f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        name = PACKAGE
    return Peer(f"{name}, {SIDE}x{SIDE}, {PASSES} + 1 passes", (world,), FRAMES, lambda rows: _begun(world, rows))


def _begun(world: Any, rows: int) -> Callable[[], Any]:
    with torch.no_grad():
        picture = torch.rand(rows, 3, 1, SIDE, SIDE)
        first = in_fast_precision(lambda: world.video_tokenizer.tokenize(picture))().float()
    actions = torch.randint(ACTIONS, (rows, 1 + FRAMES, 1))

    def generate() -> Any:
        return world.generate(
            1 + FRAMES, num_steps=PASSES, batch_size=rows, return_decoded_video=True, prompt_latents=first,
            prompt_discrete_actions=actions,
        )  # fmt: skip

    return in_fast_precision(generate)
