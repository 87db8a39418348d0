"""Pong's console beside a dream: a past with the ball in play, exact returns, and a score."""

import numpy as np
import pytest

from worldsim.envs.learned.initial_context import InitialContext, resolve
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.pace import REAL
from worldsim.envs.play.real.find import find_real
from worldsim.envs.play.real.pong import PAST, SEEN, RealPong
from worldsim.envs.play.real.twin import TwinGame
from worldsim.envs.pong.pixels import read

pytest.importorskip("ale_py")
UP, DOWN = np.eye(3, dtype=np.float32)[[1, 2]]


def begin(game: RealPong, seed: int):
    nothing = InitialContext(frames=np.zeros((1, 80, 80, 3), np.uint8), actions=np.zeros((0, 3), np.float32), seed=0)
    return game.begin(nothing, {}, seed)


def test_the_past_is_the_consoles_own_with_the_ball_in_play():
    game = RealPong(2)
    past = begin(game, 11)
    assert past.frames.shape == (PAST, 80, 80, 3) and past.actions.shape == (PAST - 1, 3) and not past.same_start
    assert not np.isnan(read(past.frames[-SEEN:]).ball_x).any() and (past.actions.sum(1) == 1).all()
    assert "console's own" in past.words
    # The actions lead from picture to picture: the paddle moves as they say, seen over the whole past.
    moved = np.diff(read(past.frames).paddle_y)
    assert (moved * (past.actions[:, 2] - past.actions[:, 1])).sum() > 0 and np.abs(moved).max() > 1
    np.testing.assert_array_equal(begin(game, 11).frames, past.frames)
    assert (begin(game, 12).frames != past.frames).any()
    game.close()


@pytest.mark.slow
def test_play_goes_back_exactly_and_counts_points():
    game = RealPong(2)
    begin(game, 3)
    moment = game.snapshot()
    first = [game.advance(np.stack([UP, UP])) for _ in range(60)]
    points = game.status()
    game.restore(moment)
    assert game.status() == "console 0 : 0"
    again = [game.advance(np.stack([UP, UP])) for _ in range(60)]
    np.testing.assert_array_equal(first, again)
    assert game.status() == points != "console 0 : 0"
    game.restore(moment)
    assert (np.stack([game.advance(np.stack([DOWN, DOWN])) for _ in range(60)]) != first).any()
    game.close()


@pytest.mark.slow
def test_a_game_that_is_over_stands_still():
    game = RealPong(2)
    begin(game, 3)
    for _ in range(2000):
        game.advance(np.stack([UP, UP]))
        if "over" in game.status():
            break
    last = game.advance(np.stack([UP, DOWN]))
    assert "over" in game.status() and (last == last[0]).all()
    assert (begin(game, 4).frames != last[0]).any() and game.status() == "console 0 : 0"
    game.close()


def test_the_shipped_world_and_its_console_on_the_same_actions():
    world, starts = resolve("pong", None)
    dream = WorldGame(world, starts)
    twin = TwinGame(dream, find_real(dream)(), lambda what, share: None)
    twin.reset(5)
    assert twin.pictures is None and twin.rewinds
    alone = RealPong(world.chunk)
    begin(alone, 5)
    for action in (UP, UP, DOWN, UP):
        shown = twin.advance(np.stack([action] * world.chunk))
        np.testing.assert_array_equal(twin.insight()[REAL], alone.advance(np.stack([action] * world.chunk)))
        # A dream of the same moment: the paddle is where the console has it, to some pixels.
        paddles = [read(frames[-1:]).paddle_y[0] for frames in (shown, twin.insight()[REAL])]
        assert abs(paddles[0] - paddles[1]) < 8
    twin.close()
    alone.close()
