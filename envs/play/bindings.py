"""Which key does what, and how the mouse feels: editable, kept in one file, the same for all games.

A key is named as pygame names it ("w", "left shift"), a button of the mouse "mouse 1" (left) to "mouse 5", a part of a
gamepad as SDL does ("pad a", "pad left trigger").
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
from worldsim.envs.play.pads.gamepads import NAMES as PAD_NAMES
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.text_files import read_json

# What the window itself does, in the order of its help. No control of a game has one of these names.
COMMANDS: dict[str, str] = {
    "pause": "pause, go on",
    "step": "one frame further",
    "earlier": "paused: back (Shift: 1 s)",
    "later": "paused: forward (Shift: 1 s)",
    "rewind": "two seconds back",
    "quick save": "mark this moment",
    "quick load": "return to the mark",
    "restart": "begin anew",
    "starts": "choose where to begin",
    "player": "who plays: you, a script",
    "real": "real game beside it, or back",
    "view": "next view",
    "save": "save the playthrough",
    "screenshot": "screenshot",
    "video": "record a video, stop",
    "gif": "record a GIF, stop",
    "keep": "keep the episode in a store",
    "inside": "latency, trust, keys played",
    "smooth": "pixels: crisp, smooth",
    "full screen": "full screen",
    "help": "this help",
    "menu": "menu",
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
PAD_DEFAULTS: dict[str, str] = {
    "pad tilt up": "forward", "pad tilt left": "left", "pad tilt down": "back", "pad tilt right": "right",
    "pad up": "forward", "pad left": "left", "pad down": "back", "pad right": "right",
    "pad a": "jump", "pad b": "sneak", "pad left stick": "sprint", "pad right trigger": "attack",
    "pad left trigger": "use", "pad y": "pause", "pad left shoulder": "earlier", "pad right shoulder": "later",
    "pad x": "rewind", "pad right stick": "view", "pad back": "help", "pad start": "menu",
}  # fmt: skip
DEFAULTS |= PAD_DEFAULTS
_NAMES = {getattr(pygame, name): pygame.key.name(getattr(pygame, name)) for name in dir(pygame) if name[:2] == "K_"}
KNOWN = {*(name for name in _NAMES.values() if name), *(f"mouse {i}" for i in range(1, 6)), *PAD_NAMES}
WORDS = {
    ",": "comma", ".": "period",
    "left shift": "Shift", "left ctrl": "Ctrl", "escape": "Esc", "mouse 1": "left button", "mouse 3": "right button",
}  # fmt: skip
# What the four directions together are called.
SHORT = {
    "Up Left Down Right": "arrows", "cross up cross left cross down cross right": "cross",
    "stick up stick left stick down stick right": "left stick",
}  # fmt: skip
SENSITIVITY, LEAST, MOST = 0.15, 0.01, 2.0
# The fastest turn per video frame is what worlds are trained on, degrees.
TURN, SLOWEST, FASTEST = 6.0, 1.0, 20.0
# Something is pressed; it is let go.
DOWN = (pygame.KEYDOWN, pygame.MOUSEBUTTONDOWN, pygame.CONTROLLERBUTTONDOWN)
UP = (pygame.KEYUP, pygame.MOUSEBUTTONUP, pygame.CONTROLLERBUTTONUP)


def key_name(event: Any) -> str:
    """The key or button of an event, "" for none."""
    if event.type in (pygame.KEYDOWN, pygame.KEYUP):
        return _NAMES.get(event.key, "")
    if event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP):
        return event.name
    return f"mouse {event.button}" if event.type in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP) else ""


def spoken(key: str) -> str:
    """A key as people write it."""
    if key in PAD_NAMES:
        return f"pad {pad_word(key)}"
    return WORDS.get(key) or (key if key.startswith("mouse") else key.title())


def pad_word(name: str) -> str:
    """A part of a gamepad as people write it."""
    word = name.removeprefix("pad ")
    words = {"left stick": "left stick pressed", "right stick": "right stick pressed"}
    if word in ("up", "left", "down", "right"):
        return f"cross {word}"
    return words.get(word) or (word.upper() if len(word) == 1 else word.replace("tilt", "stick"))


@dataclass
class Preferences:
    """A person's keys, mouse and picture.

    Attributes:
        path: file that they are kept in; None: they are not.
        keys: what each key does: a control of ``MINECRAFT.keys`` or one of ``COMMANDS``.
        sensitivity: degrees per pixel of mouse movement.
        turn: degrees per video frame of a gamepad's stick at its edge.
        smooth: blend pixels.
    """

    path: Path | None = None
    keys: dict[str, str] = field(default_factory=lambda: dict(DEFAULTS))
    sensitivity: float = SENSITIVITY
    smooth: bool = False
    turn: float = TURN

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
            turn = float(content.get("turn", TURN))
            _check(keys, sensitivity, turn)
            keys |= _new(keys)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}): mend or delete it") from error
        return Preferences(path, keys, sensitivity, smooth, turn)

    def save(self) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        if self.path is not None:
            content = {name: getattr(self, name) for name in ("keys", "sensitivity", "smooth", "turn")}
            write_whole(self.path, json.dumps(content, indent=1) + "\n")

    def bind(self, key: str, what: str) -> None:
        """Let a key do something instead of all others of its device; what the key did before loses it."""
        if key not in KNOWN:
            raise UserError(f"unknown key {key!r}")
        others = {*self.keys_of(what, pad=key in PAD_NAMES), key}
        self.keys = {k: w for k, w in self.keys.items() if k not in others} | {key: what}

    def keys_of(self, what: str, *, pad: bool = False) -> list[str]:
        """The keys and buttons of the mouse that do something, or the parts of a gamepad."""
        return [key for key, does in self.keys.items() if does == what and (key in PAD_NAMES) is pad]

    def help(
        self, meanings: Iterable[Meaning], *, camera: bool, rewinds: bool, views: bool = True, pad: bool = False
    ) -> list[str]:
        """Lines that say which key does what in a game, and which part of a gamepad; what has none is left out.

        ``rewinds``, ``views``: whether the game can go back, and has several views.
        """
        left_out = (*(() if rewinds else REWINDING), *(() if views else ("view",)))
        does = [*meanings, *(((name,), text) for name, text in COMMANDS.items() if name not in left_out)]
        mouse, stick = ("mouse", "look around (click; Esc lets go)"), ("right stick", "look around")
        lines = [*([mouse] if camera else []), *((self._line(controls), text) for controls, text in does)]
        if pad:
            lines += [("gamepad:", ""), *([stick] if camera else [])]
            lines += [(self._line(controls, pad=True), text) for controls, text in does]
        return [f"{keys:<19} {text}".rstrip() for keys, text in lines if keys]

    def _line(self, controls: Iterable[str], *, pad: bool = False) -> str:
        """The first key of each, then the second; digits in a row as a range."""
        keys, word = [self.keys_of(control, pad=pad) for control in controls], pad_word if pad else spoken
        rows = [[word(of[i]) for of in keys if len(of) > i] for i in range(2)]
        words = [f"{row[0]} to {row[-1]}" if _in_a_row(row) else _short(row) for row in rows if row]
        return ", ".join(words)


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where preferences are kept: ``worldsim/play.json`` among the user's settings."""
    home = environ.get("XDG_CONFIG_HOME") or environ.get("APPDATA") or str(Path.home() / ".config")
    return Path(home) / "worldsim" / "play.json"


def _new(keys: Mapping[str, str]) -> dict[str, str]:
    """Usual keys of commands that nothing does, as far as they are free, and of gamepads: newer than the file."""
    known = {what for key, what in keys.items() if key not in PAD_NAMES}
    pads = set(PAD_NAMES) & set(keys)
    return {
        key: what
        for key, what in DEFAULTS.items()
        if key not in keys and ((what in COMMANDS and what not in known) or (key in PAD_NAMES and not pads))
    }


def _short(row: list[str]) -> str:
    joined = " ".join(row)
    return SHORT.get(joined, joined)


def _in_a_row(row: list[str]) -> bool:
    numbers = [int(word) for word in row if word.isdigit()]
    return len(row) > 2 and numbers == list(range(numbers[0], numbers[0] + len(row))) if numbers else False


def _check(keys: Mapping[str, str], sensitivity: float, turn: float) -> None:
    for key, what in keys.items():
        if key not in KNOWN or (what not in COMMANDS and what not in MINECRAFT.keys):
            raise ValueError(f"{key!r}: {what!r}")
    if not LEAST <= sensitivity <= MOST:
        raise ValueError(f"sensitivity {sensitivity} is not from {LEAST} to {MOST}")
    if not SLOWEST <= turn <= FASTEST:
        raise ValueError(f"turn {turn} is not from {SLOWEST} to {FASTEST}")
