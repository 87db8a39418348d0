"""The real game as a Gymnasium environment: an unmodified Luanti (minetest) client, one frame a step.

Action ``t`` leads from frame ``t`` to frame ``t + 1``; ``info`` describes the very frame that is returned with it.
"""

import json
import math
import os
import time
import weakref
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.actions import MINECRAFT
from worldsim.envs.luanti_input import LuantiInput
from worldsim.envs.luanti_log import CONTROLS, LuantiLog, Row
from worldsim.envs.luanti_process import LuantiProcess
from worldsim.envs.luanti_world import WorldConfig

MAX_PITCH = 89.5  # Luanti's limit, degrees
FRAME_SECONDS = 60.0
ARRIVE_SECONDS = 90.0
SETTLE_SECONDS = 12.0
SETTLED_FRAMES = 12
OPTIONS = ("map_seed", "mapgen", "time_of_day", "position", "yaw", "pitch", "fresh", "spread")


class LuantiEnv(gym.Env[NDArray[np.uint8], Any]):
    """One Luanti client in lockstep: exactly ``1 / fps`` seconds of game time a step, as fast as the machine allows.

    ``reset(seed=..., options=...)`` takes the options map_seed, mapgen, time_of_day (0..1, 0.5 is noon), position
    ``(x, z)`` or ``(x, y, z)`` in metres (None: a random spot on land), yaw and pitch (degrees), spread (metres: how far
    from the origin random spots lie) and fresh (True: a new copy of the map). A new map_seed or mapgen starts a new
    world, which takes some seconds; otherwise the player is moved within the same world, where what earlier episodes
    dug and built stays.

    The ``inventory`` key opens the game's inventory, which takes the mouse until the key is pressed again.
    Luanti knows no sprint: while that key is held the walking speed is 1.3 times as high.

    Args:
        width, height: of the game's window in pixels.
        observation: (width, height) of the returned frames, averaged over whole blocks of pixels; None: the window's.
        fps: frames (and steps) a second of game time.
        realtime: step no faster than ``fps`` steps a second of wall time, for people.
        time_of_day: default of the option.
        viewing_range: metres.
        render_threads: of the software renderer, besides the game's own.

    Raises:
        ValueError: an argument is out of range.
        FileNotFoundError: a program is missing; the message names the apt packages.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (Gymnasium's form)

    def __init__(
        self,
        width: int = 288,
        height: int = 160,
        *,
        map_seed: int = 1,
        mapgen: str = "v7",
        observation: tuple[int, int] | None = (144, 80),
        fps: int = 20,
        realtime: bool = False,
        time_of_day: float = 0.5,
        viewing_range: int = 60,
        render_threads: int = 0,
        render_mode: str | None = None,
    ):
        columns, rows = observation or (width, height)
        if min(columns, rows) < 1 or width % columns or height % rows:
            raise ValueError(f"observation {columns}x{rows} must divide the window's {width}x{height}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": fps}
        self.observation_space = gym.spaces.Box(0, 255, (rows, columns, 3), np.uint8)
        camera = gym.spaces.Box(-180.0, 180.0, (2,), np.float32)
        keys = {name: gym.spaces.Discrete(2) for name in MINECRAFT.keys}
        self.action_space = gym.spaces.Dict({**keys, "camera": camera})
        self._blocks = height // rows, width // columns
        self._window = WorldConfig(
            map_seed=map_seed, mapgen=mapgen, width=width, height=height, fps=fps, viewing_range=viewing_range
        )
        self._realtime = realtime
        self._time_of_day = time_of_day
        self._render_threads = render_threads
        self._session: _Session | None = None
        self._observation: NDArray[np.uint8] | None = None
        self._next_mark = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; returns its first frame once the land around is loaded and drawn."""
        super().reset(seed=seed)
        options = dict(options or {})
        if unknown := set(options) - set(OPTIONS):
            raise ValueError(f"unknown options {sorted(unknown)}; known: {', '.join(OPTIONS)}")
        config = WorldConfig(
            map_seed=int(options.get("map_seed", self._window.map_seed)),
            mapgen=str(options.get("mapgen", self._window.mapgen)),
            width=self._window.width,
            height=self._window.height,
            fps=self._window.fps,
            viewing_range=self._window.viewing_range,
        )
        request = self._request(options)
        if self._session is None or not self._session.alive or config != self._window or options.get("fresh", False):
            self.close()
            self._window = config
            self._session = _Session(config, self._render_threads)
        session = self._session
        try:
            session.arrive(request)
        except BaseException:
            self.close()
            raise
        self._observation = self._shrink(session.picture())
        self._next_mark = time.monotonic() + 1 / self._window.fps
        return self._observation, session.info()

    def step(
        self, action: Mapping[str, Any] | ArrayLike
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play one frame. The action is a mapping as in ``action_space`` or a vector (A,) of ``MINECRAFT``.

        Returns:
            The frame (H, W, 3), reward 0, terminated and truncated (never), and ``info``: ``position`` and ``velocity``
            (x, y up, z; metres), ``yaw`` and ``pitch`` (degrees, Minecraft's signs), ``keys`` (what the game's own
            controls were between the previous and this frame), ``action`` (vector (A,) that was really executed
            between them), ``events``, ``inventory``, ``wield`` (slot 1..9), ``node_feet``, ``node_head``,
            ``on_ground``, ``light``, ``nearby``, ``biome`` (of the start), ``virtual_time`` (s).

        Raises:
            RuntimeError: before the first reset, or when the game died.
        """
        if self._session is None:
            raise RuntimeError("reset() comes before step()")
        vector = MINECRAFT.vector(action) if isinstance(action, Mapping) else np.asarray(action, np.float32)
        if vector.shape != (MINECRAFT.size,) or not np.isfinite(vector).all():
            raise ValueError(f"an action must be {MINECRAFT.size} finite numbers, got shape {vector.shape}")
        try:
            self._session.step(vector)
        except BaseException:
            self.close()
            raise
        self._observation = self._shrink(self._session.picture())
        if self._realtime:
            now = time.monotonic()
            time.sleep(max(0.0, self._next_mark - now))
            # After a pause (a menu, a debugger) go on from now, not in a burst.
            self._next_mark = max(self._next_mark, now) + 1 / self._window.fps
        return self._observation, 0.0, False, False, self._session.info()

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The present frame in the size of the window, (height, width, 3)."""
        if self._session is None:
            return None
        return np.ascontiguousarray(self._session.picture()[..., 2::-1])

    def close(self) -> None:
        """End the game and remove its folder. Another reset starts a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _request(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the server mod is asked for; drawn from this environment's random numbers where left open."""
        start_seed = int(self.np_random.integers(2**31 - 1))
        yaw = float(self.np_random.integers(-180, 180))
        request: dict[str, Any] = {"seed": start_seed, "spread": int(options.get("spread", 4000))}
        request["yaw"] = yaw if options.get("yaw") is None else float(options["yaw"])
        request["pitch"] = 0.0 if options.get("pitch") is None else float(options["pitch"])
        chosen = options.get("time_of_day")
        request["time"] = float(self._time_of_day if chosen is None else chosen)
        if not 0 <= request["time"] <= 1:
            raise ValueError(f"time_of_day must be in [0, 1], got {request['time']:g}")
        if abs(request["pitch"]) > MAX_PITCH:
            raise ValueError(f"pitch must be within {MAX_PITCH:g} degrees, got {request['pitch']:g}")
        if (position := options.get("position")) is not None:
            if len(position) not in (2, 3):
                raise ValueError(f"position must be (x, z) or (x, y, z), got {position!r}")
            names = ("x", "z") if len(position) == 2 else ("x", "y", "z")
            request |= {name: float(value) for name, value in zip(names, position, strict=True)}
        return request

    def _shrink(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        high, wide = self._blocks
        if high == wide == 1:
            return np.ascontiguousarray(picture[..., 2::-1])
        total = np.zeros(
            (picture.shape[0] // high, picture.shape[1] // wide, 4), np.uint32 if high * wide > 256 else np.uint16
        )
        for row in range(high):
            for column in range(wide):
                total += picture[row::high, column::wide]
        total += high * wide // 2
        total //= high * wide
        return total[..., 2::-1].astype(np.uint8)


class _Session:
    """One client from its start to its end."""

    def __init__(self, config: WorldConfig, render_threads: int):
        self._config = config
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
        return self._finalizer.alive

    def picture(self) -> NDArray[np.uint8]:
        return self._lockstep.picture()

    def step(self, vector: NDArray[np.float32]) -> None:
        before = self._row()
        names = {name for name, value in zip(MINECRAFT.keys, vector[:-2], strict=True) if value > 0.5}
        self._input.hold(names)
        dpitch, dyaw = self._input.turn(float(vector[-2]), float(vector[-1]))
        self._input.flush()
        self._advance()
        row = self._row()
        # The row's own look is that of the frame before: does it agree with what was expected then?
        if self._dturn != (0.0, 0.0):
            moved = abs(_wrap(row.yaw - self._before_yaw)) + abs(row.pitch - self._before_pitch) > 0.02
            self._captured = not moved and abs(self._before_pitch) < MAX_PITCH - 0.5
        if self._captured:  # a menu has the mouse
            dpitch = dyaw = 0.0
        self._before_yaw, self._before_pitch, self._dturn = row.yaw, row.pitch, (dpitch, dyaw)
        self.yaw = _wrap(row.yaw + dyaw)
        self.pitch = float(np.clip(row.pitch + dpitch, -MAX_PITCH, MAX_PITCH))
        executed = MINECRAFT.noop()
        for i, name in enumerate(MINECRAFT.keys):
            executed[i] = name in (row.controls if name in CONTROLS else names)
        executed[-2:] = self.pitch - row.pitch, dyaw
        self._executed = executed
        assert row.time_us > before.time_us

    def info(self) -> dict[str, Any]:
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
            "biome": self._log.started.get("biome", ""),
            "virtual_time": row.time_us / 1e6,
        }

    def arrive(self, request: dict[str, Any]) -> None:
        """Have the player put to a start, and step idly until everything around is there and drawn."""
        self._input.release()
        self._requests += 1
        path = self._process.world / "request.json"
        path.with_suffix(".part").write_text(json.dumps({**request, "id": self._requests}))
        os.replace(path.with_suffix(".part"), path)
        deadline = time.monotonic() + ARRIVE_SECONDS
        while self._log.started.get("id") != self._requests:
            if time.monotonic() > deadline:
                raise RuntimeError("Luanti did not bring the player to a start in time")
            self._idle()
        if self._log.started.get("failed"):
            raise RuntimeError("no dry land found to start on: choose another position or map_seed")
        self._choose_first_slot()
        self._settle(np.array([self._log.started[axis] for axis in "xyz"]))
        row = self._row()
        self.yaw, self.pitch = _wrap(row.yaw), row.pitch
        self._before_yaw, self._before_pitch, self._dturn, self._captured = row.yaw, row.pitch, (0.0, 0.0), False
        self._executed, self._events = MINECRAFT.noop(), []

    def close(self) -> None:
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
        """Until the picture stays the same: the server sends blocks and the client meshes them in threads."""
        deadline = time.monotonic() + SETTLE_SECONDS
        still, last = 0, self.picture()[..., :3].astype(np.int16)
        while still < SETTLED_FRAMES and time.monotonic() < deadline:
            self._idle()
            row = self._row()
            now = self.picture()[..., :3].astype(np.int16)
            same = float(np.abs(now - last).mean()) < 0.2
            there = bool(np.hypot(*(row.position - target)[[0, 2]]) < 3) and row.node_feet not in ("-", "ignore")
            still = still + 1 if same and there and row.on_ground else 0
            last = now

    def _idle(self) -> None:
        """One frame without hurry: the game's other threads have work to do."""
        time.sleep(0.02)
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


def _wrap(degrees: float) -> float:
    """Into [-180, 180)."""
    return math.fmod(math.fmod(degrees + 180.0, 360.0) + 360.0, 360.0) - 180.0
