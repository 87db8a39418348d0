"""Commands that train worlds and put them together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from worldsim.cli.runs import existing_path, run_folder, use_threads, wanted
from worldsim.cli.settings import (
    device_setting,
    folder_setting,
    group,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    split_setting,
    store_setting,
    threads_setting,
)
from worldsim.cli.stores import filter_of, latents_of, store_at
from worldsim.datasets.store.store import Split
from worldsim.diffusion.settings import OLD_KEYS, DynamicsTraining
from worldsim.models.dit import DiTConfig
from worldsim.models.tokenizer import TokenizerConfig
from worldsim.simulation.config import OLD_KEYS as OLD_SAMPLING
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.devices import device_of
from worldsim.training.tokenizer import OLD_KEYS as OLD_TOKENIZER
from worldsim.training.tokenizer import TokenizerTraining

TOKENIZER = "tokenizer=runs/tokenizer/tokenizer.safetensors"
# Of the network's sizes, those that the tokenizer, the recordings and the training decide.
DECIDED = ("channels", "keys", "camera", "chunk", "drawn", "infilling")


@dataclass(kw_only=True)
class TrainTokenizer:
    """Settings of ``worldsim train tokenizer``."""

    data: str = store_setting()
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    initial: str | None = setting(None, help="tokenizer.safetensors to start from; default: random weights")
    folder: str | None = folder_setting("tokenizer", "of this run; one that holds a run is resumed")
    batch: int = setting(8, help="clips per step", minimum=1)
    chunks: int = setting(8, help="chunks per clip", minimum=1)
    sample_every: int = setting(500, help="how often sample videos are written", unit="steps", minimum=1)
    seed: int = seed_setting("of weights, noise and clips")
    threads: int | None = threads_setting()
    training: TokenizerTraining = group(TokenizerTraining, renamed=OLD_TOKENIZER)
    model: TokenizerConfig = group(TokenizerConfig)


def train_tokenizer(config: TrainTokenizer) -> None:
    """``worldsim train tokenizer``."""
    from worldsim.training.pipelines import run_tokenizer

    data = store_at(config.data)
    use_threads(config.threads)
    run_tokenizer(
        data=data,
        folder=run_folder("tokenizer", config),
        tokenizer=config.model,
        training=config.training,
        batch=config.batch,
        chunks=config.chunks,
        initial=None if config.initial is None else existing_path(config.initial),
        sample_every=config.sample_every,
        seed=config.seed,
        only=filter_of(config),
    )


@dataclass(kw_only=True)
class TrainDynamics:
    """Settings of ``worldsim train dynamics``."""

    data: str | None = setting(
        None, help="folder of the episode store; not needed where latents is a finished cache, by default that is used"
    )
    also: list[str] = setting(
        [], help="further stores, of other picture sizes say: also=[data/wide,data/tall]; a batch is of one store"
    )
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    tokenizer: str = setting(help="tokenizer.safetensors of a tokenizer run", example=TOKENIZER)
    latents: str | None = setting(
        None,
        help="folder of the latent cache, or packed latents (worldsim data pack), which may be behind a URL; default: "
        "beside the store, STORE-latents (of a choice: -HASH)",
    )
    shuffle_mb: float = setting(
        1024.0,
        help="packed latents: memory for those that clips are shuffled among; as much again is read ahead",
        unit="MB of each of training.parts",
        above=0,
    )
    initial: str | None = setting(None, help="dit.safetensors to start from; default: random weights")
    memory: str | None = setting(
        None,
        help="memory.safetensors of a world: what it draws along the recordings becomes an input of the network, "
        "and what is then shown the past of training.noise.shown_fraction of the clips; default: none",
    )
    drawn_frames: int = setting(
        401, help="video frames of each episode that the memory draws, from its beginning", minimum=2
    )
    folder: str | None = folder_setting("dynamics", "of this run; one that holds a run is resumed")
    batch: int = setting(8, help="clips per step", minimum=1)
    frames: int = setting(32, help="latent frames per clip", minimum=1)
    sample_every: int = setting(1000, help="how often sample videos are written", unit="steps", minimum=1)
    seed: int = seed_setting("of weights, noise and clips")
    threads: int | None = threads_setting()
    device: str | None = device_setting()
    training: DynamicsTraining = group(DynamicsTraining, renamed=OLD_KEYS)
    model: dict[str, Any] = group(DiTConfig, option="small", filled=DECIDED)


def train_dynamics(config: TrainDynamics) -> None:
    """``worldsim train dynamics``."""
    from worldsim.training.pipelines import run_dynamics

    # A finished cache of latents alone will do: it says what it is of.
    data = None
    if config.data is not None or config.latents is None:
        data = store_at(wanted(config.data, "data", "data=data/luanti"))
        config.latents = config.latents or latents_of(data, filter_of(config))
    also = [existing_path(store) for store in config.also]
    tokenizer = existing_path(config.tokenizer)
    device = device_of(config.device)
    use_threads(config.threads)
    run_dynamics(
        data=data,
        tokenizer=tokenizer,
        latents=wanted(config.latents, "latents", "latents=data/luanti-latents"),
        folder=run_folder("dynamics", config),
        model=config.model,
        training=config.training,
        batch=config.batch,
        frames=config.frames,
        initial=None if config.initial is None else existing_path(config.initial),
        sample_every=config.sample_every,
        seed=config.seed,
        device=device,
        only=filter_of(config),
        also={store: Path(latents_of(store, filter_of(config))) for store in also},
        memory=None if config.memory is None else existing_path(config.memory),
        drawn_frames=config.drawn_frames,
        shuffle_mb=config.shuffle_mb,
    )


@dataclass(kw_only=True)
class TrainExport:
    """Settings of ``worldsim train export``."""

    run: str = setting(help="folder of a dynamics run", example="run=runs/dynamics")
    tokenizer: str = setting(help="tokenizer.safetensors of a tokenizer run", example=TOKENIZER)
    latents: str | None = setting(
        None, help="folder of the latent cache; default: beside the store, STORE-latents (of a choice: -HASH)"
    )
    data: str = store_setting("folder of the episode store that start clips are drawn from")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    split: str = split_setting("of the start clips; test and validation are maps never trained on", "test")
    starts: int = setting(32, help="start clips, at most: one from 200 frames", minimum=1)
    exact: bool = setting(False, help="start clips without loss: for games where single pixels matter")
    out: str = setting(help="folder of the finished world; replaced if it is there", example="out=worlds/mine")
    sampling: SamplingConfig = group(SamplingConfig, renamed=OLD_SAMPLING)


def export(config: TrainExport) -> None:
    """``worldsim train export``."""
    from worldsim.training.release import ship

    data, out = store_at(config.data), Path(config.out)
    clips = ship(
        run=existing_path(config.run),
        tokenizer=existing_path(config.tokenizer),
        latents=config.latents or latents_of(data, filter_of(config)),
        data=data,
        out=out,
        starts=config.starts,
        split=cast(Split, config.split),
        sampling=config.sampling,
        exact=config.exact,
        only=filter_of(config),
    )
    print(f"{clips} start clips: {out}")
