"""The plan of a making: what will be done by which settings, and how long it will take on this machine."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from worldsim.cli.compose import compose
from worldsim.cli.making.game_kind import KINDS, GameLook
from worldsim.cli.making.recipes import FEW_STEPS, RECIPES, choose_model
from worldsim.cli.making.timing import dynamics_seconds, tokenizer_seconds
from worldsim.cli.train.worlds import TrainDynamics, TrainTokenizer
from worldsim.cli.worlds.evaluate import Evaluate
from worldsim.datasets.loading.task_facts import episode_facts
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.recording_format import RecordingFormat
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.spec.facts import LEARNED

# Shares of the time: at most so much for the tokenizer, so much kept for the evaluation, so much for a memory; the
# dynamics get at least so much.
TOKENIZER_SHARE, JUDGING_SHARE, MEMORY_SHARE, DYNAMICS_SHARE = 0.2, 0.08, 0.3, 0.2
# What the plan decides itself: it depends on the time and on what is found on the way.
DECIDED = {
    "training.steps", "training.optimizer.cooldown", "training.validate_every", "folder", "data", "tokenizer",
    "latents", "world",
}  # fmt: skip
# A forward pass is about this share of a training step.
FORWARD = 0.25
# Episodes that are looked through for points and other facts.
LOOKED_AT = 12
# Facts that any recording of positions tells; heads for them alone are no tasks.
PLACES = {"position", "furthest"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done.

    Attributes:
        store: of the episodes.
        kind: of game.
        look: what was measured on the pictures.
        model: of the dynamics, ``configs/model``.
        size: width and height of the pictures in pixels.
        frames: recorded for training.
        split: that start clips and the evaluation are of.
        tokenizer_steps: optimizer steps of the tokenizer.
        tokenizer_step, dynamics_step: seconds a step.
        tasks: whether heads are trained for facts that tasks are judged by.
        memory: whether the world gets a spatial memory.
    """

    store: str
    kind: str
    look: dict[str, Any]
    model: str
    size: tuple[int, int]
    frames: int
    split: Split
    tokenizer_steps: int
    tokenizer_step: float
    dynamics_step: float
    tasks: bool
    memory: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> "Plan":
        """The inverse of ``to_json``."""
        plan = Plan(**raw)
        return replace(plan, size=(plan.size[0], plan.size[1]))

    @property
    def tokenizer_seconds(self) -> float:
        """That the tokenizer is expected to take."""
        return self.tokenizer_steps * self.tokenizer_step

    @property
    def latents_seconds(self) -> float:
        """That encoding the recordings is expected to take."""
        return self.frames / 48 * FORWARD * self.tokenizer_step

    @property
    def _kept(self) -> float:
        return JUDGING_SHARE + MEMORY_SHARE * self.memory

    def dynamics_budget(self, hours: float) -> float:
        """Seconds for the dynamics when the whole takes so many hours."""
        left = 3600 * hours * (1 - self._kept) - self.tokenizer_seconds - self.latents_seconds
        return max(left, DYNAMICS_SHARE * 3600 * hours)

    def hours_for(self, steps: int) -> float:
        """Hours that leave time for so many steps of the dynamics, however long the tokenizer is trained then."""
        needed = steps * self.dynamics_step
        tokenizer = max(self.tokenizer_steps, RECIPES[self.kind].tokenizer_steps) * self.tokenizer_step
        before = tokenizer + self.latents_seconds
        return min((needed + before) / (1 - self._kept), needed / DYNAMICS_SHARE) / 3600

    def lines(self, hours: float) -> Iterator[str]:
        """The plan for people."""
        yield f"what the pictures show: {KINDS[self.kind]} (kind={self.kind}), because {_because(self)}"
        yield f"so {RECIPES[self.kind].why}"
        dynamics = self.dynamics_budget(hours)
        most = f"at most {dynamics / self.dynamics_step:,.0f} steps; stops when it no longer improves"
        rows = [
            ("train tokenizer", self.tokenizer_seconds, f"{self.tokenizer_steps:,} steps"),
            ("train dynamics", dynamics + self.latents_seconds,
             f"model={self.model}, {most}"),
            *([("train tasks", None, "heads for points and other facts, by which agents are paid")] * self.tasks),
            *([("train memory", 3600 * hours * MEMORY_SHARE, "depth, motion, and what draws from them")] * self.memory),
            ("train export", 10.0, "the world and clips to begin from"),
            ("eval", 3600 * hours * JUDGING_SHARE, "on recordings that nothing was learned from"),
        ]  # fmt: skip
        for name, seconds, note in rows:
            yield f"  {name:16} {'not timed' if seconds is None else minutes(seconds):>10}   {note}"
        if dynamics / self.dynamics_step < FEW_STEPS:
            more = math.ceil(self.hours_for(FEW_STEPS) * 100) / 100
            yield (
                f"warning: after fewer than {FEW_STEPS:,} steps of train dynamics a world most likely ignores keys: "
                f"give hours={more:g} or more, or a smaller size= in another folder="
            )


def recorded_frames(store: EpisodeStore, names: Sequence[str]) -> int:
    """Video frames of episodes."""
    return sum(int(store.manifest(name)["frames"]) for name in names)


def minutes(seconds: float) -> str:
    """A time for people."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _because(plan: Plan) -> str:
    look = GameLook.from_json(plan.look)
    measured = (
        f"{look.ground:.0%} of a picture stays as it mostly is, {look.changed:.0%} changes from frame to frame, and "
        f"one shift of the whole explains {look.shifted:.0%} of that"
    )
    if look.kind != plan.kind:
        return f"you said so ({measured})"
    return "there is a camera among the actions" if look.camera else measured


def make_plan(
    store: EpisodeStore,
    recordings: RecordingFormat,
    look: GameLook,
    names: Mapping[Split, Sequence[str]],
    *,
    kind: str | None,
    hours: float,
    tokenizer: Sequence[str],
    dynamics: Sequence[str],
    memory: bool | None,
    time_tokenizer: Callable[..., float] = tokenizer_seconds,
    time_dynamics: Callable[..., float] = dynamics_seconds,
) -> Plan:
    """Decide what to do, by some timed steps.

    Args:
        store: of the episodes.
        recordings: what they have in common.
        look: at their pictures.
        names: the episodes that may be used, by split.
        kind: of game; None: as measured.
        hours: for all of it.
        tokenizer: settings of ``train tokenizer`` that count more than the recipe's.
        dynamics: the same of ``train dynamics``.
        memory: whether there is to be a spatial memory; None: where recordings have depth and a camera.
        time_tokenizer, time_dynamics: measure a step.

    Raises:
        UserError: a memory is asked for that cannot be had.
    """
    _check_memory(memory, look)
    kind = kind or look.kind
    recipe, budget = RECIPES[kind], 3600 * hours
    each = time_tokenizer([*recipe.tokenizer, *tokenizer], recordings)
    steps = max(1, min(recipe.tokenizer_steps, int(TOKENIZER_SHARE * budget / each)))
    given = [word.partition("=")[2] for word in tokenizer if word.startswith("training.steps=")]
    models = [word.partition("=")[2] for word in dynamics if word.startswith("model=")] or list(recipe.models)
    seconds = {
        model: time_dynamics(dynamics_words(kind, model, dynamics), [*recipe.tokenizer, *tokenizer], recordings)
        for model in models
    }
    chosen = choose_model(seconds, budget * (1 - TOKENIZER_SHARE - JUDGING_SHARE))
    return Plan(
        store=str(store.url),
        kind=kind,
        look=look.to_json(),
        model=chosen,
        size=(recordings.width, recordings.height),
        frames=recorded_frames(store, names["train"]),
        split="test" if names["test"] else "validation",
        tokenizer_steps=int(given[-1]) if given else steps,
        tokenizer_step=each,
        dynamics_step=seconds[chosen],
        tasks=bool(names["test"])
        and any(has_tasks(store.read(name, depth=False)) for name in names["train"][:LOOKED_AT]),
        memory=look.camera and look.depth if memory is None else memory,
    )


def dynamics_words(kind: str, model: str, given: Sequence[str]) -> list[str]:
    """Settings of ``train dynamics``: the recipe's, then a user's own."""
    # Compiling takes minutes on a processor, and each round would wait for it.
    return [*RECIPES[kind].dynamics, "training.compile=false", *given, f"model={model}"]


def check_words(tokenizer: Sequence[str], dynamics: Sequence[str], judging: Sequence[str]) -> None:
    """Refuse settings of stages that do not fit, before hours have passed.

    Raises:
        UserError: one is unknown, has a value that it cannot have, or is decided by the plan.
    """
    given = {"tokenizer": tokenizer, "dynamics": dynamics, "evaluate": judging}
    for name, words in given.items():
        for word in words:
            key = word.partition("=")[0]
            if key in DECIDED - ({"training.steps"} if name == "tokenizer" else set()):
                raise UserError(f"{name}=[{word}]: {key} is decided by make-world; hours= and folder= are its settings")
    compose(TrainTokenizer, ["data=store", *tokenizer])
    compose(TrainDynamics, ["data=store", "tokenizer=file", *dynamics])
    compose(Evaluate, ["data=store", *judging])


def has_tasks(episode: Episode) -> bool:
    """Whether a recording tells facts that tasks are judged by."""
    known = episode_facts(episode, 1)[1] - PLACES
    rewarded = bool(episode.rewards.any())
    return bool(known & set(LEARNED) - ({"won", "lost"} if not rewarded else set()))


def _check_memory(memory: bool | None, look: GameLook) -> None:
    """Refuse a memory for recordings that it cannot be learned from.

    Raises:
        UserError: they are such.
    """
    if memory and not (look.camera and look.depth):
        raise UserError("memory=true wants recordings with a camera and depth; these have " + _lacks(look))


def _lacks(look: GameLook) -> str:
    return " and ".join(n for n, there in (("no camera", look.camera), ("no depth", look.depth)) if not there)
