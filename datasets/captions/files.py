"""Captions beside the episodes: ``STORE/captions/MAKER.jsonl``, written without touching an episode.

The first line says who made them and how. Every other line is one caption:
``{"episode", "start", "stop", "text", "of"}``, frames ``start`` to ``stop`` (exclusive) of the episode whose manifest's
digest begins with ``of``: a caption of an episode that was replaced since is not used. Lines are only ever appended;
one that a killed writer left half is cut off by the next writer.
"""

import codecs
import json
import os
import re
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from worldsim.datasets.captions.templates import clip_caption
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.spec.text_files import parse_json

FORMAT = 1
FOLDER = "captions"
DIGITS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def caption_path(store: EpisodeStore, name: str) -> Path:
    """The file of the captions of one maker.

    Raises:
        ValueError: the name cannot be a file's, or the store is not on this machine.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"captions are named with letters, digits, '.', '_' and '-', got {name!r}")
    return store.path / FOLDER / f"{name}.jsonl"


class CaptionWriter:
    """Appends captions to a file; what is there is kept and not made again.

    Args:
        store: whose clips are captioned.
        name: of the captions.
        about: who makes them: written once, and has to agree with what is there.

    Raises:
        ValueError: the file was made by another maker or with other settings, is damaged, or is being written.
    """

    def __init__(self, store: EpisodeStore, name: str, about: Mapping[str, Any]):
        self.path, self._store = caption_path(store, name), store
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[tuple[str, int, int]] = set()
        header = {"format": FORMAT, "about": json.loads(json.dumps(dict(about), sort_keys=True))}
        self._file = self.path.open("ab")
        try:
            _lock(self._file, self.path)
            whole, lines = _read_lines(self.path)
            os.truncate(self.path, whole)
            if lines and lines[0] != header:
                raise ValueError(f"{self.path} holds captions made otherwise: choose another name, or move it away")
            current = {name: _digest(store, name) for name in {line["episode"] for line in lines[1:]}}
            self.done = {(c["episode"], c["start"], c["stop"]) for c in lines[1:] if current[c["episode"]] == c["of"]}
            if not lines:
                self._append(header)
        except BaseException:
            self._file.close()
            raise

    def add(self, episode: str, start: int, stop: int, text: str) -> None:
        """Append the caption of frames ``start`` to ``stop`` of an episode."""
        line = {"episode": episode, "start": start, "stop": stop, "text": text, "of": _digest(self._store, episode)}
        self._append(line)
        self.done.add((episode, start, stop))

    def close(self) -> None:
        """Flush to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> "CaptionWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        # One write a line, unbuffered by the next: a kill leaves at most the last one half.
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()


class CaptionFile:
    """Reads captions. As a ``CaptionSource`` it gives a sampler's clips the caption that covers most of them.

    Args:
        store: whose captions.
        name: of the captions.

    Raises:
        FileNotFoundError: there are none of that name.
        ValueError: the file is damaged, or of another format.
    """

    def __init__(self, store: EpisodeStore, name: str):
        path = caption_path(store, name)
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in path.parent.glob("*.jsonl"))) or "none"
            raise FileNotFoundError(f"no captions {name!r} in {store.url}, there are: {there}")
        _, lines = _read_lines(path)
        if not lines or lines[0]["format"] != FORMAT:
            raise ValueError(f"{path} is no file of captions, or of another format")
        self.about: dict[str, Any] = lines[0]["about"]
        self._store, self._path = store, path
        self._captions: dict[str, list[tuple[int, int, str]]] = {}
        self._of: dict[str, set[str]] = {}
        self._current: dict[str, bool] = {}
        for line in lines[1:]:
            self._captions.setdefault(line["episode"], []).append((line["start"], line["stop"], line["text"]))
            self._of.setdefault(line["episode"], set()).add(line["of"])
        for captions in self._captions.values():
            captions.sort()

    def __len__(self) -> int:
        return sum(map(len, self._captions.values()))

    def find(self, episode: str, start: int, stop: int) -> str | None:
        """The caption that shares most frames with ``start`` to ``stop``, None if none shares half of them."""
        captions = self._captions.get(episode)
        if captions and episode not in self._current:
            self._current[episode] = self._of[episode] == {_digest(self._store, episode)}
        if not captions or not self._current[episode]:
            return None
        # Spans begin in order and are of similar length, so only those around the clip can cover it.
        last = bisect_right(captions, (stop,))
        near = captions[max(0, last - 8) : last]
        shared = [(min(stop, b) - max(start, a), -a, text) for a, b, text in near]
        best = max(shared, default=(0, 0, ""))
        return best[2] if 2 * best[0] >= stop - start else None

    def __call__(self, clip: Episode, name: str, start: int, seed: int) -> str:
        """The caption of a clip that a sampler drew; without one, its short caption."""
        return self.find(name, start, start + len(clip)) or clip_caption(clip)


def _digest(store: EpisodeStore, name: str) -> str:
    return store.digest(name)[:DIGITS] if name in store else ""


def _read_lines(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Whole lines of a file, and the bytes they take."""
    content, lines = path.read_bytes(), []
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].removeprefix(codecs.BOM_UTF8).split(b"\n")[:-1]):
        try:
            lines.append(parse_json(line))
        except ValueError as error:
            raise ValueError(f"{path}: line {number + 1} is damaged") from error
        wanted = {"format", "about"} if number == 0 else {"episode", "start", "stop", "text", "of"}
        if not isinstance(lines[-1], dict) or not wanted <= lines[-1].keys():
            raise ValueError(f"{path}: line {number + 1} lacks some of {', '.join(sorted(wanted))}")
    return whole, lines


def _lock(file: BinaryIO, path: Path) -> None:
    """One writer at a time, until the file is closed or the writer dies."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(f"{path} is being written by another process") from error
