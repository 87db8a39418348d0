"""The folder a Luanti client lives in: settings, mods and an empty world."""

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from worldsim.spec.camera import MINECRAFT_CAMERA

MAPGENS = ("v5", "v6", "v7", "valleys", "carpathian", "fractal", "flat")

# Camera speeds of players stay below this (VPT clips its bins at 10 degrees too).
FASTEST_DEGREES = 10.0


@dataclass(frozen=True, kw_only=True)
class LuantiInstanceConfig:
    """What a client is started with.

    Args:
        width, height: of the window in pixels.
        fps: frames a second of virtual time.
        viewing_range: metres.
        depth: whether the depth of each frame is read too.
    """

    map_seed: int
    mapgen: str
    width: int
    height: int
    fps: int
    viewing_range: int
    depth: bool = False

    def __post_init__(self) -> None:
        if self.mapgen not in MAPGENS:
            raise ValueError(f"mapgen must be one of {', '.join(MAPGENS)}, got {self.mapgen!r}")
        if not 0 <= self.map_seed < 2**63:
            raise ValueError(f"map_seed must be in [0, 2**63), got {self.map_seed}")

    @property
    def sensitivity(self) -> float:
        """Degrees a mouse pixel: the pointer, kept in the window's middle, must reach the fastest turn in one frame."""
        return math.ceil(200 * FASTEST_DEGREES / (self.height // 2 - 1)) / 200

    def settings(self, port: int) -> dict[str, object]:
        """Everything of ``minetest.conf``."""
        return {
            "screen_w": self.width,
            "screen_h": self.height,
            "fullscreen": "false",
            "autosave_screensize": "false",
            "vsync": "false",
            # More than one virtual frame a step, so that the game's own limiter never sleeps.
            "fps_max": 3 * self.fps,
            "fps_max_unfocused": 3 * self.fps,
            "pause_on_lost_focus": "false",
            "enable_sound": "false",
            "mute_sound": "true",
            "viewing_range": self.viewing_range,
            "enable_shaders": "false",
            "enable_clouds": "false",
            "enable_3d_clouds": "false",
            "enable_dynamic_shadows": "false",
            "enable_minimap": "false",
            "enable_particles": "true",
            "smooth_lighting": "true",
            "leaves_style": "opaque",
            "opaque_water": "true",
            "anisotropic_filter": "false",
            "mip_map": "false",
            "view_bobbing_amount": 0,
            "fall_bobbing_amount": 0,
            "show_debug": "false",
            "hud_scaling": round(0.35 * self.height / 180, 3),
            "gui_scaling": round(0.5 * self.height / 180, 3),
            "fov": round(MINECRAFT_CAMERA.vertical_fov),
            "mouse_sensitivity": self.sensitivity,
            "keymap_aux1": "KEY_KEY_E",
            "enable_client_modding": "true",
            "csm_restriction_flags": 0,
            "enable_local_map_saving": "false",
            "fixed_map_seed": self.map_seed,
            "mg_name": self.mapgen,
            "num_emerge_threads": 1,
            "sqlite_synchronous": 0,
            "dedicated_server_step": 1 / self.fps,
            "time_speed": 0,
            "enable_damage": "false",
            "creative_mode": "false",
            "give_initial_stuff": "false",
            "free_move": "false",
            "noclip": "false",
            "server_announce": "false",
            "serverlist_url": "",
            "contentdb_url": "",
            "enable_remote_media_server": "false",
            "bind_address": "127.0.0.1",
            "port": port,
            "worldsim_reach": self.viewing_range,
        }

    def write(self, folder: Path, port: int) -> None:
        """Fill an empty folder: ``minetest.conf``, ``home/`` and ``world/``."""
        client = folder / "home" / ".minetest" / "clientmods" / "worldsim"
        server = folder / "world" / "worldmods" / "worldsim"
        client.mkdir(parents=True)
        server.mkdir(parents=True)
        code = resources.files("worldsim.envs") / "luanti"
        (client / "init.lua").write_text((code / "client" / "init.lua").read_text())
        (client / "mod.conf").write_text("name = worldsim\n")
        (client.parent / "mods.conf").write_text("load_mod_worldsim = true\n")
        (server / "init.lua").write_text((code / "server" / "init.lua").read_text())
        (server / "mod.conf").write_text("name = worldsim\ndepends = default\n")
        # The map lives in memory: it is thrown away with the game, and a database on disk would only cost time.
        world = {"gameid": "minetest", "backend": "dummy", "player_backend": "dummy", "auth_backend": "sqlite3"}
        (folder / "world" / "world.mt").write_text(
            _lines({**world, "creative_mode": "false", "enable_damage": "false"})
        )
        (folder / "minetest.conf").write_text(_lines(self.settings(port)))


def _lines(settings: dict[str, object]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())
