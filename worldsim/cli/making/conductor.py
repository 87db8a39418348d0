"""Conducts a making: gathers recordings, plans, runs the commands in order, judges; goes on when started again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldsim.cli.making.game_kind import GameLook
from worldsim.cli.making.gathering import format_of, gather
from worldsim.cli.making.lengths import check_lengths, longest_recording
from worldsim.cli.making.plan import MEMORY_SHARE, Plan, check_words, make_plan, minutes, recorded_frames
from worldsim.cli.making.rounds import Round, Target, next_target, stalled
from worldsim.cli.making.settings import MakeWorld
from worldsim.cli.making.stages import Stages, run_stage
from worldsim.cli.making.state import Making
from worldsim.cli.making.verdict import Judged, Line, verdict
from worldsim.datasets.store.store import SPLITS
from worldsim.errors import UserError
from worldsim.spec.text_files import json_lines, read_json
from worldsim.training.store_checks import check_store

# Stages after the dynamics, which are done again when these have been trained on.
AFTER = ("export", "tasks", "memory", "eval")
# Steps of the memory's parts, at most, and between two rows of a training's metrics.
MOST_STEPS, LOGGED = {"depth": 3000, "memory": 1500}, 10
Say = Callable[[str], None]


def prepare(config: MakeWorld, making: Making, say: Say = print) -> Stages:
    """Gather the recordings and plan, or take the plan of before; says what will be done and how long it takes.

    Raises:
        UserError: the recordings cannot be trained on, or a setting does not fit.
    """
    kind = None if config.kind == "auto" else config.kind
    check_words(config.tokenizer, config.dynamics, config.evaluate)
    with making.spending("recordings"):
        store, look = gather(
            Path(config.recordings), making.folder / "recordings", kind=kind, size=config.size, fps=config.fps,
            keys=config.keys, only=config.only,
        )  # fmt: skip
        check_store(store, config.only)
        recordings = format_of(store, config.only)
        if not recordings.spec.size:
            raise UserError(f"{store.url} has no actions: a world learns what keys do from recordings with keys")
    if not making.begun:
        say("timing a few steps of training on this machine ...")
        with making.spending("timing"):
            making.plan = make_plan(
                store, recordings, look, {split: config.only.names(store, split) for split in SPLITS},
                kind=kind, hours=config.hours, tokenizer=config.tokenizer, dynamics=config.dynamics,
                memory=config.memory,
            ).to_json()  # fmt: skip
    frames = recorded_frames(store, config.only.names(store, "train"))
    if frames != making.plan["frames"]:
        # Recordings were added since: they are checked, too.
        making.plan["frames"] = frames
        making.reopen("check")
    plan = Plan.from_json(making.plan)
    say(f"{plan.frames:,} frames of {plan.size[0]}x{plan.size[1]} to learn from, {recordings.fps} a second")
    for line in plan.lines(config.hours):
        say(line)
    if making.spent > 60:
        done = ", ".join(making.done) or "-"
        say(f"{minutes(making.spent)} of {minutes(3600 * config.hours)} are spent; done: {done}")
    check_lengths(store, config, plan)
    longest = longest_recording(store, config, plan.split)
    return Stages(plan=plan, folder=making.folder, config=config, fps=recordings.fps, longest=longest)


def conduct(config: MakeWorld, making: Making, stages: Stages, say: Say = print) -> list[Line]:
    """Run what is not done yet, and judge the world.

    Raises:
        UserError: a stage says that something is wrong.
        KeyboardInterrupt: told to stop; all is saved.
    """
    plan = stages.plan
    if making.hours and config.hours > making.hours:
        say(f"more time: {making.hours:g} h before, {config.hours:g} h now")
        making.reopen("dynamics", *AFTER)
        making.hours, making.target = 0.0, None
    if config.check:
        _once(making, "check", lambda: run_stage("data check", stages.check()))
    _once(making, "tokenizer", lambda: run_stage("train tokenizer", stages.train_tokenizer()))
    if "dynamics" not in making.done:
        train_dynamics(config, making, stages, say)
    _once(making, "export", lambda: run_stage("train export", stages.export()))
    if plan.tasks:
        _once(making, "tasks", lambda: _train_tasks(stages, say))
    if plan.memory:
        _once(making, "depth", lambda: _in_time(making, "depth", stages.train_depth, config.hours))
        _once(making, "motion", lambda: run_stage("train motion", stages.train_motion()))
        _once(making, "memory", lambda: _in_time(making, "memory", stages.train_memory, config.hours))
    chunk = _chunk(stages)
    _once(making, "eval", lambda: run_stage("eval", stages.evaluate(chunk)))
    judged = Judged.of(read_json(making.folder / "eval" / "eval.json"))
    return verdict(judged, making.rounds, GameLook.from_json(plan.look), plan.frames, config.hours)


def _once(making: Making, stage: str, work: Callable[[], None]) -> None:
    if stage in making.done:
        return
    with making.spending(stage):
        work()
    making.finish(stage)


def _train_tasks(stages: Stages, say: Say) -> None:
    """Heads for tasks are an extra: where facts are too rare to learn them, the world goes without."""
    try:
        run_stage("train tasks", stages.train_tasks())
    except ValueError as reason:
        say(f"no heads for tasks: {reason}")


def _in_time(making: Making, stage: str, words: Callable[[int], list[str]], hours: float) -> None:
    """Train a part of the memory for half of the memory's time; its first steps tell how many those are."""
    if stage not in making.steps:
        run_stage(f"train {stage}", words(2 * LOGGED))
        rows = [row for _, row in json_lines(making.folder / stage / "metrics.jsonl", torn=True)]
        times = {row["step"]: row["time"] for row in rows}
        each = max(1e-3, (times[2 * LOGGED] - times[LOGGED]) / LOGGED)
        making.steps[stage] = max(2 * LOGGED, min(MOST_STEPS[stage], int(1800 * hours * MEMORY_SHARE / each)))
        making.save()
    run_stage(f"train {stage}", words(making.steps[stage]))


def train_dynamics(config: MakeWorld, making: Making, stages: Stages, say: Say) -> None:
    """Train the dynamics in rounds, and tell after each what a person wants to know.

    Whether to go on is decided between rounds. The last one has a falling learning rate.
    """
    budget = stages.plan.dynamics_budget(config.hours)
    while True:
        target = making.target or next_target(
            making.rounds, _step_seconds(making, stages.plan), budget - sum(one.seconds for one in making.rounds)
        )
        if target.last and making.target is None:
            why = "it no longer improves" if stalled(making.rounds) else "the time is nearly used up"
            say(f"the learning rate falls now, for the last {target.steps - _done(making):,} steps: {why}")
        # Before anything can happen: whoever is killed on the way goes on to the same target.
        making.target = target
        making.save()
        with making.spending("dynamics"):
            run_stage("train dynamics", stages.train_dynamics(target))
        rows = [row for _, row in json_lines(making.folder / "dynamics" / "metrics.jsonl", torn=True)]
        if not any("validation/x0" in row and row["step"] > _done(making) for row in rows):
            # Killed between saving and writing its validation down: one more step makes another.
            making.target = Target(steps=target.steps + 1, cooldown=target.cooldown)
            continue
        _conclude_round(making, rows, target.steps, say)
        if target.last:
            break
    making.hours = config.hours
    making.finish("dynamics")


def _conclude_round(making: Making, rows: Sequence[Mapping[str, Any]], steps: int, say: Say) -> None:
    spent = making.seconds["dynamics"] - sum(one.seconds for one in making.rounds)
    made = Round.of(rows, steps, _done(making), spent)
    making.rounds.append(made)
    making.target = None
    making.save()
    say(f"{minutes(making.seconds['dynamics'])} of training, {made.line()}")


def _done(making: Making) -> int:
    return making.rounds[-1].steps if making.rounds else 0


def _step_seconds(making: Making, plan: Plan) -> float:
    """Seconds a step, as it was in the last round; before the first, as timed."""
    if not making.rounds:
        return plan.dynamics_step
    before = making.rounds[-2].steps if len(making.rounds) > 1 else 0
    return max(1e-6, making.rounds[-1].seconds / max(1, making.rounds[-1].steps - before))


def _chunk(stages: Stages) -> int:
    from worldsim.models.checkpoint import read_metadata

    return int(read_metadata(stages.folder / "tokenizer" / "tokenizer.safetensors")["tokenizer"]["chunk"])
