"""Frames come out in their order and when they are due, by a clock that the test owns."""

import numpy as np
import pytest

from worldsim.envs.play.pace import FrameQueue, Showing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def chunk(value: int) -> np.ndarray:
    return np.stack([np.full((2, 3, 3), value + i, np.uint8) for i in range(2)])


def shown(queue: FrameQueue, clock: Clock, seconds: float, tick: float = 1 / 256) -> list[tuple[float, Showing]]:
    out, end = [], clock.now + seconds
    while clock.now < end:
        showing = queue.next(playing=True)
        if showing is not None:
            out.append((clock.now, showing))
        clock.now += tick
    return out


def make() -> tuple[FrameQueue, Clock]:
    clock = Clock()
    queue = FrameQueue(clock)
    queue.fps = 16.0
    queue.start()
    return queue, clock


def test_frames_come_in_order_at_their_pace_each_with_its_own_insight():
    queue, clock = make()
    for number in range(4):
        queue.put(number, chunk(10 * number), {"real": chunk(100 + 10 * number)}, clock.now)
    out = shown(queue, clock, 2.0)
    assert [s.number for _, s in out] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [s.frame[0, 0, 0] for _, s in out] == [0, 1, 10, 11, 20, 21, 30, 31]
    assert all((s.insight["real"] == s.frame + 100).all() for _, s in out)
    np.testing.assert_allclose(np.diff([when for when, _ in out]), 1 / 16)
    assert queue.rate() == pytest.approx(16.0)


def test_after_a_stall_nothing_is_rushed():
    queue, clock = make()
    queue.put(0, chunk(0), {}, clock.now)
    shown(queue, clock, 1.0)
    queue.put(1, chunk(1), {}, clock.now)
    queue.put(2, chunk(2), {}, clock.now)
    times = [when for when, _ in shown(queue, clock, 1.0)]
    assert len(times) == 4 and np.diff(times).min() >= 1 / 16 - 1 / 256


def test_a_world_that_stands_shows_only_what_was_asked_for():
    queue, clock = make()
    queue.put(0, chunk(0), {}, clock.now)
    assert queue.next(playing=False) is None
    queue.wanted += 1
    first = queue.next(playing=False)
    assert first is not None and first.frame[0, 0, 0] == 0 and queue.next(playing=False) is None
    queue.clear()
    queue.wanted += 1
    assert queue.next(playing=False) is None


def test_the_time_from_keys_to_picture_is_that_of_the_first_frame():
    queue, clock = make()
    taken = clock.now
    clock.now += 0.25
    queue.put(0, chunk(0), {}, taken)
    shown(queue, clock, 1.0)
    assert list(queue.answers) == [0.25]


def test_a_chunk_is_begun_as_late_as_its_lead_allows():
    queue, clock = make()
    queue.put(0, chunk(0), {}, clock.now)
    # Two frames wait: the next one is due in two sixteenths.
    assert not queue.soon(0.1) and queue.soon(0.13)
    clock.now += 0.05
    assert queue.soon(0.1)
