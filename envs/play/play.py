"""The play window: a person at the desk, the world in a thread of its own.

The loop below never waits for the world: it looks at keyboard and mouse, draws, and shows frames when they are due.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.bindings import COMMANDS, Preferences, key_name, spoken
from worldsim.envs.play.commands import Commands
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.keeping import Keeper, Outlets
from worldsim.envs.play.overlays.menu import Menu
from worldsim.envs.play.overlays.screens import (
    GREY,
    RED,
    WHITE,
    Strip,
    draw_loading,
    draw_menu,
    status_lines,
)
from worldsim.envs.play.overlays.starts import StartPage
from worldsim.envs.play.seats import Seat
from worldsim.envs.play.session import Phase, Session, Tell
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.envs.play.worker import StepTimes
from worldsim.plotting.window import Window
from worldsim.spec.actions import MINECRAFT

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game

# Seconds between two looks at keyboard, mouse and clock; between two drawings while nothing moves; of a message.
TICK, REDRAW, SAID = 0.004, 0.05, 4.0
# The window before anybody knows the size of the game's pictures.
WIDTH, HEIGHT = 144, 80


class PlayWindow:
    """The window, and the loop that keeps it at the game's pace.

    Args:
        open_game: loads the game, in the world's thread; told a function that says how far it is.
        seed: of the first episode; each restart takes the next one.
        preferences: keys, mouse, picture.
        outlets: where what is kept goes.
        seats: for a game, who else can play.
        restore: puts an earlier playthrough into the timeline; returns the moment to begin at.
        same_start: beginning anew returns to the one beginning, and keeps what was played.
        title: of the window while it loads.

    Raises:
        UserError: there is no display.
    """

    def __init__(
        self,
        open_game: "Callable[[Tell], Game]",
        *,
        seed: int,
        preferences: Preferences | None = None,
        outlets: Outlets | None = None,
        seats: "Callable[[Game], Mapping[str, Callable[[], Seat]]]" = lambda game: {},
        restore: "Callable[[Game, Timeline], int]" = lambda game, timeline: 0,
        same_start: bool = False,
        title: str = "WorldSim",
    ):
        self.preferences = preferences or Preferences()
        self.window = Window(WIDTH, HEIGHT, title, smooth=self.preferences.smooth)
        self.session = Session(open_game, seed=seed, seats=seats, restore=restore, same_start=same_start)
        self.keeper = Keeper(self.session, outlets or Outlets(folder=_nowhere), self._say)
        self.controls = Controls(MINECRAFT, self.preferences)
        self.commands = Commands(self.session, self.window, self.keeper, self.preferences, self._say, self._overlay)
        self.strip = Strip()
        self.menu: Menu | None = None
        self.starts: StartPage | None = None
        self.captured = self.help = self.quit = self._recapture = False
        self.message, self._until = "", 0.0
        pygame.joystick.init()
        self._pads: list[Any] = []
        self._frame: NDArray[np.uint8] | None = None
        # Whether help or menu lies over the picture, and whether play goes on when it is gone.
        self._under = self._going_on = False
        self._drawn = 0.0

    def run(self) -> StepTimes:
        """Play until the window is closed."""
        try:
            while not self.quit:
                for event in self.window.events():
                    self._event(event)
                self._opened()
                if self._recapture and self.session.phase is Phase.PLAYING:
                    self._recapture = False
                    self._capture(True)
                frame = self.session.tick(self.controls.take)
                if frame is not None:
                    self._frame = frame
                    self.keeper.show(frame)
                if frame is not None or time.perf_counter() > self._drawn + REDRAW:
                    self._draw()
                # Loading has more use for the machine than a picture that stands.
                time.sleep(TICK if self.session.phase is Phase.PLAYING else 4 * TICK)
                if self.session.phase is Phase.FAILED and self.session.game is None:
                    break
        finally:
            self._capture(False)
            self.window.close()
            self.session.close()
            self.keeper.close()
        if self.session.game is None and self.session.failure is not None:
            raise self.session.failure
        return self.session.times

    def _opened(self) -> None:
        """The game is there: the window takes its shape and its keys."""
        game = self.session.game
        if game is None or self.menu is not None:
            return
        self.window.fit(game.width, game.height, game.title)
        self.controls = Controls(game.hands.spec, self.preferences)
        self.keeper.know()
        if game.pictures is not None:
            self.starts = StartPage(game.pictures, self.session.restart)
        entries = self.commands.entries(game.rewinds, self._leave)
        self.menu = Menu(entries, self.preferences, game.hands.meanings, game.hands.spec.camera, self._say)

    def _leave(self) -> None:
        self.quit = True

    def _say(self, words: str) -> None:
        self.message, self._until = words, time.perf_counter() + SAID

    def _event(self, event: Any) -> None:
        down = event.type in (pygame.KEYDOWN, pygame.MOUSEBUTTONDOWN)
        if event.type == pygame.QUIT:
            self.quit = True
        elif event.type == pygame.WINDOWFOCUSLOST:
            self._capture(False)
            self._recapture = False
        elif event.type == pygame.JOYDEVICEADDED:
            # A gamepad is heard as long as somebody holds it.
            self._pads.append(pygame.joystick.Joystick(event.device_index))
        elif self.menu is not None and self.menu.open:
            self.menu.feed(event)
            if not self.menu.open:
                self._overlay(help=self.help, starts=self.starts is not None and self.starts.open)
        elif self.starts is not None and self.starts.open:
            self.starts.feed(event)
            if not self.starts.open:
                self._overlay()
        elif self.help and down:
            self._overlay(help=False)
        elif event.type == pygame.MOUSEWHEEL and self.session.phase is not Phase.PLAYING:
            self.session.scrub(int(event.y))
        elif self._on_strip(event):
            pass
        elif event.type == pygame.KEYDOWN and self.preferences.keys.get(key_name(event)) in COMMANDS:
            self.commands.do(self.preferences.keys[key_name(event)], bool(getattr(event, "mod", 0) & pygame.KMOD_SHIFT))
            if self.session.phase is Phase.PAUSED:
                self._free()
        elif self._looks() and event.type == pygame.MOUSEBUTTONDOWN and event.button == 1 and not self.captured:
            self._capture(True)
            self.session.resume()
        elif self.controls.feed_pad(event):
            if self.session.phase is Phase.READY:
                self.session.resume()
        elif self.controls.feed(event, self.captured or not self._looks()) and down:
            self._pressed(event)

    def _looks(self) -> bool:
        """Whether the mouse means something in this game."""
        return self.controls.spec.camera

    def _pressed(self, event: Any) -> None:
        """A key of the game: the moment that stood goes on, if the game knows the key."""
        control, game = self.preferences.keys[key_name(event)], self.session.game
        if game is None:
            return
        if not any(control in controls for controls, _ in game.hands.meanings):
            self._say(f"this world never learned {control!r} ({spoken(key_name(event))})")
        elif self.session.phase is Phase.READY:
            self.session.resume()

    def _on_strip(self, event: Any) -> bool:
        """Clicks on the timeline, and the mouse dragged along it, go to a moment."""
        held = event.type == pygame.MOUSEMOTION and bool(event.buttons[0])
        clicked = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1
        timeline = self.session.timeline
        if self.captured or timeline is None or not self._strip_shown() or not (held or clicked):
            return False
        if (number := self.strip.at(event.pos, timeline)) is None:
            return False
        if number != self.session.shown:
            self.session.go(number)
        return True

    def _strip_shown(self) -> bool:
        standing = self.session.phase in (Phase.PAUSED, Phase.READY, Phase.FAILED)
        return standing and self.session.rewinds and len(getattr(self.session.timeline, "moments", ())) > 1

    def _covered(self) -> bool:
        return self.help or any(one is not None and one.open for one in (self.menu, self.starts))

    def _overlay(self, *, menu: bool = False, help: bool = False, starts: bool = False) -> None:
        """Open or close help, menu and starts: the world stands still behind them, and goes on after."""
        if starts and self.starts is None:
            self._say("this game has one beginning")
        if self.starts is not None:
            self.starts.open = starts
        before, self.help = self._under, help
        if self.menu is not None and menu:
            self.menu.show()
        elif self.menu is not None:
            self.menu.open = False
        self._under = self._covered()
        if self._under and not before:
            self._going_on = self.session.phase is Phase.PLAYING
            self.session.pause()
            self._free()
        elif before and not self._under and self._going_on:
            self.session.resume()

    def _free(self) -> None:
        """Let the mouse go until play goes on."""
        self._recapture = self._recapture or self.captured
        self._capture(False)

    def _capture(self, captured: bool) -> None:
        self.captured = captured
        self.controls.release()
        if pygame.display.get_init():
            pygame.event.set_grab(captured)
            pygame.mouse.set_visible(not captured)

    def _draw(self) -> None:
        session, window = self.session, self.window
        self._drawn = time.perf_counter()
        if session.phase in (Phase.READY, Phase.PAUSED) and session.moved:
            self._frame = session.picture()
        if self._frame is None:
            window.screen.fill((0, 0, 0))
        else:
            window.draw(self._frame)
        lines = status_lines(session, inside=self.commands.inside, recording=self.keeper.recording is not None)
        shown = self._strip_shown() and not self._covered()
        if shown and session.game is not None and session.timeline is not None:
            self.strip.draw(
                window, session.timeline, session.shown, session.mark, session.game.chunk / session.game.fps
            )
            lines.append(self.strip.label)
        lines += [self.message] if time.perf_counter() < self._until else []
        if lines:
            window.text(lines, size=20, colour=WHITE)
        self._draw_middle()
        pygame.display.flip()

    def _draw_middle(self) -> None:
        session, window, keys = self.session, self.window, self.preferences
        game = session.game
        if self.starts is not None and self.starts.open:
            self.starts.draw(window)
        elif self.menu is not None and self.menu.open:
            draw_menu(window, self.menu)
        elif self.help and game is not None:
            lines = keys.help(game.hands.meanings, camera=self._looks(), rewinds=game.rewinds)
            window.text(lines, size=24, colour=WHITE, middle=True)
        elif session.phase is Phase.LOADING or session.moving:
            draw_loading(window, session)
        elif session.phase is Phase.FAILED:
            ways = f"{self._key('rewind')}: two seconds back   {self._key('restart')}: begin anew"
            window.text([session.error, ways], size=20, colour=RED, middle=True)
        elif session.phase is Phase.READY:
            words = f"Press a key of the game to go on.  {self._key('help')}: keys"
            window.text([words], size=22, colour=WHITE, middle=True)
        elif session.phase is Phase.PAUSED:
            window.text([f"Paused.  {self._key('pause')}: go on"], size=20, colour=GREY, line=2)

    def _key(self, what: str) -> str:
        """The key for a command, as people write it."""
        return spoken((self.preferences.keys_of(what) or ["?"])[0])


def _nowhere() -> Any:
    raise ValueError("there is no folder for it")
