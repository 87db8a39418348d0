"""The shipped worlds in the window, at a size, and everything that it can write."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pygame

from worldsim.envs.learned.initial_context import resolve
from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.opening import Opening, WorldTile
from worldsim.envs.play.pace import BOTH, DREAM, REAL, Phase
from worldsim.envs.play.pads.gamepads import Pad
from worldsim.envs.play.play import PlayWindow
from worldsim.plotting.lettering import PADDING, Lettering

WORLDS = ("minecraft", "pong")
SIZES = ((400, 300), (640, 360), (1280, 800))
LONG = "kept /home/somebody/worlds/of-my-own/runs/play-2026-11-29-10-20-30/recording-12.mp4"
ERROR = "RuntimeError: the playthrough's branch 3 ends in other pictures than those that were saved: other rounding"


@lru_cache
def world(name: str) -> tuple[Any, Any]:
    """A shipped world and its starts, loaded once."""
    return resolve(name, None, "cpu")


@dataclass
class Written:
    """What was written in one drawing: rows of letters and where, and what was asked for."""

    places: list[tuple[Lettering, pygame.Rect]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        """Every row."""
        return [row for lettering, _ in self.places for row, _ in lettering.rows]


class Shown:
    """A shipped world in the window.

    Args:
        name: of the world.
        size: of the window.
    """

    def __init__(self, name: str, size: tuple[int, int]):
        self.game = WorldGame(*world(name))
        self.game.views = (DREAM, REAL, BOTH, *self.game.views[1:])
        tiles = [WorldTile(name=other, picture=self._picture(other), opening=_never) for other in WORLDS]
        self.window = PlayWindow(
            Opening(open_game=lambda tell: self.game, seed=0, worlds=lambda: tiles), preferences=Preferences()
        )
        # It keeps the size that is asked for here.
        self.window.window._first = (0, 0)
        self.window.window.screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        self.size, self.written = size, Written()
        self._listen()

    @staticmethod
    def _picture(name: str) -> Any:
        return world(name)[1].frames[0, -1]

    def _listen(self) -> None:
        window = self.window.window
        write, text, tag = window._write, window.text, window.tag

        def note(lettering: Lettering, place: pygame.Rect, *more: Any) -> None:
            self.written.places.append((lettering, place.copy()))
            write(lettering, place, *more)

        def ask(lines: Any, **options: Any) -> pygame.Rect:
            self.written.asked += lines
            return text(lines, **options)

        def ask_tag(line: str, *place: Any, **options: Any) -> pygame.Rect | None:
            out = tag(line, *place, **options)
            self.written.asked += [line] if out is not None else []
            return out

        window._write, window.text, window.tag = note, ask, ask_tag  # pyright: ignore[reportAttributeAccessIssue]

    def until(self, holds: Callable[[], Any], seconds: float = 60.0) -> None:
        """Let the world go on until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.window.session.phase
            pygame.event.pump()
            self.window._opened()
            if (frame := self.window.session.tick(self.window.controls.take)) is not None:
                self.window._frame = frame
            time.sleep(0.002)

    def press(self, *codes: int) -> None:
        """Press keys."""
        for code in codes:
            for kind in (pygame.KEYDOWN, pygame.KEYUP):
                self.window._event(pygame.event.Event(kind, {"key": code, "mod": 0}))

    def draw(self) -> Written:
        """Draw once; what was written."""
        self.written = Written()
        self.window._draw()
        return self.written

    def stands(self) -> bool:
        """Whether the world stands where it should."""
        session = self.window.session
        return session.game is not None and not session.moving and session._job is None and not session._tasks

    def screens(self) -> Iterator[tuple[str, Written]]:
        """Everything that the window can show, by name."""
        window, session = self.window, self.window.session
        yield "loading", self.draw()
        self.until(lambda: session.phase is Phase.READY and window.starts is not None and self.stands())
        yield "ready", self.draw()
        window.commands.inside = True
        window.controls.press("forward", True)
        session.resume()
        self.until(lambda: session.shown > 4)
        yield "inside", self.draw()
        self.press(pygame.K_p)
        self.until(self.stands)
        window.commands.inside = False
        yield "paused", self.draw()
        # Branches, so that the timeline has rows and there is something to be apart from.
        for back in range(1, 9):
            session.go(back % 3 + 1, Phase.READY)
            self.until(self.stands)
            session.single_step()
            self.until(lambda: not session.queue.wanted)
            self.until(self.stands)
        yield "branches", self.draw()
        window.commands.inside = True
        window._say(LONG, 999)
        yield "everything", self.draw()
        yield from self._beside()
        window.commands.inside = False
        yield "message", self.draw()
        window._say("", 0)
        session.moving, session.loading = True, ("going back", 0.3)
        yield "going back", self.draw()
        session.moving = False
        phase, session.phase, session.error = session.phase, Phase.FAILED, ERROR
        yield "failed", self.draw()
        session.phase, session.error = phase, ""
        yield from self._covers()

    def _beside(self) -> Iterator[tuple[str, Written]]:
        window, session = self.window, self.window.session
        frame, insight = window._frame, session.insight
        assert frame is not None
        for view in (REAL, BOTH):
            window.views.name, session.insight = view, {REAL: 255 - frame}
            window.views.note(frame, session.insight)
            yield f"{view}, everything", self.draw()
            window.commands.inside = False
            for phase in (Phase.PLAYING, Phase.READY):
                before, session.phase, session.moved = session.phase, phase, False
                yield f"{view}, {phase.value}", self.draw()
                session.phase = before
            window.commands.inside = True
        self.press(pygame.K_h)
        yield "both, help", self.draw()
        self.window._say("", 0)
        assert abs(self.draw().places[-1][1].centery - self.size[1] // 2) < 3, "help is not in the middle"
        self.window._say(LONG, 999)
        self.press(pygame.K_h)
        window.views.name, session.insight = "picture", insight

    def _covers(self) -> Iterator[tuple[str, Written]]:
        window = self.window
        for pad in (False, True):
            window.pads.pads = {1: Pad()} if pad else {}
            self.press(pygame.K_h)
            yield f"help, pad {pad}", self.draw()
            for page in range(1, window.painter.help_page.pages):
                self.press(pygame.K_DOWN)
                yield f"help, pad {pad}, page {page}", self.draw()
            assert window.help
            self.press(pygame.K_h)
            assert not window.help
        self.press(pygame.K_ESCAPE)
        assert window.menu is not None
        yield from self._scrolled("menu")
        window.menu.chosen = next(i for i, e in enumerate(window.menu.entries) if e.text().startswith("Change keys"))
        self.press(pygame.K_RETURN)
        yield from self._scrolled("keys")
        self.press(pygame.K_RETURN)
        yield "press a key", self.draw()
        window._say(LONG, 999)
        yield "message over the menu", self.draw()
        window._say("", 0)
        self.press(pygame.K_ESCAPE, pygame.K_ESCAPE, pygame.K_ESCAPE)
        self.press(pygame.K_b)
        yield "starts", self.draw()
        self.press(pygame.K_ESCAPE)
        window.pads.pads = {}
        # A key that means nothing here.
        self.press(pygame.K_e)
        yield "a key without a meaning", self.draw()

    def _scrolled(self, name: str) -> Iterator[tuple[str, Written]]:
        menu = self.window.menu
        assert menu is not None and menu.open
        menu.chosen = 0
        for line in range(0, len(menu.entries) - 1):
            if line % 5 == 0 or line == len(menu.entries) - 2:
                yield f"{name}, line {line}", self.draw()
            self.press(pygame.K_DOWN)
        yield f"{name}, last line", self.draw()

    def close(self) -> None:
        """Close the window."""
        self.window.session.close()
        self.window.window.close()


def _never() -> Opening:
    raise AssertionError("no other world is opened here")


def faults(written: Written, size: tuple[int, int], strip: pygame.Rect | None) -> list[str]:
    """What does not fit in one drawing; nothing is as it should be."""
    out, screen = [], pygame.Rect(0, 0, *size)
    places = [place for _, place in written.places] + ([] if strip is None else [strip])
    for i, place in enumerate(places):
        if not screen.contains(place):
            out.append(f"{place} is not inside of the window")
        out += [f"{place} lies over {other}" for other in places[:i] if place.colliderect(other)]
    for lettering, place in written.places:
        high = len(lettering.rows) * lettering.font.get_linesize() + PADDING
        wide = max(lettering.font.size(row)[0] for row, _ in lettering.rows) + 2 * PADDING
        if wide > place.width or high > place.height:
            out.append(f"{lettering.rows[0]} ... takes {wide} x {high} of {place}")
    whole, shown = ("".join("".join(lines).split()) for lines in (written.asked, written.rows))
    if sorted(whole) != sorted(shown):
        out.append(f"not all of it is there: {written.asked} became {written.rows}")
    return out


def letters_seen(picture: np.ndarray, place: pygame.Rect) -> bool:
    """Whether something is written in a place of the window."""
    inner = picture[place.top : place.bottom, place.left : place.right]
    return bool((inner.max(-1) > 150).any() and (inner.min(-1) < 120).any())
