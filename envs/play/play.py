"""The play window: a person at the desk, the world in a thread of its own.

The loop below never waits for the world: it looks at keyboard and mouse, draws, and shows frames when they are due.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.envs.play.bindings import COMMANDS, DOWN, Preferences, key_name
from worldsim.envs.play.commands import Commands
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.keeping import Keeper
from worldsim.envs.play.opening import Opening, WorldTile
from worldsim.envs.play.overlays.menu import Menu
from worldsim.envs.play.overlays.painter import Painter, Scene
from worldsim.envs.play.overlays.screens import Strip
from worldsim.envs.play.overlays.starts import StartPage
from worldsim.envs.play.overlays.views import Panel, Views, flat
from worldsim.envs.play.pace import REAL, Phase
from worldsim.envs.play.pads.gamepads import Gamepads, as_key
from worldsim.envs.play.real.aside import Aside
from worldsim.envs.play.recordings import Films
from worldsim.envs.play.worker import StepTimes
from worldsim.errors import UserError
from worldsim.plotting.window import Window
from worldsim.spec.actions import MINECRAFT

# Seconds between two looks at keyboard, mouse and clock; between two drawings while nothing moves; of a message.
TICK, REDRAW, SAID = 0.004, 0.05, 4.0
# The window before anybody knows the size of the game's pictures.
WIDTH, HEIGHT = 144, 80


class PlayWindow:
    """The window, and the loop that keeps it at the game's pace.

    Args:
        opening: what is played first.
        preferences: keys, mouse, picture.
        title: of the window while it loads.

    Raises:
        UserError: there is no display.
    """

    def __init__(self, opening: Opening, *, preferences: Preferences | None = None, title: str = "WorldSim"):
        self.preferences, self.strip = preferences or Preferences(), Strip()
        self.window = Window(WIDTH, HEIGHT, title, smooth=self.preferences.smooth)
        self.painter = Painter(self.window, self.preferences, self.strip)
        self.captured = self.help = self.quit = self._recapture = False
        self.message, self._until = "", 0.0
        self.pads = Gamepads()
        self.kept: list[Path] = []
        self.films = Films(self._say, self.kept)
        # What to return to where the game that is being opened cannot be, or from the real game beside a dream.
        self._before: Aside | None = None
        self._sit(opening)

    def _sit(self, opening: Opening, aside: Aside | None = None) -> None:
        """Begin with a game of which nothing is there yet, or go on with one that stood aside."""
        self.opening, self.session = opening, opening.session() if aside is None else aside.session
        self.keeper = Keeper(self.session, opening.outlets, self._say, self.films)
        self.controls, self.views = (
            Controls(MINECRAFT, self.preferences, self.pads),
            Views(opening.view if aside is None else aside.view),
        )
        self.commands = Commands(
            self.session, self.window, self.keeper, self.preferences, self._say, self._overlay, self._look, self._beside
        )
        self.menu: Menu | None = None
        self.starts: StartPage | None = None
        self._frame: NDArray[np.uint8] | None = None if aside is None else aside.frame
        # Whether help or menu lies over the picture, and whether play goes on when it is gone.
        self._under = self._going_on = False

    def open(self, opening: Opening, *, beside: bool = False) -> None:
        """Leave this game, whose play is kept, and open another one; ``beside``: to come back."""
        self._capture(False)
        self.help = False
        self.session.pause()
        self.keeper.close()
        if self.session.game is not None:
            self._before = Aside(
                opening=self.opening.again(), session=self.session, frame=self._frame, view=self.views.name,
                waits=beside, before=self._before,
            )  # fmt: skip
        else:
            self.session.close(leave=True)
        self._sit(opening)

    def _return(self) -> None:
        """Leave this game, and go on with the one that stood aside."""
        before = self._before
        assert before is not None
        self._capture(False)
        self.help, self._before = False, before.before
        self.keeper.close()
        self.session.close(leave=True)
        self._sit(before.opening, before)

    def run(self) -> StepTimes:
        """Play until the window is closed."""
        try:
            # Before anything loads: what is imported next takes the machine for seconds.
            self._draw()
            while not self.quit:
                for event in self.window.events():
                    for one in self.pads.read(event):
                        self._event(one)
                self._opened()
                self.films.look()
                if self._recapture and self.session.phase is Phase.PLAYING:
                    self._recapture = False
                    self._capture(True)
                frame = self.session.tick(self.controls.take)
                if frame is not None:
                    self._frame = frame
                    self.views.note(frame, self.session.insight)
                    if self.films.recording is not None:
                        self.films.show(flat(self._panels()))
                if frame is not None or time.perf_counter() > self.painter.drawn + REDRAW:
                    self._draw()
                # Loading has more use for the machine than a picture that stands.
                time.sleep(TICK if self.session.phase is Phase.PLAYING else 4 * TICK)
                if self.session.phase is Phase.FAILED and self.session.game is None and not self._returned():
                    break
        finally:
            self._capture(False)
            self.window.close()
            self.session.close()
            self.keeper.close()
            self.films.close()
            if self._before is not None:
                self._before.close()
        if self.session.game is None and self.session.failure is not None:
            raise self.session.failure
        return self.session.times

    def _opened(self) -> None:
        """The game is there: the window takes its shape and its keys."""
        game = self.session.game
        if game is None or self.menu is not None:
            return
        if self._before is not None and not self._before.waits:
            self._before.close()
            self._before = None
        self.window.fit(game.width, game.height, game.title)
        self.controls = Controls(game.hands.spec, self.preferences, self.pads)
        self.keeper.know()
        self.views.name = self.views.name or game.views[0]
        game.watch = self.views.name
        # What the real game shows beside a dream cannot be a picture of somebody's own.
        own = game.pictures is not None and REAL not in game.views
        self.starts = StartPage(game.pictures, self.session.restart, prompts=game.prompts, own=own)
        self.session.ask(self.opening.worlds, self._offer)
        if game.news:
            self._say(game.news, 2 * SAID)
        entries = self.commands.entries(game, self._leave, real=self._before is not None or REAL not in game.views)
        hands = game.hands
        self.menu = Menu(
            entries, self.preferences, hands.meanings, hands.spec.camera, self._say, lambda: bool(self.pads.pads)
        )
        if self.opening.start_page and self.starts.tiles:
            self._overlay(starts=True)

    def _leave(self) -> None:
        self.quit = True

    def _say(self, words: str, seconds: float = SAID) -> None:
        self.message, self._until = words, time.perf_counter() + seconds

    def _offer(self, worlds: "Sequence[WorldTile]") -> None:
        """Put other worlds on the page of starts."""
        if self.starts is not None:
            for tile in worlds:
                self.starts.add(tile.name, tile.picture, lambda tile=tile: self.open(tile.opening()))

    def _look(self, view: str) -> None:
        self.views.name = view
        self.session.watch(view)

    def _beside(self) -> None:
        """Open the real game beside the dream, or go back from there to the dream as it was left."""
        if self._before is not None and self._before.waits:
            self._return()
            self._say("the dream alone, where you left it")
        elif self.session.phase is not Phase.LOADING:
            self._open_beside()

    def _open_beside(self) -> None:
        try:
            self.open(self.opening.beside(self.session), beside=True)
        except (UserError, FileNotFoundError) as error:
            self._say(f"the real game cannot be opened: {error}", 2 * SAID)

    def _returned(self) -> bool:
        """A game could not be opened: go back to the one before, and say why."""
        if self._before is None:
            return False
        error = self.session.error
        self._return()
        self._say(error, 2 * SAID)
        return True

    def _event(self, event: Any) -> None:
        down = event.type in DOWN
        if event.type == pygame.QUIT:
            self.quit = True
        elif event.type == pygame.DROPFILE:
            self._overlay()
            self.session.restart(event.file)
        elif event.type == pygame.WINDOWFOCUSLOST:
            self._capture(False)
            self._recapture = False
        elif self.menu is not None and self.menu.open:
            menu = self.menu
            menu.feed(event)
            # What was chosen may have opened another game, with a menu of its own.
            if not menu.open and menu is self.menu:
                self._overlay(help=self.help, starts=self.starts is not None and self.starts.open)
        elif self.starts is not None and self.starts.open:
            page = self.starts
            page.feed(as_key(event))
            if not page.open and page is self.starts:
                self._overlay()
        elif self.help and (down or event.type == pygame.MOUSEWHEEL):
            if not self.painter.help_page.turn(event) and down:
                self._overlay(help=False)
        elif event.type == pygame.MOUSEWHEEL and self.session.phase is not Phase.PLAYING:
            self.session.scrub(int(event.y))
        elif not self.captured and self.strip.feed(event, self.session):
            pass
        elif down and self.preferences.keys.get(key_name(event)) in COMMANDS:
            self.commands.do(self.preferences.keys[key_name(event)], bool(getattr(event, "mod", 0) & pygame.KMOD_SHIFT))
            if self.session.phase is Phase.PAUSED:
                self._free()
        elif self._looks() and event.type == pygame.MOUSEBUTTONDOWN and event.button == 1 and not self.captured:
            self._capture(True)
            self.session.resume()
        elif self.controls.feed(event, self.captured or not self._looks()) and down:
            self.commands.pressed(key_name(event))

    def _looks(self) -> bool:
        """Whether the mouse means something in this game."""
        return self.controls.spec.camera

    def _covered(self) -> bool:
        return self.help or any(one is not None and one.open for one in (self.menu, self.starts))

    def _overlay(self, *, menu: bool = False, help: bool = False, starts: bool = False) -> None:
        """Open or close help, menu and starts: the world stands still behind them, and goes on after."""
        if starts and (self.starts is None or not self.starts.tiles):
            self._say("this game has one beginning")
        if self.starts is not None:
            self.starts.open = starts and bool(self.starts.tiles)
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
        session = self.session
        if session.phase in (Phase.READY, Phase.PAUSED) and session.moved:
            self._frame = session.picture()
        self.painter.draw(
            Scene(
                session=session, panels=self._panels(), inside=self.commands.inside, help=self.help, menu=self.menu,
                films=self.films.status, starts=self.starts, pad=bool(self.pads.pads),
                message=self.message if time.perf_counter() < self._until else "",
            )
        )  # fmt: skip

    def _panels(self) -> list[Panel]:
        return [] if self._frame is None else self.views.panels(self._frame, self.session.insight)
