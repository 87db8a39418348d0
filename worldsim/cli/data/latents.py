"""Commands that pack latents, to be streamed or carried to another machine."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.cli.settings import setting
from worldsim.datasets.store.store import SPLITS
from worldsim.progress import display


@dataclass(kw_only=True)
class Pack:
    """Settings of ``worldsim data pack``."""

    latents: str = setting(
        help="a latent cache, made by worldsim train dynamics",
        example="worldsim data pack data/luanti-latents --out packs",
        word="LATENTS",
    )
    out: str = setting(help="folder for the files, or a URL (s3://...); new or empty", example="--out packs")
    megabytes: float = setting(15.0, help="size of a file, at most", unit="MB", above=0)
    step: float = setting(0.1, help="what latents are rounded to; 0.1 is not visible", above=0)


@dataclass(kw_only=True)
class Unpack:
    """Settings of ``worldsim data unpack``."""

    packs: str = setting(
        help="folder of packed latents; some of a set's files are enough",
        example="worldsim data unpack packs --out latents",
        word="PACKS",
    )
    out: str = setting(
        help="the latent cache to make; what is there is replaced when all is read", example="--out latents"
    )


def pack(config: Pack) -> None:
    """``worldsim data pack``."""
    from worldsim.datasets.loading.latent_pack import pack_latents

    folder = Path(config.latents)
    for split in _splits(folder, "index.json"):
        with display() as show:
            out, to = f"{config.out.rstrip('/')}/{split}", show.stage(split)
            sizes = pack_latents(folder / split, out, megabytes=config.megabytes, step=config.step, progress=to)
        print(f"{split}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB in {out}")


def unpack(config: Unpack) -> None:
    """``worldsim data unpack``."""
    from worldsim.datasets.loading.latent_pack import unpack_latents

    packs, out = Path(config.packs), Path(config.out)
    for split in _splits(packs, "pack-*.zip"):
        with display() as show:
            episodes = unpack_latents(packs / split, out / split, progress=show.stage(split))
        print(f"{split}: {episodes} episodes in {out / split}")


def _splits(folder: Path, pattern: str) -> list[str]:
    found = [split for split in SPLITS if any((folder / split).glob(pattern))]
    if not found:
        raise FileNotFoundError(f"no {pattern} in {folder}/train, validation or test")
    return found
