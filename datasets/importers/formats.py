"""Which format a file or folder is in, and the recordings in it."""

from collections.abc import Callable
from pathlib import Path

from worldsim.datasets.importers.lerobot import find_lerobot
from worldsim.datasets.importers.lerobot_meta import INFO
from worldsim.datasets.importers.minari import data_folder, find_minari
from worldsim.datasets.importers.minerl import ARRAYS, find_minerl
from worldsim.datasets.importers.pictures import IMAGE_FPS, VIDEO_SUFFIXES, find_images, find_videos
from worldsim.datasets.importers.recording import Recording, files_below
from worldsim.datasets.importers.store import find_store, is_store
from worldsim.datasets.importers.table import find_table, table_of
from worldsim.datasets.importers.vpt import find_vpt
from worldsim.datasets.importers.vpt_files import is_index, is_vpt
from worldsim.datasets.store.picture import PICTURE_SUFFIXES
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec

FORMATS = ("vpt", "minerl", "minari", "lerobot", "table", "video", "images", "store")


def detect_format(source: Path) -> str:
    """Which of ``FORMATS`` a file or folder is in.

    Raises:
        UserError: it is in none of them.
        FileNotFoundError: it does not exist.
    """
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if source.is_file() and source.suffix == ".json" and is_index(source):
        return "vpt"
    if source.is_dir() and (kind := _folder_format(source)):
        return kind
    videos = files_below(source, VIDEO_SUFFIXES)
    if any(v.with_suffix(".jsonl").is_file() and is_vpt(v.with_suffix(".jsonl")) for v in videos):
        return "vpt"
    if any(table_of(v) is not None for v in videos):
        return "table"
    if videos:
        return "video"
    if files_below(source, PICTURE_SUFFIXES):
        return "images"
    raise UserError(f"{source} holds nothing that can be imported; known formats: {', '.join(FORMATS)}")


def _folder_format(source: Path) -> str:
    """The format that certain files in a folder give away, "" if none is there."""
    if is_store(source):
        return "store"
    if (source / INFO).is_file():
        return "lerobot"
    if data_folder(source) is not None:
        return "minari"
    return "minerl" if any(path.is_file() for path in source.rglob(ARRAYS)) else ""


def find_recordings(
    source: Path, kind: str, *, spec: ActionSpec | None = None, view: str = "", rate: float | None = None
) -> list[Recording]:
    """The recordings in a file or folder.

    Args:
        source: file or folder.
        kind: one of ``FORMATS``.
        spec: keys of tables, or the actions that videos and images are stored with (default: MINECRAFT).
        view: camera or observation to take, where there are several.
        rate: frames a second of sources that do not tell theirs (minari, images).

    Raises:
        UserError: the format is unknown, or there is no recording of it.
    """
    finders: dict[str, Callable[[], list[Recording]]] = {
        "vpt": lambda: find_vpt(source),
        "minerl": lambda: find_minerl(source),
        "minari": lambda: find_minari(source, view, rate),
        "lerobot": lambda: find_lerobot(source, view),
        "table": lambda: find_table(source, spec),
        "video": lambda: find_videos(source, spec or MINECRAFT),
        "store": lambda: find_store(source),
        "images": lambda: find_images(source, spec or MINECRAFT, rate or IMAGE_FPS),
    }
    if kind not in finders:
        raise UserError(f"unknown format {kind!r}; known: auto, {', '.join(FORMATS)}")
    found = finders[kind]()
    if not found:
        raise UserError(f"{source} holds no recording in the format {kind!r}")
    return found
