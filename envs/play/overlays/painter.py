"""Draws the play window: the picture in its view, status, timeline, and what lies over them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygame

from worldsim.envs.play.bindings import Preferences, spoken
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
from worldsim.envs.play.overlays.views import Panel, draw_panels
from worldsim.envs.play.pace import Phase
from worldsim.envs.play.session import Session
from worldsim.plotting.window import Window

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is to be drawn.

    Attributes:
        session: what is played.
        panels: the picture; empty before there is one.
        inside: whether latency, trust and the like are shown.
        recording: whether a film is being made.
        message: a line for now; "" for none.
        help: whether the help lies over it.
        pad: whether a gamepad is plugged in.
        menu, starts: drawn where they are open.
    """

    session: Session
    panels: Sequence[Panel]
    inside: bool
    recording: bool
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
        self.drawn = 0.0

    def draw(self, scene: Scene) -> None:
        """Draw and show."""
        window, session = self.window, scene.session
        self.drawn = time.perf_counter()
        if scene.panels:
            draw_panels(window, scene.panels)
        else:
            window.screen.fill((0, 0, 0))
        lines = status_lines(session, inside=scene.inside, recording=scene.recording)
        game = session.game
        if scene.strip and game is not None and session.timeline is not None:
            self.strip.draw(window, session.timeline, session.shown, session.mark, game.chunk / game.fps)
            lines.append(self.strip.label)
        if session.phase is Phase.PAUSED and not scene.covered:
            lines.append(f"Paused.  {self._key('pause')}: go on")
        lines += [scene.message] if scene.message else []
        if lines:
            window.text(lines, size=20, colour=WHITE)
        self._draw_middle(scene, game)
        pygame.display.flip()

    def _draw_middle(self, scene: Scene, game: "Game | None") -> None:
        session, window, keys = scene.session, self.window, self.preferences
        if scene.starts is not None and scene.starts.open:
            scene.starts.draw(window)
        elif scene.menu is not None and scene.menu.open:
            draw_menu(window, scene.menu)
        elif scene.help and game is not None:
            lines = keys.help(
                game.hands.meanings, camera=game.hands.spec.camera, rewinds=game.rewinds, views=len(game.views) > 1,
                pad=scene.pad,
            )  # fmt: skip
            window.text(lines, size=24, colour=WHITE, middle=True)
        elif session.phase is Phase.LOADING or session.moving:
            draw_loading(window, session)
        elif session.phase is Phase.FAILED:
            ways = f"{self._key('rewind')}: two seconds back   {self._key('restart')}: begin anew"
            window.text([session.error, ways], size=20, colour=RED, middle=True)
        elif session.phase is Phase.READY:
            words = f"Press a key of the game to go on.  {self._key('help')}: keys"
            window.text([words], size=22, colour=WHITE, middle=True)

    def _key(self, what: str) -> str:
        """The key for a command, as people write it."""
        return spoken((self.preferences.keys_of(what) or ["?"])[0])
