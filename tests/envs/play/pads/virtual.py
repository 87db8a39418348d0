"""A gamepad that SDL takes for a real one: plugged in, moved and pulled out by tests."""

import ctypes
from pathlib import Path
from typing import Any

import pygame
import pytest

# SDL_JoystickType: one that SDL maps by itself, and one that it knows nothing of.
KNOWN_PAD, UNKNOWN_PAD = 1, 2


def sdl() -> Any:
    """The SDL that pygame brings; the test is left out where it brings none."""
    found = [path for folder in ("pygame.libs", "pygame_ce.libs") for path in _beside(folder).glob("libSDL2-2*")]
    if not found:
        pytest.skip("pygame uses the system's SDL")
    library = ctypes.CDLL(str(found[0]))
    library.SDL_JoystickFromInstanceID.restype = ctypes.c_void_p
    return library


def _beside(folder: str) -> Path:
    return Path(str(pygame.__file__)).parent.parent / folder


class VirtualPad:
    """A pad at SDL's own door.

    Args:
        kind: of SDL's types.
        axes, buttons: how many.
    """

    def __init__(self, kind: int = KNOWN_PAD, axes: int = 6, buttons: int = 15):
        self._sdl = sdl()
        # The dummy driver's window has no focus, and pads are heard by the window that has it.
        self._sdl.SDL_SetHint(b"SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", b"1")
        self.index = self._sdl.SDL_JoystickAttachVirtual(kind, axes, buttons, 1)
        assert self.index >= 0, "this SDL has no virtual pads"
        self.number = self._sdl.SDL_JoystickGetDeviceInstanceID(self.index)

    def axis(self, number: int, value: float) -> None:
        """Move a stick or a trigger, -1 to 1."""
        self._sdl.SDL_JoystickSetVirtualAxis(self._pointer(), number, ctypes.c_int16(round(value * 32767)))

    def button(self, number: int, pressed: bool) -> None:
        """Press a button, or let it go."""
        self._sdl.SDL_JoystickSetVirtualButton(self._pointer(), number, int(pressed))

    def hat(self, direction: int) -> None:
        """Press the cross: 1 up, 2 right, 4 down, 8 left, sums of them, 0 none."""
        self._sdl.SDL_JoystickSetVirtualHat(self._pointer(), 0, direction)

    def pull(self) -> None:
        """Pull it out."""
        indices = range(self._sdl.SDL_NumJoysticks())
        here = [i for i in indices if self._sdl.SDL_JoystickGetDeviceInstanceID(i) == self.number]
        for index in here:
            self._sdl.SDL_JoystickDetachVirtual(index)

    def _pointer(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._sdl.SDL_JoystickFromInstanceID(self.number))
