"""Causal streaming video tokenizer: r video frames to one latent frame, eight times smaller in space.

B batch, F video frames, T latent frames (chunks), r frames per chunk, C channels, H W pixels, h w latent grid.

The encoder sees one chunk at a time. The decoder's blocks also see a part of the previous chunk's features (a causal
temporal shift, Lin et al. 2019), carried explicitly as its stream state. A linear path through principal components
of r x 8 x 8 patches runs beside both networks: training starts from the best linear code and only has to improve it.
No convolution runs above a quarter of the resolution: full-resolution ones are what makes a tokenizer slow.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.rowwise import RowConv2d
from worldsim.spec.from_json import LARGEST, MOST_LAYERS, check_range

SPATIAL = 8  # pixels per latent cell, along each axis


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Sizes of a tokenizer.

    Attributes:
        channels: of a latent frame.
        chunk: r, the video frames per latent frame.
        encoder_width: channels inside the encoder.
        encoder_blocks: residual blocks of the encoder.
        decoder_width: channels inside the decoder, at the latents' resolution.
        decoder_blocks: residual blocks of the decoder, at the latents' resolution.
        detail_width: channels of the decoder at twice the latents' resolution.
        detail_blocks: residual blocks there.
        bound: latents lie between minus this and this.
    """

    channels: int = 32
    chunk: int = 2
    encoder_width: int = 128
    encoder_blocks: int = 2
    decoder_width: int = 192
    decoder_blocks: int = 4
    detail_width: int = 96
    detail_blocks: int = 1
    bound: float = 10.0

    def __post_init__(self) -> None:
        check_range(self, 1, LARGEST, "channels", "chunk", "encoder_width", "decoder_width", "detail_width")
        check_range(self, 0, MOST_LAYERS, "encoder_blocks", "decoder_blocks", "detail_blocks")
        if not 0 < self.bound < float("inf"):
            raise ValueError(f"bound must be above 0, got {self.bound}")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; with ``shift`` channels of the previous chunk's features mixed in causally."""

    def __init__(self, width: int, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift
        self.norm = nn.GroupNorm(1, width)
        self.first = RowConv2d(width, width, 3, padding=1)
        self.second = RowConv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, chunks: int, past: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x is (B * chunks, width, h, w); ``past`` (B, shift, h, w) are features before the first chunk."""
        h = self.norm(x)
        if self.shift:
            grouped = rearrange(h[:, : self.shift], "(b t) c h w -> b t c h w", t=chunks)
            first = torch.zeros_like(grouped[:, :1]) if past is None else past[:, None].to(grouped.dtype)
            shifted = torch.cat([first, grouped[:, :-1]], 1).flatten(0, 1)
            past = grouped[:, -1].float()
            h = torch.cat([shifted, h[:, self.shift :]], 1)
        return x + self.second(F.silu(self.first(h))), past


class VideoTokenizer(nn.Module):
    """Compresses video causally in time. The first frame stands alone: an image is a one-frame video."""

    components: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        patch_size = c.chunk * 3 * SPATIAL**2
        # Linear path: patch @ components / scale, and back. Buffers: fitted once, never trained.
        self.register_buffer("components", torch.zeros(patch_size, min(patch_size, c.channels)).fill_diagonal_(1))
        self.register_buffer("mean", torch.zeros(patch_size))
        self.register_buffer("scale", torch.ones(c.channels))
        quarter = c.chunk * 3 * 16
        self.encode_in = RowConv2d(quarter * 4, c.encoder_width, 1)
        self.encode_blocks = nn.ModuleList(ResidualBlock(c.encoder_width) for _ in range(c.encoder_blocks))
        self.encode_out = RowConv2d(c.encoder_width, c.channels, 1)
        self.decode_in = RowConv2d(c.channels, c.decoder_width, 3, padding=1)
        self.decode_blocks = nn.ModuleList(
            ResidualBlock(c.decoder_width, c.decoder_width // 4) for _ in range(c.decoder_blocks)
        )
        self.decode_up = RowConv2d(c.decoder_width, c.detail_width * 4, 1)
        self.detail_blocks = nn.ModuleList(
            ResidualBlock(c.detail_width, c.detail_width // 4) for _ in range(c.detail_blocks)
        )
        self.decode_out = RowConv2d(c.detail_width, quarter, 3, padding=1)
        for layer in (self.encode_out, self.decode_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
        # Channels last: CPUs convolve that layout about twice as fast.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def latent_grid(self, height: int, width: int) -> tuple[int, int]:
        """Latent rows and columns for a picture size in pixels.

        Raises:
            ValueError: a side is not divisible by 16 (8 pixels a latent cell, 2x2 cells a token).
        """
        if height % (2 * SPATIAL) or width % (2 * SPATIAL) or height <= 0 or width <= 0:
            raise ValueError(f"frame size {width}x{height} must be positive multiples of {2 * SPATIAL} pixels")
        return height // SPATIAL, width // SPATIAL

    def stream_shapes(self, grid: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Shapes (channels, rows, columns) of the decoder's stream state, block by block, for a latent grid."""
        (rows, columns), c = grid, self.config
        coarse = [(c.decoder_width // 4, rows, columns)] * c.decoder_blocks
        return coarse + [(c.detail_width // 4, 2 * rows, 2 * columns)] * c.detail_blocks

    def chunked(self, frames_BFCHW: Tensor) -> Tensor:
        """Group F = 1 + r (T - 1) frames into (B, T, r, C, H, W); the first frame is repeated to fill its chunk."""
        r, count = self.config.chunk, frames_BFCHW.shape[1]
        if count < 1 or (count - 1) % r:
            raise ValueError(f"a clip needs 1 + {r} k frames, got {count}")
        first = frames_BFCHW[:, :1].expand(-1, r - 1, -1, -1, -1)
        return rearrange(torch.cat([first, frames_BFCHW], 1), "b (t r) c h w -> b t r c h w", r=r)

    def encode(self, frames_BFCHW: Tensor) -> Tensor:
        """Frames (B, F, 3, H, W) in 0..1 to latents (B, T, C, h, w), F = 1 + r (T - 1)."""
        return self.encode_chunks(self.chunked(frames_BFCHW))

    def encode_chunks(self, chunks_BTRCHW: Tensor) -> Tensor:
        """Whole chunks (B, T, r, 3, H, W) in 0..1 to latents (B, T, C, h, w); chunks do not see each other."""
        self.latent_grid(*chunks_BTRCHW.shape[-2:])
        batch = chunks_BTRCHW.shape[0]
        patches = rearrange(chunks_BTRCHW.float(), "b t r c (h p) (w q) -> (b t) (r c p q) h w", p=SPATIAL, q=SPATIAL)
        centred = patches - self.mean[:, None, None]
        linear = torch.einsum("bphw,pc->bchw", centred, self.components) / self.scale[:, None, None]
        x = self.encode_in(centred.contiguous(memory_format=torch.channels_last))
        for block in self.encode_blocks:
            x, _ = block(x, 1)
        latents = self.bounded(linear + self.encode_out(x).float())
        return rearrange(latents, "(b t) c h w -> b t c h w", b=batch)

    def bounded(self, latents: Tensor) -> Tensor:
        """Soft bound, the identity for small values."""
        return self.config.bound * torch.tanh(latents / self.config.bound)

    def decode_chunks(self, latents_BTCHW: Tensor, past: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Latents (B, T, C, h, w) to chunks (B, T, r, 3, H, W), about 0..1, and the stream state after the last one."""
        batch, chunks = latents_BTCHW.shape[:2]
        z = latents_BTCHW.flatten(0, 1).float().contiguous(memory_format=torch.channels_last)
        linear = torch.einsum("bchw,pc->bphw", z * self.scale[:, None, None], self.components)
        linear = rearrange(
            linear + self.mean[:, None, None],
            "bt (r c p q) h w -> bt r c (h p) (w q)",
            r=self.config.chunk, c=3, p=SPATIAL, q=SPATIAL,
        )  # fmt: skip
        carried: list[Tensor] = []
        x = self.decode_in(z)
        for block in self.decode_blocks:
            x, state = block(x, chunks, None if past is None else past[len(carried)])
            carried.append(state)
        x = F.pixel_shuffle(self.decode_up(x), 2).contiguous(memory_format=torch.channels_last)
        for block in self.detail_blocks:
            x, state = block(x, chunks, None if past is None else past[len(carried)])
            carried.append(state)
        detail = F.pixel_shuffle(self.decode_out(x).float(), 4)
        frames = linear + rearrange(detail, "bt (r c) h w -> bt r c h w", r=self.config.chunk)
        return rearrange(frames, "(b t) r c h w -> b t r c h w", b=batch), carried

    def decode(self, latents_BTCHW: Tensor) -> Tensor:
        """Latents (B, T, C, h, w) to frames (B, 1 + r (T - 1), 3, H, W), about 0..1."""
        frames, _ = self.decode_chunks(latents_BTCHW)
        return frames.flatten(1, 2)[:, self.config.chunk - 1 :]

    @torch.no_grad()
    def fit_linear(self, chunks_BTRCHW: Tensor, std: float = 1.0) -> None:
        """Fit the linear path to chunks (B, T, r, 3, H, W) in 0..1: principal components, half whitened.

        Fully whitened components would make noise of fine texture count as much as brightness; raw ones would drown
        texture at every noise level. Dividing by the square root of the deviation stands between. ``std`` is the root
        of the latents' mean variance: 1 is the scale of the noise that they are mixed with.
        """
        x = rearrange(chunks_BTRCHW, "b t r c (h p) (w q) -> (b t h w) (r c p q)", p=SPATIAL, q=SPATIAL).double()
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        order = values.argsort(descending=True)[: self.config.channels]
        root = values[order].clamp_min(1e-12).pow(0.25)
        scale = root * (values[order] / root**2).mean().sqrt() / std
        self.mean.copy_(mean.float())
        self.components.copy_(vectors[:, order].float())
        self.scale.copy_(scale.float())
