"""The order of the stages and what decides it, with commands that only write down what they would leave."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worldsim.cli.making import conductor, state
from worldsim.cli.making.conductor import conduct
from worldsim.cli.making.game_kind import GameLook
from worldsim.cli.making.plan import MEMORY_SHARE, Plan
from worldsim.cli.making.settings import MakeWorld
from worldsim.cli.making.stages import Stages
from worldsim.cli.making.state import Making
from worldsim.errors import UserError

LOOK = GameLook(ground=0.3, changed=0.5, shifted=0.1, camera=True, depth=True)
PLAN = Plan(
    store="data/walks", kind="first_person", look=LOOK.to_json(), model="small", size=(144, 80), frames=20_000,
    split="test", tokenizer_steps=10, tokenizer_step=1.0, dynamics_step=1.0, tasks=True, memory=True,
)  # fmt: skip
ASKED = MakeWorld(
    recordings="data/walks", out="worlds/walks", evaluate=["preset.clips=3"], source="mine", seed=7, threads=1
)
EVALUATION = {
    "about": {"chunk": 2, "fps": 20},
    "actions": {"use": {"ratio": {"value": 1.5}}},
    "horizons": {
        "gain_over_repeat": {"value": [2.0, 1.0]},
        "actions": {"delta_psnr": {"value": [1.0]}},
        "tokenizer_ceiling": {"value": 33.0},
    },
}


class Commands:
    """Commands that were run; ``step``: seconds of a step of depth and memory; ``fails``: names of those that fail."""

    def __init__(self, folder: Path, step: float = 1.0, fails: Sequence[str] = ()) -> None:
        self.folder, self.step, self.fails = folder, step, fails
        self.ran: list[tuple[str, dict[str, str]]] = []
        self.now, self.steps = 0.0, 0

    def __call__(self, name: str, words: Sequence[str]) -> None:
        settings = dict(word.split("=", 1) for word in words)
        self.ran.append((name, settings))
        if name in self.fails:
            raise UserError(f"{name} cannot be done")
        rows: list[dict[str, Any]] = []
        if name == "train dynamics":
            steps = int(settings["training.steps"])
            self.now += (steps - self.steps) * PLAN.dynamics_step
            self.steps = steps
            found = {"x0": 1 / steps, "x0_0": 0.1, "repeat": 0.2, "shuffled_ratio_noise": 1.3}
            rows = [{"step": steps, "loss": 1.0, **{f"validation/{key}": value for key, value in found.items()}}]
        elif name in ("train depth", "train memory"):
            rows = [{"step": n, "loss": 1.0, "time": 100 + self.step * n} for n in (10, 20)]
        if rows:
            run = Path(settings["folder"])
            run.mkdir(parents=True, exist_ok=True)
            with (run / "metrics.jsonl").open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        if name == "eval":
            (self.folder / "eval").mkdir(exist_ok=True)
            (self.folder / "eval" / "eval.json").write_text(json.dumps(EVALUATION))

    @property
    def names(self) -> list[str]:
        """Commands in order, each once in a row."""
        names = [name for name, _ in self.ran]
        return [name for i, name in enumerate(names) if not i or names[i - 1] != name]

    def of(self, name: str) -> list[dict[str, str]]:
        return [settings for each, settings in self.ran if each == name]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path)
    monkeypatch.setattr(conductor, "run_stage", made)
    monkeypatch.setattr(conductor, "_chunk", lambda stages: 2)
    # The time that trainings take by the plan, and no other.
    monkeypatch.setattr(state, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def run(
    commands: Commands, plan: Plan = PLAN, asked: MakeWorld = ASKED, say: Any = lambda line: None, longest: int = 1000
) -> list[Any]:
    stages = Stages(plan=plan, folder=commands.folder, config=asked, fps=20, longest=longest)
    return conduct(asked, Making.open(commands.folder, {}), stages, say)


ALL_STAGES = [
    "data check", "train tokenizer", "train dynamics", "train export", "train tasks", "train depth", "train motion",
    "train memory", "eval",
]  # fmt: skip


def test_every_stage_runs_in_order_and_none_twice(commands: Commands):
    lines = run(commands)
    assert commands.names == ALL_STAGES and all(line.good for line in lines)
    again = len(commands.ran)
    assert run(commands) == lines and len(commands.ran) == again


def test_stages_that_do_not_apply_are_left_out(commands: Commands):
    run(commands, replace(PLAN, tasks=False, memory=False), replace(ASKED, check=False))
    assert commands.names == ["train tokenizer", "train dynamics", "train export", "eval"]


def test_settings_reach_every_stage(commands: Commands):
    run(commands)
    for name, settings in commands.ran:
        assert settings.get("data") == "data/walks", name
    for name in set(ALL_STAGES) - {"data check", "train export"}:
        for settings in commands.of(name):
            assert (settings["seed"], settings["threads"], settings["source"]) == ("7", "1", "mine")
    (judged,) = commands.of("eval")
    # Three seconds of 20 frames, two a step; a past of 1 + 2 k frames; what the user said counts more.
    assert (judged["preset.chunks"], judged["preset.prefix"], judged["preset.clips"]) == ("30", "17", "3")
    assert "limits.shared_views" not in commands.of("data check")[0]
    run(commands, replace(PLAN, look=replace(LOOK, camera=False).to_json()), replace(ASKED, hours=0.5))


@pytest.mark.parametrize(("longest", "chunks"), [(1000, 30), (77, 30), (76, 29), (33, 8), (21, 2)])
def test_rollouts_are_judged_as_far_as_recordings_go(commands: Commands, longest: int, chunks: int):
    run(commands, longest=longest)
    (judged,) = commands.of("eval")
    assert int(judged["preset.chunks"]) == chunks
    assert int(judged["preset.prefix"]) + 2 * chunks <= longest


@pytest.mark.parametrize(("step", "steps"), [(1.0, int(1800 * MEMORY_SHARE)), (0.01, 3000), (1000.0, 20)])
def test_a_memory_takes_its_share_of_the_time(commands: Commands, step: float, steps: int):
    commands.step = step
    run(commands)
    first, then = commands.of("train depth")
    assert (first["training.steps"], then["training.steps"]) == ("20", str(steps))
    assert [one["training.steps"] for one in commands.of("train memory")] == ["20", str(min(steps, 1500))]


def test_rounds_go_up_to_the_time_and_the_last_one_cools_down(commands: Commands):
    said: list[str] = []
    run(commands, say=said.append)
    rounds = commands.of("train dynamics")
    steps = [int(one["training.steps"]) for one in rounds]
    assert steps == sorted(set(steps)) and steps[-1] == pytest.approx(PLAN.dynamics_budget(1.0), rel=0.01)
    falling = [float(one["training.optimizer.cooldown"]) > 0 for one in rounds]
    assert falling == [False] * (len(rounds) - 1) + [True]
    assert sum("keys matter" in line for line in said) == len(rounds)


def test_heads_for_tasks_are_an_extra_and_all_else_is_not(commands: Commands):
    said: list[str] = []
    commands.fails = ("train tasks",)
    run(commands, say=said.append)
    assert commands.names == ALL_STAGES and "no heads for tasks: train tasks cannot be done" in said


def test_a_stage_that_fails_is_done_again_with_the_same_command(commands: Commands):
    commands.fails = ("train export",)
    with pytest.raises(UserError, match="train export cannot be done"):
        run(commands)
    before = len(commands.ran)
    commands.fails = ()
    run(commands)
    assert commands.ran[before][0] == "train export"
