"""What the play window draws over the picture: status, help, menu, loading, the timeline as a tree."""

from typing import Any

import numpy as np
import pygame

from worldsim.envs.play.overlays.menu import Menu
from worldsim.envs.play.pace import Phase
from worldsim.envs.play.session import Session
from worldsim.envs.play.tree.lanes import Lane, lanes
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.plotting.lettering import READABLE
from worldsim.plotting.window import Window

WHITE, DARK, RED = (255, 255, 255), (60, 60, 66), (255, 120, 110)
MINE, OTHER, HERE, MARK = (120, 200, 255), (130, 130, 140), (255, 220, 120), (150, 255, 150)
ROW_HEIGHT, MARGIN = 12, 14


def has_strip(session: Session) -> bool:
    """Whether a session's timeline is shown: the world stands, and there is somewhere to go to."""
    standing = session.phase in (Phase.PAUSED, Phase.READY, Phase.FAILED)
    return standing and session.rewinds and len(getattr(session.timeline, "moments", ())) > 1


class Strip:
    """The timeline at the lower edge of the window."""

    def __init__(self) -> None:
        self.ground = pygame.Rect(0, 0, 0, 0)
        self._lanes: list[Lane] = []
        self._deepest, self._high, self.label = 1, float(ROW_HEIGHT), ""

    def draw(self, window: Window, timeline: Timeline, shown: int, mark: int | None, seconds: float) -> None:
        """Draw it; ``seconds`` are those of a step."""
        self._lanes = lanes(timeline, shown)
        self._deepest = max(1, *(lane.last for lane in self._lanes))
        rows = 1 + max(lane.row for lane in self._lanes)
        across, down = window.screen.get_size()
        # Of many branches, rows come nearer to each other: two thirds of the window stay free.
        self._high = min(ROW_HEIGHT, max(1.0, (down / 3 - 2 * MARGIN) / rows))
        height = round(rows * self._high) + 2 * MARGIN
        self.ground = pygame.Rect(0, down - height, across, height)
        ground = pygame.Surface(self.ground.size, pygame.SRCALPHA)
        ground.fill((0, 0, 0, 170))
        window.screen.blit(ground, self.ground)
        at = {lane.stretch: lane for lane in self._lanes}
        # How deep the way to what is shown goes in each stretch.
        mine = {timeline.moments[number].stretch: timeline.moments[number].depth for number in timeline.path(shown)}
        for lane in self._lanes:
            stretch = timeline.stretches[lane.stretch]
            colour = MINE if lane.stretch in mine else OTHER
            y, left = self._y(lane.row), self._x(lane.first)
            parent = at.get(timeline.moments[stretch.parent].stretch) if stretch.parent >= 0 else None
            if parent is not None:
                pygame.draw.line(window.screen, colour, (left, self._y(parent.row)), (left, y), 2)
            pygame.draw.line(window.screen, OTHER, (left, y), (self._x(lane.last), y), 4)
            if lane.stretch in mine:
                pygame.draw.line(window.screen, MINE, (left, y), (self._x(mine[lane.stretch]), y), 4)
        for number, colour in ((mark, MARK), (shown, HERE)):
            lane = at.get(timeline.moments[number].stretch) if number is not None else None
            if number is not None and lane is not None:
                pygame.draw.circle(
                    window.screen, colour, (self._x(timeline.moments[number].depth), self._y(lane.row)), 6
                )
        self.label = f"{timeline.moments[shown].depth * seconds:.1f} s of {self._deepest * seconds:.1f} s"

    def feed(self, event: Any, session: Session) -> bool:
        """A click on it, or the mouse dragged along it, goes to a moment; whether the event was one."""
        held = event.type == pygame.MOUSEMOTION and bool(event.buttons[0])
        clicked = event.type == pygame.MOUSEBUTTONDOWN and event.button == 1
        if session.timeline is None or not has_strip(session) or not (held or clicked):
            return False
        number = self.at(event.pos, session.timeline)
        if number is not None and number != session.shown:
            session.go(number)
        return number is not None

    def at(self, position: tuple[int, int], timeline: Timeline) -> int | None:
        """The moment nearest to a place on the strip; None: beside it."""
        if not self._lanes or not self.ground.collidepoint(position):
            return None
        x, y = position
        depth = round((x - MARGIN) / max(1, self.ground.width - 2 * MARGIN) * self._deepest)

        def far(lane: Lane) -> tuple[float, float]:
            return abs(self._y(lane.row) - y), abs(min(max(depth, lane.first), lane.last) - depth)

        lane = min(self._lanes, key=far)
        return timeline.at(lane.stretch, depth)

    def _x(self, depth: int) -> int:
        return MARGIN + round(depth / self._deepest * (self.ground.width - 2 * MARGIN))

    def _y(self, row: int) -> int:
        return self.ground.top + MARGIN + int(self._high / 2 + row * self._high)


def draw_loading(window: Window, session: Session, area: pygame.Rect) -> pygame.Rect:
    """What is being loaded, and a bar: how far, or, where nobody knows, that it goes on; returns where."""
    what, share = session.loading
    above = pygame.Rect(area.topleft, (area.width, area.height - 14))
    ground = window.text([f"{what} ..."], size=22, colour=WHITE, middle=True, area=above)
    across = window.screen.get_width()
    bar = pygame.Rect(across // 4, ground.bottom + 6, across // 2, 6)
    pygame.draw.rect(window.screen, DARK, bar)
    begin, width = 0.0, share or 0.0
    if share is None:
        begin, width = (session.clock() * 0.5) % 1 * 0.8, 0.2
    done = pygame.Rect(bar.left + int(begin * bar.width), bar.top, int(width * bar.width), bar.height)
    pygame.draw.rect(window.screen, MINE, done)
    return ground.union(bar)


def draw_menu(window: Window, menu: Menu, area: pygame.Rect) -> None:
    """The menu, as many lines as fit."""
    menu.rows = max(3, window.rows(area, READABLE))
    lines, chosen = menu.lines(menu.rows)
    marked = [f"{'>' if i == chosen else ' '} {line} " for i, line in enumerate(lines)]
    menu.ground = window.text(marked, size=22, colour=WHITE, middle=True, chosen=chosen, table=True, area=area)


def status_lines(session: Session, *, inside: bool, films: str) -> list[str]:
    """What stands in the corner: frames a second, and all else on request."""
    words = [f"{session.queue.rate():.0f} frames/s"] if session.phase is Phase.PLAYING else []
    if films:
        words.append(films)
    if session.seats.playing != "you":
        words.append(f"{session.seats.playing} plays")
    if session.status and inside:
        words.append(session.status)
    lines = "   ".join(words).splitlines()
    if inside and session.game is not None and session.timeline is not None:
        spec, played = session.game.hands.target, session.played
        if played is not None and len(played):
            pressed = [name for name, value in spec.mapping(played[0]).items() if name != "camera" and value]
            mouse = f"  mouse {played[0][-2]:+.1f} {played[0][-1]:+.1f} degrees" if spec.camera else ""
            lines.append(f"keys as played: {' '.join(pressed) or 'none'}{mouse}")
        snapshots, pictures = session.timeline.kept()
        times = session.times
        line = f"step p50 {times.percentile(50):.0f} ms, p95 {times.percentile(95):.0f} ms"
        if answers := session.queue.answers:
            line += f"; from keys to picture {1000 * float(np.median(answers)):.0f} ms"
        lines.append(line)
        if (apart := session.timeline.apart(session.shown)) is not None:
            lines.append(f"latents {apart[1]:.2f} from those of branch {apart[0] + 1} at this time (1.4: unrelated)")
        lines.append(f"{len(session.timeline.moments)} moments, {snapshots} snapshots, {pictures} pictures kept")
    return lines
