"""A game of Luanti, frame by frame: what is pressed goes in, the picture and the engine's own record come out."""

import json
import os
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.luanti.input import LuantiInput
from worldsim.envs.luanti.log import CONTROLS, LuantiLog, Row
from worldsim.envs.luanti.process import LuantiProcess
from worldsim.envs.luanti.world import LuantiInstanceConfig
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import MINECRAFT_CAMERA

MAX_PITCH = MINECRAFT_CAMERA.pitch_limits[1]
# A trunk further from the eye than this does not count as looked at, metres.
TREE_METRES = 8.0
FRAME_SECONDS = 60.0
ARRIVE_FRAMES = 6000
# Counted in frames rather than seconds: whoever drives us may be suspended meanwhile.
SETTLE_FRAMES = 300
# A picture stands still if it is this like the one of SETTLED_FRAMES / 4 ago (leaves and water may move) and its mean
# colour like that of SETTLED_FRAMES ago: after another time of day the sky fades, by 2 % of what is left each frame.
SETTLED_FRAMES = 32
STILL_LEVELS, STILL_MEAN = 0.25, 0.05


class LuantiSession:
    """One client from its start to its end, played frame by frame.

    Args:
        config: what to start.
        render_threads: of the software renderer, besides the client's own thread.
    """

    def __init__(self, config: LuantiInstanceConfig, render_threads: int):
        self._process = LuantiProcess(config, render_threads=render_threads)
        self._finalizer = weakref.finalize(self, self._process.close)
        self._requests = 0
        self._lockstep = self._process.lockstep
        reach = config.width // 2 - 1, config.height // 2 - 1
        try:
            self._log = LuantiLog(self._process.log)
            self._input = LuantiInput(self._process.display, config.sensitivity, reach)
            self._lockstep.go()
            self._wait()
        except BaseException:
            self._process.close()
            raise

    @property
    def alive(self) -> bool:
        """Is the game still running?"""
        return self._process.running

    def picture(self) -> NDArray[np.uint8]:
        """A view (H, W, 4) of the present frame in BGRA; valid until the next step."""
        return self._lockstep.picture()

    def inverse_depth(self) -> NDArray[np.float32]:
        """1 / metre (H, W) from the camera to the world in the present frame, 0 in the sky; hand and overlay not in it.

        Raises:
            RuntimeError: it was not asked for in the configuration, or this frame has none.
        """
        return self._lockstep.depth()

    def step(self, vector: NDArray[np.float32]) -> None:
        """Play one frame with an action vector (A,) of ``MINECRAFT``."""
        names = {name for name, value in zip(MINECRAFT.keys, vector[:-2], strict=True) if value > 0.5}
        pressed = names - self._input.held
        self._input.hold(names)
        dpitch, dyaw = self._input.turn(float(vector[-2]), float(vector[-1]))
        self._input.flush()
        self._advance()
        row = self._row()
        self._follow_menu(row, pressed)
        turned = (0.0, 0.0) if self._captured else (dpitch, dyaw)
        self._before_yaw, self._before_pitch, self._commanded = row.yaw, row.pitch, (dpitch, dyaw)
        if self._closing:
            self._captured, self._closing, self._commanded = False, False, (0.0, 0.0)
        self.yaw = wrap_degrees(row.yaw + turned[1])
        self.pitch = float(np.clip(row.pitch + turned[0], -MAX_PITCH, MAX_PITCH))
        executed = MINECRAFT.noop()
        for i, name in enumerate(MINECRAFT.keys):
            executed[i] = name in (row.controls if name in CONTROLS else names)
        executed[-2:] = self.pitch - row.pitch, turned[1]
        self._executed = executed

    def _follow_menu(self, row: Row, pressed: set[str]) -> None:
        """Does a menu have the mouse? The inventory key tells, and the engine's own look of the frame before."""
        if self._commanded != (0.0, 0.0):
            moved = abs(wrap_degrees(row.yaw - self._before_yaw)) + abs(row.pitch - self._before_pitch) > 0.02
            self._captured = not moved and abs(self._before_pitch) < MAX_PITCH - 0.5
        if "inventory" in pressed:
            self._closing, self._captured = self._captured, True

    def info(self) -> dict[str, Any]:
        """What the engine says about the present frame; :meth:`LuantiEnv.step` lists it."""
        row = self._row()
        return {
            "position": row.position,
            "velocity": row.velocity,
            "yaw": self.yaw,
            "pitch": self.pitch,
            "keys": {name: int(name in row.controls) for name in CONTROLS},
            "action": self._executed,
            "events": self._events,
            "inventory": dict(self._log.inventory),
            "wield": row.wield,
            "node_feet": row.node_feet,
            "node_head": row.node_head,
            "on_ground": row.on_ground,
            "light": row.light,
            "nearby": dict(self._log.nearby),
            "tree_angle": self._tree_angle(row),
            "biome": self._log.started.get("biome", ""),
            "virtual_time": row.time_us / 1e6,
            "camera": MINECRAFT_CAMERA.to_json(),
        }

    def _tree_angle(self, row: Row) -> float:
        """Degrees from the middle of the view to the middle of the closest visible piece of trunk; 180 without one."""
        trunks = np.asarray(self._log.nearby.get("trunks", ()), np.float64).reshape(-1, 3)
        away = trunks - (row.position + (0.0, MINECRAFT_CAMERA.eye_height, 0.0))
        distance = np.linalg.norm(away, axis=1)
        near = (distance > 0) & (distance < TREE_METRES)
        if not near.any():
            return 180.0
        yaw, pitch = np.deg2rad(self.yaw), np.deg2rad(self.pitch)
        ahead = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        return float(np.rad2deg(np.arccos(np.clip((away[near] @ ahead) / distance[near], -1, 1)).min()))

    def arrive(self, request: dict[str, Any]) -> None:
        """Have the player put to a start, and step idly until everything around is there and drawn."""
        self._input.release()
        self._requests += 1
        path = self._process.world / "request.json"
        path.with_suffix(".part").write_text(json.dumps({**request, "id": self._requests}))
        os.replace(path.with_suffix(".part"), path)
        for _ in range(ARRIVE_FRAMES):
            if self._log.started.get("id") == self._requests:
                break
            self._idle()
        else:
            raise RuntimeError("Luanti did not bring the player to a start in time")
        if self._log.started.get("failed"):
            where = f"within 12 m of ({request['x']:g}, {request['z']:g})" if "x" in request else "on this map"
            raise RuntimeError(f"no dry land to start on found {where}: choose another position or map_seed")
        self._choose_first_slot()
        self._settle(np.array([self._log.started[axis] for axis in "xyz"]))
        row = self._row()
        self.yaw, self.pitch = wrap_degrees(row.yaw), row.pitch
        self._before_yaw, self._before_pitch, self._commanded = row.yaw, row.pitch, (0.0, 0.0)
        self._captured = self._closing = False
        self._executed, self._events = MINECRAFT.noop(), []

    def close(self) -> None:
        """End the game. May be called twice."""
        self._finalizer.detach()
        try:
            self._input.close()
            self._log.close()
        finally:
            self._process.close()

    def _choose_first_slot(self) -> None:
        for names in ({"hotbar.1"}, set()):
            self._input.hold(names)
            self._input.flush()
            self._idle()

    def _settle(self, target: NDArray[np.float64]) -> None:
        """Until the picture stays the same: threads of the game bring and mesh blocks, and the sky fades slowly."""
        pictures: deque[NDArray[np.int16]] = deque(maxlen=SETTLED_FRAMES + 1)
        for _ in range(SETTLE_FRAMES):
            pictures.append(self.picture()[..., :3].astype(np.int16))
            row = self._row()
            there = bool(np.hypot(*(row.position - target)[[0, 2]]) < 3) and row.node_feet not in ("-", "ignore")
            if not (there and row.on_ground):
                pictures.clear()
            arrived = len(pictures) > SETTLED_FRAMES
            if arrived and _still(pictures):
                return
            # Once the land around is there, the sky alone needs frames, and no time.
            (self._advance if arrived else self._idle)()

    def _idle(self) -> None:
        """One frame without hurry: the game's other threads have work to do."""
        time.sleep(0.01)
        self._advance()

    def _advance(self) -> None:
        self._lockstep.advance()
        self._wait()

    def _wait(self) -> None:
        if not self._lockstep.wait(FRAME_SECONDS):
            raise RuntimeError(f"Luanti died: {self._process.failure()}")
        self._events = self._log.read()

    def _row(self) -> Row:
        row = self._log.row
        if row is None or row.time_us != self._lockstep.time_us:
            # The record is written before the picture is drawn.
            raise RuntimeError(f"no record of the frame at {self._lockstep.time_us} us")
        return row


def _still(pictures: Sequence[NDArray[np.int16]]) -> bool:
    moved = [np.abs(pictures[-1] - pictures[-1 - SETTLED_FRAMES // part]).mean() for part in (4, 8)]
    faded = np.abs((pictures[-1] - pictures[0]).mean((0, 1)))
    return max(moved) < STILL_LEVELS and faded.max() < STILL_MEAN


def wrap_degrees(degrees: float) -> float:
    """Into [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0
