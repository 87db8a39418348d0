"""A tiny world with random weights, whose pictures do depend on its past, actions and noise; and start clips for it."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from worldsim.actions import MINECRAFT
from worldsim.datasets.starts import StartClips, save_starts
from worldsim.dit import DiTConfig, WorldDiT
from worldsim.heads import MOTION
from worldsim.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.world import WorldConfig, WorldModel

HEIGHT, WIDTH = 48, 80
PROMPTS = ("walking in a forest", "standing in a desert")


@lru_cache(maxsize=1)
def tiny_world() -> WorldModel:
    generator = torch.Generator().manual_seed(0)
    tokenizer = VideoTokenizer(
        TokenizerConfig(
            channels=8, encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1, detail_width=8
        )
    )
    dit = WorldDiT(
        DiTConfig(channels=8, keys=len(MINECRAFT.keys), camera=True, chunk=2, width=32, heads=2, kv_heads=1, blocks=2,
                  temporal_every=2, registers=1, window=8, text_size=8, modulation=8)
    )  # fmt: skip
    with torch.no_grad():
        for module in (tokenizer, dit):
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
        # Unlikely to end an episode by itself.
        dit.heads.out.weight[MOTION] = 0
        dit.heads.out.bias[MOTION] = -20
    tokenizer.fit_linear(torch.rand(8, 4, 2, 3, HEIGHT, WIDTH, generator=generator))
    config = WorldConfig(height=HEIGHT, width=WIDTH, spec=MINECRAFT, prompts=PROMPTS)
    embeddings = torch.randn(len(PROMPTS), 8, generator=generator)
    return WorldModel(config, tokenizer, dit, prompt_embeddings=embeddings, bf16=False)


@lru_cache(maxsize=1)
def tiny_starts() -> StartClips:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (4, 5, HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    actions = np.zeros((4, 4, MINECRAFT.size), np.float32)
    actions[..., 0] = 1
    return StartClips(
        frames=coarse.repeat(8, 2).repeat(8, 3), actions=actions, keys=MINECRAFT.keys, provenance=[{}] * 4
    )


def save_tiny_world(folder: Path) -> Path:
    """A checkpoint folder with start clips."""
    tiny_world().save(folder)
    save_starts(folder / "starts", tiny_starts())
    return folder
