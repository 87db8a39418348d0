"""The playable world: a tokenizer and a diffusion Transformer behind ``prefill`` and ``step``.

B batch, F video frames, T latent frames, r frames per chunk, C channels, H W pixels, h w latent grid, A action size,
D width of the network.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler
from worldsim.models.checkpoint import compact, load_module, load_tensors, save_tensors
from worldsim.models.dit import DiTConfig, DiTOutput, WorldDiT, previous_of
from worldsim.models.fact_heads import FactHeads, load_fact_heads
from worldsim.models.precision import fast_bf16
from worldsim.models.text import TextEncoder
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.branch_tree import nodes_of
from worldsim.simulation.branching import Branch, Judge, grow, past_of
from worldsim.simulation.confidence import Trust, add_doubt, load_trust, residual, statistics
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.state import WorldState
from worldsim.spec.actions import ActionSpec
from worldsim.spec.compute import UNKNOWN, Compute
from worldsim.spec.pose import advance_pose

Frames = NDArray[np.uint8]
FILES = ("tokenizer.safetensors", "dit.safetensors")


@dataclass(frozen=True)
class Step:
    """What one step shows.

    frames: uint8 (B, r, H, W, 3). reward: metres by which the furthest distance from the start grew (B,).
    termination: probability (B,). pose: learned x, y, z (m), yaw, pitch (degrees) relative to the start (B, 5).
    latents: (B, C, h, w). features: what the heads read, the registers' mean and the picture's mean (B, 2 D).
    trust: how far the frames can be believed (B,), nan without a calibration. statistics: what it is made of (B, S).
    """

    frames: Frames
    reward: NDArray[np.float32]
    termination: NDArray[np.float32]
    pose: NDArray[np.float32]
    latents: Tensor
    features: NDArray[np.float32]
    trust: NDArray[np.float32]
    statistics: NDArray[np.float32]


class WorldModel:
    """A learned world. Weights are fixed; all that changes lives in ``WorldState``."""

    def __init__(
        self,
        config: WorldConfig,
        tokenizer: VideoTokenizer,
        dit: WorldDiT,
        *,
        prompt_embeddings: Tensor | None = None,
        fact_heads: FactHeads | None = None,
        trust: Trust | None = None,
        bf16: bool | None = None,
        compute: Compute | None = None,
    ) -> None:
        if dit.config.actions != config.spec.size or len(config.spec.keys) != dit.config.keys:
            raise ValueError(f"the network takes {dit.config.actions} action values, the game has {config.spec.size}")
        if dit.config.channels != tokenizer.config.channels or dit.config.chunk != tokenizer.config.chunk:
            raise ValueError("tokenizer and network differ in channels or chunk")
        if config.sampling.fold and not dit.config.clean_past:
            raise ValueError(
                "a network without clean_past knows its past from the cache alone: use sampling.fold=false"
            )
        tokenizer.latent_grid(config.height, config.width)
        if prompt_embeddings is None:
            prompt_embeddings = torch.zeros(0, dit.config.text_size)
        if prompt_embeddings.shape != (len(config.prompts), dit.config.text_size):
            raise ValueError(f"{len(config.prompts)} prompts, but embeddings {tuple(prompt_embeddings.shape)}")
        if fact_heads is not None and fact_heads.config.features != 2 * dit.config.width:
            raise ValueError(f"task heads read {fact_heads.config.features} features, not {2 * dit.config.width}")
        self.prompt_embeddings = prompt_embeddings
        self.fact_heads = fact_heads
        self.trust = trust
        self.config = config
        self.compute = compute or Compute(since=UNKNOWN)
        self.bf16 = fast_bf16() if bf16 is None else bf16
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.dit = dit.eval().requires_grad_(False)
        if self.bf16:
            # Autocast would cast every weight again at every call.
            for module in (*self.dit.modules(), *self.tokenizer.modules()):
                if isinstance(module, nn.Linear | nn.Conv2d):
                    module.bfloat16()

    @property
    def spec(self) -> ActionSpec:
        """The game's actions."""
        return self.config.spec

    @property
    def chunk(self) -> int:
        """Video frames per step, r."""
        return self.tokenizer.config.chunk

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompts whose embeddings ship with the world: they need no text encoder."""
        return self.config.prompts

    def embed(self, prompts: Sequence[str], batch: int) -> Tensor:
        """Sentence embeddings (B, X) of shipped prompts, or of any text where a text encoder is installed.

        Raises:
            ValueError: not one prompt per row, or free text without an encoder.
        """
        if len(prompts) != batch:
            raise ValueError(f"{batch} worlds need {batch} prompts, got {len(prompts)}")
        unknown = sorted({p for p in prompts if p and p not in self.prompts})
        known = dict(zip(self.prompts, self.prompt_embeddings, strict=True))
        if unknown:
            try:
                known |= dict(zip(unknown, TextEncoder()(unknown), strict=True))
            except ModuleNotFoundError as error:
                shipped = "; ".join(self.prompts[:5]) or "none"
                raise ValueError(f"unknown prompt {unknown[0]!r} (shipped: {shipped}, ...): {error}") from error
        known[""] = torch.zeros(self.dit.config.text_size)
        return torch.stack([known[p].float() for p in prompts])

    def with_sampling(self, **changes: float | bool) -> "WorldModel":
        """The same weights, sampled otherwise (see SamplingConfig)."""
        config = replace(self.config, sampling=replace(self.config.sampling, **changes))
        return WorldModel(
            config, self.tokenizer, self.dit, prompt_embeddings=self.prompt_embeddings, fact_heads=self.fact_heads,
            trust=self.trust if config.sampling == self.config.sampling else None, bf16=self.bf16, compute=self.compute,
        )  # fmt: skip

    def _precision(self) -> contextlib.AbstractContextManager:
        return torch.autocast("cpu", torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    @torch.inference_mode()
    def encode(self, frames: Frames | Tensor) -> Tensor:
        """uint8 frames (B, F, H, W, 3), F = 1 + r k, to latents (B, 1 + k, C, h, w)."""
        frames_BFHWC = torch.as_tensor(frames)
        if frames_BFHWC.ndim != 5 or frames_BFHWC.shape[-1] != 3 or frames_BFHWC.dtype != torch.uint8:
            shape = tuple(frames_BFHWC.shape)
            raise ValueError(f"frames must be uint8 (B, F, H, W, 3), got {frames_BFHWC.dtype} {shape}")
        with self._precision():
            return self.tokenizer.encode(frames_BFHWC.permute(0, 1, 4, 2, 3).float() / 255)

    @torch.inference_mode()
    def decode(self, latents_BTCHW: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Frames, tuple[Tensor, ...]]:
        """Latents to uint8 chunks (B, T, r, H, W, 3) and the decoder's stream state."""
        with self._precision():
            chunks, carried = self.tokenizer.decode_chunks(latents_BTCHW, None if past is None else list(past))
        pixels = (chunks.clamp(0, 1) * 255).round().to(torch.uint8)
        return pixels.permute(0, 1, 2, 4, 5, 3).contiguous().numpy(), tuple(carried)

    @torch.inference_mode()
    def prefill(
        self,
        frames: Frames | Tensor,
        actions: NDArray[np.float32] | Tensor,
        seeds: Sequence[int],
        prompts: Sequence[str] | None = None,
    ) -> WorldState:
        """Take in a past.

        Args:
            frames: uint8 (B, F, H, W, 3), F = 1 + r k; one frame is a still picture. Any size the grid divides.
            actions: float32 (B, F - 1, A); action t leads from frame t to frame t + 1.
            seeds: noise seed per row.
            prompts: one text per row ("" for none), or None.

        Raises:
            ValueError: shapes do not fit.
        """
        frames, actions = torch.as_tensor(frames), torch.as_tensor(actions, dtype=torch.float32)
        batch, count = frames.shape[:2]
        if actions.shape != (batch, count - 1, self.spec.size) or len(seeds) != batch:
            wanted = (batch, count - 1, self.spec.size)
            raise ValueError(
                f"actions must be {wanted} for {batch} seeds, got {tuple(actions.shape)}, {len(seeds)} seeds"
            )
        latents = self.encode(frames)
        _, decoder = self.decode(latents)
        nothing = torch.zeros(batch, 1, self.chunk, self.spec.size)
        past = torch.cat([nothing, actions.reshape(batch, -1, self.chunk, self.spec.size)], 1)
        # What no longer fits the window cannot be seen any more.
        latents, past = latents[:, -self.dit.config.window - 1 :], past[:, -self.dit.config.window - 1 :]
        kept = torch.bfloat16 if self.bf16 else torch.float32
        state = WorldState(
            cache=self.dit.empty_cache(batch, (latents.shape[-2], latents.shape[-1]), kept),
            latent=latents[:, -1],
            decoder=decoder,
            pose=torch.zeros(batch, 5),
            furthest=torch.zeros(batch),
            text=torch.zeros(batch, self.dit.config.text_size) if prompts is None else self.embed(prompts, batch),
            features=torch.zeros(batch, 2 * self.dit.config.width),
            doubt=torch.zeros(batch, 2),
            trust=torch.ones(batch),
            seeds=torch.tensor([int(s) for s in seeds], dtype=torch.long),
            steps=torch.zeros(batch, dtype=torch.long),
        )  # fmt: skip
        previous = previous_of(latents)
        present = torch.ones(past.shape[:2], dtype=torch.bool)
        present[:, 0] = False
        tau = self.config.sampling.context_tau
        past_noise = noise(seeds, [-1] * batch, tuple(latents.shape[1:])) if tau < 1 else torch.zeros_like(latents)
        out = self._evaluate(
            state, torch.lerp(past_noise, latents, tau), previous, torch.full(past.shape[:2], tau), 0.0, past, present,
            cached=False,
        )  # fmt: skip
        state.cache.write(out.keys, out.values)
        return replace(state, features=out.heads.pooled[:, -1].float())

    @torch.inference_mode()
    def step(
        self, state: WorldState, actions: NDArray[np.float32] | Tensor, *, donate: bool = False
    ) -> tuple[WorldState, Step]:
        """Denoise the next latent frame under r actions per row.

        Args:
            state: left usable, unless donated.
            actions: float32 (B, r, A), one action per video frame of the chunk.
            donate: lets the step reuse the state's memory; the state must not be used again.
        """
        actions = torch.as_tensor(actions, dtype=torch.float32)
        if actions.shape != (state.batch, self.chunk, self.spec.size) or not bool(actions.isfinite().all()):
            wanted = (state.batch, self.chunk, self.spec.size)
            raise ValueError(f"actions must be finite numbers of shape {wanted}, got {tuple(actions.shape)}")
        latent, first, last = self._denoise(state, actions[:, None])
        cache = state.cache if donate else state.cache.clone()
        cache.write(last.keys, last.values)
        chunks, decoder = self.decode(latent, state.decoder)
        pose = advance_pose(state.pose, last.heads.motion[:, 0])
        # A single evaluation has no first guess to correct: then the latent before stands for it.
        guess = first.latents if self.config.sampling.steps > 1 else state.latent[:, None]
        following = replace(
            state,
            cache=cache,
            latent=latent[:, 0],
            decoder=decoder,
            pose=pose,
            furthest=torch.maximum(state.furthest, pose[:, [0, 2]].norm(dim=1)),
            features=last.heads.pooled[:, 0].float(),
            doubt=add_doubt(state.doubt, residual(guess, latent), state.steps),
            steps=state.steps + 1,
        )
        told = statistics(following.doubt, following.steps)
        if self.trust is not None:
            following = replace(following, trust=self.trust(told))
        shown = Step(
            frames=chunks[:, 0],
            reward=(following.furthest - state.furthest).numpy(),
            termination=last.heads.termination[:, 0].sigmoid().numpy(),
            pose=pose.numpy().copy(),
            latents=latent[:, 0],
            features=following.features.numpy().copy(),
            trust=np.full(state.batch, np.nan, np.float32) if self.trust is None else following.trust.numpy().copy(),
            statistics=told.numpy(),
        )
        return following, shown

    def branch(
        self, prefix: Any, branches: Sequence[Any], *, seed: int = 0, judge: Judge | None = None
    ) -> list[Branch]:
        """Counterfactual futures: same past, same noise, other actions.

        Args:
            prefix: frames uint8 (F, H, W, 3), a pair of frames and actions (F - 1, A), an episode, or a state, such as
                that of an earlier branch (see ``worldsim.simulation.branching.past_of``).
            branches: action scripts or actions (F, A); a pair of one and a list is a branch point.
            seed: of the noise.
            judge: gives the rewards; default: the world's own.

        Returns:
            One per future: frames, rewards, poses, actions, state. Equal actions give equal bytes.

        Raises:
            ScriptError: a script has a mistake; tells line and column.
            ValueError: shapes do not fit.
        """
        state, frame = past_of(self, prefix, seed)
        nodes = nodes_of(branches, self.spec, self.config.fps)
        return grow(self, state, nodes, frame=frame, judge=judge).branches

    def _denoise(self, state: WorldState, actions_B1rA: Tensor) -> tuple[Tensor, DiTOutput, DiTOutput]:
        """The next latent frame (B, 1, C, h, w), the first evaluation, and the one whose keys enter the cache."""
        sampling = self.config.sampling
        previous = state.latent[:, None]
        present = torch.ones(state.batch, 1, dtype=torch.bool)
        size = 1.0 / sampling.steps if sampling.shortcut else 0.0
        outputs: list[DiTOutput] = []

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            tau = t.expand(state.batch, 1)
            out = self._evaluate(state, x, previous, tau, size, actions_B1rA, present)
            predicted = out.latents
            if sampling.guidance != 1.0:
                free = self._evaluate(state, x, previous, tau, size, actions_B1rA, ~present).latents
                predicted = free + sampling.guidance * (predicted - free)
            outputs.append(out)
            return velocity_from_data(x, predicted, tau)

        start = noise(state.seeds.tolist(), state.steps.tolist(), tuple(previous.shape[1:])) * sampling.temperature
        latent = sample_euler(velocity, start, time_steps(sampling.steps))
        if not sampling.fold:
            tau = sampling.context_tau
            context, level = torch.lerp(start, latent, tau), torch.full((state.batch, 1), tau)
            outputs.append(self._evaluate(state, context, previous, level, 0.0, actions_B1rA, present))
        return latent, outputs[0], outputs[-1]

    @torch.inference_mode()
    def predict(
        self,
        noisy: Tensor,
        previous: Tensor,
        tau: Tensor,
        actions: Tensor,
        present: Tensor,
        text: Tensor | None = None,
    ) -> Tensor:
        """Clean latents (B, T, C, h, w) predicted without a cache; arguments as in ``WorldDiT``."""
        with self._precision():
            return self.dit(noisy, previous, tau, torch.zeros_like(tau), actions, present, text).latents

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
    ) -> DiTOutput:
        text = state.text if bool(state.text.any()) else None
        with self._precision():
            return self.dit(
                x, previous, tau, torch.full_like(tau, size), actions, present, text, state.cache if cached else None
            )

    def save(self, folder: str | Path, about: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write the world as a checkpoint folder (two safetensors files, weights in bf16).

        ``about``: further metadata by file, "tokenizer" and "dit": what they were trained on.
        """
        half = {"tokenizer": self.tokenizer, "dit": self.dit}
        world = asdict(self.config)
        for name, module in half.items():
            tensors = compact(module)
            if name == "dit":
                tensors["prompts"] = self.prompt_embeddings.bfloat16()
            metadata = {name: asdict(module.config), "world": world, **(about or {}).get(name, {})}
            if name == "dit":
                metadata["compute"] = self.compute.to_json()
            save_tensors(Path(folder) / f"{name}.safetensors", tensors, metadata)

    @staticmethod
    def load(folder: str | Path, *, bf16: bool | None = None, fact_heads: bool = True) -> "WorldModel":
        """Read a checkpoint folder; ``fact_heads`` False leaves its task heads aside.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged or does not fit.
        """
        folder = Path(folder)
        tokenizer_tensors, tokenizer_json = load_tensors(folder / FILES[0])
        dit_tensors, dit_json = load_tensors(folder / FILES[1])
        try:
            tokenizer = VideoTokenizer(TokenizerConfig(**tokenizer_json["tokenizer"]))
            dit = WorldDiT(DiTConfig(**dit_json["dit"]))
            config = WorldConfig.from_json(dit_json["world"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder} is not a world checkpoint: {error}") from error
        load_module(tokenizer, tokenizer_tensors, str(folder / FILES[0]))
        prompts = dit_tensors.pop("prompts", None)
        load_module(dit, dit_tensors, str(folder / FILES[1]))
        embeddings = None if prompts is None else prompts.float()
        heads = load_fact_heads(folder) if fact_heads else None
        trust = load_trust(folder, asdict(config.sampling))
        return WorldModel(
            config, tokenizer, dit, prompt_embeddings=embeddings, fact_heads=heads, trust=trust, bf16=bf16,
            compute=Compute.from_json(dit_json.get("compute")),
        )  # fmt: skip
