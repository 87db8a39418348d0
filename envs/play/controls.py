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

    def feed(self, event: Any, captured: bool) -> bool:
        """Take in an event; whether it was for the game. The mouse counts only while it is captured."""
        if event.type == pygame.MOUSEMOTION:
            if captured:
                self.motion += np.array([event.rel[1], event.rel[0]]) * self.preferences.sensitivity
            return captured and self.spec.camera
        control = self.preferences.keys.get(key_name(event), "")
        if control not in self.spec.keys:
            return False
        if event.type in (pygame.KEYUP, pygame.MOUSEBUTTONUP):
            self.held.discard(control)
        elif event.type == pygame.KEYDOWN or captured:
            self.held.add(control)
            self.tapped.add(control)
            return True
        return False

    def release(self) -> None:
        """Let everything go: the window lost the keyboard or the mouse."""
        self.held.clear()
        self.tapped.clear()
        self.motion[:] = 0

    def take(self, frames: int) -> NDArray[np.float32]:
        """Actions (r, A) for the next chunk: the mouse's way is spread evenly over its frames."""
        vector = self.spec.vector({name: 1 for name in self.held | self.tapped if name in self.spec.keys})
        if self.spec.camera:
            vector[-2:] = np.clip(self.motion / frames, -FASTEST, FASTEST)
        self.tapped.clear()
        self.motion[:] = 0
        return hold(vector, frames)
