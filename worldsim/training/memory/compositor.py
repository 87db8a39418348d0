"""Training of the compositor: which of three pictures is right, pixel by pixel.

B pictures, H W pixels.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.models.checkpoint import compact, load_module, save_tensors
from worldsim.optim.ema import Ema
from worldsim.optim.loop import TrainedModule, finite, run_steps, split_optimizers
from worldsim.optim.schedule import check_settings, learning_rate_factor, set_rate
from worldsim.simulation.memory.compositor import Composite, Compositor, CompositorConfig
from worldsim.training.memory.compositor_examples import ChunkBatch, Scenes

FILE = "compositor.safetensors"


@dataclass(frozen=True, kw_only=True)
class CompositorTraining:
    """Settings of the training of a compositor.

    Attributes:
        steps: optimizer steps of the whole run.
        rate: learning rate.
        warmup: steps of linear warm-up.
        drift: largest error of a key frame's position, for the distance to it.
        holes: largest share of a drawing that is punched out.
        edges: weight of the differences between neighbouring pixels.
        corrected: weight of the corrected picture's own loss. Without it the gate turns away from the network before
            the correction has learned anything, and never comes back (measured).
        ema: decay of the exponential moving average of the weights.
        save_minutes: minutes between saves.
        validate_every: steps between validations.
    """

    steps: int = 1500
    rate: float = 1e-3
    warmup: int = 50
    drift: float = 0.06
    holes: float = 0.3
    edges: float = 1.0
    corrected: float = 0.5
    ema: float = 0.99
    save_minutes: float = 3.0
    validate_every: int = 250

    def __post_init__(self) -> None:
        check_settings(self, positive=("steps", "validate_every"), shares=("drift", "holes", "ema"))


def train_compositor(
    scenes: Scenes,
    judged: Scenes,
    config: CompositorConfig,
    training: CompositorTraining,
    folder: Path,
    *,
    batch: int = 8,
    seed: int = 0,
    initial: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Generator[tuple[int, dict[str, float]]]:
    """Train, resuming from ``folder`` when it holds a run; yields (step, metrics). Closed early, it saves what it has.

    Args:
        scenes: to learn from.
        judged: of maps that are not learned from.
        config: sizes of the network.
        training: schedule and losses.
        folder: receives ``state.safetensors`` (to resume) and ``compositor.safetensors`` (averaged weights).
        batch: chunks a step.
        seed: of the first weights and of all that is drawn.
        initial: weights to start a new run from; a run that is resumed ignores them.
        about: further metadata of the weights.
    """
    torch.manual_seed(seed)
    network = Compositor(config)
    if initial is not None:
        load_module(network, initial, "the compositor to start from")
    optimizers = split_optimizers(network, "-", training.rate, 0.0)
    trained = TrainedModule(network, optimizers, Ema(network, training.ema), folder / "state.safetensors")
    restored = trained.restore()

    def learn(step: int) -> dict[str, float]:
        examples = scenes.batch(seed, step, batch, drift=training.drift, holes=training.holes)
        set_rate(trained.optimizers, learning_rate_factor(step, training.warmup, training.steps))
        made = compose(network, examples, sharp=False)
        loss = picture_loss(made.picture, examples.truth, training.edges)
        loss = loss + training.corrected * picture_loss(made.corrected, examples.truth, training.edges)
        loss.backward()
        trained.step(step)
        return {"loss": finite(loss, step)}

    def judge() -> dict[str, float]:
        with trained.ema.averaged(network):
            return judge_compositor(network, judged)

    def save(step: int) -> None:
        trained.save(step)
        with trained.ema.averaged(network):
            save_tensors(folder / FILE, compact(network), {**(about or {}), "steps": step})

    yield from run_steps(
        restored.step if restored else 0, training.steps, learn, judge, save,
        validate_every=training.validate_every, save_minutes=training.save_minutes,
    )  # fmt: skip


def compose(network: Compositor, examples: ChunkBatch, *, sharp: bool = True) -> Composite:
    """What the network shows of a batch."""
    return network(
        examples.drawn, examples.screen, examples.generated, examples.actions, examples.may_stay, sharp=sharp
    )


def picture_loss(picture_B3HW: Tensor, truth_BHWC: Tensor, edges: float) -> Tensor:
    """Mean absolute difference of colours (of 1), and of the differences between neighbours."""
    error = picture_B3HW - truth_BHWC.movedim(-1, 1) / 255
    return error.abs().mean() + edges * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())


@torch.inference_mode()
def judge_compositor(
    network: Compositor, scenes: Scenes, *, chunks: int = 96, batch: int = 16, seed: int = 1
) -> dict[str, float]:
    """PSNR (dB, mean over pictures, rows that show the world) of what is shown and of what it is made of.

    ``memory``: what memory draws, the last picture where it draws nothing. By age of what memory knows: ``new`` up to
    4 frames, ``old`` above 40. ``still``: of chunks in which the camera stands.
    """
    network.eval()
    found: dict[str, list[Tensor]] = {}
    shares, ages, still = [], [], []
    for step in range(-(-chunks // batch)):
        e = scenes.batch(seed + 1_000_003, step, batch, drift=0.03, holes=0.0)
        made = compose(network, e)
        shown = (made.picture.clamp(0, 1) * 255).movedim(1, -1)
        drawn = torch.where(e.drawn.covered[..., None], e.drawn.picture, e.screen)
        corrected = (made.corrected * 255).movedim(1, -1)
        found.setdefault("corrected", []).append(_psnr(corrected, e.truth, scenes.rows))
        for name, picture in (("shown", shown), ("generated", e.generated), ("screen", e.screen), ("memory", drawn)):
            found.setdefault(name, []).append(_psnr(picture, e.truth, scenes.rows))
        found.setdefault("hud", []).append(_psnr(shown[:, scenes.rows :], e.truth[:, scenes.rows :], None))
        found.setdefault("hud generated", []).append(
            _psnr(e.generated[:, scenes.rows :], e.truth[:, scenes.rows :], None)
        )
        shares.append(made.shares[:, :, : scenes.rows].mean((2, 3)))
        ages.append(e.ages)
        still.append((e.actions.abs().amax(-1) == 0) & ((e.screen.float() - e.truth).abs().mean((1, 2, 3)) < 1))
    network.train()
    values, age, stands = {k: torch.cat(v) for k, v in found.items()}, torch.cat(ages), torch.cat(still)
    out = {name: round(float(v.mean()), 2) for name, v in values.items()}
    for name, rows in (("new", age <= 4), ("old", age > 40), ("still", stands)):
        if bool(rows.any()):
            out |= {f"{k} {name}": round(float(values[k][rows].mean()), 2) for k in ("shown", "memory", "generated")}
    of = torch.cat(shares).mean(0).tolist()
    return out | {f"share {k}": round(v, 3) for k, v in zip(("memory", "screen", "generated"), of, strict=True)}


def _psnr(picture: Tensor, truth: Tensor, rows: int | None) -> Tensor:
    error = (picture.float() - truth.float())[:, :rows].square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / error.clamp(min=0.1))
