"""``worldsim train memory``: give a world its spatial memory."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    group,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    store_setting,
    threads_setting,
    world_setting,
)
from worldsim.cli.stores import filter_of, store_at
from worldsim.training.memory.compositor import CompositorTraining


@dataclass(kw_only=True)
class TrainMemory:
    """Settings of ``worldsim train memory``."""

    world: str = world_setting("a checkpoint folder, which receives memory.safetensors; or a shipped world's name")
    data: str = store_setting("folder of the episode store, with poses")
    depth: str = setting(help="weights of worldsim train depth", example="runs/depth/depth_completion.safetensors")
    motion: str = setting(help="weights of worldsim train motion", example="runs/motion/ego_motion.safetensors")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    initial: str | None = setting(None, help="compositor.safetensors to start from; default: random weights")
    folder: str | None = folder_setting("memory", "of this run; one that holds a run is resumed")
    walks: int = setting(60, help="episodes to learn from, at most", minimum=1)
    batch: int = setting(8, help="chunks per step", minimum=1)
    sample_every: int = setting(250, help="how often a picture of samples is written", unit="steps", minimum=1)
    seed: int = seed_setting("decides the walks, the draws and the first weights")
    threads: int | None = threads_setting()
    training: CompositorTraining = group(CompositorTraining)


def train_memory(config: TrainMemory) -> None:
    """``worldsim train memory``."""
    import worldsim
    from worldsim.simulation.memory.compositor import CompositorConfig
    from worldsim.training.memory.compositor_run import run_compositor

    data = store_at(config.data)
    use_threads(config.threads)
    world = worldsim.load(config.world)
    print(
        run_compositor(
            world=world,
            place=Path(config.world) if Path(config.world).is_dir() else worldsim.ASSETS / config.world,
            data=data,
            depth=existing_path(config.depth),
            motion=existing_path(config.motion),
            folder=run_folder("memory", config),
            config=CompositorConfig(actions=world.spec.size),
            training=config.training,
            walks=config.walks,
            batch=config.batch,
            initial=None if config.initial is None else existing_path(config.initial),
            sample_every=config.sample_every,
            seed=config.seed,
            only=filter_of(config),
        )
    )
