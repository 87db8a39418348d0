"""Play without a window: what stands still, what goes on, and that nothing waits for a slow world."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.envs.play.fake_game import CHUNK, FakeGame, drive, forward, ready, timeline_of
from worldsim.envs.play.session import Phase, Session


def settled(session: Session) -> bool:
    return not session.moving and not session._tasks


def test_the_first_frame_stands_until_somebody_begins():
    game = FakeGame()
    session = ready(game)
    drive(session, lambda: True)
    for _ in range(50):
        assert session.tick(lambda n: forward()) is None
    assert game.steps == 0 and session.picture() is not None
    session.resume()
    shown = drive(session, lambda: session.shown >= 3)
    assert game.steps >= 3 and len(shown) >= 2 * CHUNK
    session.close()


def test_frames_come_at_the_games_pace():
    session = ready(FakeGame())
    session.resume()
    began = time.monotonic()
    shown = drive(session, lambda: session.shown >= 10)
    assert (time.monotonic() - began) >= (len(shown) - 2) / 20
    session.close()


def test_pause_lets_the_world_stand_and_a_single_step_shows_one_frame():
    game = FakeGame()
    session = ready(game)
    session.resume()
    drive(session, lambda: session.shown >= 2)
    session.pause()
    drive(session, lambda: settled(session) and session._job is None)
    steps = game.steps
    end = time.monotonic() + 0.3
    assert drive(session, lambda: time.monotonic() > end) == [] and game.steps == steps
    for _ in range(5):
        session.single_step()
        shown: list = []
        while not shown:
            shown += drive(session, lambda: True) or drive(session, lambda: session._job is None)
            frame = session.tick(lambda n: forward())
            shown += [] if frame is None else [frame]
        assert len(shown) == 1 and session.phase is Phase.PAUSED
    session.close()


@pytest.mark.slow
def test_two_seconds_back_returns_the_very_frame_and_play_branches_there():
    session = ready(FakeGame())
    frames = {}
    session.resume()

    def note() -> bool:
        frames[session.shown] = timeline_of(session).picture(session.shown)
        return session.shown >= 25

    drive(session, note)
    session.back(2.0)
    assert session.phase is Phase.READY
    drive(session, lambda: settled(session))
    there = session.shown
    assert there <= 6 and timeline_of(session).here == there
    np.testing.assert_array_equal(session.picture(), frames[there][-1])
    session.resume()
    drive(session, lambda: session.shown > 25 + 2)
    assert timeline_of(session).stretches[1].parent == there
    session.close()


def test_scrubbing_over_a_slow_replay_ends_at_the_last_place_asked_for():
    game = FakeGame()
    session = ready(game)
    for i in range(60):
        timeline_of(session).advance(forward(yaw=i))
    session.shown = 60
    session.phase = Phase.PAUSED
    game.seconds = 0.02
    for _ in range(30):
        session.scrub(-1)
        session.tick(lambda n: forward())
    assert session.shown == 30
    drive(session, lambda: settled(session))
    assert timeline_of(session).here == 30
    session.scrub(5)
    drive(session, lambda: settled(session))
    assert timeline_of(session).here == session.shown == 35
    session.close()


def test_a_key_pressed_on_the_way_back_counts_on_arrival():
    game = FakeGame()
    session = ready(game)
    for i in range(20):
        timeline_of(session).advance(forward(yaw=i))
    session.shown, game.seconds = 20, 0.02
    session.go(7, Phase.READY)
    session.resume()
    assert session.phase is Phase.READY
    drive(session, lambda: session.phase is Phase.PLAYING)
    assert timeline_of(session).here == 7
    session.close()


def test_the_marked_moment_is_returned_to():
    session = ready(FakeGame())
    assert not session.to_mark()
    session.resume()
    drive(session, lambda: session.shown >= 3)
    session.set_mark()
    marked = session.shown
    drive(session, lambda: session.shown >= 8)
    assert session.to_mark()
    drive(session, lambda: settled(session))
    assert timeline_of(session).here == marked == session.shown
    session.close()


def test_begin_anew_takes_the_next_seed_and_forgets():
    session = ready(FakeGame())
    session.resume()
    drive(session, lambda: session.shown >= 2)
    first = timeline_of(session).picture(0)
    session.restart()
    session.restart()
    drive(session, lambda: session.phase is Phase.READY)
    drive(session, lambda: settled(session))
    assert session.seed == 5 and session.shown == 0 and len(timeline_of(session).moments) == 1
    assert (timeline_of(session).picture(0) != first).any()
    session.close()


def test_where_there_is_one_beginning_a_new_try_keeps_the_old():
    session = ready(FakeGame(), same_start=True)
    for _ in range(2):
        session.resume()
        goal = len(timeline_of(session).moments) + 2
        drive(session, lambda goal=goal: len(timeline_of(session).moments) > goal)
        session.restart()
        drive(session, lambda: settled(session))
    assert session.seed == 3 and len(timeline_of(session).stretches) == 2
    session.close()


@pytest.mark.slow
def test_nothing_waits_for_a_world_that_hangs():
    game = FakeGame()
    session = ready(game)
    game.open.clear()
    session.resume()
    longest = 0.0
    for _ in range(50):
        began = time.monotonic()
        session.tick(lambda n: forward())
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.002)
    assert longest < 0.1
    session.pause()
    assert session.phase is Phase.PAUSED
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 4
    game.open.set()


def test_a_world_that_fails_says_so_and_can_be_taken_back():
    game = FakeGame()
    session = ready(game)
    session.resume()
    drive(session, lambda: session.shown >= 12)
    game.broken = True
    drive(session, lambda: session.phase is Phase.FAILED)
    assert "out of ink" in session.error
    game.broken = False
    session.back(0.5)
    drive(session, lambda: settled(session))
    assert session.phase is Phase.READY and timeline_of(session).here == session.shown
    session.close()


def test_a_game_that_cannot_be_loaded_is_reported():
    def fail(tell: Any) -> FakeGame:
        tell("opening", 0.5)
        raise FileNotFoundError("no world 'x'")

    session = Session(fail, seed=0)
    drive(session, lambda: session.phase is Phase.FAILED)
    assert isinstance(session.failure, FileNotFoundError) and session.loading == ("opening", 0.5)
    session.close()


def test_play_is_handed_over_and_back():
    class Turner:
        def choose(self, state, frame, count: int) -> np.ndarray:
            assert frame.shape == (40, 72, 3) and threading.current_thread().name == "world"
            return forward(yaw=5)[: count - 1]

    game = FakeGame()
    session = ready(game, seats=lambda game: {"turner": Turner})
    assert session.seats.names == ("you", "turner") and session.seats.next() == "turner"
    session.resume()
    drive(session, lambda: session.shown >= 3)
    # Where a player gives too few actions, nothing is done for the rest.
    np.testing.assert_array_equal(game.seen[1], np.stack([forward(yaw=5)[0], np.zeros(22, np.float32)]))
    assert session.seats.next() == "you"
    seen = len(game.seen)
    drive(session, lambda: len(game.seen) > seen + 2)
    np.testing.assert_array_equal(game.seen[-1], forward())
    session.close()
