"""What a training step costs: latent frames learnt from, and floating-point operations as PyTorch counts them.

B clips of a batch, T latent frames of a clip.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import DiTConfig, DiTOutput, WorldDiT
from worldsim.models.heads import HeadOutputs
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

        The energy score learns from half of the clips. Weights, gradients and random numbers are left as they are.
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
        dit: its sizes, and which of its weights learn; with several ranks, no rank has whole ones to try this on.
        batch: B clips of T latent frames; its shape alone matters.
        training: the loss.
        shortcut: whether shortcut steps are learnt; default: if they are from the first step on.
    """
    learning = frozenset(name for name, weight in dit.named_parameters() if weight.requires_grad)
    network = MetaNetwork(dit.config, learning, training.recompute)
    drawn = training.self_rollout.fraction > 0 or 0 < training.half_clip_fraction < 1
    drawn = drawn or 0 < training.infilling.fraction < 1
    draws, training = DRAWS if drawn else 1, replace(training, image_fraction=0.0)
    shortcut = training.loss.shortcut_from == 0 if shortcut is None else shortcut
    for draw in range(draws):
        generator = torch.Generator(batch.latents.device).manual_seed(draw)
        dynamics_loss(network, batch, training, generator, ErrorBank(1), shortcut)
    return network.flop / draws


class MetaNetwork:
    """Counts what a network would compute: called as the network is, it answers zeros.

    A pass under gradients counts its backward pass too.

    Attributes:
        flop: operations of matrix products so far.
    """

    def __init__(self, config: DiTConfig, learning: frozenset[str], recompute: bool) -> None:
        self._about = (config, learning, recompute)
        self.flop = 0.0

    def __call__(self, *inputs: Any, **options: Any) -> DiTOutput:
        """Shapes of inputs and outputs are those of ``WorldDiT``."""
        shapes = tuple(_described(x) for x in inputs), tuple((n, _described(x)) for n, x in options.items())
        flop, latents, heads = _pass(*self._about, *shapes, torch.is_grad_enabled())
        self.flop += flop
        device = inputs[0].device
        outputs = HeadOutputs(**{name: torch.zeros(shape, device=device) for name, shape in heads.items()})
        return DiTOutput(torch.zeros(latents, device=device), outputs, [], [])


# What a pass computes follows from shapes alone: those that training repeats are counted once.
@lru_cache(maxsize=256)
def _pass(
    config: DiTConfig,
    learning: frozenset[str],
    recompute: bool,
    inputs: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
    gradients: bool,
) -> tuple[float, torch.Size, dict[str, torch.Size]]:
    """Operations of a pass on tensors without content, and the shapes of what it answers."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = WorldDiT(config)
    network.recompute = recompute
    for name, weight in network.named_parameters():
        weight.requires_grad_(name in learning)
    with torch.set_grad_enabled(gradients), FlopCounterMode(display=False) as counter:
        out = network(*(_made(x) for x in inputs), **{name: _made(x) for name, x in options})
        heads = vars(out.heads)
        torch.autograd.backward([each.sum() for each in (out.latents, *heads.values()) if each.requires_grad])
    return counter.get_total_flops(), out.latents.shape, {name: each.shape for name, each in heads.items()}


def _described(value: Any) -> Any:
    return (value.shape, value.dtype) if isinstance(value, Tensor) else value


def _made(value: Any) -> Any:
    return torch.empty(value[0], dtype=value[1], device="meta") if isinstance(value, tuple) else value
