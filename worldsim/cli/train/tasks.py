"""``worldsim train tasks``: heads for the facts that tasks are judged by."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.cli.runs import run_folder, use_threads
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
from worldsim.cli.stores import filter_of, open_store
from worldsim.progress import display
from worldsim.training.task_heads import TaskTraining


@dataclass(kw_only=True)
class TrainTasks:
    """Settings of ``worldsim train tasks``."""

    data: str = store_setting()
    also: list[str] = setting([], help="further stores: also=[data/trees]")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    world: str = world_setting("whose features the heads read, and whose folder receives tasks.safetensors")
    windows: int = setting(
        200,
        help="stretches of 63 frames of the train split, half of them with wood being cut where there are such",
        minimum=1,
    )
    held_out: int = setting(
        60,
        help="of the validation split (chooses, calibrates), and as many of the test split (judges)",
        minimum=1,
    )
    text: bool = setting(
        True, help="learn text goals too, from captions (needs the text extra, or the world's own prompts)"
    )
    seed: int = seed_setting("decides windows, noise and weights")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("tasks", "of this run (the report)")
    training: TaskTraining = group(TaskTraining)


def train_tasks(config: TrainTasks) -> None:
    """``worldsim train tasks``."""
    import worldsim
    from worldsim.datasets.governance.provenance import training_record
    from worldsim.envs.learned.initial_context import shared_world
    from worldsim.models.fact_heads import save_fact_heads
    from worldsim.simulation.world_model import WorldModel
    from worldsim.training.task_examples import TaskExamples, make_examples
    from worldsim.training.task_heads import evaluate_heads, train_heads

    stores = [open_store(path) for path in (config.data, *config.also)]
    use_threads(config.threads)
    home = worldsim.world_folder(config.world)
    # Heads that were trained on former weights are in the way of nothing: they are about to be replaced.
    world = WorldModel.load(home, fact_heads=False)
    folder = run_folder("tasks", config)
    with display() as show:

        def examples(split: Any, windows: int, rare_first: bool = False) -> TaskExamples:
            return make_examples(
                world, stores, split, windows=windows, rare_first=rare_first, seed=config.seed,
                only=filter_of(config), progress=show.stage(f"features of {split} maps"),
            )  # fmt: skip

        train = examples("train", config.windows, rare_first=True)
        validation, test = examples("validation", config.held_out), examples("test", config.held_out)
    vectors = caption_vectors(world, [train, test]) if config.text else {}
    heads = train_heads(train, validation, config.training, vectors, config.seed)
    results = evaluate_heads(heads, test, vectors)
    record: Any = None
    for store in stores:
        names = train.episodes.get(str(store.url), [])
        record = training_record(store, names, before=record) if names else record
    path = save_fact_heads(heads, home, {"trained_on": record, "test": results})
    # A world that this process loaded before knows nothing of them.
    shared_world.cache_clear()
    (folder / "tasks.json").write_text(json.dumps(results, indent=1) + "\n")
    _tell(results, len(train), len(test))
    print(path)


def caption_vectors(world: Any, parts: Sequence[Any]) -> dict[str, Any]:
    """Sentence embeddings of all captions: by the text encoder, or, without it, of those that ship with the world."""
    captions = sorted({caption for part in parts for caption in part.captions if caption})
    try:
        return dict(zip(captions, world.embed(captions, len(captions)), strict=True))
    except ValueError:
        shipped = [caption for caption in captions if caption in world.prompts]
        print(f"no text encoder: text goals are learned from {len(shipped)} of {len(captions)} captions")
        return dict(zip(shipped, world.embed(shipped, len(shipped)), strict=True)) if shipped else {}


def _tell(results: Mapping[str, Any], trained: int, judged: int) -> None:
    print(f"learned from {trained} moments, judged on {judged} of maps never trained on:")
    for name, r in results["facts"].items():
        print(
            f"{name:10} true in {r['base_rate']:.2%}  AUROC {r['auroc']:.3f}  Brier {r['brier']:.4f} "
            f"(base rate {r['brier_base_rate']:.4f})  calibration error {r['calibration_error']:.4f}"
        )
    if m := results["motion"]:
        print(
            f"motion head: up r {m['up_correlation']:.2f}, error {m['up_error']:.3f} m a step (of none: "
            f"{m['up_error_of_none']:.3f}); level r {m['level_correlation']:.2f}, error {m['level_error']:.3f} m"
        )
    if t := results["text"]:
        print(f"text goals: AUROC {t['auroc']:.3f}, mean over {t['captions']:.0f} captions (0.5 is chance)")
