"""``worldsim compare-emulator``: the world of Pong beside clones of its emulator."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import folder_setting, seed_setting, setting, threads_setting
from worldsim.progress import display

# Steps that the table shows, and games that the video shows.
SHOWN, FILMED = (1, 2, 4, 8, 15, 30), 2


@dataclass(kw_only=True)
class CompareEmulator:
    """Settings of ``worldsim compare-emulator``."""

    world: str = setting("pong", help="a world of Pong: the shipped one's name, or a checkpoint folder")
    games: int = setting(32, help="test games, each branching at one moment", minimum=1)
    steps: int = setting(30, help="length of each branch (15 a second)", unit="steps", minimum=1)
    past: int = setting(33, help="what the world sees before the branching", unit="frames", minimum=2)
    seed: int = seed_setting("decides games and scripts")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("compare-emulator")


def compare_emulator(config: CompareEmulator) -> None:
    """``worldsim compare-emulator``."""
    import worldsim
    from worldsim.datasets.store.video import write_video
    from worldsim.envs.pong.engine import FPS
    from worldsim.evaluation.counterfactuals.pong import SCRIPTS, compare, dream_branches, play_branches
    from worldsim.plotting.pictures import branches_in_grid

    use_threads(config.threads)
    world = worldsim.load(config.world)
    folder = run_folder("compare-emulator", config)
    with display() as show:
        branches = play_branches(config.games, past=config.past, steps=config.steps, seed=config.seed, progress=show)
        dreamt = dream_branches(world, branches, branches.actions, show)
        foreign = np.roll(branches.actions, -1, axis=1)
        shuffled = dream_branches(
            world, branches, foreign, lambda name, done, total: show(f"{name} of other actions", done, total)
        )
        result = compare(world, branches, dreamt, shuffled)
    (folder / "truth.json").write_text(json.dumps(result, indent=1))
    _write_curves(folder / "curves.csv", result["rows"])
    names = ["-".join(words) for words in SCRIPTS]
    for game in range(min(FILMED, config.games)):
        both = np.concatenate([branches.frames[game], dreamt[game]])
        labels = [f"{n}: {kind}" for kind in ("emulator", "dream") for n in names]
        write_video(folder / f"game{game}.mp4", branches_in_grid(both, labels, 2, columns=len(names)), FPS)
    for line in lines(result):
        print(line)
    print(folder)


def lines(result: Mapping[str, Any]) -> list[str]:
    """What a person wants to know."""
    rows, last = result["rows"], result["steps"]
    out = [f"{result['games']} test games, {result['branches']} branches each, {last} steps"]
    for step in sorted({*(s for s in SHOWN if s <= last), last}):
        parts = []
        for name, row in rows.items():
            decibels, ball, kept, bat = (row[key][step - 1] for key in ("psnr", "ball_median", "ball_kept", "paddle"))
            parts.append(f"{name} {decibels:.1f} dB, ball {_px(ball)}, seen {_share(kept)}, bat {_px(bat)}")
        out.append(f"step {step:3d}: " + "; ".join(parts))
    sign = result["up_above_down"], result["up_below_down"]
    out.append(f"held up, the paddle ends above where down takes it: {sign[0]:.1%}; below: {sign[1]:.1%}")
    found = ", ".join(f"{float(share):.1%} of {k}" for k, share in result["retrieval"].items())
    out.append(f"the true branch is the closest one to its dream: {found}")
    return out


def _px(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} px"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _write_curves(path: Path, rows: Mapping[str, Mapping[str, Sequence[float | None]]]) -> None:
    columns = {f"{name}_{measure}": values for name, row in rows.items() for measure, values in row.items()}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *columns])
        writer.writerows([step + 1, *values] for step, values in enumerate(zip(*columns.values(), strict=True)))
