"""What a making of a world has decided and done so far: one JSON file, by which the same command goes on."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldsim.asides import write_whole
from worldsim.cli.making.rounds import Round, Target
from worldsim.errors import UserError
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

FILE = "make-world.json"


@dataclass
class Making:
    """The state of a making.

    Attributes:
        folder: that holds everything of it.
        asked: settings that must stay the same from call to call.
        plan: what was decided before the training began: see ``plan.Plan``.
        done: stages that are finished.
        seconds: spent, by stage.
        steps: of the memory's parts, once they are timed.
        rounds: of the dynamics.
        target: where the dynamics are going.
        hours: that the finished dynamics were given; 0 while they are not finished.
    """

    folder: Path
    asked: dict[str, Any]
    plan: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    target: Target | None = None
    hours: float = 0.0

    @staticmethod
    def open(folder: Path, asked: Mapping[str, Any]) -> "Making":
        """Go on with what the folder holds, or begin anew where it holds nothing.

        Raises:
            UserError: it was begun with other settings.
            ValueError: the file is damaged.
        """
        path, made = folder / FILE, Making(folder=folder, asked=dict(asked))
        if not path.is_file():
            return made
        with reading(path, "the state of worldsim make-world"):
            raw = read_json(path)
            kept = dict(raw["asked"])
            made.plan, made.done, made.seconds = dict(raw["plan"]), list(raw["done"]), dict(raw["seconds"])
            made.steps = dict(raw["steps"])
            made.rounds = [Round(**one) for one in raw["rounds"]]
            made.target = None if raw["target"] is None else Target(**raw["target"])
            made.hours = float(raw["hours"])
        for key, value in asked.items():
            if kept.get(key) != value:
                raise UserError(
                    f"{folder} was begun with {key}={_shown(kept.get(key))}, and this command says {_shown(value)}: "
                    "give the same settings to go on, or another folder="
                )
        return made

    def save(self) -> None:
        """Write the file, whole or not at all."""
        raw = asdict(self) | {"folder": str(self.folder)}
        write_whole(self.folder / FILE, json.dumps(raw, indent=1) + "\n")

    @property
    def begun(self) -> bool:
        """Whether training goes by the plan already; until then it is made anew, as other hours may allow more."""
        return bool(self.plan) and (bool(self.done) or (self.folder / "tokenizer").exists())

    @property
    def spent(self) -> float:
        """Seconds spent so far."""
        return sum(self.seconds.values())

    @contextmanager
    def spending(self, stage: str) -> Iterator[None]:
        """Count the time of a block for a stage, however it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - began, 1)
            self.save()

    def finish(self, stage: str) -> None:
        """Note that a stage is done."""
        if stage not in self.done:
            self.done.append(stage)
        self.save()

    def reopen(self, *stages: str) -> None:
        """Do these again."""
        self.done = [stage for stage in self.done if stage not in stages]
        self.save()


def _shown(value: Any) -> str:
    return "nothing" if value in (None, []) else f"[{','.join(value)}]" if isinstance(value, list) else str(value)
