"""``worldsim eval ray=local``: a real cluster measures what one process measures, and outlives killed workers."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_eval import PRESET, record
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.cli.worlds import evaluate
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.parts.listing import PARTS

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.alone

NAMES = ("horizons", "actions")


@dataclass(frozen=True)
class Killer:
    """Opens evaluations; the first worker that asks dies of it."""

    opens: Any
    folder: Path
    driver: int

    def __call__(self, config: Any, folder: Path = Path()) -> Evaluation:
        if os.getpid() != self.driver:
            first = not any(self.folder.iterdir())
            (self.folder / str(os.getpid())).touch()
            if first:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.opens(config, folder)


def results(folder: Path) -> dict[str, Any]:
    """What was measured, without how long it took."""
    found = json.loads((folder / "eval.json").read_text())["results"]
    return {name: {k: v for k, v in found[name].items() if k != "took_seconds"} for name in NAMES}


def test_parts_on_a_cluster_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_tiny_world(tmp_path / "world")
    for seed in [s for s in range(200) if split_of(s) == "test"][:2]:
        record(EpisodeStore(tmp_path / "store"), seed)
    words = [
        "eval", f"world={tmp_path}/world", f"data={tmp_path}/store", f"parts=[{','.join(NAMES)}]", "threads=1",
        *(f"preset.{word}" for word in PRESET.split()),
    ]  # fmt: skip
    assert cli.main([*words, f"folder={tmp_path}/one"]) == 0
    (tmp_path / "opened").mkdir()
    monkeypatch.setattr(evaluate, "_opened", Killer(evaluate._opened, tmp_path / "opened", os.getpid()))

    def measured_here(self: EvaluationPart, evaluation: Evaluation) -> Any:
        raise AssertionError(f"{self.name} was measured by this process")

    for name in NAMES:
        monkeypatch.setattr(type(PARTS[name]), "run", measured_here)
    assert cli.main([*words, f"folder={tmp_path}/ray", "ray=local"]) == 0
    assert results(tmp_path / "ray") == results(tmp_path / "one")
    # One worker died, and what it was to measure was measured by another.
    assert len(list((tmp_path / "opened").iterdir())) >= 2
    kept = [{str(path.relative_to(tmp_path / run)) for path in (tmp_path / run).rglob("*")} for run in ("one", "ray")]
    assert kept[0] == kept[1]
