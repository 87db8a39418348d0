"""The menu of the play window, and the one that changes keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pygame

from worldsim.envs.play.bindings import (
    COMMANDS,
    DEFAULTS,
    DOWN,
    FASTEST,
    KNOWN,
    LEAST,
    MOST,
    SENSITIVITY,
    SLOWEST,
    TURN,
    Preferences,
    key_name,
    spoken,
)
from worldsim.envs.play.hands import Meaning, labels
from worldsim.envs.play.pads.gamepads import as_key

PRESS = "press a key (Esc: leave it)"


@dataclass(frozen=True)
class Entry:
    """A line of the menu; ``change`` is called with 1 or -1 where it has a value."""

    text: Callable[[], str]
    choose: Callable[[], None] = lambda: None
    change: Callable[[int], None] | None = None


class Menu:
    """Lines to choose from by arrows and Enter, or by the mouse.

    Args:
        entries: of the first page.
        preferences: changed by the pages of keys and mouse.
        meanings: the controls of the game.
        camera: whether the mouse and a stick look around.
        say: shows a line to the player.
        pad: whether a gamepad is plugged in.
    """

    def __init__(
        self,
        entries: list[Entry],
        preferences: Preferences,
        meanings: tuple[Meaning, ...],
        camera: bool,
        say: Callable[[str], None],
        pad: Callable[[], bool],
    ):
        self.preferences, self.say, self._pad = preferences, say, pad
        keys = Entry(lambda: "Change keys ...", self._open_keys)
        mouse = Entry(lambda: f"Mouse  < {preferences.sensitivity:.2f} degrees/pixel >", change=self._mouse)
        stick = Entry(lambda: f"Gamepad  < {preferences.turn:.1f} degrees/frame >", change=self._stick)
        *first, last = entries
        self._main = [*first, keys, *([mouse] if camera else []), last]
        self._stick_too = [*self._main[:-1], stick, last] if camera else self._main
        self._labels = labels(meanings) | COMMANDS
        self.open = False
        self.entries, self.chosen, self._catching = self._main, 0, ""
        self._top, self.rows = 0, 1
        # Where the lines were drawn last.
        self.ground = pygame.Rect(0, 0, 0, 0)

    def show(self) -> None:
        """Open the first page."""
        self.open, self.chosen, self._top, self._catching = True, 0, 0, ""
        self.entries = self._stick_too if self._pad() else self._main

    def lines(self, most: int) -> tuple[list[str], int]:
        """At most ``most`` lines around the chosen one, and which of them that is."""
        self._top = max(0, min(self._top, self.chosen), self.chosen - most + 1)
        texts = [entry.text() for entry in self.entries]
        return texts[self._top : self._top + most], self.chosen - self._top

    def feed(self, event: Any) -> None:
        """Take in an event."""
        if self._catching:
            self._catch(event)
        elif (event := as_key(event)).type == pygame.KEYDOWN:
            self._key(event.key)
        elif event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN) and self.ground.collidepoint(event.pos):
            line = (event.pos[1] - self.ground.top - 4) * self._shown() // max(1, self.ground.height - 8)
            self.chosen = max(0, min(len(self.entries) - 1, self._top + line))
            if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                self._choose()

    def _shown(self) -> int:
        return max(1, min(len(self.entries) - self._top, self.rows))

    def _key(self, key: int) -> None:
        if key in (pygame.K_ESCAPE, pygame.K_BACKSPACE):
            if self.entries in (self._main, self._stick_too):
                self.open = False
            else:
                self.show()
        elif key in (pygame.K_UP, pygame.K_DOWN):
            self.chosen = (self.chosen + (1 if key == pygame.K_DOWN else -1)) % len(self.entries)
        elif key in (pygame.K_LEFT, pygame.K_RIGHT) and (change := self.entries[self.chosen].change):
            change(1 if key == pygame.K_RIGHT else -1)
        elif key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE):
            self._choose()

    def _choose(self) -> None:
        entry = self.entries[self.chosen]
        entry.choose()
        if entry.change is not None:
            entry.change(1)

    def _mouse(self, direction: int) -> None:
        # In steps of a fifth, so that slow and fast mice are both reached soon.
        value = round(self.preferences.sensitivity * 1.2**direction, 3)
        self.preferences.sensitivity = min(MOST, max(LEAST, value))
        self.keep()

    def _stick(self, direction: int) -> None:
        self.preferences.turn = min(FASTEST, max(SLOWEST, round(self.preferences.turn * 1.2**direction, 2)))
        self.keep()

    def _open_keys(self) -> None:
        back = Entry(lambda: "Back", self.show)
        usual = Entry(lambda: "All keys as at first", self._reset)
        self.entries = [back, usual, *(self._entry(what) for what in self._labels)]
        self.chosen = self._top = 0

    def _entry(self, what: str) -> Entry:
        def text() -> str:
            bound = self.preferences.keys_of(what)
            bound += self.preferences.keys_of(what, pad=True) if self._pad() else []
            keys = PRESS if self._catching == what else ", ".join(spoken(key) for key in bound)
            return f"{self._labels[what]:<29}{keys or 'none'}"

        def choose() -> None:
            self._catching = what

        return Entry(text, choose)

    def _catch(self, event: Any) -> None:
        key = key_name(event)
        if event.type not in DOWN or not key:
            return
        what, self._catching = self._catching, ""
        # Without a key for the menu there would be no way back to it.
        if key != "escape" and key in KNOWN and (self.preferences.keys.get(key) != "menu" or what == "menu"):
            self.preferences.bind(key, what)
            self.keep()

    def _reset(self) -> None:
        self.preferences.keys, self.preferences.sensitivity = dict(DEFAULTS), SENSITIVITY
        self.preferences.turn = TURN
        self.keep()

    def keep(self) -> None:
        """Write the preferences."""
        try:
            self.preferences.save()
        except OSError as error:
            self.say(f"these settings last until the window closes: {error}")
