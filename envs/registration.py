"""Registers the environments with Gymnasium. ``import worldsim`` does it, and imports Gymnasium only if it must.

``import worldsim`` has to stay light and Gymnasium is not (it imports NumPy). Where Gymnasium is imported already, the
environments are registered at once, else at the end of Gymnasium's own import. This module needs the standard library
alone.
"""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

MAX_EPISODE_STEPS = 600


def register_envs() -> None:
    """Register every WorldSim environment. Entry points are strings: nothing is loaded before ``gymnasium.make``."""
    # A statement, not a look into ``sys.modules``: it waits for another thread that is still importing Gymnasium.
    import gymnasium

    if "WorldSim-Minecraft-v0" in gymnasium.registry:
        return
    gymnasium.register(
        id="WorldSim-Minecraft-v0",
        entry_point="worldsim.envs.learned.env:WorldSimEnv",
        vector_entry_point="worldsim.envs.learned.vector_env:WorldSimVectorEnv",
        max_episode_steps=MAX_EPISODE_STEPS,
    )
    gymnasium.register(
        id="WorldSim-Luanti-v0",
        entry_point="worldsim.envs.luanti.engine_env:EngineEnv",
        max_episode_steps=MAX_EPISODE_STEPS,
        # Poses repeat, but threads of the game decide about the last digit of a few pixels.
        nondeterministic=True,
    )
    gymnasium.register(
        id="WorldSim-Pong-v0",
        entry_point="worldsim.envs.learned.env:WorldSimEnv",
        vector_entry_point="worldsim.envs.learned.vector_env:WorldSimVectorEnv",
        max_episode_steps=MAX_EPISODE_STEPS,
        kwargs={"world": "pong", "task": "points"},
    )
    gymnasium.register(
        id="WorldSim-PongEngine-v0",
        entry_point="worldsim.envs.pong.engine:PongEngine",
        max_episode_steps=MAX_EPISODE_STEPS,
    )


class _RegisteringLoader:
    """Gymnasium's own loader, with ``register_envs`` after the module has run."""

    def __init__(self, loader: Any):
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> ModuleType | None:
        """Create the module as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module under its own loader, then register the environments and remove the finder."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
        register_envs()


class _GymnasiumFinder:
    """Meta path finder that waits for Gymnasium: it finds nothing itself, but wraps the loader that others find."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> "ModuleSpec | None":
        """The spec of Gymnasium by the finders that follow, its loader wrapped; None for every other module."""
        if name != "gymnasium" or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                # ``importlib.util.find_spec`` asks without an import: the finder stays until the module runs.
                if spec.loader is not None:
                    spec.loader = _RegisteringLoader(spec.loader)  # pyright: ignore[reportAttributeAccessIssue]
                return spec
        return None


_FINDER = _GymnasiumFinder()


def register_when_imported() -> None:
    """Register the environments now if Gymnasium is imported (by any thread, even halfway), else when it will be."""
    if sys.modules.get("gymnasium") is not None:
        register_envs()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
