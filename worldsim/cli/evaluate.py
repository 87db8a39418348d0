"""Commands that judge worlds: ``worldsim eval``, and the training of the model that reads actions off pictures."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from worldsim.cli_config import build, compose_config, required, run_folder, several
from worldsim.cli_store import filter_of
from worldsim.cli_train import STORE, existing, store_at, use_threads
from worldsim.errors import UserError

if TYPE_CHECKING:
    from worldsim.agents.eval_settings import EvalGoals
    from worldsim.datasets.store import EpisodeStore, Split

STYLES = {"met": "green", "missed": "red", "not judged": "dim", "": "dim"}


def evaluate(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim eval``."""
    import worldsim
    from worldsim.agents.eval_clips import ChosenStore
    from worldsim.agents.eval_parts import PARTS
    from worldsim.agents.eval_report import write_report
    from worldsim.agents.eval_run import HELD_OUT, Evaluation, run_parts
    from worldsim.agents.eval_settings import EvalPreset, EvalThresholds

    config = compose_config("eval", overrides, flags)
    data = store_at(required(config, "data", STORE))
    if config.split not in HELD_OUT:
        raise UserError(f"split must be test or validation, maps that nothing is trained on; got {config.split!r}")
    chosen = several(config.parts)
    names = list(PARTS) if chosen == ["all"] else chosen
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    use_threads(config.threads)
    world = worldsim.load(config.world)
    inverse = None if config.inverse is None else existing(config.inverse)
    preset, thresholds = build(EvalPreset, config.preset), build(EvalThresholds, config.thresholds)
    store = ChosenStore(data, filter_of(config))
    _check_unseen(worldsim.world_folder(config.world), inverse, store, config.split)
    began = time.monotonic()
    with stages() as progress:
        evaluation = Evaluation(
            world=world,
            store=store,
            split=config.split,
            preset=preset,
            thresholds=thresholds,
            seed=config.seed,
            folder=run_folder("eval", config),
            branches=Path(config.branches or ("branches" if "://" in str(data) else f"{data}-branches")),
            inverse=inverse,
            rows=config.rows,
            progress=progress,
        )
        results = run_parts(evaluation, PARTS, names)
        page = write_report(evaluation, results, config.world, time.monotonic() - began)
    _print(results, thresholds.goals)
    print(page)


def _check_unseen(world: Path, inverse: Path | None, store: "EpisodeStore", split: "Split") -> None:
    """Refuse to judge a world, or by a model, on what it was trained on; warn where nobody can tell."""
    from worldsim.datasets.governance import TRAINED_ON, read_metadata
    from worldsim.datasets.seen_maps import check_unseen
    from worldsim.world import FILES

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


def train_inverse(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train inverse``."""
    from worldsim.agents.inverse_dynamics import save_inverse, train_inverse
    from worldsim.datasets.store import EpisodeStore

    config = compose_config("train_inverse", overrides, flags)
    store = EpisodeStore(store_at(required(config, "data", STORE)))
    use_threads(config.threads)
    with stages() as progress:
        model, about = train_inverse(
            store,
            chunk=config.chunk,
            steps=config.steps,
            batch=config.batch,
            seed=config.seed,
            only=filter_of(config),
            progress=progress,
        )
    path = run_folder("inverse", config) / "inverse.safetensors"
    save_inverse(path, model, about)
    print(path)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each stage: a function of (stage, done, total)."""
    with Progress() as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield show


def _print(results: dict[str, Any], goals: "EvalGoals") -> None:
    from worldsim.agents.eval_summary import skipped, summary, verdict

    console = Console(highlight=False, soft_wrap=True)
    table = Table("measure", "value", "95 % interval", "wanted", "", box=None, pad_edge=False)
    for row in summary(results, goals):
        word = verdict(row)
        table.add_row(escape(row.name), row.shown, row.interval, row.wanted, f"[{STYLES[word]}]{word}[/]")
    console.print(table)
    for name, why in skipped(results):
        console.print(f"not measured: {escape(name)} ({escape(why)})")
