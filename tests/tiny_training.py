"""The end of every road: check a store, sample it, train a tiny tokenizer and tiny dynamics on it for a few steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.tiny_world import tiny_dit, tiny_tokenizer
from worldsim import cli
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.recording_format import RecordingFormat, recording_format
from worldsim.datasets.store.store import EpisodeStore
from worldsim.diffusion.settings import DynamicsTraining, OptimizerSettings
from worldsim.spec.actions import ActionSpec
from worldsim.spec.batch import LatentBatch
from worldsim.training.dynamics import train_dynamics
from worldsim.training.tokenizer import TokenizerTraining, to_chunks, train_tokenizer


def walk(path: Path, folder: Path, *, length: int = 8) -> RecordingFormat:
    """``data check``, clips of ``length`` frames, and training in ``folder``; returns what the episodes share."""
    assert cli.main(["data", "check", f"data={path}", f"folder={folder}/check"]) == 0
    store = EpisodeStore(path)
    clips, form = ClipSampler(store, None, frames=length, batch=2), recording_format(store)
    batch = clips[0]
    assert batch["frames"].shape == (2, length, form.height, form.width, 3)
    assert batch["actions"].shape == (2, length, form.spec.size)
    losses = train(clips, length, form.spec, folder)
    assert len(losses) == 4 and np.isfinite(losses).all()
    return form


def train(clips: ClipSampler, length: int, spec: ActionSpec, folder: Path) -> list[float]:
    """Two steps of a tiny tokenizer, then two of tiny dynamics on its latents; their losses."""
    coder = tiny_tokenizer()
    chunk = coder.config.chunk

    def pictures(index: int) -> torch.Tensor:
        return torch.from_numpy(clips[abs(index)]["frames"]).repeat_interleave(chunk if length == 1 else 1, 1)

    def latents(index: int) -> LatentBatch:
        batch = clips[abs(index)]
        frames = torch.from_numpy(batch["frames"]).repeat_interleave(chunk if length == 1 else 1, 1)
        encoded = coder.encode_chunks(to_chunks(frames, chunk)).detach()
        # The action that leads into a frame is in the row before it; nothing leads into the first one.
        actions = torch.zeros(frames.shape[0], frames.shape[1], spec.size)
        actions[:, 1:] = torch.from_numpy(batch["actions"])[:, : frames.shape[1] - 1]
        nothing = torch.zeros(*encoded.shape[:2])
        motion = nothing[..., None].expand(-1, -1, 5)
        return LatentBatch(encoded, actions.unflatten(1, (-1, chunk)), motion, nothing, mouse=spec.camera)

    tokenizer = TokenizerTraining(steps=2, warmup=1, validate_every=2)
    dynamics = DynamicsTraining(steps=2, optimizer=OptimizerSettings(warmup=1), validate_every=2, compile=False)
    config = replace(tiny_dit().config, keys=len(spec.keys), camera=spec.camera)
    runs = (
        train_tokenizer(coder.config, tokenizer, pictures, pictures(0), folder / "tok"),
        train_dynamics(config, dynamics, latents, latents(0), folder / "dyn"),
    )
    return [metrics["loss"] for run in runs for _, metrics in run]
