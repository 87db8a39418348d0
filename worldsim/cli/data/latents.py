"""Commands that carry latents from one machine to another."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from worldsim.cli_config import compose_config, required
from worldsim.datasets.store import SPLITS


def pack(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data pack``."""
    from worldsim.datasets.latent_pack import pack_latents

    config = compose_config("data_pack", overrides, flags)
    folder = Path(required(config, "latents", "worldsim data pack data/luanti-latents --out packs"))
    out = Path(required(config, "out", "--out packs"))
    for split in _splits(folder, "index.json"):
        with Progress(transient=True) as bar:
            files = pack_latents(
                folder / split, out / split, megabytes=config.megabytes, step=config.step, progress=_shown(bar, split)
            )
        print(f"{split}: {len(files)} files, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB in {out / split}")


def unpack(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data unpack``."""
    from worldsim.datasets.latent_pack import unpack_latents

    config = compose_config("data_unpack", overrides, flags)
    packs = Path(required(config, "packs", "worldsim data unpack packs --out latents"))
    out = Path(required(config, "out", "--out latents"))
    for split in _splits(packs, "pack-*.zip"):
        with Progress(transient=True) as bar:
            episodes = unpack_latents(packs / split, out / split, progress=_shown(bar, split))
        print(f"{split}: {episodes} episodes in {out / split}")


def _splits(folder: Path, pattern: str) -> list[str]:
    found = [split for split in SPLITS if any((folder / split).glob(pattern))]
    if not found:
        raise FileNotFoundError(f"no {pattern} in {folder}/train, validation or test")
    return found


def _shown(bar: Progress, split: str) -> Callable[[int, int], None]:
    task = bar.add_task(split, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)
