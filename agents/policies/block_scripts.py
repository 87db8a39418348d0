"""Scripts of players that dig and build."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from worldsim.agents.policies.body import Action, Body

TOOLS = ("hotbar.1", "hotbar.2", "hotbar.3")
BLOCKS = ("hotbar.4", "hotbar.5", "hotbar.6", "hotbar.7", "hotbar.8")


def dig(me: Body) -> Iterator[Action]:
    """Dig what is in front: a tree if one is known to be near, else the ground or a tunnel."""
    while True:
        yield me.act(str(me.rng.choice(TOOLS)))
        tree = _nearest(me)
        if tree is not None and me.rng.random() < 0.7:
            yield from _approach(me, tree, 2.5)
        yaw = me.bearing(tree) if tree is not None else me.yaw + float(me.rng.normal(0, 30))
        pitch = float(me.rng.uniform(5, 55))
        tunnel = me.rng.random() < 0.5
        for step in me.frames(40, 110):
            wave = 18.0 * np.sin(step / 9.0) if tunnel else 8.0 * np.sin(step / 11.0)
            keys = ("attack", "forward", *me.hop()) if tunnel and step > 20 else ("attack",)
            yield me.act(*keys, camera=me.aim(yaw + 0.5 * wave, pitch + wave, 3.0))
        me.new_gaze(0.3, 3.0)
        for _ in me.frames(10, 30):
            yield me.act("back", camera=me.glance())


def chop(me: Body) -> Iterator[Action]:
    """Walk up to a trunk that can be seen and cut it piece by piece with the axe; without one, walk on to find one."""
    while True:
        yield me.act(TOOLS[1])
        if not len(me.trunks):
            heading = me.yaw + float(me.rng.normal(0, 60))
            for _ in me.frames(20, 50):
                yield me.act("forward", *me.hop(), camera=me.aim(heading, 0.0, 5.0))
            continue
        yield from _approach(me, me.trunks[0], 2.2)
        for _ in me.frames(60, 90):
            if not len(me.trunks) or me.distance(me.trunks[0]) > 4:
                break
            trunk = me.trunks[0]
            yield me.act("attack", camera=me.aim(me.bearing(trunk), me.decline(trunk), 6.0))


def place(me: Body) -> Iterator[Action]:
    """Place blocks on the ground ahead while stepping back or sideways."""
    while True:
        yield me.act(str(me.rng.choice(BLOCKS)))
        pitch, drift = float(me.rng.uniform(22, 48)), float(me.rng.normal(0, 2.0))
        pace, stride = int(me.rng.integers(4, 12)), str(me.rng.choice(["back", "left", "right"]))
        for step in me.frames(40, 100):
            keys = ("use",) if step % pace < 2 and step > 8 else (stride,) if step % pace < pace // 2 + 2 else ()
            yield me.act(*keys, camera=(me.aim(me.yaw, pitch, 4.0)[0], drift))
        me.new_gaze(0.3, 3.0)
        for _ in me.frames(15, 30):
            yield me.act("left", camera=me.glance())


def pillar(me: Body) -> Iterator[Action]:
    """Jump and put a block underneath, a few times; look around from above; step down."""
    while True:
        yield me.act(str(me.rng.choice(BLOCKS)))
        yaw = me.yaw
        for _ in range(25):
            if me.pitch > 74:
                break
            yield me.act(camera=me.aim(yaw, 82.0, 9.0))
        for _ in me.frames(40, 90):
            rising = me.velocity[1] > 0.5
            yield me.act("jump", *(("use",) if rising or me.rng.random() < 0.3 else ()), camera=(0.0, 0.4))
        me.new_gaze(2.0, 6.0, rest=12.0)
        for _ in me.frames(40, 70):
            yield me.act(camera=me.glance())
        for _ in me.frames(20, 40):
            yield me.act("forward", camera=me.glance())
        for _ in me.frames(20, 80):
            yield me.act("forward", *me.hop(), camera=me.glance())


def climb_out(me: Body) -> Iterator[Action]:
    """Build a short pillar under the feet and walk off it: the way out of a pit."""
    yield me.act("hotbar.5")
    yaw = me.yaw
    for _ in range(15):
        if me.pitch > 70:
            break
        yield me.act(camera=me.aim(yaw, 80.0, 10.0))
    for _ in range(50):
        yield me.act("jump", *(("use",) if me.velocity[1] > 0.5 else ()))
    for _ in range(30):
        yield me.act("forward", "jump", camera=me.aim(yaw, 0.0, 8.0))


def _nearest(me: Body) -> np.ndarray | None:
    """The closest position that the engine calls ``nearby``, within 12 metres."""
    nearby: Any = me.info.get("nearby")
    if isinstance(nearby, dict):
        nearby = [position for positions in nearby.values() for position in np.reshape(positions, (-1, 3))]
    if nearby is None or len(nearby) == 0:
        return None
    positions = np.asarray(nearby, np.float64).reshape(-1, 3)
    closest = positions[np.argmin(np.linalg.norm(positions - me.position, axis=1))]
    return closest if me.distance(closest) < 12 else None


def _approach(me: Body, target: np.ndarray, within: float) -> Iterator[Action]:
    for _ in range(80):
        if me.distance(target) < within or me.stuck:
            return
        yield me.act("forward", *me.hop(), camera=me.aim(me.bearing(target), 8.0, 7.0))
