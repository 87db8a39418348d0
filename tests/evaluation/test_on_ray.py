"""``worldsim eval ray=local``: a real cluster measures what one process measures, and outlives killed workers."""

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.test_eval import PRESET, record
from tests.ray_nearby import Nearby
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.cli.worlds import evaluate
from worldsim.cluster import results_of
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.evaluation import on_ray
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.listing import PARTS

NAMES = ("horizons", "actions")


def test_files_of_workers_come_into_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of parts that the run does not have yet, all of them, results last; nothing of a part that was skipped."""
    written: list[str] = []

    def run(evaluation: Any, parts: Any, only: list[str]) -> None:
        for name in {"horizons": ["parts/horizons.json", "parts/horizons.npz", "video.mp4"]}.get(only[0], []):
            (evaluation / name).parent.mkdir(exist_ok=True)
            (evaluation / name).write_bytes(name.encode())

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (written.append(to.name), replace(self, to))[1])
    monkeypatch.setattr(on_ray, "connected", lambda address, workers: contextlib.nullcontext(Nearby()))
    monkeypatch.setattr(on_ray, "kept_parts", lambda evaluation, parts: {"actions"})
    monkeypatch.setattr(on_ray, "run_parts", run)
    told: list[tuple[Any, ...]] = []
    here: Any = SimpleNamespace(folder=tmp_path, progress=lambda *words: told.append(words))
    opens: Any = Path
    on_ray.measure_on_ray(opens, here, PARTS, ["actions", "horizons", "inverse"], address="local")
    assert written == ["horizons.npz", "video.mp4", "horizons.json"]
    assert (tmp_path / "parts/horizons.json").read_text() == "parts/horizons.json"
    assert [words[1:] for words in told] == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_task_takes_a_gpu_where_it_computes_on_one(gpus: int):
    class Watched(Nearby):
        def remote(self, **options: Any) -> Any:
            taken.append(options.pop("num_gpus", 0))
            return super().remote(**options)

    taken: list[int] = []
    assert list(results_of(Watched(), abs, [(-1,)], gpus=gpus)) == [(0, 1)] and taken == [gpus]


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
    found = json.loads((folder / "eval.json").read_text())
    return {name: {k: v for k, v in found[name].items() if k != "took_seconds"} for name in NAMES}


@pytest.mark.alone
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
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
