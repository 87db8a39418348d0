"""Keyboard and mouse as in Minecraft, gathered into action vectors.

r video frames per chunk, A action vector.
"""

from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.spec.actions import ActionSpec, hold

KEYS: dict[int, str] = {
    pygame.K_w: "forward",
    pygame.K_s: "back",
    pygame.K_a: "left",
    pygame.K_d: "right",
    pygame.K_SPACE: "jump",
    pygame.K_LSHIFT: "sneak",
    pygame.K_LCTRL: "sprint",
    pygame.K_q: "drop",
    pygame.K_e: "inventory",
} | {pygame.K_0 + i: f"hotbar.{i}" for i in range(1, 10)}
BUTTONS: dict[int, str] = {1: "attack", 3: "use"}
HELP = (
    "W A S D          walk",
    "Space            jump",
    "Shift            sneak",
    "Ctrl             sprint",
    "Mouse            look around (click to capture it)",
    "Left button      attack, dig",
    "Right button     use, place",
    "1 to 9           choose an item",
    "Q                drop         E   inventory",
    "R                begin anew elsewhere",
    "F                full screen",
    "H                this help",
    "Esc              let the mouse go, then quit",
)
# The fastest turn per video frame that worlds are trained on, degrees.
FASTEST = 20.0


class Controls:
    """What is held, what was tapped since the last chunk, how far the mouse went.

    Args:
        spec: the game's actions.
        sensitivity: degrees per pixel.
    """

    def __init__(self, spec: ActionSpec, sensitivity: float):
        self.spec, self.sensitivity = spec, sensitivity
        self.held: set[str] = set()
        self.tapped: set[str] = set()
        self.motion = np.zeros(2)

    def feed(self, event: Any, captured: bool) -> None:
        """Take in an event; the mouse counts only while it is captured."""
        if event.type == pygame.KEYDOWN and event.key in KEYS:
            self._press(KEYS[event.key])
        elif event.type == pygame.KEYUP and event.key in KEYS:
            self.held.discard(KEYS[event.key])
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button in BUTTONS and captured:
            self._press(BUTTONS[event.button])
        elif event.type == pygame.MOUSEBUTTONUP and event.button in BUTTONS:
            self.held.discard(BUTTONS[event.button])
        elif event.type == pygame.MOUSEMOTION and captured:
            self.motion += np.array([event.rel[1], event.rel[0]]) * self.sensitivity

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

    def _press(self, name: str) -> None:
        self.held.add(name)
        self.tapped.add(name)
