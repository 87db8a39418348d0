"""Draws the play window: the picture in its view, status, timeline, and what lies over them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygame

from worldsim.envs.play.bindings import Preferences, spoken
from worldsim.envs.play.overlays.help_page import HelpPage
from worldsim.envs.play.overlays.menu import Menu
from worldsim.envs.play.overlays.screens import (
    RED,
    WHITE,
    Strip,
    draw_loading,
    draw_menu,
    has_strip,
    status_lines,
)
from worldsim.envs.play.overlays.starts import StartPage
from worldsim.envs.play.overlays.views import Panel, draw_names, draw_panels
from worldsim.envs.play.pace import Phase
from worldsim.envs.play.session import Session
from worldsim.plotting.window import Window

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game


# Pixels below the window's middle that the names of several pictures take.
NAMES = 40


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is to be drawn.

    Attributes:
        session: what is played.
        panels: the picture; empty before there is one.
        inside: whether latency, trust and the like are shown.
        films: whether one is recorded or written, in words; "" for neither.
        message: a line for now; "" for none.
        help: whether the help lies over it.
        pad: whether a gamepad is plugged in.
        menu, starts: drawn where they are open.
    """

    session: Session
    panels: Sequence[Panel]
    inside: bool
    films: str
    message: str
    help: bool
    pad: bool
    menu: Menu | None
    starts: StartPage | None

    @property
    def covered(self) -> bool:
        """Whether something lies over the picture."""
        return self.help or any(one is not None and one.open for one in (self.menu, self.starts))

    @property
    def strip(self) -> bool:
        """Whether the timeline is part of it."""
        return has_strip(self.session) and not self.covered


class Painter:
    """Draws scenes on a window.

    Args:
        window: to draw on.
        preferences: name the keys in texts.
        strip: the timeline, which remembers where it was drawn.
    """

    def __init__(self, window: Window, preferences: Preferences, strip: Strip):
        self.window, self.preferences, self.strip = window, preferences, strip
        self.help_page = HelpPage()
        self.drawn = 0.0

    def draw(self, scene: Scene) -> None:
        """Draw and show."""
        window, session = self.window, scene.session
        self.drawn = time.perf_counter()
        corners = []
        if scene.panels:
            corners = draw_panels(window, scene.panels)
        else:
            window.screen.fill((0, 0, 0))
        if not scene.help:
            self.help_page.page = 0
        game, area = session.game, window.screen.get_rect()
        if scene.strip and game is not None and session.timeline is not None:
            self.strip.draw(window, session.timeline, session.shown, session.mark, game.chunk / game.fps)
            area.height = self.strip.ground.top
        lines, taken = self._lines(scene), [self.strip.ground] if scene.strip else []
        if lines:
            # Some of it is left for what stands in the middle.
            standing = session.phase in (Phase.PLAYING, Phase.PAUSED) and not session.moving
            above = area.copy()
            above.height = area.height if standing and not scene.covered else area.height * 2 // 3
            taken.append(window.text(lines, size=20, colour=WHITE, area=above))
            area = pygame.Rect(0, taken[-1].bottom, area.width, area.bottom - taken[-1].bottom)
        corners = [((x, min(y, area.bottom)), below, wide) for (x, y), below, wide in corners]
        several = len(scene.panels) > 1 and not scene.covered
        if several and (room := area.bottom - window.screen.get_height() // 2 - NAMES) > NAMES:
            area = pygame.Rect(0, area.bottom - room, area.width, room)
        if (middle := self._draw_middle(scene, game, area)) is not None:
            taken.append(middle)
        if not scene.covered:
            draw_names(window, scene.panels, corners, taken)
        pygame.display.flip()

    def _lines(self, scene: Scene) -> list[str]:
        """What stands in the upper left corner; where something lies over the picture, only the message."""
        session, lines = scene.session, list[str]()
        if not scene.covered:
            lines = status_lines(session, inside=scene.inside, films=scene.films)
            lines += [self.strip.label] if scene.strip else []
            lines += [f"Paused.  {self._key('pause')}: go on"] if session.phase is Phase.PAUSED else []
        return lines + ([scene.message] if scene.message else [])

    def _draw_middle(self, scene: Scene, game: "Game | None", area: pygame.Rect) -> pygame.Rect | None:
        """What stands in the middle, in the area that is left; returns where."""
        session, window, keys = scene.session, self.window, self.preferences
        if scene.starts is not None and scene.starts.open:
            scene.starts.draw(window)
        elif scene.menu is not None and scene.menu.open:
            draw_menu(window, scene.menu, area)
        elif scene.help and game is not None:
            lines = keys.help(
                game.hands.meanings, camera=game.hands.spec.camera, rewinds=game.rewinds, views=len(game.views) > 1,
                pad=scene.pad,
            )  # fmt: skip
            self.help_page.draw(window, lines, area)
        elif session.phase is Phase.LOADING or session.moving:
            return draw_loading(window, session, area)
        elif session.phase is Phase.FAILED:
            ways = f"{self._key('rewind')}: two seconds back   {self._key('restart')}: begin anew"
            return window.text([session.error, ways], size=20, colour=RED, middle=True, area=area)
        elif session.phase is Phase.READY:
            words = f"Press a key of the game to go on.  {self._key('help')}: keys"
            return window.text([words], size=22, colour=WHITE, middle=True, area=area)
        return None

    def _key(self, what: str) -> str:
        """The key for a command, as people write it."""
        return spoken((self.preferences.keys_of(what) or ["?"])[0])
