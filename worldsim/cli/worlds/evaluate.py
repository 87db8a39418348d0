"""``worldsim eval``: measure a world."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    group,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    store_setting,
    threads_setting,
    world_setting,
)
from worldsim.cli.stores import filter_of, store_at
from worldsim.cli.values import suggestion
from worldsim.errors import UserError
from worldsim.evaluation.config import PRESETS, EvalPreset, EvalThresholds
from worldsim.progress import display

if TYPE_CHECKING:
    from worldsim.datasets.store.store import EpisodeStore, Split
    from worldsim.evaluation.config import EvalGoals

STYLES = {"met": "green", "missed": "red", "not judged": "dim", "": "dim"}


@dataclass(kw_only=True)
class Evaluate:
    """Settings of ``worldsim eval``."""

    world: str = world_setting()
    data: str = store_setting()
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    split: str = setting("test", help="maps never trained on", choices=("test", "validation"))
    parts: list[str] = setting(
        ["all"],
        help="what to measure, as parts=[horizons,actions]; forced, perceptual, inverse, branches, memory, objects, "
        "obstacles, text, long, measures",
    )
    inverse: str | None = setting(
        None, help="an inverse-dynamics model (worldsim train inverse); default: none, and that part is left out"
    )
    branches: str | None = setting(
        None, help="folder that keeps the engine's counterfactual branches; default: DATA-branches"
    )
    rows: int = setting(8, help="rollouts side by side", minimum=1)
    seed: int = seed_setting("decides clips, noise and resampling")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("eval", "of this run, with report.html and eval.json; give it again to go on")
    preset: EvalPreset = group(
        EvalPreset, option="quick", options={name: asdict(preset) for name, preset in PRESETS.items()}
    )
    thresholds: EvalThresholds = group(EvalThresholds, option="eval", options={"eval": asdict(EvalThresholds())})


def evaluate(config: Evaluate) -> None:
    """``worldsim eval``."""
    import worldsim
    from worldsim.evaluation.measures.clips import ChosenStore
    from worldsim.evaluation.parts.listing import PARTS
    from worldsim.evaluation.reports.report import write_report
    from worldsim.evaluation.runner import Evaluation, run_parts

    data, split = store_at(config.data), cast("Split", config.split)
    names = list(PARTS) if config.parts == ["all"] else config.parts
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}{suggestion(unknown[0], PARTS)}")
    use_threads(config.threads)
    world = worldsim.load(config.world)
    inverse = None if config.inverse is None else existing_path(config.inverse)
    store = ChosenStore(data, filter_of(config))
    _check_unseen(worldsim.world_folder(config.world), inverse, store, split)
    began = time.monotonic()
    with display() as progress:
        evaluation = Evaluation(
            world=world,
            store=store,
            split=split,
            preset=config.preset,
            thresholds=config.thresholds,
            seed=config.seed,
            folder=run_folder("eval", config),
            branches=Path(config.branches or ("branches" if "://" in str(data) else f"{data}-branches")),
            inverse=inverse,
            rows=config.rows,
            progress=progress,
        )
        results = run_parts(evaluation, PARTS, names)
        page = write_report(evaluation, results, config.world, time.monotonic() - began)
    _print(results, config.thresholds.goals)
    print(page)


def _check_unseen(world: Path, inverse: Path | None, store: "EpisodeStore", split: "Split") -> None:
    """Refuse to judge a world, or by a model, on what it was trained on; warn where nobody can tell."""
    from worldsim.datasets.governance.provenance import TRAINED_ON, read_metadata
    from worldsim.datasets.governance.seen_maps import check_unseen
    from worldsim.simulation.world_model import FILES

    # Task heads are optional; calibrations and start clips are not trained.
    parts = [world / name for name in FILES]
    heads = [file for file in sorted(world.glob("*.safetensors")) if file not in parts]
    judged = [*parts, *(file for file in heads if TRAINED_ON in read_metadata(file))]
    silent = check_unseen([*judged, *([inverse] if inverse else [])], store, split)
    if silent:
        print(
            f"warning: nobody can tell whether the {split} maps of {store.url} are new to "
            f"{' and '.join(map(str, silent))}: no record of training in there",
            file=sys.stderr,
        )


def _print(results: dict[str, Any], goals: "EvalGoals") -> None:
    from worldsim.evaluation.interface.lines import verdict
    from worldsim.evaluation.reports.summary import skipped, summary

    console = Console(highlight=False, soft_wrap=True)
    table = Table("measure", "value", "95 % interval", "wanted", "", box=None, pad_edge=False)
    for row in summary(results, goals):
        word = verdict(row)
        table.add_row(escape(row.name), row.shown, row.interval, row.wanted, f"[{STYLES[word]}]{word}[/]")
    console.print(table)
    for name, why in skipped(results):
        console.print(f"not measured: {escape(name)} ({escape(why)})")
