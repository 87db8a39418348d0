"""Rounds of training the dynamics: when to stop, and what to tell a person between them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# How many times the loss under the true actions the loss under wrong ones is: below the first, keys are ignored; from
# the second on, they matter clearly.
KEYS_IGNORED, KEYS_MATTER = 1.02, 1.2
# Rounds in a row without progress that end the training, and what counts as progress: of the loss and of that ratio.
PATIENCE, LOSS_PROGRESS, KEYS_PROGRESS = 3, 0.01, 0.01
# Rounds at the full learning rate, the share of all steps over which it falls at the end, and the seconds that a round
# takes at least: each ends with a validation, a sample and a save.
ROUNDS, COOLDOWN, SHORTEST = 8, 0.25, 15.0


@dataclass(frozen=True, kw_only=True)
class Round:
    """What held-out clips say after some steps.

    Attributes:
        steps: done so far.
        seconds: that the round took.
        loss: error of the predicted latent frames, over all signal levels.
        keys: error under the actions of other clips, divided by that under the true ones, predicting from pure noise.
        repeat: error of predicting from pure noise, divided by that of repeating the last frame.
        trained: mean training loss of the round, to be compared with earlier rounds.
    """

    steps: int
    seconds: float
    loss: float
    keys: float
    repeat: float
    trained: float

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]], steps: int, since: int, seconds: float) -> "Round":
        """The round from step ``since`` to ``steps``, from the rows of ``metrics.jsonl``.

        Raises:
            ValueError: no row has a validation.
        """
        validated = [row for row in rows if "validation/x0" in row and row["step"] <= steps]
        if not validated:
            raise ValueError(f"no validation among the metrics up to step {steps}")
        last = validated[-1]
        losses = [row["loss"] for row in rows if since < row["step"] <= steps]
        return Round(
            steps=steps,
            seconds=round(seconds, 1),
            loss=last["validation/x0"],
            keys=last["validation/shuffled_ratio_noise"],
            repeat=last["validation/x0_0"] / max(1e-12, last["validation/repeat"]),
            trained=sum(losses) / len(losses) if losses else math.nan,
        )

    def to_json(self) -> dict[str, float]:
        """As JSON can hold it."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return (
            f"after {self.steps:,} steps: {keys_in_words(self.keys)} (wrong keys make the error "
            f"{self.keys:.2f} times as large); {repeat_in_words(self.repeat)}"
        )


def keys_in_words(ratio: float) -> str:
    """Whether keys matter, by the error under wrong ones over that under the true ones."""
    if ratio < KEYS_IGNORED:
        return "keys do not matter yet"
    return "keys begin to matter" if ratio < KEYS_MATTER else "keys matter"


def repeat_in_words(ratio: float) -> str:
    """Whether a prediction is better than the last frame, by its error over that of repeating it."""
    if ratio < 1:
        return f"the next frame is predicted with {ratio:.0%} of the error of repeating the last one"
    return f"the next frame is predicted worse than by repeating the last one ({ratio:.2f} times its error)"


def stalled(rounds: Sequence[Round]) -> bool:
    """Whether the last ``PATIENCE`` rounds brought progress neither in the loss nor in how much keys matter."""
    before, recent = rounds[:-PATIENCE], rounds[-PATIENCE:]
    if not before:
        return False
    loss = min(one.loss for one in recent) < (1 - LOSS_PROGRESS) * min(one.loss for one in before)
    keys = max(one.keys for one in recent) > max(one.keys for one in before) + KEYS_PROGRESS
    return not (loss or keys)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the next call of ``train dynamics`` is to go: all its steps, and the share over which the rate falls."""

    steps: int
    cooldown: float

    @property
    def last(self) -> bool:
        """Whether the rate falls: training ends there."""
        return self.cooldown > 0


def next_target(rounds: Sequence[Round], step_seconds: float, left: float) -> Target:
    """The next round, or the last one, where the learning rate falls.

    Args:
        rounds: those so far.
        step_seconds: that a step takes.
        left: seconds left for training.
    """
    done = rounds[-1].steps if rounds else 0
    whole = done + max(1, int(left / step_seconds))
    size = max(1, math.ceil(whole * (1 - COOLDOWN) / ROUNDS), math.ceil(SHORTEST / step_seconds))
    plateau = int(whole * (1 - COOLDOWN))
    # What is left of a round is not worth one of its own.
    if done and (stalled(rounds) or done + size // 2 >= plateau):
        wanted = math.ceil(done * COOLDOWN / (1 - COOLDOWN))
        # Where other programs made the last round slow, some of the fall is worth more than the minute that it costs.
        steps = done + max(min(whole - done, wanted), math.ceil(wanted / 3))
        return Target(steps=steps, cooldown=(steps - done) / steps)
    return Target(steps=min(done + size, max(done + 1, plateau)), cooldown=0.0)
