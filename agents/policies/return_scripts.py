"""Scripts of players that stand still and that come back: what a world must remember shows when it is seen again."""

from collections.abc import Iterator

import numpy as np

from worldsim.agents.policies.block_scripts import BLOCKS, TOOLS
from worldsim.agents.policies.body import PITCH_LIMIT, Action, Body, wrap_degrees

# The last so many degrees of a turn are turned at once: eased, a view is never quite the same again.
AT_ONCE = 3.0
# Metres within which a place is the same one, and from where on it is approached slowly.
SAME_PLACE, CLOSE = 0.15, 0.7
# Scripts that stand still on purpose: a picture that stays the same while they press nothing is no trouble.
RESTING = frozenset({"rest", "look_round", "loop", "mirror", "alter"})
STEPS = ("forward",), ("back",), ("left",), ("right",), ("forward", "left"), ("back", "right")
MIRRORED = {"forward": "back", "back": "forward", "left": "right", "right": "left"}


def rest(me: Body) -> Iterator[Action]:
    """Stand still without touching a key for 2 to 9 seconds, then look elsewhere."""
    while True:
        yield from _wait(me, 40, 180)
        yield from _turn_to(me, me.yaw + float(me.rng.normal(0, 60)), float(me.rng.normal(4, 9)))


def look_round(me: Body) -> Iterator[Action]:
    """Stand, look at other things or turn full circle, look at the very same view again, and walk on."""
    while True:
        yield from _wait(me, 10, 40)
        yield from _look_away(me)
        yield from _wait(me, 10, 40)
        heading = me.yaw + float(me.rng.normal(0, 60))
        for _ in me.frames(10, 40):
            yield me.act("forward", *me.hop(), camera=me.aim(heading, 4.0, 5.0))


def loop(me: Body) -> Iterator[Action]:
    """Walk from A to B, perhaps to C, and back to A (5 to 10 m a leg), and look at the first view again."""
    while True:
        yaw, pitch, start = me.yaw, float(np.clip(me.pitch, -PITCH_LIMIT, PITCH_LIMIT)), me.position
        yield from _wait(me, 5, 20)
        heading, metres, corner = me.yaw + float(me.rng.normal(0, 50)), float(me.rng.uniform(5, 10)), me.sign() * 120
        for _ in range(int(me.rng.integers(1, 3))):
            radians = np.radians(heading)
            yield from _walk_to(me, me.position + metres * np.array([np.sin(radians), 0, np.cos(radians)]))
            yield from _wait(me, 0, 20)
            heading += corner
        yield from _walk_to(me, start)
        yield from _turn_to(me, yaw, pitch)
        yield from _wait(me, 20, 60)


def mirror(me: Body) -> Iterator[Action]:
    """Walk and look somewhere, then take every action back in reverse order."""
    while True:
        me.new_gaze(0.2, 4.0)
        keys = STEPS[me.rng.integers(len(STEPS))]
        done: list[tuple[tuple[str, ...], float, float]] = []
        for _ in me.frames(15, 70):
            pitch, yaw = me.pitch, me.yaw
            yield me.act(*keys, camera=me.glance())
            done.append((keys, me.pitch - pitch, wrap_degrees(me.yaw - yaw)))
        yield from _wait(me, 0, 20)
        for held, turned_pitch, turned_yaw in reversed(done):
            yield me.act(*(MIRRORED[key] for key in held), camera=(-turned_pitch, -turned_yaw))
        yield from _wait(me, 10, 40)


def alter(me: Body) -> Iterator[Action]:
    """Dig or place a block in view, look away for a while, look at it again, and step back."""
    while True:
        placing = me.rng.random() < 0.5
        yield me.act(str(me.rng.choice(BLOCKS if placing else TOOLS)))
        yaw, pitch = me.yaw, float(me.rng.uniform(25, 50))
        yield from _turn_to(me, yaw, pitch)
        for step in me.frames(15, 45):
            # A key that is held places one block after the other: press it now and then.
            yield me.act("attack") if not placing else me.act(*(("use",) if step % 9 < 2 else ()))
        yield from _turn_to(me, yaw, pitch - float(me.rng.uniform(0, 18)))
        yield from _wait(me, 10, 30)
        yield from _look_away(me)
        yield from _wait(me, 10, 40)
        for _ in me.frames(5, 25):
            yield me.act(str(me.rng.choice(["back", "left", "right"])))


def _wait(me: Body, low: int, high: int) -> Iterator[Action]:
    for _ in me.frames(low, high):
        yield me.act()


def _turn_to(me: Body, yaw: float, pitch: float) -> Iterator[Action]:
    """Look in a direction exactly: eased, and the last degrees at once."""
    speed = me.log_uniform(3.0, 14.0)
    for _ in range(120):
        if me.faces(yaw, pitch, within=AT_ONCE):
            break
        yield me.act(camera=me.aim(yaw, pitch, speed))
    yield me.act(camera=(pitch - me.pitch, wrap_degrees(yaw - me.yaw)))


def _look_away(me: Body) -> Iterator[Action]:
    """Look elsewhere for up to ten seconds, or turn full circle; then look at the same view again."""
    yaw, pitch = me.yaw, me.pitch
    if me.rng.random() < 0.3:
        rate = me.sign() * me.log_uniform(3.0, 12.0)
        for _ in range(int(360 / abs(rate))):
            yield me.act(camera=(0.0, rate))
    else:
        left = int(me.log_uniform(6.0, 200.0))
        while left > 0:
            away = yaw + me.sign() * float(me.rng.uniform(60, 180))
            yield from _turn_to(me, away, float(np.clip(me.rng.normal(4, 12), -25, 30)))
            frames = int(me.rng.integers(1, left + 1))
            left -= max(frames, 10)
            yield from _wait(me, frames, frames)
    yield from _turn_to(me, yaw, pitch)


def _walk_to(me: Body, target: np.ndarray) -> Iterator[Action]:
    """Walk to a position, slowly at last; gives up where something is in the way for long."""
    speed = me.log_uniform(4.0, 12.0)
    for _ in range(110):
        away, bearing = me.distance(target), me.bearing(target)
        if away < SAME_PLACE:
            return
        ahead = me.faces(bearing, me.pitch, within=25.0)
        slowly = ("sneak",) if away < CLOSE else ()
        keys = ("forward", *slowly, *me.hop()) if ahead else ()
        yield me.act(*keys, camera=me.aim(bearing, 4.0, speed))
