"""A tiny world with random weights, nothing left at zero so that every path matters; and start clips for it."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from worldsim.datasets.loading.starts import StartClips, save_starts
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.heads import MOTION
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.confidence import Trust
from worldsim.simulation.config import SamplingConfig, WorldConfig
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT

HEIGHT, WIDTH = 48, 80
CHANNELS, TEXT = 8, 12
# How far rows of batches of different sizes may be apart: MKL's AVX2 kernels were measured to agree to the bit.
ROUNDING = 0.0 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 1e-5
PROMPTS = ("walking in a forest", "standing in a desert")


def shaken(module: torch.nn.Module, seed: int, amount: float = 0.1) -> torch.nn.Module:
    """Add noise to every parameter: layers that start at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator))
    return module


def tiny_dit(
    window: int = 6, seed: int = 0, drawn: bool = False, infilling: bool = False, width: int = 32, modulation: int = 16
) -> WorldDiT:
    torch.manual_seed(seed)
    config = DiTConfig(
        channels=CHANNELS, keys=len(MINECRAFT.keys), camera=True, chunk=2, width=width, heads=4, kv_heads=2, blocks=4,
        temporal_every=2, registers=2, window=window, text_size=TEXT, modulation=modulation, drawn=drawn,
        infilling=infilling,
    )  # fmt: skip
    return shaken(WorldDiT(config), seed).eval()  # pyright: ignore[reportReturnType]


def tiny_tokenizer(seed: int = 0) -> VideoTokenizer:
    torch.manual_seed(seed)
    config = TokenizerConfig(
        channels=CHANNELS, encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=2, detail_width=8,
        detail_blocks=1,
    )  # fmt: skip
    tokenizer = VideoTokenizer(config)
    tokenizer.fit_linear(torch.rand(4, 2, 2, 3, 32, 32))
    return shaken(tokenizer, seed, 0.05).eval()  # pyright: ignore[reportReturnType]


@lru_cache
def tiny_world(
    height: int = HEIGHT, width: int = WIDTH, window: int = 8, seed: int = 0, bf16: bool = False, **sampling
) -> WorldModel:
    """A world that is unlikely to end an episode by itself, with two prompts."""
    tokenizer, dit = tiny_tokenizer(seed), tiny_dit(window, seed)
    with torch.no_grad():
        dit.heads.out.weight[MOTION] = 0
        dit.heads.out.bias[MOTION] = -20
    config = WorldConfig(
        height=height, width=width, spec=MINECRAFT, sampling=SamplingConfig(**sampling), prompts=PROMPTS
    )
    embeddings = torch.randn(len(PROMPTS), TEXT, generator=torch.Generator().manual_seed(seed))
    return WorldModel(config, tokenizer, dit, prompt_embeddings=embeddings, bf16=bf16)


def trusting_world() -> WorldModel:
    """A tiny world whose trust is 0.73, 0.57, 0.48, ... at its first, second, third, ... step."""
    world = tiny_world()
    zero, one = torch.zeros(3), torch.ones(3)
    falling = Trust(zero, one, torch.tensor([0.0, 0.0, -1.0]), torch.tensor(1.0), world.config.sampling.__dict__, {})
    return WorldModel(
        world.config, world.tokenizer, world.dit, prompt_embeddings=world.prompt_embeddings, trust=falling, bf16=False
    )


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
