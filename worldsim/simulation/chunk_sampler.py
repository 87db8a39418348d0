"""Sampling of the next latent frame, and writing of a past into the cache.

B batch, T latent frames, C channels, h w latent grid, r frames per chunk, A action size.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.models.dit import DiTOutput, WorldDiT, previous_of
from worldsim.models.shield import shielded
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.state import WorldState


@dataclass(frozen=True)
class ChunkSampler:
    """A network, how it is sampled, and in which precision it computes.

    Attributes:
        dit: the network.
        sampling: settings.
        bf16: matrix products in bf16, on CPUs that are fast at it.
    """

    dit: WorldDiT
    sampling: SamplingConfig
    bf16: bool

    def precision(self) -> contextlib.AbstractContextManager:
        """The context that networks compute in."""
        return torch.autocast("cpu", torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    @shielded
    @torch.inference_mode()
    def predict(
        self,
        noisy: Tensor,
        previous: Tensor,
        tau: Tensor,
        actions: Tensor,
        present: Tensor,
        text: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> Tensor:
        """Clean latents (B, T, C, h, w) predicted without a cache; arguments as in ``WorldDiT``."""
        with self.precision():
            context = (previous, tau, torch.zeros_like(tau), actions, present, text)
            return self.dit(noisy, *context, drawn_BTDHW=drawn).latents

    def sample(
        self, state: WorldState, actions_B1rA: Tensor, drawn_B1Dhw: Tensor | None = None
    ) -> tuple[Tensor, DiTOutput, DiTOutput]:
        """The next latent frame (B, 1, C, h, w), the first evaluation, and the one whose keys enter the cache.

        ``drawn_B1Dhw``: what the memory draws of it, for a network that takes that.
        """
        sampling = self.sampling
        previous = state.latent[:, None]
        present = torch.ones(state.batch, 1, dtype=torch.bool)
        size = 1.0 / sampling.steps if sampling.shortcut else 0.0
        outputs: list[DiTOutput] = []

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            tau = t.expand(state.batch, 1)
            out = self._evaluate(state, x, previous, tau, size, actions_B1rA, present, drawn=drawn_B1Dhw)
            predicted = out.latents
            if sampling.guidance != 1.0:
                free = self._evaluate(state, x, previous, tau, size, actions_B1rA, ~present).latents
                predicted = free + sampling.guidance * (predicted - free)
            outputs.append(out)
            return velocity_from_data(x, predicted, tau)

        start = noise(state.seeds.tolist(), state.steps.tolist(), tuple(previous.shape[1:])) * sampling.temperature
        latent = sample_euler(velocity, start, time_steps(sampling.steps))
        if not sampling.reuse_last_eval_for_cache:
            tau = sampling.context_tau
            context, level = torch.lerp(start, latent, tau), torch.full((state.batch, 1), tau)
            given = (state, context, previous, level, 0.0, actions_B1rA, present)
            outputs.append(self._evaluate(*given, drawn=drawn_B1Dhw))
        return latent, outputs[0], outputs[-1]

    def write_past(self, state: WorldState, latents_BTChw: Tensor, past_BTrA: Tensor, seeds: Sequence[int]) -> Tensor:
        """Write a past into the state's empty cache; returns the features (B, 2 D) of its last frame.

        Args:
            state: its cache is written in place.
            latents_BTChw: the past, at most ``window`` + 1 frames.
            past_BTrA: the actions that lead into each frame; those of the first are not used.
            seeds: noise seed per row.
        """
        latents = latents_BTChw
        previous = previous_of(latents)
        present = torch.ones(past_BTrA.shape[:2], dtype=torch.bool)
        present[:, 0] = False
        tau = self.sampling.context_tau
        past_noise = noise(seeds, [-1] * len(seeds), tuple(latents.shape[1:])) if tau < 1 else torch.zeros_like(latents)
        levels = torch.full(past_BTrA.shape[:2], tau)
        noisy = torch.lerp(past_noise, latents, tau)
        out = self._evaluate(state, noisy, previous, levels, 0.0, past_BTrA, present, cached=False)
        state.cache.write(out.keys, out.values)
        return out.heads.pooled[:, -1].float()

    def _evaluate(
        self,
        state: WorldState,
        x: Tensor,
        previous: Tensor,
        tau: Tensor,
        size: float,
        actions: Tensor,
        present: Tensor,
        *,
        cached: bool = True,
        drawn: Tensor | None = None,
    ) -> DiTOutput:
        text = state.text if bool(state.text.any()) else None
        with self.precision():
            return self.dit(
                x, previous, tau, torch.full_like(tau, size), actions, present, text, state.cache if cached else None,
                drawn_BTDHW=drawn,
            )  # fmt: skip
