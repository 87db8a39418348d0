"""``worldsim train trust``: calibrate a world's confidence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    seed_setting,
    setting,
    store_setting,
    threads_setting,
    world_setting,
)
from worldsim.progress import display


@dataclass(kw_only=True)
class TrainTrust:
    """Settings of ``worldsim train trust``."""

    world: str = world_setting("a shipped world's name, or a checkpoint folder; trust.safetensors is written into it")
    data: str = store_setting("folder of the episode store: fitted on its validation maps, checked on its test maps")
    clips: int = setting(64, help="clips of each split", minimum=1)
    prefix: int = setting(33, help="length of the past", unit="frames", minimum=1)
    chunks: int = setting(20, help="horizon", unit="chunks", minimum=1)
    rows: int = setting(8, help="rollouts side by side", minimum=1)
    twice: bool = setting(
        False, help='roll out with other noise too, to judge the candidate "disagreement of two noises"'
    )
    seed: int = seed_setting("decides which clips")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("trust")


def train_trust(config: TrainTrust) -> None:
    """``worldsim train trust``."""
    import worldsim
    from worldsim.datasets.store.store import EpisodeStore
    from worldsim.evaluation.confidence import check_trust, dream_samples, fit_trust
    from worldsim.evaluation.measures.clips import draw_clips
    from worldsim.simulation.confidence import LEVEL, save_trust

    data = existing_path(config.data)
    use_threads(config.threads)
    store, world = EpisodeStore(data), worldsim.load(config.world)
    frames = config.prefix + config.chunks * world.chunk
    clips = {name: draw_clips(store, name, config.clips, frames, config.seed) for name in ("validation", "test")}
    folder = run_folder("trust", config)
    samples = {}
    with display() as show:
        for name, drawn in clips.items():
            samples[name] = dream_samples(
                world, drawn, config.prefix, rows=config.rows, twice=config.twice,
                progress=show.stage(f"rollouts on {name} maps"),
            )  # fmt: skip
    about = {"data": str(data), "clips": config.clips, "chunks": config.chunks, "prefix": config.prefix}
    trust = fit_trust(world, samples["validation"], about | {"seed": config.seed, "level": LEVEL})
    checks = {name: check_trust(trust, each) for name, each in samples.items()}
    place = Path(config.world) if Path(config.world).is_dir() else worldsim.ASSETS / config.world
    written = save_trust(trust, place)
    (folder / "trust.json").write_text(json.dumps(checks, indent=1) + "\n")
    print("\n".join(_lines(checks["test"], config.clips)))
    print(f"{written}\n{folder / 'trust.json'}")


def _lines(check: Mapping[str, Any], clips: int) -> list[str]:
    """For people."""
    lines = [
        f"{clips} clips of {check['maps']} test maps: {check['believable']:.0%} of {check['samples']} dreamt chunks "
        "are believable",
        f"trust tells them apart with AUROC {check['auroc']} ({check['auroc_late']} in the later half of the horizon)",
        f"Brier {check['brier']} (always the mean: {check['brier_of_the_mean']}), calibration error {check['ece']}",
        "promised  kept  share",
    ]
    lines += [f"{row['promised']:8.2f}  {row['kept']:4.2f}  {row['share']:5.2f}" for row in check["reliability"]]
    lines.append("AUROC, later half, rank correlation with the error, within one horizon:")
    for name, signal in check["signals"].items():
        values = ("-" if value is None else f"{value:.3f}" for value in signal.values())
        lines.append(f"{name:32s} " + "  ".join(values))
    return lines
