"""Keyboard, mouse and gamepad gathered into action vectors of a person's controls.

r video frames per chunk, A action vector.
"""

from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.bindings import DOWN, FASTEST, UP, Preferences, key_name
from worldsim.envs.play.pads.gamepads import Gamepads
from worldsim.spec.actions import ActionSpec, hold

OF_MOUSE = (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP)


class Controls:
    """What is held, what was tapped since the last chunk, how far the mouse went.

    Args:
        spec: a person's controls.
        preferences: which key is which control; how far the mouse and a stick turn.
        pads: whose sticks count as they stand; None: there are none.
    """

    def __init__(self, spec: ActionSpec, preferences: Preferences, pads: Gamepads | None = None):
        self.spec, self.preferences, self.pads = spec, preferences, pads
        self.held: set[str] = set()
        self.tapped: set[str] = set()
        self.motion = np.zeros(2)

    def feed(self, event: Any, captured: bool) -> bool:
        """Take in an event; whether it was for the game. The mouse counts only while it is captured."""
        if event.type == pygame.MOUSEMOTION:
            if captured:
                self.motion += np.array([event.rel[1], event.rel[0]]) * self.preferences.sensitivity
            return captured and self.spec.camera
        control = self.preferences.keys.get(key_name(event), "")
        if control not in self.spec.keys:
            return False
        counts = captured or event.type not in OF_MOUSE
        if counts or event.type in UP:
            self.press(control, event.type in DOWN)
        return counts and event.type in DOWN

    def press(self, control: str, held: bool) -> None:
        """Hold a control, or let it go; one that the game does not have is ignored."""
        if held and control in self.spec.keys:
            self.held.add(control)
            self.tapped.add(control)
        else:
            self.held.discard(control)

    def release(self) -> None:
        """Let everything go: the window lost the keyboard or the mouse."""
        self.held.clear()
        self.tapped.clear()
        self.motion[:] = 0

    def take(self, frames: int) -> NDArray[np.float32]:
        """Actions (r, A) for the next chunk: the mouse's way is spread evenly over its frames."""
        turn, held = self.motion / frames, self.held | self.tapped
        if self.pads is not None:
            # A stick that was held while a menu was open is still held.
            held = held | {self.preferences.keys.get(name, "") for name in self.pads.tilts()}
            turn = turn + self.preferences.turn * self.pads.look()
        vector = self.spec.vector({name: 1 for name in held if name in self.spec.keys})
        if self.spec.camera:
            vector[-2:] = np.clip(turn, -FASTEST, FASTEST)
        self.tapped.clear()
        self.motion[:] = 0
        return hold(vector, frames)
