"""The real game as a Gymnasium environment: an unmodified Luanti (minetest) client, one frame a step.

Action ``t`` leads from frame ``t`` to frame ``t + 1``; ``info`` describes the very frame that is returned with it.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.envs.luanti.depth import shrink_depth
from worldsim.envs.luanti.session import MAX_PITCH, LuantiSession
from worldsim.envs.luanti.world import LuantiInstanceConfig
from worldsim.spec.actions import MINECRAFT

OPTIONS = ("map_seed", "mapgen", "time_of_day", "position", "yaw", "pitch", "fresh", "spread")


def map_changed(info: Mapping[str, Any]) -> bool:
    """Whether the frame that ``info`` tells of saw a block dug or placed."""
    return any(event.get("kind") in ("dig", "place") for event in info.get("events", ()))


class LuantiEnv(gym.Env[NDArray[np.uint8], Any]):
    """One Luanti client in lockstep: exactly ``1 / fps`` seconds of game time a step, as fast as the machine allows.

    ``reset(seed=..., options=...)`` takes the options ``map_seed``, ``mapgen``, ``time_of_day`` (0..1, 0.5 is noon),
    ``position`` (``(x, y, z)`` in metres; ``(x, z)``: on the ground there, or up to 12 m beside it where a tree or
    water is in the way; None: a random spot on land), ``yaw`` and ``pitch`` (degrees), ``spread`` (metres: how far
    random spots may lie from the origin along x and z) and ``fresh`` (True: a new copy of the map). A new map_seed or
    mapgen starts a new world, which takes some seconds; otherwise the player is moved within the same world, where what
    earlier episodes dug and built stays.

    The same seed and actions in a fresh world repeat the same poses; of the pictures a few pixels differ, since threads
    of the game bring distant land at their own pace (so register it with ``nondeterministic=True``).

    The ``inventory`` key opens the game's inventory, which takes the mouse until the key is pressed again.
    ``drop`` throws the whole stack, with ``sneak`` a single item.
    Luanti knows no sprint: while that key is held the walking speed is 1.3 times as high.

    Args:
        width, height: of the game's window in pixels.
        observation: (width, height) of the returned frames, averaged over whole blocks of pixels; None: the window's.
        fps: frames (and steps) a second of game time.
        realtime: step no faster than ``fps`` steps a second of wall time, for people.
        time_of_day: default of the option.
        viewing_range: metres.
        render_threads: of the software renderer, besides the game's own.
        depth: also read the depth of each frame, as ``info["depth"]``.

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
        depth: bool = False,
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
        self._window = LuantiInstanceConfig(
            map_seed=map_seed, mapgen=mapgen, width=width, height=height, fps=fps, viewing_range=viewing_range,
            depth=depth,
        )  # fmt: skip
        self._realtime = realtime
        self._time_of_day = time_of_day
        self._render_threads = render_threads
        self._session: LuantiSession | None = None
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
        config = replace(
            self._window,
            map_seed=int(options.get("map_seed", self._window.map_seed)),
            mapgen=str(options.get("mapgen", self._window.mapgen)),
        )
        request = self._request(options)
        if self._session is None or not self._session.alive or config != self._window or options.get("fresh", False):
            self.close()
            self._window = config
            self._session = LuantiSession(config, self._render_threads)
        session = self._session
        try:
            session.arrive(request)
        except BaseException:
            self.close()
            raise
        self._observation = self._shrink(session.picture())
        self._next_mark = time.monotonic() + 1 / self._window.fps
        return self._observation, self._info(session)

    def step(
        self, action: Mapping[str, Any] | ArrayLike
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play one frame. The action is a mapping as in ``action_space`` or a vector (A,) of ``MINECRAFT``.

        Returns:
            The frame (H, W, 3), reward 0, terminated and truncated (never), and ``info``: ``position`` and ``velocity``
            (x, y up, z; metres), ``yaw`` and ``pitch`` (degrees, Minecraft's signs), ``keys`` (what the game's own
            controls were between the previous and this frame), ``action`` (vector (A,) that was really executed
            between them), ``events``, ``inventory``, ``wield`` (slot 1..9), ``node_feet``, ``node_head``,
            ``on_ground``, ``light``, ``nearby`` (the closest ``tree``, and the pieces of ``trunks`` that can be seen
            within 10 m, as the server saw them at most 0.2 s ago), ``tree_angle`` (degrees from the middle of the view
            to the middle of the piece of trunk that it comes closest to, of those within 8 m; 180 without one),
            ``biome`` (of the start), ``virtual_time`` (s), ``camera`` (``Camera.to_json``). With ``depth=True`` also
            ``depth``: inverse depth along the camera's axis, uint16 (H, W) on the frame's pixels,
            ``INVERSE_DEPTH_STEPS`` (4096) for 1 / metre, 0 in the sky; behind the hand and the hotbar, which are not in
            it, that of the world.

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
        return self._observation, 0.0, False, False, self._info(self._session)

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

    def _info(self, session: LuantiSession) -> dict[str, Any]:
        info = session.info()
        if self._window.depth:
            info["depth"] = shrink_depth(session.inverse_depth(), self._blocks)
        return info

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
