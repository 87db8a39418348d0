"""``worldsim data export``: episodes for other programs."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.cli.settings import licence_setting, setting, source_setting, split_setting, store_setting
from worldsim.cli.stores import filter_of, open_store, split_in
from worldsim.progress import display


@dataclass(kw_only=True)
class Export:
    """Settings of ``worldsim data export``."""

    data: str = store_setting(word="STORE")
    out: str = setting(help="folder of the LeRobot data set; must not be there", example="--out data/luanti-lerobot")
    split: str | None = split_setting("only episodes of that split; default: all")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    frames_per_file: int = setting(20_000, help="of a table and of a video", unit="frames", minimum=1)


def export(config: Export) -> None:
    """``worldsim data export``."""
    from worldsim.datasets.exporters.lerobot import export_lerobot

    store, out = open_store(config.data), Path(config.out)
    names = filter_of(config).names(store, split_in(config.split))
    with display() as show:
        frames = export_lerobot(
            store, names, out, frames_per_file=config.frames_per_file, progress=show.stage("exporting")
        )
    print(f"{len(names)} episodes, {frames} frames: {out}")
