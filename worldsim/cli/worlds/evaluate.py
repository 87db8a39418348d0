"""``worldsim eval``: measure a world."""

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldsim.cli.runs import everywhere, existing_path, run_folder, use_threads
from worldsim.cli.settings import (
    device_setting,
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
from worldsim.cli.worlds.unseen import check_world_unseen
from worldsim.errors import UserError
from worldsim.evaluation.config import PRESETS, EvalPreset, EvalThresholds
from worldsim.progress import display
from worldsim.simulation.devices import device_of

if TYPE_CHECKING:
    from worldsim.datasets.store.store import Split
    from worldsim.evaluation.config import EvalGoals
    from worldsim.evaluation.interface.part import Evaluation

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
        help="what to measure, as parts=[horizons,actions]; forced, perceptual, camera, inverse, branches, "
        "memory, returns, rest, objects, obstacles, text, long, measures",
    )
    inverse: str | None = setting(
        None, help="an inverse-dynamics model (worldsim train inverse); default: none, and that part is left out"
    )
    branches: str | None = setting(
        None, help="folder that keeps the engine's counterfactual branches; default: DATA-branches"
    )
    rows: int = setting(8, help="rollouts side by side", minimum=1)
    seed: int = seed_setting("decides clips, noise and resampling")
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    ray: str | None = setting(
        None, help="measure parts side by side on a Ray cluster: local, auto, or its address; default: one by one, here"
    )
    folder: str | None = folder_setting("eval", "of this run, with report.html and eval.json; give it again to go on")
    preset: EvalPreset = group(
        EvalPreset, option="quick", options={name: asdict(preset) for name, preset in PRESETS.items()}
    )
    thresholds: EvalThresholds = group(EvalThresholds, option="eval", options={"eval": asdict(EvalThresholds())})


def evaluate(config: Evaluate) -> None:
    """``worldsim eval``."""
    store_at(config.data)
    from worldsim.evaluation.listing import PARTS
    from worldsim.evaluation.reports.report import write_report
    from worldsim.evaluation.runner import run_parts

    names = list(PARTS) if config.parts == ["all"] else config.parts
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}{suggestion(unknown[0], PARTS)}")
    opened = _opened(config)
    check_world_unseen(config.world, opened.store, opened.split, [opened.inverse] if opened.inverse else [])
    began = time.monotonic()
    with display() as progress:
        evaluation = replace(opened, folder=run_folder("eval", config), progress=progress)
        if config.ray is not None:
            from worldsim.evaluation.on_ray import measure_on_ray

            told = _everywhere(config)
            opens, gpus = partial(_opened, told), int(told.device == "cuda")
            measure_on_ray(opens, evaluation, PARTS, names, address=config.ray, gpus=gpus)
        results = run_parts(evaluation, PARTS, names)
        page = write_report(evaluation, results, config.world, time.monotonic() - began)
    _print(results, config.thresholds.goals)
    print(page)


def _everywhere(config: Evaluate) -> Evaluate:
    """The settings as processes in other folders understand them, each of which has one GPU at most."""
    device = device_of(config.device).partition(":")[0]
    paths = {name: getattr(config, name) for name in ("data", "inverse", "branches")}
    full = {n: p if p is None or "://" in str(p) else str(Path(p).absolute()) for n, p in paths.items()}
    return replace(config, world=everywhere(config.world), device=device, **full)


def _opened(config: Evaluate, folder: Path = Path()) -> "Evaluation":
    """The evaluation that settings ask for; its results go to ``folder``."""
    import worldsim
    from worldsim.evaluation.interface.part import Evaluation
    from worldsim.evaluation.measures.clips import ChosenStore

    data = store_at(config.data)
    use_threads(config.threads)
    return Evaluation(
        world=worldsim.load(config.world, device=device_of(config.device)),
        store=ChosenStore(data, filter_of(config)),
        split=cast("Split", config.split),
        preset=config.preset,
        thresholds=config.thresholds,
        seed=config.seed,
        folder=folder,
        branches=Path(config.branches or ("branches" if "://" in str(data) else f"{data}-branches")),
        inverse=None if config.inverse is None else existing_path(config.inverse),
        rows=config.rows,
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
