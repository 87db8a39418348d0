"""``worldsim train depth``: train the network that completes depth for a spatial memory."""

from dataclasses import dataclass

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
)
from worldsim.cli.stores import filter_of, store_at
from worldsim.simulation.memory.depth import DepthCompletionConfig
from worldsim.training.memory.depth import DepthTraining


@dataclass(kw_only=True)
class TrainDepth:
    """Settings of ``worldsim train depth``."""

    data: str = store_setting(
        "folder of the episode store, with poses; with depth it is learned from, without from reprojection alone"
    )
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    initial: str | None = setting(
        None, help="depth_completion.safetensors, or memory.safetensors, to start from; default: random weights"
    )
    folder: str | None = folder_setting("depth", "of this run; one that holds a run is resumed")
    batch: int = setting(16, help="pictures per step", minimum=1)
    megabytes: float = setting(4000.0, help="of recorded walks that are kept in memory", unit="MB", above=0)
    places: int = setting(48, help="places of maps not trained on that the network is judged at", minimum=1)
    sample_every: int = setting(500, help="how often a picture of samples is written", unit="steps", minimum=1)
    seed: int = seed_setting("decides the walks, the draws and the first weights")
    threads: int | None = threads_setting()
    training: DepthTraining = group(DepthTraining)
    model: DepthCompletionConfig = group(DepthCompletionConfig)


def train_depth(config: TrainDepth) -> None:
    """``worldsim train depth``."""
    from worldsim.training.memory.depth_run import run_depth

    data = store_at(config.data)
    use_threads(config.threads)
    print(
        run_depth(
            data=data,
            folder=run_folder("depth", config),
            config=config.model,
            training=config.training,
            batch=config.batch,
            megabytes=config.megabytes,
            places=config.places,
            initial=None if config.initial is None else existing_path(config.initial),
            sample_every=config.sample_every,
            seed=config.seed,
            only=filter_of(config),
        )
    )
