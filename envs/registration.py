"""Registers the environments with Gymnasium. Imported with Gymnasium itself (see ``autoload``), so it imports little.

Where Python starts without its site packages, ``gymnasium.make("worldsim.envs.registration:WorldSim-Minecraft-v0")``
does the same.
"""

import gymnasium

MAX_EPISODE_STEPS = 600


def register_envs() -> None:
    """Register every WorldSim environment. Entry points are strings: nothing is loaded before ``gymnasium.make``."""
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


register_envs()
