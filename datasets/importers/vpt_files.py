"""Files of VPT recordings: ticks as JSON Lines, and the index files that OpenAI published."""

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.spec.text_files import MOST_LINES, json_lines, parse_json, read_json

Line = Mapping[str, Any]
_LONGEST_TICK = 1 << 20
# Ticks in a row that may be missing: a second. More is another recording.
MOST_MISSING = 20


def is_vpt(path: Path) -> bool:
    """Whether a jsonl file's first line is a VPT tick."""
    try:
        with path.open("rb") as file:
            # A tick has a few thousand bytes; a file without newlines is not read whole.
            head = file.read(_LONGEST_TICK).removeprefix(codecs.BOM_UTF8).lstrip()
        first = parse_json(head.split(b"\n", 1)[0])
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and isinstance(first.get("mouse"), dict) and isinstance(first.get("keyboard"), dict)


def is_index(path: Path) -> bool:
    """Whether a json file is one of OpenAI's lists of recordings."""
    try:
        listed = read_json(path)
    except (OSError, ValueError):
        return False
    paths = listed.get("relpaths") if isinstance(listed, dict) and "basedir" in listed else None
    return isinstance(paths, list) and all(isinstance(path, str) for path in paths)


def read_lines(path: Path, most: int = MOST_LINES) -> list[Line]:
    """The ticks of a jsonl file, ``most`` at most; a last line that was torn off is dropped.

    Raises:
        ValueError: a line is no VPT tick, or there is none.
    """
    lines: list[Line] = []
    told = json_lines(path, most=most, torn=True)
    for number, line in told:
        try:
            numbers = [float(line["mouse"][k]) for k in ("dx", "dy")]
            if not np.isfinite(numbers).all() or not isinstance(line["keyboard"]["keys"], list):
                raise ValueError("not finite")
        except (ValueError, KeyError, TypeError, OverflowError):
            if lines and number == told[-1][0]:
                break
            raise ValueError(f"{path.name}, line {number}: not a VPT tick") from None
        lines.append(line)
    if not lines:
        raise ValueError(f"{path.name} has no lines")
    return lines


def with_missing_ticks(name: str, lines: Sequence[Line], frames: int) -> list[Line]:
    """Lines with a stand-in for each tick that is missing though the video shows its frame, so that later ones stay.

    As many lines as frames are left as they are: then the recorder dropped both.

    Raises:
        ValueError: ticks are repeated, or more or fewer are missing than the video has frames on top; says where.
    """
    ticks = [tick for line in lines if isinstance(tick := line.get("tick"), int)]
    if len(lines) == frames or len(ticks) < len(lines):
        return list(lines)
    whole, told = [lines[0]], ""
    for line, last, tick in zip(lines[1:], ticks, ticks[1:], strict=False):
        # A game that begins anew counts from 0.
        if tick not in (last + 1, 0):
            told = told or f"{name}: tick {tick} follows tick {last} ({len(lines)} lines, {frames} frames)"
            if not 0 < tick - last <= MOST_MISSING:
                raise ValueError(told)
            before = whole[-1]
            whole += [_stand_in(before, line, missing) for missing in range(last + 1, tick)]
        whole.append(line)
    if told and len(whole) != frames:
        raise ValueError(told)
    return whole


def _stand_in(before: Line, after: Line, tick: int) -> Line:
    """A tick of which nothing is known: what is held before and after it is held, and the mouse rests."""
    mouse, keyboard = before["mouse"], before["keyboard"]
    held = [key for key in keyboard["keys"] if key in after["keyboard"]["keys"]]
    pressed = [button for button in mouse.get("buttons", ()) if button in after["mouse"].get("buttons", ())]
    return {
        **before,
        "tick": tick,
        "mouse": {**mouse, "dx": 0.0, "dy": 0.0, "buttons": pressed, "newButtons": []},
        "keyboard": {**keyboard, "keys": held, "newKeys": []},
    }


def indexed_videos(index: Path) -> list[Path]:
    """Those recordings of an index file that lie beside it.

    Raises:
        ValueError: there is none.
    """
    listed = read_json(index)["relpaths"]
    found = []
    for relative in listed:
        places = (relative, relative.removeprefix("data/"), Path(relative).name)
        found += [place for each in places if (place := index.parent / each).is_file()][:1]
    if not found:
        raise ValueError(f"none of the {len(listed)} recordings that {index.name} names lies beside it")
    return found
