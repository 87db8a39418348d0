"""The engine's own record of each frame, read from the log that our two mods write."""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTROLS = ("forward", "back", "left", "right", "jump", "sneak", "sprint", "attack", "use")
TRUNCATE_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rendered frame as the client saw it. ``yaw`` and ``pitch`` are those of the frame before (degrees)."""

    time_us: int
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    yaw: float
    pitch: float
    controls: frozenset[str]
    wield: int
    node_feet: str
    node_head: str
    on_ground: bool
    light: int


@dataclass
class LuantiLog:
    """Follows the log of one client."""

    path: Path
    row: Row | None = None
    inventory: dict[str, int] = field(default_factory=dict)
    nearby: dict[str, Any] = field(default_factory=dict)
    started: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_RDWR)
        self._rest = b""
        self._events: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """Take in all new lines; returns the new events."""
        while chunk := os.read(self._file, 1 << 16):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
        # The game appends, so that a cut file just starts again from nothing.
        if not self._rest and os.lseek(self._file, 0, os.SEEK_CUR) > TRUNCATE_BYTES:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take(self, line: str) -> None:
        at = line.find(": WS")
        if at < 0:
            return
        kind, _, text = line[at + 2 :].partition(" ")
        if kind == "WSF":
            self.row = _parse(text.split(" "))
        elif kind == "WSE":
            name, node, *position = text.split(" ")
            self._events.append({"kind": name, "node": node, "position": tuple(int(value) for value in position)})
        elif kind == "WSI":
            self.inventory = {name: int(count) for name, count in (json.loads(text) or {}).items()}
        elif kind == "WSN":
            found = json.loads(text)
            self.nearby = {} if "none" in found else found
        elif kind == "WSS":
            self.started = json.loads(text)


def _parse(words: list[str]) -> Row:
    numbers = [float(word) for word in words[1:9]]
    return Row(
        time_us=int(words[0]),
        position=np.array(numbers[0:3]),
        velocity=np.array(numbers[3:6]),
        # The client's yaw grows to the left, 90 degrees being +z, and its pitch upwards; Minecraft's the other way.
        yaw=90.0 - math.degrees(numbers[6]),
        pitch=-math.degrees(numbers[7]),
        controls=frozenset(name for name, on in zip(CONTROLS, words[9], strict=True) if on == "1"),
        wield=int(words[10]) + 1,
        node_feet=words[11],
        node_head=words[12],
        on_ground=words[13] == "1",
        light=int(words[14]),
    )
