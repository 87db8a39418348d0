"""Keys, buttons and mouse motion into a Luanti window, through the X server's XTEST extension."""

import time

from Xlib import XK, X
from Xlib.display import Display
from Xlib.ext import xtest

KEYSYMS = {
    "forward": "w",
    "back": "s",
    "left": "a",
    "right": "d",
    "jump": "space",
    "sneak": "Shift_L",
    "sprint": "e",
    "drop": "q",
    "inventory": "i",
} | {f"hotbar.{slot}": str(slot) for slot in range(1, 10)}
BUTTONS = {"attack": 1, "use": 3}


class LuantiInput:
    """What a player's hands do on one X display.

    Args:
        number: of the display.
        sensitivity: degrees a mouse pixel.
        reach: pixels (x, y) that the pointer can move in one frame.
    """

    def __init__(self, number: int, sensitivity: float, reach: tuple[int, int]):
        self._display = Display(f":{number}")
        self._sensitivity = sensitivity
        self._reach = reach
        self._codes = {
            name: self._display.keysym_to_keycode(XK.string_to_keysym(symbol)) for name, symbol in KEYSYMS.items()
        }
        self.held: set[str] = set()
        self._remainder = [0.0, 0.0]
        self._display.change_keyboard_control(auto_repeat_mode=X.AutoRepeatModeOff)
        self._focus()

    def _focus(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            windows = self._display.screen().root.query_tree().children
            if windows:
                self._display.set_input_focus(windows[0], X.RevertToParent, X.CurrentTime)
                self._display.sync()
                return
            time.sleep(0.02)
        raise RuntimeError("Luanti opened no window")

    def hold(self, names: set[str]) -> None:
        """Hold exactly these keys and buttons."""
        for name in sorted(self.held ^ names):
            pressed = name in names
            if name in BUTTONS:
                xtest.fake_input(self._display, X.ButtonPress if pressed else X.ButtonRelease, BUTTONS[name])
            else:
                xtest.fake_input(self._display, X.KeyPress if pressed else X.KeyRelease, self._codes[name])
        self.held = set(names)

    def turn(self, pitch: float, yaw: float) -> tuple[float, float]:
        """Move the mouse by about so many degrees; returns the exact ones.

        What rounding to pixels leaves over is kept for the next call.
        """
        moved = []
        for axis, degrees in enumerate((yaw, pitch)):
            wanted = degrees + self._remainder[axis]
            pixels = round(wanted / self._sensitivity)
            if abs(pixels) > self._reach[axis]:
                pixels, self._remainder[axis] = (self._reach[axis] if pixels > 0 else -self._reach[axis]), 0.0
            else:
                self._remainder[axis] = wanted - pixels * self._sensitivity
            moved.append(pixels)
        if any(moved):
            xtest.fake_input(self._display, X.MotionNotify, 1, x=moved[0], y=moved[1])
        return moved[1] * self._sensitivity, moved[0] * self._sensitivity

    def flush(self) -> None:
        """Return when the X server has passed everything on."""
        self._display.sync()

    def release(self) -> None:
        """Let go of everything."""
        self.hold(set())
        self._remainder = [0.0, 0.0]
        self.flush()

    def close(self) -> None:
        """Leave the display."""
        self._display.close()
