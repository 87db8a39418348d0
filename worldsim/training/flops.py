"""What a training step costs: latent frames learnt from, and floating-point operations as PyTorch counts them.

B clips of a batch, T latent frames of a clip.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import DiTConfig, DiTOutput, WorldDiT
from worldsim.models.heads import HeadOutputs
from worldsim.models.precision import fast_precision
from worldsim.optim.distributed.ranks import ranks
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
            # With several ranks, no rank has whole weights to try this on.
            count = step_flops if ranks().alone else meta_step_flops
            self._flop[key] = count(self.dit, batch, self.training, shortcut)
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

    def once(training: DynamicsTraining, generator: torch.Generator, shortcut: bool) -> float:
        with FlopCounterMode(display=False) as counter:
            with fast_precision(batch.latents.device):
                loss, _ = dynamics_loss(dit, batch, training, generator, ErrorBank(1), shortcut)
            loss.backward()
        dit.zero_grad(set_to_none=True)
        return counter.get_total_flops()

    return _mean_over_draws(once, batch, training, shortcut)


def meta_step_flops(
    dit: WorldDiT, batch: LatentBatch, training: DynamicsTraining, shortcut: bool | None = None
) -> float:
    """``step_flops`` by a network of the same sizes without memory: weights are neither needed nor touched."""
    network = MetaNetwork(dit.config, training.recompute)

    def once(training: DynamicsTraining, generator: torch.Generator, shortcut: bool) -> float:
        before = network.flop
        dynamics_loss(network, batch, training, generator, ErrorBank(1), shortcut)
        return network.flop - before

    return _mean_over_draws(once, batch, training, shortcut)


def _mean_over_draws(
    once: Callable[[DynamicsTraining, torch.Generator, bool], float],
    batch: LatentBatch,
    training: DynamicsTraining,
    shortcut: bool | None,
) -> float:
    drawn = training.self_rollout.fraction > 0 or 0 < training.half_clip_fraction < 1
    draws, training = DRAWS if drawn else 1, replace(training, image_fraction=0.0)
    shortcut = training.loss.shortcut_from == 0 if shortcut is None else shortcut
    generators = [torch.Generator(batch.latents.device).manual_seed(draw) for draw in range(draws)]
    return sum(once(training, generator, shortcut) for generator in generators) / draws


class MetaNetwork:
    """Counts what a network of some sizes would compute, on tensors that have shapes and no content.

    It is called as the network is; what it answers is zeros. A pass under gradients counts its backward pass too.

    Attributes:
        flop: operations of matrix products so far.
    """

    def __init__(self, config: DiTConfig, recompute: bool = False) -> None:
        with torch.device("meta"):
            self.network = WorldDiT(config)
        self.network.recompute = recompute
        self.flop = 0.0

    def __call__(self, *inputs: Any, **options: Any) -> DiTOutput:
        """Shapes of inputs and outputs are those of ``WorldDiT``."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            out = self.network(*(_as_meta(x) for x in inputs), **{n: _as_meta(x) for n, x in options.items()})
            heads = vars(out.heads)
            if torch.is_grad_enabled():
                torch.autograd.backward([tensor.sum() for tensor in (out.latents, *heads.values())])
        self.flop += counter.get_total_flops()
        device = inputs[0].device
        zeros = {name: torch.zeros(tensor.shape, device=device) for name, tensor in heads.items()}
        return DiTOutput(torch.zeros(out.latents.shape, device=device), HeadOutputs(**zeros), [], [])


def _as_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value
