"""Settings of the dynamics' training, in groups: ``training.optimizer.rate`` and so on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldsim.optim.schedule import check_settings


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Learning rates, their schedule, and averaging of weights.

    Attributes:
        rate: learning rate of AdamW (embeddings, norms, output).
        matrix_rate: learning rate of Muon (matrices of the blocks).
        warmup: steps of linear warm-up.
        cooldown: share of all steps over which the rates fall to 5 %.
        ema: decay of the exponential moving average of the weights.
    """

    rate: float = 8e-4
    matrix_rate: float = 2e-3
    warmup: int = 200
    cooldown: float = 0.3
    ema: float = 0.999

    def __post_init__(self) -> None:
        check_settings(self, shares=("cooldown", "ema"), group="optimizer")


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """Signal levels that are learned, and noise on the context.

    Attributes:
        inference_level_fraction: fraction of frames whose signal level is one that a sampler of ``sampler_steps`` steps
            evaluates, so that the network learns most where it is used.
        sampler_steps: network evaluations per frame at inference; self-rollouts take as many.
        context_noise: largest amount of noise on the previous frame.
        error_injection: probability that a clip's context gets recent prediction errors of the network.
        shown_fraction: probability that a clip's context is what a memory shows at play, where there is such a thing.
    """

    inference_level_fraction: float = 0.0
    sampler_steps: int = 2
    context_noise: float = 0.15
    error_injection: float = 0.5
    shown_fraction: float = 0.7

    def __post_init__(self) -> None:
        shares = ("inference_level_fraction", "context_noise", "error_injection", "shown_fraction")
        check_settings(self, positive=("sampler_steps",), shares=shares, group="noise")


@dataclass(frozen=True, kw_only=True)
class ConditioningSettings:
    """Dropout and jitter of the conditions.

    Attributes:
        action_drop: probability that a clip's actions are replaced by the null action.
        text_drop: probability that a clip's text is dropped.
        mouse_jitter: standard deviation of the factor on a clip's mouse motion.
        drawing_drop: probability that a clip goes without what a memory draws, and that it begins without it.
    """

    action_drop: float = 0.1
    text_drop: float = 0.2
    mouse_jitter: float = 0.02
    drawing_drop: float = 0.1

    def __post_init__(self) -> None:
        check_settings(self, shares=("action_drop", "text_drop", "drawing_drop"), group="conditioning")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Terms of the loss. Weights of the heads are relative to the flow loss.

    Attributes:
        noise_weight: weight of frames of pure noise; clean ones have 1.
        energy_score_loss: learn from half of the clips of a batch, each under two noises: frames of pure noise then
            learn by the energy score to become samples of what may follow instead of its mean, which is a blur.
        repulsion: of the two predictions of the energy score; below 1, samples stay closer to their mean.
        saliency_weight: for small things on a still background: 0 counts all latent cells alike, 1 gives half of the
            weight to cells by how far they are from the batch's mean latent, now or a frame before.
        shortcut_from: step from which shortcut steps are learned.
        shortcut_fraction: fraction of clips that learn shortcut steps.
        max_shortcut_steps: steps of the finest shortcut, a power of two.
        motion_weight: of the motion head.
        action_weight: of the inverse dynamics head.
        termination_weight: of the termination head.
    """

    noise_weight: float = 0.1
    energy_score_loss: bool = False
    repulsion: float = 1.0
    saliency_weight: float = 0.0
    shortcut_from: int = 1_000_000_000
    shortcut_fraction: float = 0.25
    max_shortcut_steps: int = 64
    motion_weight: float = 0.1
    action_weight: float = 0.02
    termination_weight: float = 0.01

    def __post_init__(self) -> None:
        shares = ("repulsion", "saliency_weight", "shortcut_fraction")
        check_settings(self, positive=("max_shortcut_steps",), shares=shares, group="loss")


@dataclass(frozen=True, kw_only=True)
class SelfRolloutSettings:
    """The network's own predictions as the context that it learns from.

    Attributes:
        fraction: of the clips whose context is the network's own rollout instead of the recording.
        max_frames: latent frames of a rollout, drawn from 1 to this.
        level: signal level of the recording that rolled-out frames start from; 0 starts from pure noise.
    """

    fraction: float = 0.0
    max_frames: int = 3
    level: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, positive=("max_frames",), shares=("fraction", "level"), group="self_rollout")


@dataclass(frozen=True, kw_only=True)
class InfillingSettings:
    """Frames learned from those before and after them, beside the causal ones, which play needs.

    Attributes:
        fraction: fraction of steps whose clips have random frames known, clean, and all others filled in between them.
        reversed_fraction: fraction of the training episodes that are encoded once more running backwards in time, their
            actions inverted where they can be. The latents' cache keeps them beside the others.
    """

    fraction: float = 0.0
    reversed_fraction: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, shares=("fraction", "reversed_fraction"), group="infilling")

    @property
    def wanted(self) -> bool:
        """Whether the network has to have what infilling takes."""
        return self.fraction > 0 or self.reversed_fraction > 0


@dataclass(frozen=True, kw_only=True)
class DynamicsTraining:
    """Settings of the dynamics' training.

    Attributes:
        steps: optimizer steps of the whole run.
        half_clip_fraction: fraction of steps whose clips are cut into halves: twice as many, half as long.
        image_fraction: fraction of steps that treat every frame as an image of its own.
        save_minutes: minutes between saves.
        validate_every: steps between validations.
        compile: compile the network with ``torch.compile``.
        learn: beginnings of the names of the parameters that learn, all others stay as they are; empty: all learn. With
            ``["copied"]`` a network that goes on with a memory learns what to take of it and no more.
        recompute: compute activations inside blocks again for the gradient instead of keeping them: a third more work,
            for models whose activations do not fit the device.
        parts: batches of a step, each of ``batch`` clips, whose losses are averaged (gradient accumulation). What is
            learned depends on it and not on the number of ranks that share the parts out.
        shard: with several ranks, spread weights, gradients, optimizer state and averaged weights over them (FSDP2)
            instead of keeping all of it on each (DDP): for models that do not fit one device.
        optimizer, noise, conditioning, loss, self_rollout, infilling: groups of further settings.
    """

    steps: int = 20_000
    half_clip_fraction: float = 0.0
    image_fraction: float = 0.05
    save_minutes: float = 4.0
    validate_every: int = 250
    compile: bool = True
    learn: tuple[str, ...] = ()
    recompute: bool = False
    parts: int = 1
    shard: bool = False
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    conditioning: ConditioningSettings = field(default_factory=ConditioningSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    self_rollout: SelfRolloutSettings = field(default_factory=SelfRolloutSettings)
    infilling: InfillingSettings = field(default_factory=InfillingSettings)

    def __post_init__(self) -> None:
        shares = ("half_clip_fraction", "image_fraction")
        check_settings(self, positive=("steps", "validate_every", "parts"), shares=shares)


GROUPS: dict[str, type] = {
    "optimizer": OptimizerSettings,
    "noise": NoiseSettings,
    "conditioning": ConditioningSettings,
    "loss": LossSettings,
    "self_rollout": SelfRolloutSettings,
    "infilling": InfillingSettings,
}
# Keys of earlier versions, all flat, and where their values are now.
OLD_KEYS = {
    "rate": "optimizer.rate",
    "matrix_rate": "optimizer.matrix_rate",
    "warmup": "optimizer.warmup",
    "cooldown": "optimizer.cooldown",
    "ema": "optimizer.ema",
    "play_share": "noise.inference_level_fraction",
    "play_steps": "noise.sampler_steps",
    "context_noise": "noise.context_noise",
    "error_injection": "noise.error_injection",
    "action_drop": "conditioning.action_drop",
    "text_drop": "conditioning.text_drop",
    "mouse_jitter": "conditioning.mouse_jitter",
    "noise_weight": "loss.noise_weight",
    "twin_noises": "loss.energy_score_loss",
    "repulsion": "loss.repulsion",
    "rare_weight": "loss.saliency_weight",
    "shortcut_from": "loss.shortcut_from",
    "shortcut_share": "loss.shortcut_fraction",
    "finest": "loss.max_shortcut_steps",
    "motion_weight": "loss.motion_weight",
    "action_weight": "loss.action_weight",
    "termination_weight": "loss.termination_weight",
    "halved_share": "half_clip_fraction",
    "image_share": "image_fraction",
    "rollout_share": "self_rollout.fraction",
    "rollout_frames": "self_rollout.max_frames",
    "rollout_level": "self_rollout.level",
}


def from_flat(values: Mapping[str, Any]) -> DynamicsTraining:
    """Settings from plain values: dotted keys, nested mappings of groups, and flat keys of earlier versions.

    Raises:
        TypeError: a key is unknown.
        ValueError: a value is out of its range.
    """
    plain: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for key, value in values.items():
        group, _, name = OLD_KEYS.get(key, key).rpartition(".")
        if name in GROUPS and isinstance(value, Mapping):
            groups[name] |= value
        elif group:
            if group not in GROUPS:
                raise TypeError(f"unknown group of settings: {group}")
            groups[group][name] = value
        else:
            plain[name] = value
    made: dict[str, Any] = {name: GROUPS[name](**given) for name, given in groups.items() if given}
    return DynamicsTraining(**plain, **made)
