"""Recent prediction errors of the network, injected into its context during training.

A rows, B batch, T latent frames, C channels, H W latent grid.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor


class ErrorBank:
    """Recent prediction errors, to be added to the context: the model learns to live with its own mistakes.

    Source: error injection as in LongLive and Matrix-Game 3. Latents of each shape have a ring of their own.
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self._rings: dict[tuple[int, ...], Tensor] = {}
        self._filled: dict[tuple[int, ...], int] = {}

    def add(self, errors_ACHW: Tensor) -> None:
        """Keep the newest errors, overwriting the oldest."""
        shape = tuple(errors_ACHW.shape[1:])
        if shape not in self._rings:
            self._rings[shape], self._filled[shape] = errors_ACHW.new_zeros(self.capacity, *shape), 0
        for error in errors_ACHW:
            self._rings[shape][self._filled[shape] % self.capacity] = error
            self._filled[shape] += 1

    def draw(self, shape: tuple[int, ...], probability: float, generator: torch.Generator) -> Tensor | None:
        """Random errors (B, T, C, H, W), scaled by +-(0 to 1), zero with probability 1 - ``probability`` per row.

        None until there are as many of that shape as are kept.
        """
        if self._filled.get(shape[2:], 0) < self.capacity:
            return None
        device = generator.device
        index = torch.randint(0, self.capacity, shape[:2], generator=generator, device=device)
        scale = torch.rand(shape[0], 1, 1, 1, 1, generator=generator, device=device)
        scale = scale * (torch.rand(scale.shape, generator=generator, device=device) < probability)
        return self._rings[shape[2:]][index] * scale

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """All there is to save, by name."""
        rings = enumerate(self._rings.items())
        return {f"{prefix}{i}/{self._filled[shape]}": ring for i, (shape, ring) in rings}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu", prefix: str = "") -> None:
        """Take back what ``tensors`` gave under the same prefix; other names are left alone."""
        for name, ring in tensors.items():
            if found := re.fullmatch(rf"{re.escape(prefix)}\d+/(\d+)", name):
                shape = tuple(ring.shape[1:])
                self._rings[shape], self._filled[shape] = ring.to(device), int(found[1])
