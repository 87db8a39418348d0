"""Minutes of scripted play in the window: does memory stay flat, is every key heard, does a frame come late?

SDL_VIDEODRIVER=dummy python -m tests.envs.play.soak --world pong --minutes 30
"""

import argparse
import os
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pygame

from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.envs.play.tree.timeline import Timeline

CONTROLS = {pygame.K_w: "forward", pygame.K_s: "back", pygame.K_a: "left", pygame.K_d: "right", pygame.K_SPACE: "jump"}
# Seconds from one frame to the next that a player notices.
LATE = 0.25
# Share of the time until memory and caches have their size; seconds between two things that the player does.
WARM_UP, PAUSE = 0.2, 0.12
# What is done beside pressing keys of the game, and how many of a hundred doings that is.
COMMANDS = {pygame.K_p: 3, pygame.K_BACKSPACE: 3, pygame.K_h: 2, pygame.K_ESCAPE: 2, pygame.K_v: 2, pygame.K_F3: 2}


@dataclass
class Report:
    """What happened.

    Attributes:
        pressed: keys of the game that were pressed while the world ran.
        dropped: those that were not among the actions of the step that followed.
        steps: steps that the world took.
        commands: pauses, returns, helps, ...
        memory: resident bytes, once a second after the warm-up.
        gaps: seconds between two looks at the events, after the warm-up.
    """

    pressed: int = 0
    dropped: list[str] = field(default_factory=list)
    steps: int = 0
    commands: int = 0
    # What is noted takes memory of the process that is measured: little.
    memory: "array[int]" = field(default_factory=lambda: array("q"))
    gaps: "array[float]" = field(default_factory=lambda: array("d"))

    def held(self) -> bool:
        """Whether memory was flat, every key was heard and no frame was late."""
        return not self.dropped and growth(self.memory) < 0.05 and max(self.gaps, default=0) < LATE

    def line(self) -> str:
        """For people."""
        return (
            f"{self.pressed} keys, {len(self.dropped)} dropped, {self.steps} steps, {self.commands} commands, "
            f"memory {growth(self.memory):+.1%} of {np.median(self.memory[:10] or [0]) / 2**20:.0f} MB, "
            f"longest gap {1000 * max(self.gaps, default=0):.0f} ms; MB by minute: {self.course()}"
        )

    def course(self) -> str:
        """Memory in MB, minute by minute."""
        minutes = [self.memory[first : first + 60] for first in range(0, len(self.memory), 60)]
        return " ".join(f"{np.median(one) / 2**20:.0f}" for one in minutes)


def growth(memory: Sequence[int]) -> float:
    """By which share the last fifth is above the first fifth, by their medians."""
    part = max(1, len(memory) // 5)
    return float(np.median(memory[-part:]) / np.median(memory[:part])) - 1 if memory else 0.0


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Player:
    """Somebody who taps keys and now and then pauses, goes back or opens a menu.

    Args:
        window: to play in; its events come from here.
        seconds: how long.
        seed: decides what is done.
    """

    def __init__(self, window: PlayWindow, seconds: float, seed: int = 0):
        self.window, self.seconds, self.report = window, seconds, Report()
        self._rng, self._due, self._begun, self._looked = np.random.default_rng(seed), 0.0, 0.0, 0.0
        self._tapped: set[str] = set()
        self._expected: deque[set[str]] = deque()
        self._sampled = 0.0
        window.window.events = self._events  # pyright: ignore[reportAttributeAccessIssue]
        advance = Timeline.advance
        report, expected = self.report, self._expected

        def taken(take: Callable[[int], Any], frames: int) -> Any:
            expected.append(set(self._tapped))
            self._tapped.clear()
            return take(frames)

        def advanced(timeline: Timeline, actions: Any) -> Any:
            spec = timeline.game.hands.target
            done = {name for name, value in spec.mapping(actions[0]).items() if name != "camera" and value}
            report.dropped += sorted(expected.popleft() - done)
            report.steps += 1
            return advance(timeline, actions)

        self.watch = (taken, advanced)

    def play(self) -> Report:
        """Play; the window is closed at the end."""
        taken, advanced = self.watch
        original, Timeline.advance = Timeline.advance, advanced  # pyright: ignore[reportAttributeAccessIssue]
        session, tick = self.window.session, self.window.session.tick
        session.tick = lambda take: tick(partial(taken, take))  # pyright: ignore[reportAttributeAccessIssue]
        try:
            self.window.run()
        finally:
            Timeline.advance = original
        return self.report

    def _events(self) -> list[Any]:
        now, session = time.monotonic(), self.window.session
        if session.phase is Phase.LOADING:
            return []
        self._begun = self._begun or now
        passed = now - self._begun
        if passed > WARM_UP * self.seconds:
            self.report.gaps.append(now - self._looked)
            if now > self._sampled + 1:
                self._sampled = now
                self.report.memory.append(resident())
        self._looked = now
        if passed > self.seconds:
            return [pygame.event.Event(pygame.QUIT)]
        if now < self._due:
            return []
        self._due = now + self._rng.exponential(PAUSE)
        return self._next()

    def _next(self) -> list[Any]:
        window, session = self.window, self.window.session
        if window.menu is not None and window.menu.open:
            return _tap(pygame.K_ESCAPE)
        if window.help:
            return _tap(pygame.K_h)
        if session.phase is Phase.PAUSED:
            return _tap(int(self._rng.choice([pygame.K_p, pygame.K_COMMA, pygame.K_PERIOD, pygame.K_n])))
        # Who opens a menu lets the keys go: what was tapped shall be taken before.
        if self._rng.random() < sum(COMMANDS.values()) / 100 and not self._tapped and session.phase is Phase.PLAYING:
            self.report.commands += 1
            weights = np.array(list(COMMANDS.values()))
            return _tap(int(self._rng.choice(list(COMMANDS), p=weights / weights.sum())))
        hands = session.game.hands  # pyright: ignore[reportOptionalMemberAccess]
        if self._tapped and not hands.target.camera:
            # Directions that exclude each other: one tap at a time can be told.
            return []
        known = {control for controls, _ in hands.meanings for control in controls}
        code = int(self._rng.choice([code for code, control in CONTROLS.items() if control in known]))
        if session.phase in (Phase.PLAYING, Phase.READY):
            vector = hands(hands.spec.vector({CONTROLS[code]: 1}))
            self._tapped |= {name for name, value in hands.target.mapping(vector).items() if name != "camera" and value}
            self.report.pressed += 1
        return _tap(code)


def _tap(code: int) -> list[Any]:
    members = {"key": code, "mod": 0}
    return [pygame.event.Event(pygame.KEYDOWN, members), pygame.event.Event(pygame.KEYUP, members)]


def main(words: Sequence[str] | None = None) -> int:
    """Soak a shipped world."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--world", default="pong")
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args(words)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.play.games import WorldGame, in_time

    def open_game(tell: Any) -> WorldGame:
        world, starts = resolve(given.world, None)
        return WorldGame(in_time(world, starts), starts)

    window = PlayWindow(Opening(open_game=open_game, seed=0))
    report = Player(window, 60 * given.minutes).play()
    print(report.line())
    print(window.session.times.line())
    return int(not report.held())


if __name__ == "__main__":
    sys.exit(main())
