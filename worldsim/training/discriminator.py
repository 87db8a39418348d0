"""The discriminator of the decoder: tells recorded chunks from decoded ones, so that decoding learns texture.

Pixel errors alone are smallest for a blur wherever a latent leaves texture open; a discriminator recognises the blur
(Goodfellow et al. 2014; patches as in Isola et al. 2017; hinge loss and spectral normalisation, Miyato et al.
2018). N chunks, r frames, H W pixels.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from worldsim.optim.distributed.ranks import ranks
from worldsim.optim.train_state import load_training, save_training, state_tensors, take_over

# In the folder of a run, and its name in runs of earlier versions; before names in the state of several ranks.
FILE, OLD_FILE, PREFIX = "discriminator.safetensors", "adversary.safetensors", "discriminator/"
# Differences of neighbouring pixels, in 0..1, times this are about as large as pixels in -1..1.
EDGES = 16.0


class PatchDiscriminator(nn.Module):
    """One score for each 8x8 pixels of a chunk, from its surroundings in space and both frames in time.

    It is shown differences of neighbouring pixels beside the pixels: texture is small beside brightness, and by pixels
    alone it takes thousands of steps to be seen at all. No convolution runs above a quarter of the resolution, as in
    the tokenizer.
    """

    def __init__(self, chunk: int, width: int = 96) -> None:
        super().__init__()
        shown = 3 * chunk * 3 * 16
        sizes = [(shown, width, 3, 1), (width, width, 3, 1), (width, 2 * width, 3, 2), (2 * width, 1, 3, 1)]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, kernel, stride, padding=kernel // 2)) for a, b, kernel, stride in sizes
        )

    def forward(self, chunks: Tensor) -> Tensor:
        """Chunks (N, r, 3, H, W) in 0..1 to scores (N, 1, H / 8, W / 8): higher looks more like a recording."""
        right, down = F.pad(chunks.diff(dim=-1), (0, 1)), F.pad(chunks.diff(dim=-2), (0, 0, 0, 1))
        x = torch.cat([2 * chunks - 1, EDGES * right, EDGES * down], 2)
        x = rearrange(x, "n r c (h p) (w q) -> n (r c p q) h w", p=4, q=4)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        return self.layers[-1](x).float()


class Discriminator:
    """A patch discriminator with its own optimizer: learns beside the decoder, is not used after training."""

    def __init__(self, chunk: int, rate: float) -> None:
        self.module = PatchDiscriminator(chunk)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=rate, betas=(0.5, 0.9), weight_decay=0.0)

    def generator_loss(self, decoded: Tensor) -> Tensor:
        """How far decoded chunks (N, r, 3, H, W) are from passing for recorded: a loss for the decoder alone."""
        self.module.requires_grad_(False)
        return -self.module(decoded).mean()

    def learn(self, recorded: Tensor, decoded: Tensor) -> float:
        """One step on equally many recorded and decoded chunks; returns the hinge loss (2: blind, 0: sees all)."""
        self.module.requires_grad_(True)
        real, fake = self.module(torch.cat([recorded, decoded.detach()])).chunk(2)
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def keep(self, folder: Path, step: int) -> dict[str, Tensor]:
        """Keep all that resuming needs: in a file, or, of several ranks, in their state, for which it is returned."""
        if ranks().alone:
            self.save(folder / FILE, step)
            return {}
        state = state_tensors(self.module, None, [self.optimizer])
        return {f"{PREFIX}{name}": tensor for name, tensor in state.items()}

    def resume(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Take back what ``keep`` kept last: in the state that the run goes on from, else in the file.

        Raises:
            FileNotFoundError: there is neither.
            ValueError: it is of another size.
        """
        own = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
        if own:
            take_over("the discriminator", own, {"step": 0}, self.module, None, [self.optimizer])
        else:
            new, old = folder / FILE, folder / OLD_FILE
            self.load(old if old.exists() and not new.exists() else new)

    def save(self, path: Path, step: int) -> None:
        """Write all that resuming needs to one safetensors file."""
        save_training(path, step, self.module, None, [self.optimizer])

    def load(self, path: Path) -> None:
        """Restore ``save``'s file.

        Raises:
            ValueError: it is of another size.
        """
        load_training(path, self.module, None, [self.optimizer])
