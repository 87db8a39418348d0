"""What a training step costs: latent frames learnt from, and floating-point operations as PyTorch counts them.

B clips of a batch, T latent frames of a clip.
"""

from dataclasses import replace
from typing import Any

import torch

from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import WorldDiT
from worldsim.models.precision import fast_precision
from worldsim.spec.batch import LatentBatch

# Losses over whose draws the operations of a step are averaged, where draws decide how many there are.
DRAWS = 8


class StepCosts:
    """Latent frames and operations of training steps, counted once for every shape of a batch."""

    def __init__(self, dit: WorldDiT, training: DynamicsTraining) -> None:
        self.dit = dit
        self.training = training
        self._flop: dict[tuple[Any, ...], float] = {}

    def __call__(self, batch: LatentBatch, step: int) -> tuple[int, float]:
        """Latent frames learnt from and operations of step ``step`` (from 0) on a batch of B clips of T frames.

        The energy score learns from half of the clips. Weights, gradients and random numbers are left as they are;
        there must be no gradients yet.
        """
        shortcut = step >= self.training.loss.shortcut_from
        text = None if batch.text is None else tuple(batch.text.shape)
        key = (tuple(batch.latents.shape), text, shortcut)
        if key not in self._flop:
            self._flop[key] = step_flops(self.dit, batch, self.training, shortcut)
        b, t = batch.latents.shape[:2]
        return (max(1, b // 2) if self.training.loss.energy_score_loss else b) * t, self._flop[key]


def step_flops(dit: WorldDiT, batch: LatentBatch, training: DynamicsTraining, shortcut: bool | None = None) -> float:
    """Operations of one step's matrix products, forward and backward, counted by PyTorch.

    Of clips: a step of single pictures, which has no temporal attention, costs a little less. Where it is drawn how
    long clips are or how far they dream, the mean over some draws. What ``recompute`` computes again counts again.

    Args:
        dit: without gradients, before and after.
        batch: B clips of T latent frames; its shape alone matters.
        training: the loss.
        shortcut: whether shortcut steps are learnt; default: if they are from the first step on.
    """
    from torch.utils.flop_counter import FlopCounterMode

    drawn = training.self_rollout.fraction > 0 or 0 < training.half_clip_fraction < 1
    training = replace(training, image_fraction=0.0)
    shortcut = training.loss.shortcut_from == 0 if shortcut is None else shortcut
    total = 0.0
    for draw in range(DRAWS if drawn else 1):
        generator = torch.Generator(batch.latents.device).manual_seed(draw)
        with FlopCounterMode(display=False) as counter:
            with fast_precision(batch.latents.device):
                loss, _ = dynamics_loss(dit, batch, training, generator, ErrorBank(1), shortcut)
            loss.backward()
        dit.zero_grad(set_to_none=True)
        total += counter.get_total_flops()
    return total / (DRAWS if drawn else 1)
