"""``worldsim train motion``: how far the player moves, before the next picture exists."""

import json
from dataclasses import asdict, dataclass
from typing import Any

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
)
from worldsim.cli.stores import filter_of, open_store
from worldsim.progress import display
from worldsim.training.memory.motion import MotionTraining


@dataclass(kw_only=True)
class TrainMotion:
    """Settings of ``worldsim train motion``."""

    data: str = store_setting("folder of the episode store, recorded with depth; learns from its training maps")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    episodes: int = setting(60, help="at most so many episodes of training maps, spread over them", minimum=1)
    held_out: int = setting(12, help="at most so many episodes of validation maps, which judge", minimum=1)
    seed: int = seed_setting("decides stretches, errors of depth and the first weights")
    threads: int | None = threads_setting()
    world: str | None = setting(
        None, help="folder of a world whose spatial memory gets it (its trust is to be trained anew); default: none"
    )
    folder: str | None = folder_setting("motion", "of this run, with ego_motion.safetensors and motion.json")
    training: MotionTraining = group(MotionTraining)


def train_motion(config: TrainMotion) -> None:
    """``worldsim train motion``."""
    from worldsim.datasets.governance.provenance import training_record
    from worldsim.simulation.memory.ego_motion import FILE, save_ego_motion
    from worldsim.simulation.memory.files import memory_of, replace_part
    from worldsim.training.memory.motion import train_motion as learn
    from worldsim.training.memory.motion_data import read_tracks, split_names
    from worldsim.training.memory.motion_report import evaluate_motion

    store = open_store(config.data)
    world = None if config.world is None else existing_path(config.world)
    if world is not None:
        # Not after minutes of training.
        memory_of(world)
    use_threads(config.threads)
    train, held_out = split_names(store, filter_of(config), config.episodes, config.held_out)
    folder = run_folder("motion", config)
    chunk = config.training.chunk
    with display() as show:
        tracks = read_tracks(store, train, chunk=chunk, seed=config.seed, progress=show.stage("reading training maps"))
        model = learn(tracks, config.training, config.seed, show.stage("ego-motion"))
        judges = read_tracks(
            store, held_out, chunk=chunk, seed=config.seed + 1, progress=show.stage("reading held-out maps")
        )
        report = evaluate_motion(model, judges, chunk)
    record = training_record(store, train)
    about = {"trained_on": record, "training": asdict(config.training), "seed": config.seed}
    save_ego_motion(folder / FILE, model, about | {"report": report})
    (folder / "motion.json").write_text(json.dumps(report | {"held_out": held_out}, indent=1) + "\n")
    print("\n".join(_lines(report)))
    print(f"{folder / FILE}\n{folder / 'motion.json'}")
    if world is not None:
        print(replace_part(world, "motion", model, record))


def _lines(report: dict[str, Any]) -> list[str]:
    """For people."""
    names = {
        "recorded_depth": "ego-motion, recorded depth",
        "erroneous_depth": "ego-motion, depth with errors",
        "stands_still": "stands still",
        "walks_by_keys": "constant speed by keys",
    }
    lines = [
        f"{report['stretches']} stretches of maps never seen; metres, drift is the mean distance after so many frames"
    ]
    rows = [(title, report[name]) for name, title in names.items() if name in report]
    if rows:
        keys = [key for key in rows[0][1] if not key.startswith("median")]
        lines.append(" " * 32 + "".join(f"{key.replace('_', ' '):>12s}" for key in keys))
        lines += [f"{title:32s}" + "".join(f"{values[key]:12.4f}" for key in keys) for title, values in rows]
    rest = report["rest"]
    if rest["starts"]:
        lines.append(
            f"a minute at rest from {rest['starts']} starts: {rest['below_1_cm']:.0%} stay within 1 cm, "
            f"the worst drifts {rest['worst']:.3f} m"
        )
    return lines
