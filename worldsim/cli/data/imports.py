"""``worldsim data import``: recordings made elsewhere become episodes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.cli.runs import picture_size
from worldsim.cli.settings import setting, split_setting
from worldsim.cli.stores import split_in
from worldsim.datasets.importers.formats import FORMATS, detect_format, find_recordings
from worldsim.datasets.importers.importer import ImportOptions, ImportReport, import_recordings
from worldsim.datasets.importers.pictures import IMAGE_FPS
from worldsim.datasets.importers.recording import Recording
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.progress import Display, display
from worldsim.spec.actions import MINECRAFT, ActionSpec


@dataclass(kw_only=True)
class Import:
    """Settings of ``worldsim data import``."""

    path: str = setting(
        help="a file or folder of recordings", example="worldsim data import recordings --out data/mine", word="SOURCE"
    )
    out: str = setting(
        help="folder of the episode store; recordings that are there already are skipped", example="--out data/mine"
    )
    format: str = setting("auto", help="of the recordings; store is another episode store", choices=("auto", *FORMATS))
    resize: str | None = setting(
        None, help="WIDTHxHEIGHT in pixels, say 144x80: scale the frames (may distort); default: native size"
    )
    fps: float | None = setting(
        None,
        help="lower the rate: keys are joined by OR, the mouse is summed; default: native rate",
        unit="frames a second",
        above=0,
    )
    split: str | None = split_setting("of all recordings; default: by a hash of each recording's name")
    licence: str | None = setting(
        None, help='an SPDX id or a sentence, say "CC BY-SA 3.0"; default: what the source says, else none'
    )
    consent: str | None = setting(None, help="a note on whoever was recorded; default: none")
    source: str | None = setting(None, help="where it comes from, in a few words; default: the format's name")
    engine: str | None = setting(None, help="the game, where the source does not say; default: unknown")
    keys: str | None = setting(
        None,
        help="tables, videos, images: names of the keys in their order, say left,right,pitch,yaw with the last two for "
        "a mouse; or minecraft; default: as the source says, or as in the store",
    )
    view: str | None = setting(
        None, help="lerobot, minari: which camera or observation, if there are several; default: the only one"
    )
    rate: float | None = setting(
        None,
        help="minari, images: the rate, which they do not tell; default: 20; images: as in the store",
        unit="frames a second",
        above=0,
    )
    prefix: str = setting("", help="put before the episodes' names")
    episode_frames: int = setting(
        1000, help="longer recordings are cut into episodes of so many frames; neighbours share one", minimum=2
    )


def run_import(config: Import) -> int:
    """``worldsim data import``: exit code 1 when some recordings were left out, 2 when all were."""
    source, store = Path(config.path), EpisodeStore(config.out)
    options = _options(config)
    kind = detect_format(source) if config.format == "auto" else config.format
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if source.resolve() == store.path.resolve():
        raise UserError(f"{source} cannot be imported into itself: give another --out")
    rate = config.rate
    if rate is None and kind == "images" and (names := store.names()):
        rate = float(store.manifest(names[0])["provenance"].get("fps", IMAGE_FPS))
    spec = spec_named(config.keys, store, kind)
    recordings = find_recordings(source, kind, spec=spec, view=config.view or "", rate=rate)
    print(f"{len(recordings)} recordings in the format {kind}")
    return bring_in(store, recordings, options)


def bring_in(store: EpisodeStore, recordings: Sequence[Recording], options: ImportOptions) -> int:
    """Import what a store lacks, shown as it goes on; exit code 1 when some recordings were left out.

    Raises:
        UserError: nothing could be imported.
    """
    with display() as show:
        report = import_recordings(store, recordings, options, _Listener(show, len(recordings)))
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


def _options(config: Import) -> ImportOptions:
    texts = {
        "licence": config.licence,
        "consent": config.consent,
        "source": config.source,
        "engine": config.engine,
    }
    return ImportOptions(
        size=picture_size(config.resize),
        fps=config.fps,
        split=split_in(config.split),
        about={key: text for key, text in texts.items() if text is not None},
        prefix=config.prefix,
        episode_frames=config.episode_frames,
    )


def spec_named(keys: str | None, store: EpisodeStore, kind: str) -> ActionSpec | None:
    """The actions named by ``keys``; for pictures without actions those of the store's other episodes."""
    if keys is None:
        if kind not in ("video", "images") or not (names := store.names()):
            return None
        known = store.manifest(names[0])["provenance"].get("keys")
        if known is None:
            return None
        return ActionSpec(keys=tuple(known), camera=store.read(names[0], 0, 1).actions.shape[1] == len(known) + 2)
    if keys == "minecraft":
        return MINECRAFT
    names = [name.strip() for name in keys.strip("[]").split(",") if name.strip()]
    camera = names[-2:] == ["pitch", "yaw"]
    plain = names[:-2] if camera else names
    if len(set(plain)) < len(plain) or {"pitch", "yaw"} & set(plain):
        raise UserError(f"keys must be different names, 'pitch,yaw' last for a mouse, got {keys!r}")
    return ActionSpec(keys=tuple(plain), camera=camera)


class _Listener:
    """Shows recordings that are done, and frames so far."""

    def __init__(self, show: Display, total: int) -> None:
        self._show, self._total = show, total
        self._done = self._frames = 0

    def __call__(self, message: tuple[str, Any]) -> None:
        kind, value = message
        self._frames += value if kind == "frames" else 0
        self._done += kind == "done"
        self._show("importing", self._done, self._total, f"{self._frames} frames")
