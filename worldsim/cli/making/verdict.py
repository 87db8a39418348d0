"""The verdict on a finished world in plain words: what is good, what is not, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.cli.making.game_kind import STILL, GameLook
from worldsim.cli.making.rounds import KEYS_IGNORED, KEYS_MATTER, Round, stalled
from worldsim.spec.damage import reading

# Where small things move, a loss over the whole picture hardly knows them. By what a rollout shows, keys matter from
# the second of these on, in dB that other keys are farther from what was recorded, and not at all below the first.
SAME_DB, OTHER_DB = 0.3, 1.0
# PSNR of the tokenizer's own pictures, dB: below the first they are blurred, from the second on nobody sees much.
BLURRED, CLEAR = 26.0, 32.0
# Share of the horizon for which a dream must be better than the last frame, to be called lasting.
LASTS = 0.9
# How much above its lowest the held-out loss ends, so that the network has learned its recordings by heart.
BY_HEART = 1.05
# Frames recorded, below which more of them are the first advice.
FEW_FRAMES = 10_000
# Share of frames without any key, above which the recordings say little about keys.
IDLE = 0.6


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the verdict rests on.

    Attributes:
        keys: loss under the actions of other clips, over that under the true ones (``eval``, part actions).
        gain: dB above repeating the last frame, by step of the world.
        delta: dB that the true actions are nearer to the recorded future than other ones, the mean of all steps.
        tokenizer: PSNR of recorded pictures through the tokenizer, dB.
        step: seconds of a step of the world.
    """

    keys: float
    gain: Sequence[float]
    delta: float
    tokenizer: float
    step: float

    @staticmethod
    def of(results: Mapping[str, Any]) -> "Judged":
        """From an ``eval.json`` with the parts horizons and actions.

        Raises:
            UserError: it lacks something.
        """
        with reading("eval.json", "a report of worldsim eval"):
            horizons = results["horizons"]
            delta = horizons["actions"]["delta_psnr"]["value"]
            return Judged(
                keys=float(results["actions"]["use"]["ratio"]["value"]),
                gain=[float(value) for value in horizons["gain_over_repeat"]["value"]],
                delta=sum(delta) / len(delta),
                tokenizer=float(horizons["tokenizer_ceiling"]["value"]),
                step=results["about"]["chunk"] / results["about"]["fps"],
            )

    @property
    def good_steps(self) -> int:
        """Steps before the first that is no better than repeating the last frame."""
        return next((i for i, gain in enumerate(self.gain) if gain <= 0), len(self.gain))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One finding: whether it is good, what was found, and what to do about it ("" where nothing is to be done)."""

    good: bool
    text: str
    advice: str = ""


def verdict(judged: Judged, rounds: Sequence[Round], look: GameLook, frames: int, hours: float) -> list[Line]:
    """What is good and what is not, what matters most first.

    Args:
        judged: the evaluation.
        rounds: of the training.
        look: at the recordings.
        frames: recorded for training.
        hours: that the training was given.
    """
    more = _what_would_help(rounds, look, frames, hours)
    return [
        _keys(judged, look, more),
        *_last_frame(judged, more),
        _pictures(judged, look),
        *_data(rounds, look, frames),
    ]


def _keys(judged: Judged, look: GameLook, more: str) -> Line:
    measured = f"under wrong keys the error is {judged.keys:.2f} times as large, and pictures are {judged.delta:.1f} dB"
    measured += " farther from what was recorded"
    if judged.keys >= KEYS_MATTER or judged.delta >= OTHER_DB:
        return Line(good=True, text=f"The keys matter: {measured}.")
    if judged.keys >= KEYS_IGNORED or judged.delta >= SAME_DB:
        return Line(good=False, text=f"The keys matter little: {measured}.", advice=more)
    advice = more
    if look.idle > IDLE:
        advice = f"In {look.idle:.0%} of the recorded frames no key is held: record play in which keys change often."
    return Line(good=False, text=f"The keys are ignored: {measured}.", advice=advice)


def _last_frame(judged: Judged, more: str) -> Iterator[Line]:
    steps, seconds = judged.good_steps, judged.good_steps * judged.step
    if not steps:
        yield Line(good=False, text="The next picture is no better than the last one repeated.", advice=more)
    elif steps < LASTS * len(judged.gain):
        text = f"For {seconds:.1f} s a dream is better than the last picture repeated, and not beyond."
        yield Line(good=False, text=text, advice=more)
    else:
        gain = f"{judged.gain[0]:.1f} dB at the first step and {judged.gain[-1]:.1f} dB at the last"
        text = (
            f"For {seconds:.1f} s, as long as was measured, a dream is better than the last picture repeated: {gain}."
        )
        yield Line(good=True, text=text)


def _pictures(judged: Judged, look: GameLook) -> Line:
    measured = f"PSNR {judged.tokenizer:.1f} dB through the tokenizer"
    if judged.tokenizer >= CLEAR:
        return Line(good=True, text=f"Pictures are clear: {measured}.")
    wider = "tokenizer=[model.channels=64,training.steps=3000] in another folder="
    if look.kind == STILL:
        wider = "tokenizer=[training.fit_batches=96,training.steps=3000] in another folder="
    word = "blurred" if judged.tokenizer < BLURRED else "a little blurred"
    return Line(good=False, text=f"Pictures are {word}: {measured}.", advice=f"Give the tokenizer more: {wider}.")


def _data(rounds: Sequence[Round], look: GameLook, frames: int) -> Iterator[Line]:
    if _learned_by_heart(rounds):
        text = "The network has begun to learn its recordings by heart: the error on held-out ones rises."
        yield Line(good=False, text=text, advice="Record more, in other places of the game.")
    elif frames < FEW_FRAMES:
        text = f"There are few recordings: {frames:,} frames to learn from."
        yield Line(
            good=False, text=text, advice=f"Record at least {FEW_FRAMES:,}, in which every key is used everywhere."
        )
    else:
        yield Line(good=True, text=f"There were {frames:,} frames to learn from, and they were not learned by heart.")


def _learned_by_heart(rounds: Sequence[Round]) -> bool:
    return bool(rounds) and rounds[-1].loss > BY_HEART * min(one.loss for one in rounds)


def _what_would_help(rounds: Sequence[Round], look: GameLook, frames: int, hours: float) -> str:
    """More data, more steps, or another choice."""
    record = f"Record more, then give the same command again with hours={2 * hours:g}."
    if _learned_by_heart(rounds):
        return record
    # The last round has a falling rate, which always helps: the ones before tell whether there is more to come.
    if not stalled(rounds[:-1]):
        return f"It was still improving: give the same command again with hours={2 * hours:g}."
    if frames < FEW_FRAMES:
        return record
    others = "dynamics=[model=small]" if look.kind == STILL else "kind=still, dynamics=[model=small] or size="
    return f"More steps would not help: try another choice in another folder=, {others}, or record more."


def as_text(lines: Sequence[Line]) -> str:
    """For people."""
    return "\n".join(
        f"  {'+' if line.good else '-'} {line.text}" + (f"\n    -> {line.advice}" if line.advice else "")
        for line in lines
    )
