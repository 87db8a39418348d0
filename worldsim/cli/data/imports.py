"""``worldsim data import``: recordings made elsewhere become episodes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from worldsim.actions import MINECRAFT, ActionSpec
from worldsim.cli_config import compose_config, picture_size, required
from worldsim.datasets.import_formats import detect_format, find_recordings
from worldsim.datasets.import_pictures import IMAGE_FPS
from worldsim.datasets.importers import ImportOptions, ImportReport, import_recordings
from worldsim.datasets.store import EpisodeStore
from worldsim.errors import UserError

# Free text: hydra would read commas, brackets and colons in it as syntax.
_TEXTS = ("licence", "consent", "source", "engine", "keys", "view", "prefix")


def run_import(overrides: Sequence[str], flags: Mapping[str, Any]) -> int:
    """``worldsim data import``: exit code 1 when some recordings were left out, 2 when all were."""
    config = compose_config("data_import", [_quoted(word) for word in overrides], flags)
    source = Path(required(config, "path", "a folder of recordings"))
    store = EpisodeStore(required(config, "out", "--out data/mine"))
    options = _options(config)
    kind = detect_format(source) if config.format == "auto" else config.format
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if source.resolve() == store.path.resolve():
        raise UserError(f"{source} cannot be imported into itself: give another --out")
    rate = _number(config.rate, "rate")
    if rate is None and kind == "images" and (names := store.names()):
        rate = float(store.manifest(names[0])["provenance"].get("fps", IMAGE_FPS))
    spec = _spec(config["keys"], store, kind)
    recordings = find_recordings(source, kind, spec=spec, view=config.view or "", rate=rate)
    print(f"{len(recordings)} recordings in the format {kind}")
    with _Bar(len(recordings)) as bar:
        report = import_recordings(store, recordings, options, bar.listen)
    return _conclude(report)


def _conclude(report: ImportReport) -> int:
    if report.broken and not report.imported + report.there:
        for origin, reason in report.broken[1:]:
            print(f"left out {origin}: {reason}", file=sys.stderr)
        raise UserError("nothing could be imported: {}: {}".format(*report.broken[0]))
    for origin, reason in report.broken:
        print(f"left out {origin}: {reason}", file=sys.stderr)
    print(report.line())
    if report.unlicensed:
        print("their licence is unknown: say licence=... (and consent=...) if you know it")
    if report.episodes and not report.splits["train"]:
        print("none of them is for training: so few recordings may all fall into one split; split=train decides")
    return 1 if report.broken else 0


def _options(config: DictConfig) -> ImportOptions:
    about = {key: config[key] for key in ("licence", "consent", "source", "engine") if config[key] is not None}
    return ImportOptions(
        size=picture_size(config.resize),
        fps=_number(config.fps, "fps"),
        split=config.split,
        about=about,
        prefix=config.prefix or "",
        episode_frames=config.episode_frames,
    )


def _spec(keys: str | None, store: EpisodeStore, kind: str) -> ActionSpec | None:
    """The actions named by ``keys``; for pictures without actions those of the store's other episodes."""
    if keys is None:
        if kind not in ("video", "images") or not (names := store.names()):
            return None
        told = store.manifest(names[0])["provenance"].get("keys")
        if told is None:
            return None
        return ActionSpec(keys=tuple(told), camera=store.read(names[0], 0, 1).actions.shape[1] == len(told) + 2)
    if keys == "minecraft":
        return MINECRAFT
    names = [name.strip() for name in keys.strip("[]").split(",") if name.strip()]
    camera = names[-2:] == ["pitch", "yaw"]
    plain = names[:-2] if camera else names
    if len(set(plain)) < len(plain) or {"pitch", "yaw"} & set(plain):
        raise UserError(f"keys must be different names, 'pitch,yaw' last for a mouse, got {keys!r}")
    return ActionSpec(keys=tuple(plain), camera=camera)


def _number(value: str | None, name: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        raise UserError(f"{name} must be a number, got {value!r}") from None
    if not 0 < number < float("inf"):
        raise UserError(f"{name} must be positive, got {value}")
    return number


def _quoted(override: str) -> str:
    key, _, value = override.partition("=")
    if key not in _TEXTS or value[:1] in ("'", '"') or value in ("", "null"):
        return override
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


class _Bar:
    """A progress bar over recordings, with the frames so far."""

    def __init__(self, total: int):
        columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[frames]} frames"))
        self._task = self._progress.add_task("importing", total=total, frames=0)
        self._frames = 0

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listen(self, message: tuple[str, Any]) -> None:
        """Show what ``import_recordings`` tells."""
        kind, value = message
        if kind == "frames":
            self._frames += value
            self._progress.update(self._task, frames=self._frames)
        elif kind == "done":
            self._progress.advance(self._task)
