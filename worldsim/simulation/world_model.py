"""The playable world: a tokenizer and a diffusion Transformer behind ``prefill`` and ``step``.

B batch, F video frames, T latent frames, r frames per chunk, C channels, H W pixels, h w latent grid, A action size,
D width of the network.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldsim.models.dit import WorldDiT
from worldsim.models.fact_heads import FactHeads
from worldsim.models.precision import fast_bf16, hold_in_bf16
from worldsim.models.shield import shielded
from worldsim.models.text import embed_prompts
from worldsim.models.tokenizer import VideoTokenizer
from worldsim.simulation.branch_tree import Branch, RewardFunction
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.confidence import Trust, residual, statistics, update_uncertainty
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.devices import device_of
from worldsim.simulation.inpainting import sample_with_memory
from worldsim.simulation.memory.memory_state import told_of_past
from worldsim.simulation.memory.spatial import SpatialMemory
from worldsim.simulation.state import Step, WorldState
from worldsim.simulation.thread_choice import chosen_threads
from worldsim.simulation.world_files import FILES, WorldFiles, check_parts, read_world, write_world
from worldsim.spec.actions import ActionSpec
from worldsim.spec.compute import UNKNOWN, Compute
from worldsim.spec.damage import reading
from worldsim.spec.pose import advance_pose

Frames = NDArray[np.uint8]
__all__ = ["FILES", "Frames", "Step", "WorldModel"]


class WorldModel:
    """A learned world. Weights are fixed; all that changes lives in ``WorldState``."""

    @shielded
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
        ends_taught: int | None = None,
        memory: SpatialMemory | None = None,
    ) -> None:
        if prompt_embeddings is None:
            prompt_embeddings = torch.zeros(0, dit.config.text_size)
        check_parts(config, tokenizer, dit, prompt_embeddings, fact_heads, memory)
        self.prompt_embeddings = prompt_embeddings
        self.fact_heads, self.trust = fact_heads, trust
        self.config, self.compute = config, compute or Compute(since=UNKNOWN)
        self.ends_taught = ends_taught
        self.memory = memory
        on_cpu = dit.registers.device.type == "cpu"
        self.bf16 = (fast_bf16() or not on_cpu) if bf16 is None else bf16
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.dit = dit.eval().requires_grad_(False)
        self.sampler = ChunkSampler(self.dit, config.sampling, self.bf16)
        if self.bf16:
            hold_in_bf16(self.dit, self.tokenizer)

    @property
    def spec(self) -> ActionSpec:
        """The game's actions."""
        return self.config.spec

    @property
    def chunk(self) -> int:
        """Video frames per step, r."""
        return self.tokenizer.config.chunk

    @property
    def device(self) -> torch.device:
        """Where it computes. Frames, rewards and poses of its steps are NumPy arrays all the same."""
        return self.sampler.device

    def modules(self) -> tuple[nn.Module, ...]:
        """All networks that decide what is shown."""
        return (self.tokenizer, self.dit, *(() if self.memory is None else self.memory.modules()))

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
        shipped = dict(zip(self.prompts, self.prompt_embeddings, strict=True))
        return embed_prompts(prompts, shipped, self.dit.config.text_size).to(self.device)

    def with_sampling(self, **changes: float | bool) -> "WorldModel":
        """The same weights, sampled otherwise (see SamplingConfig)."""
        config = replace(self.config, sampling=replace(self.config.sampling, **changes))
        trust = self.trust if config.sampling == self.config.sampling else None
        return WorldModel(**vars(replace(self._files(), config=config, trust=trust)), bf16=self.bf16)

    @shielded
    def to(self, device: torch.device | str) -> "WorldModel":
        """A copy on another device, in the same number format; itself where it is there already."""
        if torch.empty(0, device=device).device == self.device:
            return self
        return WorldModel(**vars(deepcopy(self._files()).to(device)), bf16=self.bf16)

    def _files(self) -> WorldFiles:
        return WorldFiles(**{part.name: getattr(self, part.name) for part in fields(WorldFiles)})

    @shielded
    @torch.inference_mode()
    def encode(self, frames: Frames | Tensor) -> Tensor:
        """uint8 frames (B, F, H, W, 3), F = 1 + r k, to latents (B, 1 + k, C, h, w)."""
        frames_BFHWC = torch.as_tensor(frames, device=self.device)
        shape = tuple(frames_BFHWC.shape)
        if len(shape) != 5 or shape[-1] != 3 or frames_BFHWC.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 (B, F, H, W, 3), got {frames_BFHWC.dtype} {shape}")
        with self.sampler.precision():
            return self.tokenizer.encode(frames_BFHWC.permute(0, 1, 4, 2, 3).float() / 255)

    @shielded
    @torch.inference_mode()
    def encode_chunks(self, chunks_BTRHWC: Tensor) -> Tensor:
        """Whole uint8 chunks (B, T, r, H, W, 3) to latents (B, T, C, h, w)."""
        with self.sampler.precision():
            return self.tokenizer.encode_chunks(chunks_BTRHWC.movedim(-1, 3).float() / 255)

    @shielded
    @torch.inference_mode()
    def decode(self, latents_BTCHW: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Frames, tuple[Tensor, ...]]:
        """Latents to uint8 chunks (B, T, r, H, W, 3) and the decoder's stream state."""
        pixels, carried = self._decode(latents_BTCHW, past)
        return pixels.cpu().numpy(), carried

    def _decode(self, latents_BTCHW: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        with self.sampler.precision():
            chunks, carried = self.tokenizer.decode_chunks(latents_BTCHW, None if past is None else list(past))
        pixels = (chunks.clamp(0, 1) * 255).round().to(torch.uint8)
        return pixels.permute(0, 1, 2, 4, 5, 3).contiguous(), tuple(carried)

    @shielded
    @torch.inference_mode()
    def prefill(
        self,
        frames: Frames | Tensor,
        actions: NDArray[np.float32] | Tensor,
        seeds: Sequence[int],
        prompts: Sequence[str] | None = None,
        poses: NDArray[np.float32] | Tensor | None = None,
        depth: NDArray[np.uint16] | Tensor | None = None,
    ) -> WorldState:
        """Take in a past.

        Args:
            frames: uint8 (B, F, H, W, 3), F = 1 + r k; one frame is a still picture. Any size the grid divides.
            actions: float32 (B, F - 1, A); action t leads from frame t to frame t + 1.
            seeds: noise seed per row.
            prompts: one text per row ("" for none), or None.
            poses: of the camera at each frame where they are known: x, y, z (m), yaw, pitch (degrees) (B, F, 5). A
                world with a spatial memory takes the camera to be level at first where they are not.
            depth: of the last frame where it is known, (B, H, W) as recorded (``INVERSE_DEPTH_STEPS`` for 1 / metre).

        Raises:
            ValueError: shapes do not fit.
        """
        frames = torch.as_tensor(frames, device=self.device)
        actions = torch.as_tensor(actions, dtype=torch.float32, device=self.device)
        batch, count = frames.shape[:2]
        wanted = (batch, count - 1, self.spec.size)
        if actions.shape != wanted or len(seeds) != batch:
            got = f"{tuple(actions.shape)}, {len(seeds)} seeds"
            raise ValueError(f"actions must be {wanted} for {batch} seeds, got {got}")
        known = told_of_past(frames, poses, depth)
        latents = self.encode(frames)
        _, decoder = self._decode(latents)
        nothing = torch.zeros(batch, 1, self.chunk, self.spec.size, device=self.device)
        past = torch.cat([nothing, actions.reshape(batch, -1, self.chunk, self.spec.size)], 1)
        memory = None if self.memory is None else self.memory.begin(frames, past[:, 1:], *known)
        # What no longer fits the window cannot be seen any more.
        latents, past = latents[:, -self.dit.config.window - 1 :], past[:, -self.dit.config.window - 1 :]
        kept = torch.bfloat16 if self.bf16 else torch.float32
        cache = self.dit.empty_cache(batch, (latents.shape[-2], latents.shape[-1]), kept)
        text, sizes = None if prompts is None else self.embed(prompts, batch), self.dit.config
        widths = sizes.text_size, sizes.width
        state = WorldState.begin(cache, latents[:, -1], decoder, text, seeds, widths, memory)
        return replace(state, features=self.sampler.write_past(state, latents, past, seeds))

    @chosen_threads
    @shielded
    @torch.inference_mode()
    def step(
        self, state: WorldState, actions: NDArray[np.float32] | Tensor, *, inplace: bool = False, poses: Any = None
    ) -> tuple[WorldState, Step]:
        """Denoise the next latent frame under r actions per row.

        Args:
            state: left usable, unless ``inplace``.
            actions: float32 (B, r, A), one action per video frame of the chunk.
            inplace: the step may overwrite the state's memory; the state must not be used again.
            poses: of the camera at each of the r frames (B, r, 5), as in ``state.memory``; None: where actions lead.
        """
        if state.device != self.device:
            raise ValueError(f"a state on {state.device} for a world on {self.device}: move it by state.to(...)")
        actions = torch.as_tensor(actions, dtype=torch.float32, device=self.device)
        wanted = (state.batch, self.chunk, self.spec.size)
        if actions.shape != wanted or not bool(actions.isfinite().all()):
            raise ValueError(f"actions must be finite numbers of shape {wanted}, got {tuple(actions.shape)}")
        outlook = memory = sources = None
        if self.memory is not None and state.memory is not None:
            outlook = self.memory.look_ahead(state.memory, actions, state.steps + 1, poses)
        given = (self.sampler, state, actions[:, None], outlook, self.encode_chunks)
        latent, first, last = sample_with_memory(*given)
        cache = state.cache if inplace else state.cache.clone()
        cache.write(last.keys, last.values)
        chunks, decoder = self._decode(latent, state.decoder)
        shown, pose = chunks[:, 0], advance_pose(state.pose, last.heads.motion[:, 0])
        if self.memory is not None and state.memory is not None and outlook is not None:
            shown, memory, sources = self.memory.step(outlook, state.memory, actions, shown, state.steps + 1)
            # Where the camera goes is known better, and what is shown is the past that the next step has.
            pose = state.pose + memory.pose - state.memory.pose
            latent = self.encode_chunks(shown[:, None])
        # A single evaluation has no first guess to correct: then the latent before stands for it.
        apart = residual(first.latents if self.config.sampling.steps > 1 else state.latent[:, None], latent)
        uncertainty = update_uncertainty(state.uncertainty, apart, state.steps)
        stats = statistics(uncertainty, state.steps + 1)
        following = replace(
            state,
            cache=cache,
            latent=latent[:, 0],
            decoder=decoder,
            pose=pose,
            furthest=torch.maximum(state.furthest, pose[:, [0, 2]].norm(dim=1)),
            features=last.heads.pooled[:, 0].float(),
            uncertainty=uncertainty,
            trust=state.trust if self.trust is None else self.trust(stats),
            steps=state.steps + 1,
            memory=memory,
        )
        return following, Step.of(
            following,
            frames=shown,
            reward=following.furthest - state.furthest,
            # A head that was taught no end has learnt nothing but its bias.
            termination=last.heads.termination[:, 0].sigmoid() if self.ends_taught != 0 else None,
            trust=None if self.trust is None else following.trust,
            statistics=stats,
            sources=sources,
        )

    def branch(
        self, prefix: Any, branches: Sequence[Any], *, seed: int = 0, judge: RewardFunction | None = None
    ) -> list[Branch]:
        """Counterfactual futures: same past, same noise, other actions (``simulation.branching.branch``)."""
        from worldsim.simulation.branching import branch

        return branch(self, prefix, branches, seed=seed, judge=judge)

    def save(self, folder: str | Path, about: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write the world as a checkpoint folder (two or three safetensors files, weights in bf16).

        ``about``: further metadata by file, "tokenizer" and "dit": what they were trained on.
        """
        write_world(self._files(), Path(folder), about)

    @staticmethod
    def load(
        folder: str | Path, *, bf16: bool | None = None, fact_heads: bool = True, device: str = "cpu"
    ) -> "WorldModel":
        """Read a checkpoint folder; ``fact_heads`` False leaves its task heads aside.

        ``bf16``: matrix products in bf16; default: on GPUs, and on CPUs that are fast at it. ``device``: "cpu", "cuda".

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged or does not fit, or there is no such device.
        """
        device = device_of(device)
        files = read_world(Path(folder), fact_heads=fact_heads)
        with reading(Path(folder), "a world"):
            return WorldModel(**vars(files.to(device)), bf16=bf16)
