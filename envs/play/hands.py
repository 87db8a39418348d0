"""A person's keyboard and mouse for any game: from Minecraft's controls, as the play window reads them, to its actions.

A action vector of the game.
"""

import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UserError
from worldsim.scripting.player import AXIS
from worldsim.spec.actions import MINECRAFT, ActionSpec

Vector = NDArray[np.float32]
# Controls that belong together, and what they do in this game: a line of help.
Meaning = tuple[tuple[str, ...], str]
# How held controls become a vector, and what they mean.
Layout = tuple[Callable[[set[str]], Vector], tuple[Meaning, ...]]
# What a joystick's words are among a person's controls.
JOYSTICK = {"up": "forward", "down": "back", "left": "left", "right": "right", "fire": "jump"}
DIGITS = tuple(f"hotbar.{i}" for i in range(1, 10))
BOTH_WAYS = " + / -"
KEYPADS = (("right", "left"), ("forward", "back"), ("jump", "sneak"))
MINECRAFT_MEANINGS: tuple[Meaning, ...] = (
    (("forward", "left", "back", "right"), "walk"),
    (("jump",), "jump"),
    (("sneak",), "sneak"),
    (("sprint",), "sprint"),
    (("attack",), "attack, dig"),
    (("use",), "use, place"),
    (DIGITS, "choose an item"),
    (("drop",), "drop"),
    (("inventory",), "inventory"),
)


class HumanInputMapper:
    """Turns what is held into a game's action vector.

    Args:
        spec: the game's actions.
        exclusive: the game takes exactly one of its keys at a time; None: guessed, by whether one of them is ``noop``.
        learned: the keys that mean something there; the others are neither offered nor sent. None: all.

    Raises:
        UserError: a person's keyboard cannot play it.
    """

    def __init__(self, spec: ActionSpec, *, exclusive: bool | None = None, learned: Collection[str] | None = None):
        if exclusive is None:
            exclusive = not spec.camera and bool({"noop", "nop"} & set(spec.keys))
        self.target = spec
        self.spec = ActionSpec(keys=MINECRAFT.keys, camera=spec.camera)
        self._unknown = [i for i, key in enumerate(spec.keys) if learned is not None and key not in learned]
        words = [_joystick(key) for key in spec.keys]
        self._options = [frozenset(word or ()) for word in words]
        self._play, self.meanings = self._one_at_a_time(None not in words) if exclusive else self._together()

    def _one_at_a_time(self, joystick: bool) -> Layout:
        """Keys that exclude each other: directions and fire where all names are made of these words, else digits."""
        if not joystick:
            return self._by_digits()
        held = {control for option in self._options for control in option}
        return self._joystick, tuple(((control,), name) for name, control in JOYSTICK.items() if control in held)

    def _together(self) -> Layout:
        """Keys that may be held together: Minecraft's own, axes on pairs of keys, else digits."""
        keys, axes = self.target.keys, [key.startswith(AXIS) for key in self.target.keys]
        named = set(keys) & set(MINECRAFT.keys)
        # Where a key is none of Minecraft's, all have digits, as far as these go: none may be out of reach.
        if self.target.camera or (named and (named == set(keys) or len(keys) > len(DIGITS))):
            known = {key for i, key in enumerate(keys) if i not in self._unknown}
            parts = ((tuple(c for c in controls if c in known), text) for controls, text in MINECRAFT_MEANINGS)
            return self._same, tuple((controls, text) for controls, text in parts if controls)
        if all(axes) and len(keys) <= len(KEYPADS):
            pads = zip(keys, KEYPADS, strict=False)
            return self._axes, tuple((pad, f"{name}{BOTH_WAYS}") for name, pad in pads)
        if any(axes):
            raise self._unplayable()
        return self._by_digits()

    def _by_digits(self) -> Layout:
        if len(self.target.keys) > len(DIGITS):
            raise self._unplayable()
        return self._digits, tuple(((DIGITS[i],), name) for i, name in enumerate(self.target.keys))

    def _unplayable(self) -> UserError:
        keys = self.target.keys
        return UserError(f"a keyboard cannot play {len(keys)} actions ({', '.join(keys[:4])}, ...)")

    def __call__(self, controls: Vector) -> Vector:
        """The game's vector (A,) for a vector of Minecraft's controls."""
        held = {key for key, value in zip(self.spec.keys, controls, strict=False) if value > 0.5}
        vector = self._play(held)
        vector[self._unknown] = 0
        if self.target.camera:
            vector[-2:] = controls[-2:]
        return vector

    def unheard(self, control: str, key: str) -> str:
        """Says that a control, which a key stands for, means nothing here; "" where it means something."""
        if any(control in controls for controls, _ in self.meanings):
            return ""
        known = control in self.target.keys
        return f"this world never learned {control!r} ({key})" if known else f"{key} does nothing in this game"

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
        for i, (digit, key) in enumerate(zip(DIGITS, self.target.keys, strict=False)):
            # A key that has one of Minecraft's names is pressed by that, too.
            vector[i] = digit in held or key in held
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


def labels(meanings: Iterable[Meaning]) -> dict[str, str]:
    """What each control alone is called in this game."""
    out: dict[str, str] = {}
    for controls, text in meanings:
        if len(controls) == 1:
            out[controls[0]] = text
        elif text.endswith(BOTH_WAYS):
            out |= {c: text.removesuffix(BOTH_WAYS) + sign for c, sign in zip(controls, (" +", " -"), strict=True)}
        else:
            out |= {control: control.replace("hotbar.", "item ") for control in controls}
    return out


def _joystick(name: str) -> set[str] | None:
    """The controls of ``upleftfire``; none for ``noop``; None for another kind of name."""
    if name in ("noop", "nop"):
        return set()
    if not re.fullmatch(r"(up|down|left|right|fire)+", name):
        return None
    return {JOYSTICK[word] for word in re.findall(r"up|down|left|right|fire", name)}
