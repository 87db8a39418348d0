"""Settings of training agents; they can be read, and described by ``--help``, without stable-baselines3."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PpoTraining:
    """PPO's settings (Schulman et al. 2017).

    Attributes:
        rollout: steps of each row between updates.
        batch: examples of a gradient step.
        epochs: passes over what was collected at each update.
        rate: learning rate.
        gamma: discount of later rewards, by step.
        gae_lambda: of the generalised advantage estimate: 1 has no bias, 0 the least variance.
        clip: how far the ratio of new and old probabilities may be from 1.
        entropy: weight of the entropy bonus.
        value: weight of the value loss.
        gradient: largest norm of a gradient.
        target_kl: divergence from the old policy that ends an update early.
    """

    rollout: int = 64
    batch: int = 128
    epochs: int = 4
    rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    gradient: float = 0.5
    target_kl: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What happens how often, in environment steps; 0 for never.

    Attributes:
        steps: environment steps of the whole run.
        checkpoint_every: steps between checkpoints.
        eval_every: steps between evaluations.
        eval_episodes: episodes of an evaluation.
        video_every: steps between videos.
    """

    steps: int = 100_000
    checkpoint_every: int = 5000
    eval_every: int = 10_000
    eval_episodes: int = 5
    video_every: int = 20_000


@dataclass(frozen=True, kw_only=True)
class CloneTraining:
    """How a policy is cloned.

    Attributes:
        steps: gradient steps.
        batch: examples of a step.
        rate: learning rate.
        entropy: weight of the entropy bonus, which keeps it from being sure of what players did by chance.
    """

    steps: int = 1000
    batch: int = 128
    rate: float = 5e-4
    entropy: float = 0.01
