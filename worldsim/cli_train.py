"""Commands that train worlds and put them together."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from worldsim.cli_config import build, compose_config, plain, required, run_folder, several
from worldsim.cli_store import filter_of
from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.store.folder import is_url
from worldsim.errors import UserError

STORE = "data=data/luanti"


def train_tokenizer(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train tokenizer``."""
    from worldsim.models.tokenizer import TokenizerConfig
    from worldsim.training.pipelines import run_tokenizer
    from worldsim.training.tokenizer import TokenizerTraining

    groups = {"training": TokenizerTraining, "model": TokenizerConfig}
    config = compose_config("train_tokenizer", overrides, flags, groups)
    training, tokenizer = build(TokenizerTraining, config.training), build(TokenizerConfig, config.model)
    data = store_at(required(config, "data", STORE))
    use_threads(config.threads)
    run_tokenizer(
        data=data,
        folder=run_folder("tokenizer", config),
        tokenizer=tokenizer,
        training=training,
        batch=config.batch,
        chunks=config.chunks,
        initial=None if config.initial is None else existing(config.initial),
        sample_every=config.sample_every,
        seed=config.seed,
        only=filter_of(config),
    )


def train_dynamics(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train dynamics``."""
    from worldsim.diffusion.settings import DynamicsTraining, from_flat
    from worldsim.training.pipelines import run_dynamics

    config = compose_config("train_dynamics", overrides, flags, {"training": DynamicsTraining})
    training = from_flat(plain(config.training))
    # A finished cache of latents alone will do: it says what it is of.
    data = None
    if config.data is not None or config.latents is None:
        data = store_at(required(config, "data", STORE))
        config.latents = config.latents or latents_of(data, filter_of(config))
    also = [existing(store) for store in several(config.also)]
    tokenizer = existing(required(config, "tokenizer", "tokenizer=runs/tokenizer/tokenizer.safetensors"))
    device = device_of(config.device)
    use_threads(config.threads)
    run_dynamics(
        data=data,
        tokenizer=tokenizer,
        latents=Path(config.latents),
        folder=run_folder("dynamics", config),
        model=plain(config.model),
        training=training,
        batch=config.batch,
        frames=config.frames,
        initial=None if config.initial is None else existing(config.initial),
        sample_every=config.sample_every,
        seed=config.seed,
        device=device,
        only=filter_of(config),
        also={store: Path(latents_of(store, filter_of(config))) for store in also},
    )


def export(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train export``."""
    from worldsim.simulation.config import SamplingConfig
    from worldsim.training.release import ship

    config = compose_config("train_export", overrides, flags, {"sampling": SamplingConfig})
    data = store_at(required(config, "data", STORE))
    out = Path(required(config, "out", "out=worlds/mine"))
    clips = ship(
        run=existing(required(config, "run", "run=runs/dynamics")),
        tokenizer=existing(required(config, "tokenizer", "tokenizer=runs/tokenizer/tokenizer.safetensors")),
        latents=Path(config.latents or latents_of(data, filter_of(config))),
        data=data,
        out=out,
        starts=config.starts,
        split=config.split,
        sampling=build(SamplingConfig, config.sampling),
        exact=config.exact,
        only=filter_of(config),
    )
    print(f"{clips} start clips: {out}")


def existing(path: str) -> Path:
    """A path that must be there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return Path(path)


def device_of(name: str | None) -> str:
    """The device to train on: the one named, else a GPU if there is one.

    Raises:
        UserError: there is no such device.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name.split(":")[0] == "cuda" and torch.cuda.is_available()):
        raise UserError(f"device {name!r} is not to be had here: cpu, or cuda where PyTorch finds a GPU")
    return name


def latents_of(data: str | Path, only: EpisodeFilter) -> str:
    """Where the latents of a store are kept unless told otherwise: each choice of episodes has a folder of its own.

    Raises:
        UserError: the store is behind a URL, and there is no folder beside it.
    """
    if is_url(data):
        raise UserError(f"latents is missing: {data} is elsewhere; give a folder here, say latents=data/latents")
    beside = f"{Path(data)}-latents"
    return beside if only == ALL else f"{beside}-{hashlib.sha256(repr(only).encode()).hexdigest()[:8]}"


def store_at(where: str) -> str:
    """An episode store that must be there, where it is on this machine.

    Raises:
        FileNotFoundError: it is not.
    """
    return where if is_url(where) else str(existing(where))


def use_threads(threads: int | None) -> None:
    """Limit PyTorch to so many CPU threads."""
    if threads is not None:
        torch.set_num_threads(threads)
