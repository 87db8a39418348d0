"""Play as it stands: the game in its own thread, the frames that wait to be shown, pause, going back, who plays.

Nothing here waits for the game: ``tick`` is called by an event loop, many times a second.

r video frames per chunk, H W pixels, A action vector.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.pace import Frame, FrameQueue, Insight, Phase, Start
from worldsim.envs.play.seats import Seat, Seats
from worldsim.envs.play.tree.timeline import Inexact, Timeline
from worldsim.envs.play.worker import StepTimes, Worker

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game

Actions = NDArray[np.float32]
# Tells how far loading is: what is done, and which share of it, or None where nobody knows.
Tell = Callable[[str, float | None], None]
# Seconds that closing waits for a step.
PATIENCE = 2.0


@dataclass(frozen=True)
class _Task:
    """A job for the worker, what to do with its result, and whether it puts the game elsewhere."""

    job: Callable[[], Any]
    then: Callable[[Any], None]
    moves: bool = False


class Session:
    """One sitting.

    Args:
        open_game: loads the game, in the worker's thread, and tells how far it is.
        seed: of the first beginning; each new beginning takes the next one.
        seats: for a game, who else can play it: a maker of each, by name.
        restore: puts an earlier playthrough into the timeline, and returns the moment to begin at.
        same_start: beginning anew returns to the one beginning, and keeps what was played.
        clock: seconds.
    """

    def __init__(
        self,
        open_game: Callable[[Tell], "Game"],
        *,
        seed: int,
        seats: Callable[["Game"], Mapping[str, Callable[[], Seat]]] = lambda game: {},
        restore: Callable[["Game", Timeline], int] = lambda game, timeline: 0,
        same_start: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.seed, self.same_start, self.clock = seed, same_start, clock
        self.phase, self.loading, self.error = Phase.LOADING, ("loading", None), ""
        self.game: Game | None = None
        self.timeline: Timeline | None = None
        self.times = StepTimes(1, keep=200)
        self.seats, self.status = Seats(), ""
        self.mark: int | None = None
        self.failure: BaseException | None = None
        self.played: Actions | None = None  # the last actions as the game got them
        self.shown = 0
        self.leaving: Callable[[], None] = lambda: None  # called before what was played is forgotten
        self.insight: Insight = {}  # what else is known of the frame that is shown
        self.queue = FrameQueue(clock)
        self._open, self._seats_of, self._restore, self._first = open_game, seats, restore, 0
        self._worker = Worker()
        self._job: Future[Any] | None = None
        # Whether the game is on its way to what is shown; whether what is shown was gone to, not played.
        self.moving = self.moved = True
        self._then: Callable[[Any], None] = lambda result: None
        self._tasks: deque[_Task] = deque()
        # Counts moves: what a step or a replay from before the last one brings is not shown.
        self._moves, self._resuming = 0, False
        self._begin(self._load)

    @property
    def rewinds(self) -> bool:
        """Whether this game can go back."""
        return self.game is not None and self.game.rewinds

    def tick(self, take: Callable[[int], Actions]) -> Frame | None:
        """Take in what the worker has done, give it more, and return the frame that is due, if one is.

        Args:
            take: gives the person's controls (r, A) for the next chunk.
        """
        self._collect()
        if self._job is None and self._tasks:
            task = self._tasks.popleft()
            self._then, self._job = task.then, self._worker.submit(task.job)
        if self.game is None or self.phase not in (Phase.PLAYING, Phase.PAUSED):
            return None
        playing = self.phase is Phase.PLAYING
        if (playing or self.queue.wanted) and self._job is None and self.queue.soon(self._lead()):
            controls, moves, taken = take(self.game.chunk), self._moves, self.clock()
            self._then = lambda result: self._stepped(result, moves, taken)
            self._job = self._worker.submit(lambda: self._step(controls))
        if (showing := self.queue.next(playing=playing)) is None:
            return None
        self.shown, self.insight, self.moved = showing.number, showing.insight, False
        return showing.frame

    def resume(self) -> None:
        """Go on from the moment that is shown."""
        if self.phase in (Phase.READY, Phase.PAUSED):
            self._resuming = self.moving
            if self._resuming:
                return
            self.phase = Phase.PLAYING
            self.queue.start()

    def pause(self) -> None:
        """Let the world stand still."""
        if self.phase is Phase.PLAYING:
            self.phase = Phase.PAUSED

    def single_step(self) -> None:
        """Show one more frame, and stand still again."""
        if self.phase in (Phase.PLAYING, Phase.READY, Phase.PAUSED):
            self.phase = Phase.PAUSED
            self.queue.wanted += 1

    def restart(self, at: Start | None = None) -> None:
        """Begin anew: elsewhere, where it is said, or where there is but one beginning."""
        if self.same_start:
            self.go(0, Phase.READY)
        elif (timeline := self.timeline) is not None:
            self.leaving()
            self.seed += at is None
            seed = self.seed

            def begin() -> None:
                if at is not None:
                    timeline.game.begin_at(at)
                timeline.begin(seed)

            self._begin(begin)

    def back(self, seconds: float) -> None:
        """Return to what was shown so long ago, and stand there until a key is pressed."""
        if self.timeline is not None and self.rewinds and self.game is not None:
            steps = max(1, round(seconds * self.game.fps / self.game.chunk))
            self.go(self.timeline.ancestor(self.shown, steps), Phase.READY)

    def scrub(self, steps: int) -> None:
        """Paused, look at a moment so many steps before (negative) or after the one shown."""
        if self.timeline is None or not self.rewinds or self.phase is Phase.PLAYING:
            return
        target = self.timeline.ancestor(self.shown, max(0, -steps))
        for _ in range(steps):
            target = self.timeline.after(target)
        self.go(target, Phase.PAUSED)

    def go(self, number: int, phase: Phase = Phase.PAUSED) -> None:
        """Return to a moment: its picture is shown at once if there is one; the game follows."""
        if self.timeline is None or not self.rewinds or self.phase is Phase.LOADING:
            return
        timeline = self.timeline
        self.shown, self.phase = number, phase
        moves = self._move()

        def replay() -> Insight:
            timeline.go(number, tell=self._replaying, stop=lambda: self._moves != moves)
            return self._known()

        self._tasks.append(_Task(replay, lambda known: self._arrived(moves, known), moves=True))

    def set_mark(self) -> None:
        """Remember this moment (quick save)."""
        self.mark = self.shown if self.rewinds else None

    def to_mark(self) -> bool:
        """Return to the remembered moment (quick load); False: there is none."""
        if self.mark is None:
            return False
        self.go(self.mark, Phase.READY)
        return True

    def ask(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do a job in the game's thread between two steps."""
        self._tasks.append(_Task(job, then))

    def picture(self) -> Frame | None:
        """The last frame of the moment shown, or the nearest kept before it."""
        return None if self.timeline is None or not self.timeline.moments else self.timeline.picture(self.shown)[-1]

    def watch(self, view: str) -> None:
        """Let the game tell what a view needs, also of the moment that is shown, where it can return to it."""
        if self.game is not None:
            self.game.watch = view
            if self.phase in (Phase.READY, Phase.PAUSED):
                self.go(self.shown, self.phase)

    def close(self, *, leave: bool = False) -> None:
        """End; a step that hangs is left behind. The game stays open, unless to ``leave`` it: closed after its step."""
        self._tasks.clear()
        self._moves += 1
        if leave:
            self._worker.submit(lambda: None if self.game is None else self.game.close())
        self._worker.close(0 if leave else PATIENCE)

    # What follows runs in the event loop's thread.

    def _begin(self, job: Callable[[], Any]) -> None:
        self.phase, self.mark, self.loading = Phase.LOADING, None, ("loading", None)
        moves = self._move()

        def begin() -> Insight:
            job()
            return self._known()

        self._tasks.append(_Task(begin, lambda known: self._begun(moves, known), moves=True))

    def _move(self) -> int:
        """The game is about to be put elsewhere: frames that wait and earlier moves no longer count."""
        self.queue.clear()
        self.seats.leave()
        self._tasks = deque(task for task in self._tasks if not task.moves)
        self._moves, self._resuming = self._moves + 1, False
        self.moving = self.moved = True
        return self._moves

    def _arrived(self, moves: int, known: Insight) -> None:
        if moves == self._moves:
            self.moving, self.insight = False, {name: pictures[-1] for name, pictures in known.items()}
            assert self.game is not None
            self.status = self.game.status()
            if self._resuming:
                self.resume()

    def _collect(self) -> None:
        if self._job is None or not self._job.done():
            return
        job, self._job = self._job, None
        if (error := job.exception()) is None:
            self._then(job.result())
        elif isinstance(error, Inexact):
            self.error, self.moving = str(error), False
        else:
            self.failure, self.error, self.phase = error, f"{type(error).__name__}: {error}", Phase.FAILED
            self.moving = False

    def _begun(self, moves: int, known: Insight) -> None:
        if moves == self._moves and self.timeline is not None:
            first, self._first = self._first, 0
            self.shown, self.phase, self.error = first if first == self.timeline.here else 0, Phase.READY, ""
            self._arrived(moves, known)
            if first != self.shown:
                self.go(first, Phase.READY)

    def _stepped(self, result: tuple[int, Frame, Insight], moves: int, taken: float) -> None:
        if moves == self._moves:
            self.queue.put(*result, taken)
            assert self.game is not None
            self.status = self.game.status()

    def _lead(self) -> float:
        """Seconds before it is shown that a chunk must be begun: as late as is safe, so that input counts soon."""
        return max(0.02, 1.5 * self.times.percentile(90) / 1000 + 0.01) if len(self.times.seconds) > 5 else 0.1

    # What follows runs in the worker's thread.

    def _load(self) -> None:
        game = self._open(self._tell)
        timeline = Timeline(game)
        timeline.begin(self.seed)
        self.seats = Seats(self._seats_of(game))
        self.times = StepTimes(game.chunk, keep=200)
        self._first, self.queue.fps = self._restore(game, timeline), game.fps
        self.timeline, self.game = timeline, game

    def _known(self) -> Insight:
        return {} if self.game is None else self.game.insight()

    def _step(self, controls: Actions) -> tuple[int, Frame, Insight]:
        game, timeline = self.game, self.timeline
        assert game is not None and timeline is not None
        actions = self.seats.actions(game, timeline, controls)
        self.played = actions
        frames = self.times.measure(lambda: timeline.advance(actions))
        return timeline.here, frames, game.insight()

    def _tell(self, what: str, share: float | None) -> None:
        self._worker.go_on()
        self.loading = (what, share)

    def _replaying(self, done: int, total: int) -> None:
        self.loading = ("going back", done / max(1, total))
