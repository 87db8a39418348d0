"""Keyboard, mouse and gamepad gathered into action vectors of a person's controls.

r video frames per chunk, A action vector.
"""

from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.bindings import Preferences, key_name
from worldsim.spec.actions import ActionSpec, hold

# The fastest turn per video frame that worlds are trained on, degrees.
FASTEST = 20.0
# A gamepad: its buttons; its left stick walks, its right stick turns by so many degrees a frame at most.
PAD_BUTTONS = {0: "jump", 1: "sneak", 2: "attack", 3: "use", 4: "sprint", 5: "attack"}
PAD_STICK = {0: ("left", "right"), 1: ("forward", "back")}
PAD_LOOK = {2: 1, 3: 0, 4: 0}
PAD_TURN, PAD_REST = 6.0, 0.3


class Controls:
    """What is held, what was tapped since the last chunk, how far the mouse went.

    Args:
        spec: a person's controls.
        preferences: which key is which control; how far the mouse turns.
    """

    def __init__(self, spec: ActionSpec, preferences: Preferences):
        self.spec, self.preferences = spec, preferences
        self.held: set[str] = set()
        self.tapped: set[str] = set()
        self.motion = np.zeros(2)
        self._look = np.zeros(2)

    def feed(self, event: Any, captured: bool) -> bool:
        """Take in an event; whether it was for the game. The mouse counts only while it is captured."""
        if event.type == pygame.MOUSEMOTION:
            if captured:
                self.motion += np.array([event.rel[1], event.rel[0]]) * self.preferences.sensitivity
            return captured and self.spec.camera
        control = self.preferences.keys.get(key_name(event), "")
        if control not in self.spec.keys:
            return False
        released = event.type in (pygame.KEYUP, pygame.MOUSEBUTTONUP)
        if released or event.type == pygame.KEYDOWN or captured:
            self.press(control, not released)
        return not released and (event.type == pygame.KEYDOWN or captured)

    def feed_pad(self, event: Any) -> bool:
        """Take in an event of a gamepad; whether something was pressed."""
        if event.type in (pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP):
            control = PAD_BUTTONS.get(event.button, "")
            self.press(control, event.type == pygame.JOYBUTTONDOWN)
            return event.type == pygame.JOYBUTTONDOWN and bool(control)
        if event.type != pygame.JOYAXISMOTION:
            return False
        value = float(event.value) if abs(event.value) > PAD_REST else 0.0
        if event.axis in PAD_LOOK:
            self._look[PAD_LOOK[event.axis]] = value * PAD_TURN
            return False
        less, more = PAD_STICK.get(event.axis, ("", ""))
        self.press(less, value < 0)
        self.press(more, value > 0)
        return bool(value)

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
        self.motion[:] = self._look[:] = 0

    def take(self, frames: int) -> NDArray[np.float32]:
        """Actions (r, A) for the next chunk: the mouse's way is spread evenly over its frames."""
        vector = self.spec.vector({name: 1 for name in self.held | self.tapped if name in self.spec.keys})
        if self.spec.camera:
            vector[-2:] = np.clip(self.motion / frames + self._look, -FASTEST, FASTEST)
        self.tapped.clear()
        self.motion[:] = 0
        return hold(vector, frames)
