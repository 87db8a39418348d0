"""Sampling of the next latent frame, and writing of a past into the cache.

B batch, T latent frames, C channels, h w latent grid, r frames per chunk, A action size.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.models.dit import DiTOutput, WorldDiT
from worldsim.models.heads import HeadOutputs
from worldsim.models.kv_cache import KVCache
from worldsim.models.patchify import previous_of
from worldsim.models.shield import shielded
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.graphs import Replayed, record_cuda
from worldsim.simulation.memory.spatial import Outlook
from worldsim.simulation.place_noise import place_noise
from worldsim.simulation.state import WorldState


@dataclass(frozen=True)
class ChunkSampler:
    """A network, how it is sampled, and in which precision it computes.

    Attributes:
        dit: the network.
        sampling: settings.
        bf16: matrix products in bf16: on GPUs, and on CPUs that are fast at it.
    """

    dit: WorldDiT
    sampling: SamplingConfig
    bf16: bool

    def precision(self) -> contextlib.AbstractContextManager:
        """The context that networks compute in."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.dit.registers.device

    @cached_property
    def replayed(self) -> Replayed | None:
        """Evaluations of one frame after a cached past, replayed from CUDA graphs; None where there is no GPU."""
        device = self.device
        return Replayed(self._after_past, partial(record_cuda, device)) if device.type == "cuda" else None

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
        known: Tensor | None = None,
    ) -> Tensor:
        """Clean latents (B, T, C, h, w) predicted without a cache; arguments as in ``WorldDiT``, on any device."""
        given = (noisy, previous, tau, torch.zeros_like(tau), actions, present, text, drawn, known)
        *context, drawn, known = (None if x is None else x.to(self.device) for x in given)
        with self.precision():
            return self.dit(*context, drawn_BTDHW=drawn, known_BT=known).latents

    def sample(
        self,
        state: WorldState,
        actions_B1rA: Tensor,
        drawn_B1Dhw: Tensor | None = None,
        source_B1Chw: Tensor | None = None,
        level: float = 0.0,
        known: bool = True,
        outlook: Outlook | None = None,
    ) -> tuple[Tensor, DiTOutput, DiTOutput]:
        """The next latent frame (B, 1, C, h, w), the first evaluation, and the one whose keys enter the cache.

        Args:
            state: the past.
            actions_B1rA: those that lead into the frame.
            drawn_B1Dhw: what the memory draws of it, for a network that takes that.
            source_B1Chw: a latent to begin from instead of pure noise.
            level: its signal level at the beginning.
            known: whether the actions are known; others are not read.
            outlook: where a memory says that the camera goes.
        """
        sampling = self.sampling
        previous = state.latent[:, None]
        present = torch.full((state.batch, 1), known, dtype=torch.bool, device=self.device)
        size = 1.0 / sampling.steps if sampling.shortcut else 0.0
        outputs: list[DiTOutput] = []

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            tau = t.expand(state.batch, 1)
            out = self._evaluate(state, x, previous, tau, size, actions_B1rA, present, drawn=drawn_B1Dhw)
            predicted = out.latents
            if sampling.guidance != 1.0 and known:
                free = self._evaluate(state, x, previous, tau, size, actions_B1rA, ~present).latents
                predicted = free + sampling.guidance * (predicted - free)
            outputs.append(out)
            return velocity_from_data(x, predicted, tau)

        start, times = self._noise(state, outlook) * sampling.temperature, time_steps(sampling.steps).to(self.device)
        if source_B1Chw is not None:
            start, times = torch.lerp(start, source_B1Chw, level), level + (1 - level) * times
        latent = sample_euler(velocity, start, times)
        if not sampling.reuse_last_eval_for_cache:
            tau = sampling.context_tau
            context, levels = torch.lerp(start, latent, tau), torch.full((state.batch, 1), tau, device=self.device)
            given = (state, context, previous, levels, 0.0, actions_B1rA, present)
            outputs.append(self._evaluate(*given, drawn=drawn_B1Dhw))
        return latent, outputs[0], outputs[-1]

    def _noise(self, state: WorldState, outlook: Outlook | None) -> Tensor:
        """What the next latent frame (B, 1, C, h, w) starts from: of where the camera goes, where that is known."""
        seeds, shape = state.seeds.tolist(), state.latent.shape[1:]
        if outlook is None or not self.sampling.noise_metres:
            return noise(seeds, state.steps.tolist(), (1, *shape), self.device)
        channels, h, w = shape
        args = (outlook.poses[:, -1], outlook.lens, (channels, h, w), self.sampling.noise_metres)
        return place_noise(seeds, *args)[:, None].to(self.device)

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
        present = torch.ones(past_BTrA.shape[:2], dtype=torch.bool, device=self.device)
        present[:, 0] = False
        tau, past_noise = self.sampling.context_tau, torch.zeros_like(latents)
        if tau < 1:
            past_noise = noise(seeds, [-1] * len(seeds), tuple(latents.shape[1:]), self.device)
        levels = torch.full(past_BTrA.shape[:2], tau, device=self.device)
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
        text, cache = state.text if bool(state.text.any()) else None, state.cache if cached else None
        given = (x, previous, tau, torch.full_like(tau, size), actions, present, text)
        if cache is not None and self.replayed is not None:
            return _together(self.replayed(cache.keys, cache.values, cache.count, drawn, *given))
        with self.precision():
            return self.dit(*given, cache, drawn_BTDHW=drawn)

    def _after_past(
        self, keys: Tensor, values: Tensor, count: Tensor, drawn: Tensor | None, *given: Tensor | None
    ) -> list[Tensor]:
        """The network's output for one frame after a cached past, tensor by tensor."""
        # Within: weights that autocast has cast must not be those of a context that ends before a replay.
        with self.precision():
            out = self.dit(*given, KVCache(keys, values, count), drawn_BTDHW=drawn)
        return [out.latents, *vars(out.heads).values(), *out.keys, *out.values]


def _together(tensors: Sequence[Tensor]) -> DiTOutput:
    """The network's output from its tensors."""
    latents, motion, termination, action, pooled, *ring = tensors
    heads = HeadOutputs(motion=motion, termination=termination, action=action, pooled=pooled)
    return DiTOutput(latents, heads, ring[: len(ring) // 2], ring[len(ring) // 2 :])
