"""What scripted players do. A script is a generator: it yields actions, and its ``Body`` is fresh after each yield."""

from collections.abc import Callable, Iterator

import numpy as np

from worldsim.agents.policies.block_scripts import chop, dig, pillar, place
from worldsim.agents.policies.body import PITCH_LIMIT, Action, Body
from worldsim.agents.policies.return_scripts import alter, look_round, loop, mirror, rest

Script = Callable[[Body], Iterator[Action]]

STRIDES: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.36, ("forward",)),
    (0.09, ("forward", "left")),
    (0.09, ("forward", "right")),
    (0.08, ("forward", "sprint")),
    (0.06, ("forward", "jump")),
    (0.08, ("left",)),
    (0.08, ("right",)),
    (0.08, ("back",)),
    (0.02, ("back", "left")),
    (0.02, ("back", "right")),
    (0.05, ("forward", "sneak")),
    (0.02, ("jump",)),
)


def explore(me: Body) -> Iterator[Action]:
    """Walk towards changing headings, looking up and down a little; jump when blocked."""
    heading, turning = me.yaw, me.log_uniform(1.0, 10.0)
    me.new_gaze(0.1, 0.6)
    while True:
        heading += float(me.rng.normal(0, 45))
        pitch = float(np.clip(me.rng.normal(4, 9), -20, 28))
        sprint = ("sprint",) if me.rng.random() < 0.2 else ()
        for _ in me.frames(15, 70):
            dpitch, dyaw = me.aim(heading, pitch, turning)
            noise_pitch, noise_yaw = me.glance()
            yield me.act("forward", *sprint, *me.hop(), camera=(dpitch + 0.3 * noise_pitch, dyaw + noise_yaw))


def walk(me: Body) -> Iterator[Action]:
    """All directions of walking, mixed, under a gaze of any magnitude."""
    chances = np.array([chance for chance, _ in STRIDES])
    while True:
        keys = STRIDES[me.rng.choice(len(STRIDES), p=chances / chances.sum())][1]
        me.new_gaze(0.1, 6.0)
        for _ in me.frames(8, 50):
            yield me.act(*keys, *me.hop(keys), camera=me.glance())


def single(me: Body) -> Iterator[Action]:
    """One thing only: a key, or the camera at a constant rate. It makes each control's effect plain."""
    while True:
        if me.rng.random() < 0.5:
            keys = [
                ("forward",),
                ("back",),
                ("left",),
                ("right",),
                ("forward", "jump"),
                ("jump",),
                ("forward", "sprint"),
            ]
            chosen = keys[me.rng.choice(len(keys), p=[0.25, 0.2, 0.2, 0.2, 0.06, 0.03, 0.06])]
            for _ in me.frames(12, 50):
                yield me.act(*chosen)
        elif me.rng.random() < 0.8:
            rate = me.sign() * me.log_uniform(0.2, 12.0)
            for _ in me.frames(10, 45):
                yield me.act(camera=(0.0, rate))
        else:
            rate = me.log_uniform(0.3, 5.0) * (1.0 if me.pitch < 0 else -1.0)
            for _ in me.frames(8, 30):
                if abs(me.pitch + rate) > PITCH_LIMIT:
                    break
                yield me.act(camera=(rate, 0.0))


def spin(me: Body) -> Iterator[Action]:
    """Turn on the spot by a quarter to two full turns."""
    while True:
        rate, pitch = me.sign() * me.log_uniform(1.0, 15.0), float(me.rng.normal(2, 8))
        for _ in range(min(120, int(me.rng.choice([90, 180, 360, 360, 720]) / abs(rate)))):
            yield me.act(camera=(me.aim(me.yaw, pitch, 2.0)[0], rate))
        for _ in me.frames(1, 6):
            yield me.act()


def look_back(me: Body) -> Iterator[Action]:
    """Look away, wait a moment, and look at the very same view again."""
    while True:
        yaw, pitch = me.yaw, float(np.clip(me.pitch, -PITCH_LIMIT, PITCH_LIMIT))
        away = yaw + me.sign() * float(me.rng.uniform(50, 180))
        speed = me.log_uniform(3.0, 14.0)
        for target in (away, yaw):
            for _ in range(90):
                if me.faces(target, pitch, within=1.0):
                    break
                yield me.act(camera=me.aim(target, pitch, speed))
            for _ in me.frames(2, 12):
                yield me.act()
        for _ in me.frames(10, 30):
            yield me.act("forward", *me.hop())


def gaze(me: Body) -> Iterator[Action]:
    """Stand and look around, at any magnitude from a tenth of a degree to ten and more a frame."""
    while True:
        me.new_gaze(0.1, 12.0)
        for _ in me.frames(15, 60):
            yield me.act(camera=me.glance())


def still(me: Body) -> Iterator[Action]:
    """Do nothing for a moment, then take a few steps."""
    while True:
        for _ in me.frames(4, 14):
            yield me.act()
        me.new_gaze(0.2, 2.0)
        for _ in me.frames(20, 50):
            yield me.act("forward", *me.hop(), camera=me.glance())


def return_trip(me: Body) -> Iterator[Action]:
    """Walk out, turn round, walk back the same way, and look in the first direction again."""
    while True:
        start, speed, heading = me.yaw, me.log_uniform(4.0, 12.0), me.yaw
        trail = [me.position]
        for _ in me.frames(40, 140):
            heading += float(me.rng.normal(0, 1.5))
            if me.distance(trail[-1]) > 1.5:
                trail.append(me.position)
            yield me.act("forward", *me.hop(), camera=me.aim(heading, 5.0, speed))
        patience = 60 + 12 * len(trail)
        for target in reversed(trail):
            while me.distance(target) > 0.8 and patience > 0:
                patience -= 1
                ahead = me.faces(me.bearing(target), me.pitch, within=40.0)
                keys = ("forward", *me.hop()) if ahead else ()
                yield me.act(*keys, camera=me.aim(me.bearing(target), 5.0, speed))
        for _ in range(60):
            if me.faces(start, 5.0):
                break
            yield me.act(camera=me.aim(start, 5.0, speed))


def push(me: Body) -> Iterator[Action]:
    """Walk straight into whatever is in the way, push against it for a while, then turn off: solid things must show."""
    while True:
        trunk = me.trunks[0] if len(me.trunks) and me.rng.random() < 0.6 else None
        heading = me.yaw + float(me.rng.normal(0, 25)) if trunk is None else me.bearing(trunk)
        speed, keys = me.log_uniform(2.0, 8.0), ("forward", "sprint") if me.rng.random() < 0.2 else ("forward",)
        for _ in me.frames(30, 90):
            if me.blocked:
                break
            yield me.act(*keys, camera=me.aim(heading, 4.0, speed))
        me.new_gaze(0.2, 2.0)
        aside: tuple[str, ...] = ((), (), ("left",), ("right",))[me.rng.integers(4)]
        for _ in me.frames(8, 40):
            yield me.act("forward", *aside, camera=me.glance())
        heading, speed = me.yaw + me.sign() * float(me.rng.uniform(20, 180)), me.log_uniform(3.0, 12.0)
        back = me.frames(0, 10)
        for step in range(30):
            if step >= len(back) and me.faces(heading, 4.0):
                break
            keys = ("back",) if step in back else ("forward", "jump") if me.blocked else ("forward",)
            yield me.act(*keys, camera=me.aim(heading, 4.0, speed))


def climb(me: Body) -> Iterator[Action]:
    """Hop uphill: keep a heading while it gains height, else try another one."""
    while True:
        heading, height = me.yaw + float(me.rng.normal(0, 60)), me.position[1]
        for _ in me.frames(30, 60):
            yield me.act("forward", "jump", camera=me.aim(heading, -4.0, 6.0))
        while me.position[1] > height + 1.5:
            height = me.position[1]
            for _ in range(30):
                yield me.act("forward", "jump", camera=me.aim(heading, -4.0, 6.0))


def swim(me: Body) -> Iterator[Action]:
    """Swim ahead for a while, then to the shore that was left."""
    me.new_gaze(0.2, 2.0, rest=0.0)
    for _ in me.frames(10, 50):
        yield me.act("forward", "jump", camera=me.glance())
    while me.wet:
        target = me.dry + me.rng.normal(0, 2.0, 3)
        for _ in range(40):
            yield me.act("forward", "jump", camera=me.aim(me.bearing(target), -2.0, 6.0))
        if me.wet_frames > 260:
            heading = float(me.rng.uniform(-180, 180))
            for _ in me.frames(60, 120):
                yield me.act("forward", "jump", camera=me.aim(heading, -2.0, 6.0))


def turn_away(me: Body) -> Iterator[Action]:
    """Step back, turn by a quarter to half a turn, and walk on: the way out of a corner."""
    heading, speed = me.yaw + me.sign() * float(me.rng.uniform(70, 180)), me.log_uniform(4.0, 12.0)
    for _ in me.frames(4, 8):
        yield me.act("back", "jump", camera=me.aim(heading, 0.0, speed))
    for _ in me.frames(15, 25):
        yield me.act("forward", "jump", camera=me.aim(heading, 0.0, speed))


_ALL = explore, walk, single, spin, look_back, gaze, still, return_trip, push, climb, dig, place, pillar, swim, chop
# New ones go to the end: recorded episodes tell a script by its number, with the names beside.
_ALL += rest, look_round, loop, mirror, alter
SCRIPTS: dict[str, Script] = {script.__name__: script for script in _ALL}
