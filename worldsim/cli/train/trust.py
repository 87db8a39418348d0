"""The command that calibrates a world's trust."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from worldsim.cli_config import compose_config, required, run_folder
from worldsim.cli_train import STORE, existing, use_threads
from worldsim.errors import UserError


def train_trust(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train trust``."""
    import worldsim
    from worldsim.agents.eval_clips import draw_clips
    from worldsim.agents.trust import check_trust, dream_samples, fit_trust
    from worldsim.datasets.store import EpisodeStore
    from worldsim.trust import LEVEL, save_trust

    config = compose_config("train_trust", overrides, flags)
    data = existing(required(config, "data", STORE))
    if min(config.clips, config.chunks, config.prefix, config.rows) < 1:
        raise UserError("train trust needs clips, chunks, prefix and rows from 1")
    use_threads(config.threads)
    store, world = EpisodeStore(data), worldsim.load(config.world)
    frames = config.prefix + config.chunks * world.chunk
    clips = {name: draw_clips(store, name, config.clips, frames, config.seed) for name in ("validation", "test")}
    folder = run_folder("trust", config)
    samples = {}
    with Progress() as progress:
        for name, drawn in clips.items():
            task = progress.add_task(f"dreaming on {name} maps", total=config.clips)
            samples[name] = dream_samples(
                world, drawn, config.prefix, rows=config.rows, twice=config.twice,
                progress=lambda done, total, task=task: progress.update(task, completed=done, total=total),
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
