"""Films that go forward: from nothing but text, on from a past, and over again under a prompt.

B = 1 world, K chunks, r video frames per chunk, H W pixels, C channels, h w latent grid, A action vector.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.generation.keeping import Keeper
from worldsim.models.shield import shielded
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
# Number of the noise of a first picture: steps count from 0, and a past has -1.
FIRST_PICTURE = -2


@shielded
@torch.inference_mode()
def first_picture(
    world: WorldModel, seed: int, prompt: str, source_B1Chw: Tensor | None = None, strength: float = 1.0
) -> Frames:
    """A picture (H, W, 3) that nothing stands before: of text alone, or of a latent that is noised by ``strength``."""
    grid = world.tokenizer.latent_grid(world.config.height, world.config.width)
    start = noise([seed], [FIRST_PICTURE], (1, world.dit.config.channels, *grid), world.device)
    times = time_steps(world.config.sampling.steps).to(world.device)
    if source_B1Chw is not None:
        start, times = torch.lerp(source_B1Chw, start, strength), 1 - strength * (1 - times)
    text = world.embed([prompt], 1) if prompt else None
    nothing = torch.zeros(1, 1, world.chunk, world.spec.size)
    hidden = torch.zeros(1, 1, dtype=torch.bool)

    def velocity(x: Tensor, time: Tensor) -> Tensor:
        tau = time.expand(1, 1)
        return velocity_from_data(x, world.sampler.predict(x, torch.zeros_like(x), tau, nothing, hidden, text), tau)

    chunk, _ = world.decode(sample_euler(velocity, start, times))
    return chunk[0, 0, -1]


def go_on(
    world: WorldModel, state: WorldState, actions: NDArray[np.float32], keeper: Keeper, progress: Progress
) -> Frames:
    """The frames (K r, H, W, 3) that follow a past under actions (K r, A)."""
    plans = actions.reshape(-1, world.chunk, world.spec.size)

    def step(state: WorldState, number: int) -> tuple[WorldState, Frames]:
        state, out = world.step(state, plans[number][None])
        return state, out.frames[0]

    return _chunk_by_chunk(world, "going on", state, len(plans), step, keeper, progress)


def edited(
    world: WorldModel,
    film: Frames,
    actions: NDArray[np.float32],
    *,
    seed: int,
    prompt: str,
    strength: float,
    keeper: Keeper,
    progress: Progress,
) -> Frames:
    """A film (1 + K r, H, W, 3) made anew: every latent is noised by ``strength`` and denoised after what went before.

    Args:
        world: its memory is left aside, which would bring back what was seen.
        film: the recorded one.
        actions: (K r, A), those that led through it; a chunk with nan among them goes without.
        seed: of the noise.
        prompt: what it is to become.
        strength: 1 keeps nothing of the recorded film but its actions.
        keeper: of an unfinished film.
        progress: told chunks done and in all.
    """
    latents = world.encode(film[None])
    picture = first_picture(world, seed, prompt, latents[:, :1], strength)
    state = world.prefill(picture[None, None], np.zeros((1, 0, world.spec.size), np.float32), [seed], [prompt])
    state = replace(state, memory=None)
    plans = actions.reshape(-1, world.chunk, world.spec.size)

    def step(state: WorldState, number: int) -> tuple[WorldState, Frames]:
        return _edited_chunk(world, state, plans[number], latents[:, 1 + number : 2 + number], strength)

    rest = _chunk_by_chunk(world, "editing", state, len(plans), step, keeper, progress)
    return np.concatenate([picture[None], rest])


@shielded
@torch.inference_mode()
def _edited_chunk(
    world: WorldModel, state: WorldState, actions: NDArray[np.float32], source_B1Chw: Tensor, strength: float
) -> tuple[WorldState, Frames]:
    known = bool(np.isfinite(actions).all())
    given = torch.as_tensor(np.nan_to_num(actions), device=world.device)[None, None]
    latent, _, last = world.sampler.sample(state, given, None, source_B1Chw, 1 - strength, known)
    cache = state.cache.clone()
    cache.write(last.keys, last.values)
    chunk, decoder = world.decode(latent, state.decoder)
    state = replace(state, cache=cache, latent=latent[:, 0], decoder=decoder, steps=state.steps + 1)
    return state, chunk[0, 0]


def _chunk_by_chunk(
    world: WorldModel,
    stage: str,
    state: WorldState,
    count: int,
    step: Callable[[WorldState, int], tuple[WorldState, Frames]],
    keeper: Keeper,
    progress: Progress,
) -> Frames:
    """Chunks of a film one after another, from where it was left."""
    kept, about = keeper.load(stage)
    shown: list[Frames] = []
    if kept:
        shown = list(kept.pop("film").numpy())
        state = WorldState.from_tensors(kept).to(state.device)
    done = about.get("done", 0)
    for number in range(done, count):
        state, frames = step(state, number)
        shown += list(frames)
        progress(stage, number + 1, count)
        if (number + 1) % keeper.every == 0 and number + 1 < count:
            film = torch.from_numpy(np.stack(shown))
            keeper.save(stage, {"film": film, **state.tensors()}, done=number + 1)
    size = (world.config.height, world.config.width, 3)
    return np.stack(shown) if shown else np.zeros((0, *size), np.uint8)
