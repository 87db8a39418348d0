"""The spacetime-latent diffusion Transformer: denoises latent frames given their past, actions and text.

B batch, T latent frames, N picture tokens per frame, R registers, C channels, H W latent grid, D width,
L temporal layers, S cache slots, K key/value heads, E head width, A action size, r video frames per latent frame.
"""

from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldsim.models.attention import Pair, SpatialAttention, SwiGLU, TemporalAttention, TemporalView, temporal_view
from worldsim.models.conditioning import ActionCodec, Conditioning, Infilling
from worldsim.models.heads import HeadOutputs, Heads
from worldsim.models.kv_cache import KVCache
from worldsim.models.patchify import SpacetimePatchifier
from worldsim.models.rotary import Turn, modulated, spatial_turns
from worldsim.models.rowwise import RowLinear
from worldsim.spec.from_json import MOST_LAYERS, check_range

# Logit of the share of a covered cell that is taken from what a memory draws, before any training.
COPIED = -1.0
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Sizes of the network.

    Attributes:
        channels, keys, camera, chunk: of a latent frame and of the actions: what tokenizer and recordings have.
        width: channels of a token.
        heads, kv_heads: attention heads, and those of keys and values, which several attention heads share.
        blocks, temporal_every: blocks of layers, and every how many of them there is attention over time.
        registers: tokens of a frame beside those of its picture.
        patch: side of the latent cells that make one token.
        window: past latent frames that the cache holds, beside the first one (the sink).
        text_size: length of a sentence embedding.
        modulation: rank of the conditioning of each block.
        clean_past: whether the clean previous frame is an input too. Without it, all that is known of the past is what
            the cache holds, so ``SamplingConfig.reuse_last_eval_for_cache`` must be False.
        drawn: whether what a spatial memory draws of each frame is an input: its latents and how much of each cell it
            covers.
        infilling: whether it can fill in frames between known ones, and be told that time runs backwards.
    """

    channels: int
    keys: int
    camera: bool
    chunk: int
    width: int = 384
    heads: int = 6
    kv_heads: int = 2
    blocks: int = 7
    temporal_every: int = 4
    registers: int = 3
    patch: int = 2
    window: int = 64
    text_size: int = 384
    modulation: int = 64
    clean_past: bool = True
    drawn: bool = False
    infilling: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, MOST_LAYERS, "blocks", "temporal_every", "heads", "kv_heads", "patch", "registers")
        for whole, part in (("width", "heads"), ("heads", "kv_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(f"{whole} {getattr(self, whole)} is not divisible by {part} {getattr(self, part)}")
        if (self.width // self.heads) % 4:
            raise ValueError(f"head width {self.width // self.heads} is not divisible by 4 (2-D rotary positions)")

    @property
    def actions(self) -> int:
        """Length A of an action vector."""
        return self.keys + 2 * self.camera

    @property
    def hidden(self) -> int:
        """Width inside the feed-forward layers: 8/3 D rounded up to a multiple of 64."""
        return -(-self.width * 8 // 3 // 64) * 64

    @property
    def temporal_blocks(self) -> tuple[int, ...]:
        """Blocks with temporal attention: every ``temporal_every``-th and the last."""
        every = [i for i in range(self.blocks) if (i + 1) % self.temporal_every == 0]
        return tuple(sorted({*every, self.blocks - 1}))


def made_for(part: M | None, what: str) -> M:
    """A part of a network that not every network has. Raises ValueError: this one has not."""
    if part is None:
        raise ValueError(f"this network was made without {what}")
    return part


@dataclass(frozen=True)
class DiTOutput:
    """Predicted clean latents (B, T, C, H, W), head outputs, and per temporal layer this call's keys and values.

    keys, values: (B, N + R, K, T, E), as ``KVCache.write`` takes them.
    """

    latents: Tensor
    heads: HeadOutputs
    keys: list[Tensor]
    values: list[Tensor]


class Block(nn.Module):
    """Spatial attention, optionally temporal attention, feed-forward; each modulated per frame (adaLN-zero)."""

    def __init__(self, config: DiTConfig, temporal: bool) -> None:
        super().__init__()
        w = config.width
        self.parts = 9 if temporal else 6
        self.modulation = RowLinear(config.modulation, self.parts * w)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.spatial = SpatialAttention(w, config.heads)
        self.temporal = TemporalAttention(w, config.heads, config.kv_heads) if temporal else None
        self.feed_forward = SwiGLU(w, config.hidden)
        self.norms = nn.ModuleList(nn.RMSNorm(w, elementwise_affine=False) for _ in range(self.parts // 3))

    def forward(
        self,
        x_BTND: Tensor,
        modulation_BTM: Tensor,
        spatial_turns: Turn,
        temporal_view: TemporalView | None,
        past: Pair | None,
    ) -> tuple[Tensor, Pair | None]:
        """One layer; returns also this call's keys and values (B, N + R, K, T, E) where it looks across frames.

        ``past``: the ring's keys and values (B, N + R, K, S, E) before the one frame given.
        """
        x, fresh = x_BTND, None
        m = self.modulation(modulation_BTM)[:, :, None].chunk(self.parts, -1)
        h = modulated(x, self.norms[0], m[0], m[1])
        x = torch.addcmul(x, m[2], self.spatial(h.flatten(0, 1), spatial_turns).unflatten(0, h.shape[:2]))
        if self.temporal is not None and temporal_view is not None:
            seen, fresh = self.temporal(modulated(x, self.norms[2], m[6], m[7]), temporal_view, past)
            x = torch.addcmul(x, m[8], seen)
        return torch.addcmul(x, m[5], self.feed_forward(modulated(x, self.norms[1], m[3], m[4]))), fresh


class WorldDiT(nn.Module):
    """Predicts clean latent frames from noisy ones, the clean previous frame, actions, text and a cache of the past."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        # Activations inside blocks: kept for the gradient, or computed again (saves memory in training).
        self.recompute = False
        w = config.width
        self.patchifier = SpacetimePatchifier(channels=config.channels, patch=config.patch)
        size = self.patchifier.token_size
        self.noisy_in = nn.Linear(size, w)
        self.clean_in = nn.Linear(size, w) if config.clean_past else None
        self.drawing = SpacetimePatchifier(channels=config.channels + 1, patch=config.patch)
        self.drawn_in = nn.Linear(self.drawing.token_size, w, bias=False) if config.drawn else None
        self.copied = nn.Linear(w, config.patch**2) if config.drawn else None
        self.infilling = Infilling(w, size) if config.infilling else None
        self.start = nn.Parameter(torch.empty(w).normal_(std=0.02))
        self.registers = nn.Parameter(torch.empty(config.registers, w).normal_(std=0.02))
        self.conditioning = Conditioning(w, ActionCodec(config.keys, config.camera, config.chunk, w), config.text_size)
        self.modulation_in = nn.Sequential(nn.SiLU(), RowLinear(w, config.modulation), nn.SiLU())
        self.blocks = nn.ModuleList(Block(config, i in config.temporal_blocks) for i in range(config.blocks))
        self.final_modulation = RowLinear(config.modulation, 2 * w)
        self.final_norm = nn.RMSNorm(w, elementwise_affine=False)
        self.out = nn.Linear(w, size)
        self.heads = Heads(w, config.registers, config.actions)
        if self.drawn_in is not None and self.copied is not None:
            nn.init.zeros_(self.drawn_in.weight)
            nn.init.zeros_(self.copied.weight)
            nn.init.constant_(self.copied.bias, COPIED)
        for layer in (self.final_modulation, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def empty_cache(self, batch: int, grid: tuple[int, int], dtype: torch.dtype = torch.float32) -> KVCache:
        """A cache with nothing in it for latents of ``grid`` (H, W)."""
        c, (rows, columns) = self.config, self.patchifier.grid(*grid)
        tokens, head = rows * columns + c.registers, c.width // c.heads
        shape = (batch, len(c.temporal_blocks), tokens, c.kv_heads, c.window + 1, head)
        return KVCache.empty(shape, dtype, self.registers.device)

    def forward(
        self,
        noisy_BTCHW: Tensor,
        previous_BTCHW: Tensor,
        tau_BT: Tensor,
        step_BT: Tensor,
        actions_BTrA: Tensor,
        present_BT: Tensor,
        text_BX: Tensor | None = None,
        cache: KVCache | None = None,
        started_B: Tensor | None = None,
        temporal: bool = True,
        drawn_BTDHW: Tensor | None = None,
        known_BT: Tensor | None = None,
        backwards_B: Tensor | None = None,
    ) -> DiTOutput:
        """Denoise T consecutive latent frames.

        Args:
            noisy_BTCHW: latents at signal level ``tau_BT``.
            previous_BTCHW: the clean latent before each frame; ignored where there is none, and without ``clean_past``.
            tau_BT: signal level of each frame, 0 noise to 1 data.
            step_BT: step size d of the sampler, 0 for the plain flow.
            actions_BTrA: the r actions that lead into each frame.
            present_BT: which frames have an action; others get the null action.
            text_BX: sentence embeddings; a row of zeros, or None, is the learned null.
            cache: the past of the one frame given. Without it, up to ``window`` + 1 frames see each other causally.
            started_B: whether the first frame has a previous one (default: cache not empty); else the start token.
            temporal: False treats every frame as an image of its own (no frame sees another).
            drawn_BTDHW: latents of what a memory draws of each frame, and the share of each cell that it covers as the
                last channel (D = C + 1); zeros, or None, where nothing is drawn.
            known_BT: which frames are clean (infilling). All see each other; after an unknown one stands the start.
            backwards_B: in which rows time runs backwards.

        Raises:
            ValueError: too many frames, or the network was made without what it is given.
        """
        frames = noisy_BTCHW.shape[1]
        if frames > (self.config.window + 1 if cache is None else 1):
            raise ValueError(f"{frames} latent frames at once: at most window + 1 without a cache, 1 with one")
        grid, device = self.patchifier.grid(*noisy_BTCHW.shape[-2:]), noisy_BTCHW.device
        count = torch.zeros(len(noisy_BTCHW), dtype=torch.long, device=device) if cache is None else cache.count
        started = (count > 0) if started_B is None else started_B
        condition, action = self.conditioning(tau_BT, step_BT, actions_BTrA, present_BT, text_BX)
        first = torch.arange(frames, device=device) == 0
        has_past = (~first[None] | started[:, None]) if temporal else torch.zeros_like(present_BT)
        if known_BT is not None or backwards_B is not None:
            condition = condition + made_for(self.infilling, "infilling").flags(known_BT is not None, backwards_B)
        x = self._embedded(noisy_BTCHW, previous_BTCHW, has_past, known_BT)
        if drawn_BTDHW is not None:
            drawn_in = made_for(self.drawn_in, "a memory's drawing as an input")
            x = x + drawn_in(self.drawing.tokens(drawn_BTDHW))
        registers = self.registers + (condition + action)[:, :, None]
        # The residual stream stays fp32: compiled for CPUs, a bf16 one was measured to be slower.
        x = torch.cat([registers.float(), x.float()], 2)
        modulation = self.modulation_in(condition)
        x, keys, values = self._run_blocks(x, modulation, grid, cache, temporal, causal=known_BT is None)
        features = self.final_norm(x)
        latents = self._latents_of(features, modulation, grid, drawn_BTDHW)
        return DiTOutput(latents, self.heads(features), keys, values)

    def _latents_of(
        self, features: Tensor, modulation: Tensor, grid: tuple[int, int], drawn_BTDHW: Tensor | None
    ) -> Tensor:
        """Clean latents (B, T, C, H, W) from normalised tokens (B, T, R + N, D)."""
        shift, scale = self.final_modulation(modulation)[:, :, None].chunk(2, -1)
        # Contiguous: one matrix product whatever the batch; else PyTorch takes one per row, which rounds otherwise.
        picture = (features * (1 + scale) + shift)[:, :, self.config.registers :].contiguous()
        latents = self.patchifier.latents(self.out(picture), grid).float()
        return latents if drawn_BTDHW is None else self._copying(latents, picture, drawn_BTDHW, grid)

    def _embedded(self, noisy: Tensor, previous: Tensor, has_past: Tensor, known: Tensor | None) -> Tensor:
        """Tokens (B, T, N, D) of noisy frames with the clean ones beside them."""
        tokens = self.patchifier.tokens(noisy)
        x = self.noisy_in(tokens)
        if known is not None:
            has_past = has_past & known.roll(1, 1)
            x = x + made_for(self.infilling, "infilling")(tokens, known)
        clean = x.new_zeros(1) if self.clean_in is None else self.clean_in(self.patchifier.tokens(previous))
        return x + torch.where(has_past[..., None, None], clean, self.start.to(clean.dtype))

    def _copying(self, latents_BTCHW: Tensor, picture: Tensor, drawn_BTDHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Latents that take a share of each cell from what is drawn there, as far as it is covered."""
        assert self.copied is not None
        share = torch.sigmoid(self.copied(picture).float())
        share = self.drawing.cells(share, grid) * drawn_BTDHW[:, :, -1:]
        return torch.lerp(latents_BTCHW, drawn_BTDHW[:, :, :-1], share)

    def _run_blocks(
        self, x: Tensor, modulation: Tensor, grid: tuple[int, int], cache: KVCache | None, temporal: bool, causal: bool
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All layers; returns also this call's keys and values per temporal layer."""
        keys: list[Tensor] = []
        values: list[Tensor] = []
        head = self.config.width // self.config.heads
        in_space = spatial_turns(grid, self.config.registers, head, x.device)
        view = temporal_view(x.shape[1], head, x.device, cache, causal) if temporal else None
        for block in self.blocks:
            assert isinstance(block, Block)
            past = None
            if cache is not None and block.temporal is not None:
                past = (cache.keys[:, len(keys)], cache.values[:, len(keys)])
            arguments = (x, modulation, in_space, view, past)
            if self.recompute and torch.is_grad_enabled():
                x, fresh = cast("tuple[Tensor, Pair | None]", checkpoint(block, *arguments, use_reentrant=False))
            else:
                x, fresh = block(*arguments)
            if fresh is not None:
                keys.append(fresh[0])
                values.append(fresh[1])
        return x, keys, values
