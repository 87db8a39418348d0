"""``worldsim train inverse``: train the model that reads actions off pictures."""

from dataclasses import dataclass

from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    store_setting,
    threads_setting,
)
from worldsim.cli.stores import filter_of, store_at
from worldsim.progress import display


@dataclass(kw_only=True)
class TrainInverse:
    """Settings of ``worldsim train inverse``."""

    data: str = store_setting("folder of the episode store; its training maps alone are used")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    chunk: int = setting(2, help="length of a chunk of the worlds that are to be read", unit="video frames", minimum=1)
    steps: int = setting(1500, help="training steps", minimum=1)
    batch: int = setting(64, help="picture triples per step", minimum=1)
    seed: int = seed_setting("decides the draws and the first weights")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("inverse", "of this run, with inverse.safetensors")


def train_inverse(config: TrainInverse) -> None:
    """``worldsim train inverse``."""
    from worldsim.datasets.store.store import EpisodeStore
    from worldsim.training.inverse_dynamics import save_inverse
    from worldsim.training.inverse_dynamics import train_inverse as learn

    path = run_folder("inverse", config) / "inverse.safetensors"
    store = EpisodeStore(store_at(config.data))
    use_threads(config.threads)
    with display() as progress:
        model, about = learn(
            store,
            chunk=config.chunk,
            steps=config.steps,
            batch=config.batch,
            seed=config.seed,
            only=filter_of(config),
            progress=progress,
        )
    save_inverse(path, model, about)
    print(path)
