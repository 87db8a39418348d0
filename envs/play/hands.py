"""A person's keyboard and mouse for any game: from Minecraft's controls, as the play window reads them, to its actions.

A action vector of the game.
"""

import re

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.controls import HELP
from worldsim.errors import UserError
from worldsim.scripting.player import AXIS
from worldsim.spec.actions import MINECRAFT, ActionSpec

Vector = NDArray[np.float32]
# What a joystick's words are on the keyboard (W, S, A, D, space).
JOYSTICK = {"up": "forward", "down": "back", "left": "left", "right": "right", "fire": "jump"}
DIGITS = tuple(f"hotbar.{i}" for i in range(1, 10))
KEYPADS = (("right", "left"), ("forward", "back"), ("jump", "sneak"))
CAPS = {"forward": "W", "back": "S", "left": "A", "right": "D", "jump": "Space", "sneak": "Shift"}


class HumanInputMapper:
    """Turns what is held into a game's action vector.

    Args:
        spec: the game's actions.
        exclusive: the game takes exactly one of its keys at a time; None: guessed, by whether one of them is ``noop``.

    Raises:
        UserError: a person's keyboard cannot play it.
    """

    def __init__(self, spec: ActionSpec, *, exclusive: bool | None = None):
        if exclusive is None:
            exclusive = not spec.camera and bool({"noop", "nop"} & set(spec.keys))
        self.target = spec
        self.spec = ActionSpec(keys=MINECRAFT.keys, camera=spec.camera)
        words = [_joystick(key) for key in spec.keys]
        if exclusive and all(word is not None for word in words):
            self._options = [frozenset(word or ()) for word in words]
            self._play = self._joystick
            held = {control for option in self._options for control in option}
            self.help = tuple(f"{CAPS[c]:16} {n}" for n, c in JOYSTICK.items() if c in held)
        elif exclusive and len(spec.keys) <= len(DIGITS):
            self._play = self._digits
            self.help = tuple(f"{i + 1:<16} {name}" for i, name in enumerate(spec.keys))
        elif not exclusive and (spec.camera or set(spec.keys) & set(MINECRAFT.keys)):
            self._play = self._same
            self.help = HELP
        elif not exclusive and all(key.startswith(AXIS) for key in spec.keys) and len(spec.keys) <= len(KEYPADS):
            self._play = self._axes
            pads = zip(spec.keys, KEYPADS, strict=False)
            self.help = tuple(f"{CAPS[up]} / {CAPS[down]:12} {name} + / -" for name, (up, down) in pads)
        elif not exclusive and len(spec.keys) <= len(DIGITS) and not any(k.startswith(AXIS) for k in spec.keys):
            self._play = self._digits
            self.help = tuple(f"{i + 1:<16} {name}" for i, name in enumerate(spec.keys))
        else:
            raise UserError(f"a keyboard cannot play {len(spec.keys)} actions ({', '.join(spec.keys[:4])}, ...)")
        if self.help is not HELP:
            self.help = (
                *self.help,
                "R                begin anew",
                "H                this help",
                "Esc              quit",
            )

    def __call__(self, controls: Vector) -> Vector:
        """The game's vector (A,) for a vector of Minecraft's controls."""
        held = {key for key, value in zip(self.spec.keys, controls, strict=False) if value > 0.5}
        vector = self._play(held)
        if self.target.camera:
            vector[-2:] = controls[-2:]
        return vector

    def _joystick(self, held: set[str]) -> Vector:
        """The option with most of the held directions and none that is not held."""
        if "attack" in held:
            held = held | {"jump"}
        fitting = [i for i, option in enumerate(self._options) if option <= held]
        vector = self.target.noop()
        if fitting:
            vector[max(fitting, key=lambda i: (len(self._options[i]), -i))] = 1
        return vector

    def _digits(self, held: set[str]) -> Vector:
        vector = self.target.noop()
        for i, digit in enumerate(DIGITS[: len(self.target.keys)]):
            vector[i] = digit in held
        return vector

    def _same(self, held: set[str]) -> Vector:
        vector = self.target.noop()
        for i, key in enumerate(self.target.keys):
            vector[i] = key in held
        return vector

    def _axes(self, held: set[str]) -> Vector:
        vector = self.target.noop()
        for i, (up, down) in enumerate(KEYPADS[: len(self.target.keys)]):
            vector[i] = (up in held) - (down in held)
        return vector


def _joystick(name: str) -> set[str] | None:
    """The controls of ``upleftfire``; none for ``noop``; None for another kind of name."""
    if name in ("noop", "nop"):
        return set()
    if not re.fullmatch(r"(up|down|left|right|fire)+", name):
        return None
    return {JOYSTICK[word] for word in re.findall(r"up|down|left|right|fire", name)}
