"""Any moment can be returned to, bit for bit, in bounded memory."""

import numpy as np
import pytest

from tests.envs.play.fake_game import FakeGame, forward
from worldsim.envs.play.tree.fading import FadingMemory
from worldsim.envs.play.tree.timeline import Inexact, Timeline


def played(steps: int, **options) -> tuple[FakeGame, Timeline, list[np.ndarray]]:
    game = FakeGame()
    timeline = Timeline(game, **options)
    frames = [timeline.begin(3)]
    frames += [timeline.advance(forward(yaw=i)) for i in range(steps)]
    return game, timeline, frames


def test_a_memory_is_dense_at_its_end_and_sparser_with_age():
    memory: FadingMemory[int] = FadingMemory(40)
    for number in range(5000):
        memory.put(number, number)
        assert len(memory) <= 40
    kept = [n for n in range(5000) if n in memory]
    gaps = np.diff(kept)
    assert kept[0] == 0 and kept[-1] == 4999 == memory.get(4999) and memory.get(5000) is None
    assert gaps[-1] == 1 and gaps[-5:].max() <= 4 and gaps[0] > 300


def weighed(value: bytes) -> dict[int, int]:
    return {id(value): len(value)}


def test_what_values_share_is_counted_once():
    """Each value has a piece of its own, and one that it shares with the nine of its ten."""
    memory: FadingMemory[dict[int, int]] = FadingMemory(400, lambda value: value)
    for number in range(1000):
        memory.put(number, {10_000 + number: 10, number // 10: 50})
        pieces = {name: size for n in range(number + 1) for name, size in (memory.get(n) or {}).items()}
        assert memory.taken == sum(pieces.values()) <= 400
    # Neighbours share: the last tens are denser than a count of each alone would let them be.
    assert len(memory) > 400 // 60
    memory.put(999, {1: 5})
    assert memory.get(999) == {1: 5} and memory.taken <= 400


def test_values_that_grow_take_no_more_room():
    memory: FadingMemory[bytes] = FadingMemory(1000, weighed, least=3)
    for number in range(300):
        memory.put(number, bytes(10 + number))
        kept = [memory.get(n) for n in range(number + 1) if n in memory]
        assert sum(map(len, filter(None, kept))) <= 1000 or len(memory) == 3
    assert 0 in memory and 299 in memory and len(memory) >= 3
    # The same number again takes the place of what it had.
    memory = FadingMemory(100, weighed)
    for _ in range(50):
        memory.put(0, bytes(60))
    memory.put(1, bytes(40))
    assert len(memory) == 2


def test_every_moment_comes_back_to_the_bit():
    _, timeline, frames = played(50, every=8)
    for number in (0, 1, 7, 8, 9, 31, 50, 49):
        np.testing.assert_array_equal(timeline.go(number), frames[number])
        assert timeline.here == number


def test_a_moment_is_found_by_its_place_on_a_stretch():
    _, timeline, _ = played(9)
    timeline.go(4)
    branch = timeline.add(4, forward())
    assert [timeline.at(0, depth) for depth in (0, 4, 9, 99)] == [0, 4, 9, 9]
    # Before its first moment a branch has none of its own.
    assert [timeline.at(1, depth) for depth in (0, 5, 6)] == [branch] * 3


def test_going_back_plays_again_only_from_the_last_snapshot():
    game, timeline, _ = played(50, every=8)
    before = game.steps
    timeline.go(45)
    assert game.steps - before == 5


def test_what_follows_a_return_is_a_branch_and_both_stay():
    _, timeline, frames = played(10)
    timeline.go(4)
    other = timeline.advance(forward(yaw=99))
    assert (other != frames[5]).any()
    np.testing.assert_array_equal(timeline.go(5), frames[5])
    np.testing.assert_array_equal(timeline.go(11), other)
    assert [s.parent for s in timeline.stretches] == [-1, 4] and timeline.path(11) == [0, 1, 2, 3, 4, 11]
    assert timeline.after(4) == 5 and timeline.after(10) == 10 and timeline.after(11) == 11
    assert timeline.ancestor(11, 2) == 3 and timeline.ancestor(2, 9) == 0


def test_memory_is_bounded_and_old_moments_still_come_back():
    game, timeline, frames = played(1500, every=4, snapshot_bytes=8 * 20, picture_bytes=30 * 2 * 40 * 72 * 3)
    snapshots, pictures = timeline.kept()
    assert snapshots <= 20 and pictures <= 30
    np.testing.assert_array_equal(timeline.go(700), frames[700])
    # What is looked at is shown itself, also where old pictures are sparse; its neighbours are reached at once.
    np.testing.assert_array_equal(timeline.picture(700), frames[700])
    steps = game.steps
    np.testing.assert_array_equal(timeline.go(699), frames[699])
    assert game.steps - steps < 4
    # The picture of a moment whose own is gone is one before it.
    assert any((timeline.picture(701) == f).all() for f in frames[:702])


def test_a_replay_can_be_stopped_and_the_game_stands_where_it_stopped():
    _, timeline, frames = played(30, every=1000)
    asked = iter([False] * 10 + [True])
    shown = timeline.go(25, stop=lambda: next(asked))
    assert timeline.here == 10
    np.testing.assert_array_equal(shown, frames[10])
    np.testing.assert_array_equal(timeline.go(26), frames[26])


def test_a_replay_that_comes_out_otherwise_is_noticed():
    _, timeline, _ = played(20, every=1000)
    timeline.moments[5].actions[0, 0] = 0
    with pytest.raises(Inexact, match="moment 5"):
        timeline.go(12)


def test_a_game_that_does_not_rewind_keeps_its_present_only():
    timeline = Timeline(FakeGame(rewinds=False))
    timeline.begin(0)
    timeline.advance(forward())
    assert len(timeline.moments) == 1 and timeline.kept()[0] == 0


def test_branches_are_apart_by_their_latents_at_the_same_time():
    game, timeline, _ = played(6)
    assert timeline.apart(5) is None
    mine = game.latent().astype(float)
    timeline.go(4)
    timeline.advance(forward(yaw=4))
    # The same actions again: the same latents. Then another turn.
    timeline.advance(forward(yaw=99))
    assert timeline.apart(7) == (0, 0.0) == (0, timeline.apart(5)[1])  # pyright: ignore[reportOptionalSubscript]
    other = game.latent().astype(float)
    stretch, far = timeline.apart(8)  # pyright: ignore[reportGeneralTypeIssues]
    assert stretch == 0 and far == pytest.approx(np.sqrt(((mine - other) ** 2).mean() / (other**2).mean()), rel=1e-3)
    assert timeline.apart(6)[0] == 1 and timeline.apart(2) is None  # pyright: ignore[reportOptionalSubscript]


def test_a_game_that_keeps_no_moments_shows_its_present_one():
    game = FakeGame(rewinds=False)
    timeline = Timeline(game)
    first = timeline.begin(3)
    last = timeline.advance(forward())
    assert len(timeline.moments) == 1 and (last != first).any()
    np.testing.assert_array_equal(timeline.picture(0), last)
