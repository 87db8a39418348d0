"""Which key does what, and how the mouse feels: editable, kept in one file, the same for all games.

A key is named as pygame names it ("w", "left shift"), a button of the mouse "mouse 1" (left) to "mouse 5".
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygame

from worldsim.asides import write_whole
from worldsim.envs.play.hands import Meaning
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.text_files import read_json

# What the window itself does, in the order of its help. No control of a game has one of these names.
COMMANDS: dict[str, str] = {
    "pause": "pause, go on",
    "step": "one frame further",
    "earlier": "paused: back (Shift: a second)",
    "later": "paused: forward (Shift: a second)",
    "rewind": "two seconds back",
    "quick save": "mark this moment",
    "quick load": "return to the mark",
    "restart": "begin anew elsewhere",
    "starts": "choose where to begin",
    "player": "who plays: you, a script, ...",
    "real": "dream or real game",
    "view": "view: picture, depth, both ...",
    "save": "save the playthrough",
    "screenshot": "screenshot",
    "video": "record a video, stop",
    "gif": "record a GIF, stop",
    "keep": "keep the episode in a store",
    "inside": "latency, trust, keys as played",
    "smooth": "pixels: crisp, smooth",
    "full screen": "full screen",
    "help": "this help",
    "menu": "menu; lets the mouse go",
}
# Only games that rewind have these.
REWINDING = ("earlier", "later", "rewind", "quick save", "quick load", "save", "keep")
DEFAULTS: dict[str, str] = {
    "w": "forward", "up": "forward", "s": "back", "down": "back", "a": "left", "left": "left", "d": "right",
    "right": "right", "space": "jump", "left shift": "sneak", "left ctrl": "sprint", "q": "drop", "e": "inventory",
    "mouse 1": "attack", "mouse 3": "use", **{str(i): f"hotbar.{i}" for i in range(1, 10)},
    "p": "pause", "n": "step", ",": "earlier", ".": "later", "page up": "earlier", "page down": "later",
    "backspace": "rewind", "f5": "quick save", "f9": "quick load", "r": "restart", "b": "starts", "tab": "player",
    "g": "real", "v": "view",
    "f6": "save", "f2": "screenshot", "f7": "video", "f8": "gif", "f10": "keep", "f3": "inside", "f4": "smooth",
    "f": "full screen", "f11": "full screen", "h": "help", "f1": "help", "escape": "menu",
}  # fmt: skip
_NAMES = {getattr(pygame, name): pygame.key.name(getattr(pygame, name)) for name in dir(pygame) if name[:2] == "K_"}
KNOWN = {*(name for name in _NAMES.values() if name), *(f"mouse {i}" for i in range(1, 6))}
WORDS = {
    ",": "comma", ".": "period",
    "left shift": "Shift", "left ctrl": "Ctrl", "escape": "Esc", "mouse 1": "left button", "mouse 3": "right button",
}  # fmt: skip
SENSITIVITY, LEAST, MOST = 0.15, 0.01, 2.0


def key_name(event: Any) -> str:
    """The key or button of an event, "" for none."""
    if event.type in (pygame.KEYDOWN, pygame.KEYUP):
        return _NAMES.get(event.key, "")
    return f"mouse {event.button}" if event.type in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP) else ""


def spoken(key: str) -> str:
    """A key as people write it."""
    return WORDS.get(key) or (key if key.startswith("mouse") else key.title())


@dataclass
class Preferences:
    """A person's keys, mouse and picture.

    Attributes:
        path: file that they are kept in; None: they are not.
        keys: what each key does: a control of ``MINECRAFT.keys`` or one of ``COMMANDS``.
        sensitivity: degrees per pixel of mouse movement.
        smooth: blend pixels.
    """

    path: Path | None = None
    keys: dict[str, str] = field(default_factory=lambda: dict(DEFAULTS))
    sensitivity: float = SENSITIVITY
    smooth: bool = False

    @staticmethod
    def load(path: Path) -> "Preferences":
        """Read the file, if it is there.

        Raises:
            UserError: it is damaged.
        """
        if not path.exists():
            return Preferences(path)
        content = read_json(path)
        try:
            keys = {str(key): str(what) for key, what in content["keys"].items()}
            sensitivity, smooth = float(content["sensitivity"]), bool(content["smooth"])
            _check(keys, sensitivity)
            keys |= _new(keys)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}): mend or delete it") from error
        return Preferences(path, keys, sensitivity, smooth)

    def save(self) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        if self.path is not None:
            content = {"keys": self.keys, "sensitivity": self.sensitivity, "smooth": self.smooth}
            write_whole(self.path, json.dumps(content, indent=1) + "\n")

    def bind(self, key: str, what: str) -> None:
        """Let a key do something instead of all that other keys do for it; what the key did before loses it."""
        if key not in KNOWN:
            raise UserError(f"unknown key {key!r}")
        self.keys = {k: w for k, w in self.keys.items() if w != what and k != key} | {key: what}

    def keys_of(self, what: str) -> list[str]:
        """The keys that do something."""
        return [key for key, does in self.keys.items() if does == what]

    def help(self, meanings: Iterable[Meaning], *, camera: bool, rewinds: bool) -> list[str]:
        """Lines that say which key does what in a game; what has no key is left out."""
        lines = [(self._line(controls), text) for controls, text in meanings]
        if camera:
            lines.append(("mouse", "look around (click to capture)"))
        shown = {name: text for name, text in COMMANDS.items() if rewinds or name not in REWINDING}
        lines += [(self._line([name]), text) for name, text in shown.items()]
        return [f"{keys:<19} {text}" for keys, text in lines if keys]

    def _line(self, controls: Iterable[str]) -> str:
        """The first key of each, then the second; digits in a row as a range."""
        keys = [self.keys_of(control) for control in controls]
        rows = [[spoken(of[i]) for of in keys if len(of) > i] for i in range(2)]
        words = [f"{row[0]} to {row[-1]}" if _in_a_row(row) else " ".join(row) for row in rows if row]
        if len(words) == 2 and words[1] == "Up Left Down Right":
            words[1] = "arrows"
        return ", ".join(words)


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where preferences are kept: ``worldsim/play.json`` among the user's settings."""
    home = environ.get("XDG_CONFIG_HOME") or environ.get("APPDATA") or str(Path.home() / ".config")
    return Path(home) / "worldsim" / "play.json"


def _new(keys: Mapping[str, str]) -> dict[str, str]:
    """Usual keys of commands that nothing does, as far as they are free: a command newer than the file."""
    return {
        key: what
        for key, what in DEFAULTS.items()
        if what in COMMANDS and what not in keys.values() and key not in keys
    }


def _in_a_row(row: list[str]) -> bool:
    numbers = [int(word) for word in row if word.isdigit()]
    return len(row) > 2 and numbers == list(range(numbers[0], numbers[0] + len(row))) if numbers else False


def _check(keys: Mapping[str, str], sensitivity: float) -> None:
    for key, what in keys.items():
        if key not in KNOWN or (what not in COMMANDS and what not in MINECRAFT.keys):
            raise ValueError(f"{key!r}: {what!r}")
    if not LEAST <= sensitivity <= MOST:
        raise ValueError(f"sensitivity {sensitivity} is not from {LEAST} to {MOST}")
