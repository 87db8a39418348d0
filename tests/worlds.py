"""A tiny untrained world for tests, with nothing left at zero so that every path matters."""

import torch

from worldsim.actions import MINECRAFT
from worldsim.dit import DiTConfig, WorldDiT
from worldsim.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.world import SamplingConfig, WorldConfig, WorldModel

CHANNELS = 8


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Add noise to every parameter: layers that start at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module


def tiny_dit(window: int = 6, seed: int = 0) -> WorldDiT:
    torch.manual_seed(seed)
    config = DiTConfig(
        channels=CHANNELS, keys=len(MINECRAFT.keys), camera=True, chunk=2, width=32, heads=4, kv_heads=2, blocks=4,
        temporal_every=2, registers=2, window=window, text_size=12, modulation=16,
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
    return shaken(tokenizer, seed).eval()  # pyright: ignore[reportReturnType]


def tiny_world(
    height: int = 32, width: int = 48, window: int = 6, seed: int = 0, bf16: bool = False, **sampling
) -> WorldModel:
    config = WorldConfig(height=height, width=width, spec=MINECRAFT, sampling=SamplingConfig(**sampling))
    return WorldModel(config, tiny_tokenizer(seed), tiny_dit(window, seed), bf16=bf16)
