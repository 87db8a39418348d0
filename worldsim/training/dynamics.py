"""Training the diffusion Transformer on latent clips: steps, validation, resuming.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.diffusion.dynamics_loss import Forward, dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.flow import energy_score, interpolate
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.checkpoint import load_module, save_tensors
from worldsim.models.dit import DiTConfig, WorldDiT, previous_of
from worldsim.models.precision import fast_precision
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, finite, run_steps, split_optimizers
from worldsim.optim.schedule import learning_rate_factor, set_rate
from worldsim.spec.batch import LatentBatch
from worldsim.spec.compute import UNKNOWN, Compute
from worldsim.spec.endings import KEY as ENDS
from worldsim.spec.endings import more_ends
from worldsim.training.flops import StepCosts


@torch.no_grad()
def validate(dit: WorldDiT, batch: LatentBatch, levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)) -> dict[str, float]:
    """x0 error of the last half of each clip given its clean past, with true and with shuffled actions.

    Only every second frame of that half is noised, so that every noised frame stands on a clean one.

    ``score_0``: energy score of two guesses made of pure noise; ``spread_0``: their distance from each other over their
    distance from the data (root mean squares). Samples of what may follow have 1; a mean, a blur, has 0.
    """
    data = batch.latents
    b, t = data.shape[:2]
    judged = torch.arange(t // 2, t, 2, device=data.device)
    noises = torch.randn((2, *data.shape), generator=torch.Generator().manual_seed(0)).to(data.device)
    present = batch.has_action()
    shuffled = batch.actions.roll(1, 0)
    drawn = None if batch.drawn is None else batch.drawn * present[..., None, None, None]

    def evaluate(level: float, noise: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        tau = data.new_ones(b, t)
        tau[:, judged] = level
        noisy = interpolate(data, noise, tau)
        with fast_precision(data.device):
            out = dit(noisy, previous_of(data), tau, torch.zeros_like(tau), actions, present, drawn_BTDHW=drawn)
        return out.latents[:, judged], out.heads.motion[:, judged]

    truth = data[:, judged]
    repeat = float((previous_of(data)[:, judged] - truth).square().mean())
    guesses, motions = zip(*(evaluate(level, noises[0], batch.actions) for level in levels), strict=True)
    errors = [float((guess - truth).square().mean()) for guess in guesses]
    misled = [float((evaluate(level, noises[0], shuffled)[0] - truth).square().mean()) for level in levels]
    first, (second, _) = guesses[0], evaluate(levels[0], noises[1], batch.actions)
    spread = (first - second).square().mean().sqrt() / (first - truth).square().mean().sqrt()
    result = {f"x0_{level:g}": error for level, error in zip(levels, errors, strict=True)}
    return result | {
        "x0": sum(errors) / len(levels),
        "repeat": repeat,
        f"score_{levels[0]:g}": float(energy_score(first, second, truth).mean()),
        f"spread_{levels[0]:g}": float(spread),
        "shuffled_ratio": sum(misled) / sum(errors),
        "shuffled_ratio_noise": misled[0] / errors[0],
        "motion_error_m": float((motions[-1] - batch.motion[:, judged])[..., :2].norm(dim=-1).mean()),
    }


def training_step(
    forward: Forward,
    trained: TrainedModule,
    batch: LatentBatch,
    training: DynamicsTraining,
    step: int,
    seed: int,
    bank: ErrorBank,
) -> dict[str, float]:
    """Learn from one batch; ``forward`` is the network in training, or what it was compiled to.

    All noise follows (seed, step).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    generator = torch.Generator(batch.latents.device).manual_seed(seed * 1_000_003 + step)
    schedule, shortcut = training.optimizer, step >= training.loss.shortcut_from
    set_rate(trained.optimizers, learning_rate_factor(step, schedule.warmup, training.steps, schedule.cooldown))
    with fast_precision(batch.latents.device):
        loss, parts = dynamics_loss(forward, batch, training, generator, bank, shortcut)
    loss.backward()
    norm = trained.step(step)
    metrics = {"loss": finite(loss, step), "gradient_norm": norm}
    return metrics | {name: float(part.detach()) for name, part in parts.items()}


def save_dit(path: Path, dit: WorldDiT, about: Mapping[str, Any] | None = None) -> None:
    """Write weights, configuration and what else there is to say about them to one safetensors file."""
    save_tensors(path, dit.state_dict(), {"dit": asdict(dit.config), **(about or {})})


@dataclass
class Tally:
    """What a training has cost and how many ends of episodes it saw (None: not known), with all that came before."""

    compute: Compute
    ends: int | None

    def add(self, batch: LatentBatch, cost: tuple[int, float]) -> None:
        """Count one more batch and what it costs: latent frames and operations."""
        self.compute = self.compute.plus(*cost)
        # The first frame of a clip has no past: the termination head is not asked there.
        self.ends = more_ends(self.ends, int((batch.terminated[:, 1:] > 0).sum()))

    def restore(self, about: Mapping[str, Any]) -> None:
        """Go on from what a run kept."""
        self.compute, self.ends = Compute.from_json(about.get("compute")), about.get(ENDS)

    def kept(self) -> dict[str, Any]:
        """As metadata can hold it."""
        return {"compute": self.compute.to_json(), ENDS: self.ends}


def train_dynamics(
    dit_config: DiTConfig,
    training: DynamicsTraining,
    batches: Callable[[int], LatentBatch],
    validation: LatentBatch,
    folder: Path,
    seed: int = 0,
    initial: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
    device: str = "cpu",
    before: Compute | None = None,
    ends_before: int | None = None,
) -> Generator[tuple[int, dict[str, float]]]:
    """Train, resuming from ``folder`` when it holds a run; yields (step, metrics). Closed early, it saves what it has.

    Args:
        dit_config: sizes.
        training: schedule and loss.
        batches: step -> batch; a pure function of the step, so that resuming draws what would have come.
        validation: clips of maps not trained on.
        folder: receives ``state.safetensors`` (to resume) and ``dit.safetensors`` (averaged weights, to use).
        seed: of the initial weights and of all noise.
        initial: weights to start a new run from, those of an earlier world say; a run that is resumed ignores them.
        about: further metadata of ``dit.safetensors``: what it is trained on.
        device: that computes. Noise differs between kinds of devices; a run is resumed exactly on its own.
        before: how much ``initial`` was trained, which counts along; default: unknown. A resumed run knows its own.
        ends_before: ends that ``initial``, or a resumed run that did not count them, was taught; None: unknown.
    """
    torch.manual_seed(seed)
    dit, folder = WorldDiT(dit_config), folder.absolute()
    if initial is not None:
        load_module(dit, with_drawing(dit, initial), "the world to start from")
    trained = prepared(dit.to(device), training, folder / "state.safetensors")
    validation, first, bank = validation.to(torch.device(device)), 0, ErrorBank()
    tally = Tally(Compute(), 0) if initial is None else Tally(before or Compute(since=UNKNOWN), ends_before)
    if (restored := trained.restore()) is not None:
        first = restored.step
        bank.restore(restored.more, device)
        tally.restore({ENDS: ends_before, **restored.about})
    costs = StepCosts(dit, training)
    forward = compiled(dit, training)

    def learn(step: int) -> dict[str, float]:
        batch = (drawn := batches(step)).to(torch.device(device))
        tally.add(drawn, costs(batch, step))
        return training_step(forward, trained, batch, training, step, seed, bank)

    def judge() -> dict[str, float]:
        with trained.ema.averaged(dit):
            return validate(dit, validation)

    def save(step: int) -> None:
        trained.save(step, bank.tensors(), tally.kept())
        with trained.ema.averaged(dit):
            save_dit(folder / "dit.safetensors", dit, {**(about or {}), **tally.kept()})

    yield from run_steps(
        first, training.steps, learn, judge, save,
        validate_every=training.validate_every, save_minutes=training.save_minutes,
    )  # fmt: skip


def with_drawing(dit: WorldDiT, initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights from before there was a memory, with what a network begins with that takes what it draws."""
    new = {n: t for n, t in dit.state_dict().items() if n.startswith(("drawn_in.", "copied.")) and n not in initial}
    return {**new, **initial}


def compiled(dit: WorldDiT, training: DynamicsTraining) -> Forward:
    """The network, compiled where the settings say so."""
    return torch.compile(dit, dynamic=False) if training.compile else dit


def prepared(dit: WorldDiT, training: DynamicsTraining, path: Path) -> TrainedModule:
    """A network with the optimizers and averaged weights of its training; its state is kept at ``path``."""
    dit.recompute = training.recompute
    rates = training.optimizer
    return TrainedModule(dit, split_optimizers(dit, "blocks", rates.rate, rates.matrix_rate), Ema(dit, rates.ema), path)
