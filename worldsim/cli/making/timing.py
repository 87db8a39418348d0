"""How long a step of a training takes on this machine: a few steps on noise, which cost what real ones cost."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from worldsim.cli.bench.train import random_batch, time_steps
from worldsim.cli.compose import compose
from worldsim.cli.train.worlds import TrainDynamics, TrainTokenizer
from worldsim.datasets.store.recording_format import RecordingFormat
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.tokenizer import VideoTokenizer
from worldsim.simulation.devices import device_of
from worldsim.training.tokenizer import prepared, training_step

TIMED = 3


def tokenizer_seconds(words: Sequence[str], recordings: RecordingFormat) -> float:
    """Seconds a step of ``train tokenizer`` with these settings."""
    config = compose(TrainTokenizer, ["data=timed", *words])
    tokenizer = VideoTokenizer(config.model)
    trained = prepared(tokenizer, config.training, Path("unsaved"))
    chunks = torch.rand(
        config.batch, config.chunks, config.model.chunk, 3, recordings.height, recordings.width
    )  # fmt: skip
    seconds = []
    for step in range(1 + TIMED):
        began = time.perf_counter()
        training_step(trained, tokenizer, [chunks], config.training, step, 0)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds[1:])[TIMED // 2]


def dynamics_seconds(words: Sequence[str], tokenizer: Sequence[str], recordings: RecordingFormat) -> float:
    """Seconds a step of ``train dynamics`` with these settings, on the latents of a tokenizer with those."""
    config = compose(TrainDynamics, ["data=timed", "tokenizer=timed", *words])
    coder = compose(TrainTokenizer, ["data=timed", *tokenizer]).model
    spec, grid = recordings.spec, VideoTokenizer(coder).latent_grid(recordings.height, recordings.width)
    sizes = DiTConfig(
        channels=coder.channels, keys=len(spec.keys), camera=spec.camera, chunk=coder.chunk, **config.model
    )
    device = torch.device(device_of(config.device))
    batch = random_batch(config.batch, config.frames, sizes, grid).to(device)
    return time_steps(WorldDiT(sizes).to(device), batch, config.training, TIMED)[0]
