"""Which real game a world is a dream of."""

from collections.abc import Callable

from worldsim.envs.luanti.env import LuantiEnv
from worldsim.envs.luanti.process import find_programs
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.real.luanti import RealLuanti
from worldsim.envs.play.real.pong import GAME, RealPong
from worldsim.envs.play.real.real_game import RealGame
from worldsim.errors import UserError
from worldsim.extras import require
from worldsim.spec.actions import MINECRAFT

# Pixels of the engine's window per pixel of its pictures, along each side: as recordings are made.
FINER = 2


def find_real(dream: WorldGame) -> Callable[[], RealGame]:
    """A maker of the real game beside a dream, as the provenance of its start clips tells which.

    Raises:
        UserError: it is not known, or a package is missing.
        FileNotFoundError: a program is missing; says how to install it.
    """
    world, about = dream.world, dream.starts.provenance
    if any(str(clip.get("game", "")).startswith(GAME) for clip in about):
        require("ale_py", "Pong's console")
        return lambda: RealPong(world.chunk)
    if world.spec == MINECRAFT and any(clip.get("engine") == "luanti" for clip in about):
        find_programs()
        width, height, fps = world.config.width, world.config.height, int(world.config.fps)
        return lambda: RealLuanti(
            lambda: LuantiEnv(FINER * width, FINER * height, observation=(width, height), fps=fps)
        )
    raise UserError("its start clips do not tell of a game that can be started")
