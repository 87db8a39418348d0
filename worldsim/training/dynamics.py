"""Training the diffusion Transformer on latent clips: steps, validation, resuming.

B batch, T latent frames, C channels, H W latent grid, r frames per chunk, A action size.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.flow import energy_score, interpolate
from worldsim.diffusion.infilling import infilling_error
from worldsim.diffusion.noised_clips import Forward
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.diffusion.shared_rows import shared
from worldsim.models.checkpoint import load_module, save_tensors
from worldsim.models.dit import DiTConfig, DiTOutput, WorldDiT
from worldsim.models.heads import HeadOutputs
from worldsim.models.patchify import previous_of
from worldsim.models.precision import fast_precision
from worldsim.optim.distributed.engines import shard, whole_state
from worldsim.optim.distributed.ranks import own_device, ranks
from worldsim.optim.distributed.shares import share_of
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, finite, split_optimizers
from worldsim.optim.schedule import learning_rate_factor, set_rate
from worldsim.spec.batch import LatentBatch
from worldsim.spec.compute import UNKNOWN, Compute
from worldsim.spec.endings import KEY as ENDS
from worldsim.spec.endings import more_ends
from worldsim.training.flops import StepCosts

# FSDP gathers weights again for the backward pass of what it finds tensors in; before PyTorch 2.11 not in dataclasses.
for _dataclass in (HeadOutputs, DiTOutput):
    torch.export.register_dataclass(_dataclass)


@torch.no_grad()
def validate(
    forward: Forward, batch: LatentBatch, levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
) -> dict[str, float]:
    """x0 error of the last half of each clip given its past as play shows it, with true and with shuffled actions.

    Only every second frame of that half is noised, so that every noised frame stands on a clean one.

    ``score_0``: energy score of two guesses made of pure noise; ``spread_0``: their distance from each other over their
    distance from the data (root mean squares). Samples of what may follow have 1; a mean, a blur, has 0.
    """
    data, past = batch.latents, previous_of(batch.as_shown())
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
            out = forward(noisy, past, tau, torch.zeros_like(tau), actions, present, drawn_BTDHW=drawn)
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
    batches: Sequence[LatentBatch],
    training: DynamicsTraining,
    step: int,
    seed: int,
    banks: Sequence[ErrorBank],
) -> dict[str, float]:
    """Learn from one step's batch; ``forward`` is the network in training, or what it was compiled to.

    ``batches`` and ``banks`` are those of this rank's parts. All noise follows (seed, step, part).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    share, device = trained.share, batches[0].latents.device
    schedule, shortcut = training.optimizer, step >= training.loss.shortcut_from
    set_rate(trained.optimizers, learning_rate_factor(step, schedule.warmup, training.steps, schedule.cooldown))
    results = []
    for part, batch, bank in zip(share.mine, batches, banks, strict=True):
        drawn = share.generator(seed, step, part, device), bank, shortcut, share.common_generator(seed, step, device)
        with trained.engine.part(last=part == share.mine[-1]):
            with fast_precision(device):
                loss, terms = trained.engine(dynamics_loss, forward, batch, training, *drawn)
            trained.backward(loss)
        results.append({"loss": loss, **terms})
    norm = trained.step(step)
    means = share.mean(results)
    return {"loss": finite(means.pop("loss"), step), "gradient_norm": norm, **means}


def save_dit(path: Path, dit: WorldDiT, about: Mapping[str, Any] | None = None) -> None:
    """Write weights, configuration and what else there is to say about them to one safetensors file."""
    tensors = whole_state(dit)
    if ranks().first:
        save_tensors(path, tensors, {"dit": asdict(dit.config), **(about or {})})


@dataclass
class Tally:
    """What a training has cost and how many ends of episodes it saw (None: not known), with all that came before."""

    compute: Compute
    ends: int | None

    def add(self, latent_frames: float, flop: float, ends: float) -> None:
        """Count one more step: latent frames and operations that it costs, ends of episodes that it saw."""
        self.compute = self.compute.plus(round(latent_frames), flop)
        self.ends = more_ends(self.ends, round(ends))

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
    dit = _begun(dit_config, training, initial, seed)
    folder, place = folder.absolute(), torch.device(own_device(device))
    trained = prepared(dit.to(place), training, folder / "state.safetensors")
    share, validation = trained.share, validation.to(place)
    banks = {share.prefix(part): ErrorBank() for part in share.mine}
    tally = Tally(Compute(), 0) if initial is None else Tally(before or Compute(since=UNKNOWN), ends_before)
    first = _resume(trained, banks, tally, ends_before)
    costs, forward = StepCosts(dit, training), shared(compiled(dit, training), share.rows)

    def learn(step: int) -> dict[str, float]:
        drawn = [batches(index) for index in share.indices(step)]
        given = [batch.to(place) for batch in drawn]
        counts = [(*costs(each, step), ends_in(batch)) for batch, each in zip(drawn, given, strict=True)]
        tally.add(*share.total([sum(values) for values in zip(*counts, strict=True)]))
        return training_step(forward, trained, given, training, step, seed, list(banks.values()))

    def judge() -> dict[str, float]:
        with trained.ema.averaged(dit):
            forward = shared(dit, share.all_rows)
            between = {"infilling": infilling_error(forward, validation)} if dit_config.infilling else {}
            return validate(forward, validation) | between

    def save(step: int) -> None:
        more = {n: ring for prefix, bank in banks.items() for n, ring in bank.tensors(prefix).items()}
        trained.save(step, more, tally.kept())
        with trained.ema.averaged(dit):
            save_dit(folder / "dit.safetensors", dit, {**(about or {}), **tally.kept()})

    yield from trained.run(
        first, training.steps, learn, judge, save,
        validate_every=training.validate_every, save_minutes=training.save_minutes,
    )  # fmt: skip


def _begun(
    dit_config: DiTConfig, training: DynamicsTraining, initial: Mapping[str, Tensor] | None, seed: int
) -> WorldDiT:
    """A network as its training begins with it."""
    if training.infilling.wanted and not dit_config.infilling:
        raise ValueError("training.infilling is for a network that was made with infilling=True")
    torch.manual_seed(seed)
    dit = WorldDiT(dit_config)
    if initial is not None:
        load_module(dit, with_new_inputs(dit, initial), "the world to start from")
    return dit


def _resume(trained: TrainedModule, banks: Mapping[str, ErrorBank], tally: Tally, ends_before: int | None) -> int:
    """Go on from the newest state; returns the step to begin with."""
    restored = trained.restore(lambda name: name.startswith(tuple(banks)))
    if restored is None:
        return 0
    device = next(trained.module.parameters()).device
    for prefix, bank in banks.items():
        bank.restore(restored.more, device, prefix)
    tally.restore({ENDS: ends_before, **restored.about})
    return restored.step


def ends_in(batch: LatentBatch) -> int:
    """Ends of episodes that the termination head is shown: never at the first frame of a clip, which has no past."""
    return int((batch.terminated[:, 1:] > 0).sum())


def with_new_inputs(dit: WorldDiT, initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights from before there was a memory or infilling, with what a network begins with that takes them.

    With it, the network plays as it did without.
    """
    added = ("drawn_in.", "copied.", "infilling.")
    new = {n: t for n, t in dit.state_dict().items() if n.startswith(added) and n not in initial}
    return {**new, **initial}


def compiled(dit: WorldDiT, training: DynamicsTraining) -> Forward:
    """The network, compiled where the settings say so."""
    return torch.compile(dit, dynamic=False) if training.compile else dit


def prepared(dit: WorldDiT, training: DynamicsTraining, path: Path) -> TrainedModule:
    """A network with the optimizers and averaged weights of its training; its state is kept at ``path``."""
    dit.recompute = training.recompute
    for name, parameter in dit.named_parameters():
        parameter.requires_grad_(not training.learn or name.startswith(training.learn))
    sharded = training.shard and not ranks().alone
    if sharded:
        shard(dit, dit.blocks)
    rates = training.optimizer
    optimizers = split_optimizers(dit, "blocks", rates.rate, rates.matrix_rate)
    return TrainedModule(dit, optimizers, Ema(dit, rates.ema), path, share_of(training.parts), sharded)
