"""Training runs from a store of episodes: the tokenizer, the latents, the dynamics, and the world that they make."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter, training_record
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.latent_stream import clips_of, open_latents
from worldsim.datasets.loading.latents import MixedClips
from worldsim.datasets.store.folder import absolute
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import write_video
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.checkpoint import load_tensors, read_metadata
from worldsim.models.dit import DiTConfig
from worldsim.models.shield import shielded
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.optim.distributed.ranks import ranked, ranks
from worldsim.optim.distributed.shares import share_of
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import ActionSpec
from worldsim.spec.batch import LatentBatch
from worldsim.spec.compute import Compute
from worldsim.spec.endings import ends_taught
from worldsim.training.dynamics import train_dynamics
from worldsim.training.export import export_world, load_tokenizer
from worldsim.training.latents import prepare_latents
from worldsim.training.logging import follow, prefetched, write_config
from worldsim.training.memory.drawn import draw_along
from worldsim.training.store_checks import check_size, check_splits
from worldsim.training.tokenizer import TokenizerTraining, to_chunks, train_tokenizer

# Batches that the linear path is fitted on are drawn far from those trained on.
APART = 1_000_000_000


@shielded
@ranked
def run_tokenizer(
    *,
    data: str | Path,
    folder: Path,
    tokenizer: TokenizerConfig,
    training: TokenizerTraining,
    batch: int = 8,
    chunks: int = 8,
    initial: Path | None = None,
    sample_every: int = 500,
    seed: int = 0,
    only: EpisodeFilter = ALL,
) -> None:
    """Train a tokenizer on a store's clips, alone or as one of torchrun's ranks; resumes when ``folder`` holds a run.

    Shorter episodes shorten the clips, down to single pictures. ``initial``: a ``tokenizer.safetensors`` to start from.
    ``only``: the episodes that may be used, for validation too.

    Raises:
        ValueError: the store has no training or validation episodes.
    """
    folder, store, r = folder.absolute(), EpisodeStore(data), tokenizer.chunk
    check_splits(store, only)
    index = store.index()
    longest = int(index.frames[only.rows(index, "train", store.url)].max(initial=0))
    frames = max(1, min(chunks * r, longest // r * r))
    clips = ClipSampler(store, "train", frames=frames, batch=batch, seed=seed, only=only)
    held_out = ClipSampler(store, "validation", frames=frames, batch=16, seed=12345, only=only)
    check_size(*store.frame_size(clips.names[0]))

    def batch_of(sampler: ClipSampler, index: int) -> torch.Tensor:
        taken = torch.from_numpy(sampler[index]["frames"])
        return taken.repeat(1, r, 1, 1, 1) if frames == 1 else taken

    validation = batch_of(held_out, 0)
    write_config(folder, data=data, tokenizer=asdict(tokenizer), training=asdict(training), batch=batch, chunks=chunks)

    def sample(step: int) -> None:
        path = folder / "tokenizer.safetensors"
        if path.exists():
            model = load_tokenizer(path)
            out = [original_and_reconstruction(model, to_chunks(validation[i : i + 1], r)) for i in range(4)]
            write_video(folder / "samples" / f"{step:06d}.mp4", np.concatenate(out, 1))

    weights, before = _start_from(initial, folder / "tokenizer.safetensors")
    about = {"trained_on": training_record(store, clips.names, before=before.get("trained_on"))}
    with ThreadPoolExecutor(1) as pool:
        ahead = prefetched(lambda i: batch_of(clips, i), pool, share_of(training.parts).following)
        run = train_tokenizer(
            tokenizer,
            training,
            lambda i: ahead(i) if i >= 0 else batch_of(clips, APART - i),
            validation,
            folder,
            seed,
            weights,
            about,
        )
        follow(run, folder, training.steps, "tokenizer", sample, sample_every)


@torch.inference_mode()
def original_and_reconstruction(model: VideoTokenizer, chunks: torch.Tensor) -> NDArray[np.uint8]:
    """Recorded frames left, reconstruction right: uint8 (F, H, 2 W, 3)."""
    out, _ = model.decode_chunks(model.encode_chunks(chunks))
    both = torch.cat([chunks, out.clamp(0, 1)], -1)[0].flatten(0, 1)
    return (both * 255).round().byte().permute(0, 2, 3, 1).numpy()


@shielded
@ranked
def run_dynamics(
    *,
    data: str | Path | None,
    tokenizer: Path,
    latents: str | Path,
    folder: Path,
    model: Mapping[str, Any],
    training: DynamicsTraining,
    batch: int = 8,
    frames: int = 32,
    initial: Path | None = None,
    sample_every: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    only: EpisodeFilter = ALL,
    also: Mapping[Path, Path] = MappingProxyType({}),
    memory: Path | None = None,
    drawn_frames: int = 401,
    shuffle_mb: float = 1024,
) -> None:
    """Train the dynamics on a store's latents, alone or as one of torchrun's ranks; leaves the world ``folder/world``.

    ``data``: the store; None trains on ``latents`` as they are, where the store is not (another machine, say).
    ``latents``: folder of the latent cache; or packed ones, which are read while training goes on, of a URL too.
    ``initial``: a ``dit.safetensors`` whose weights to start from, for more training where the run's state is gone.
    ``device``: "cpu" or "cuda"; ``only``: the episodes that may be used, for validation too.
    ``also``: further stores and where their latents are kept, of other picture sizes say; validation is by the first.
    ``memory``: a world's ``memory.safetensors``, which the world gets; what it draws of each episode's first
    ``drawn_frames`` is then an input, and clips are of those.
    ``shuffle_mb``: of packed latents to shuffle clips among.

    Raises:
        UserError: a store cannot be trained on, or there is a memory and no store or several.
    """
    folder, latents, coder = folder.absolute(), absolute(latents), load_tokenizer(tokenizer)
    kept = (tokenizer, Path(latents), only, also)
    with ranks().first_ahead():
        recordings = prepare_latents(data, latents, tokenizer, only, also, training.infilling.reversed_fraction)
        drawn = None if memory is None else draw_along(data, memory, folder, drawn_frames, *kept)
    config = _network(coder.config, recordings.spec, {**model, **_inputs(memory, training, initial)})
    of: dict[str, Any] = {"frames": frames, "mouse": config.camera, "drawn": drawn, "limit": int(shuffle_mb * 2**20)}
    clips = _clips((latents, *also.values()), batch=batch, seed=seed, lanes=training.parts, **of)
    validation = clips_of(open_latents(f"{latents}/validation"), batch=16, seed=12345, lanes=1, ahead=False, **of)(0)
    decided = {"dit": asdict(config), "training": asdict(training), "batch": batch, "frames": frames}
    write_config(folder, data=[data, *also], tokenizer=tokenizer, **decided)

    def sample(step: int) -> None:
        if (folder / "dit.safetensors").exists():
            export_world(folder, tokenizer, latents, recordings)
            write_video(folder / "samples" / f"{step:06d}.mp4", dream(WorldModel.load(folder / "world"), validation))

    weights, before = _start_from(initial, folder / "dit.safetensors")
    about = {"trained_on": clips.training_record(before.get("trained_on"))}
    spent = None if initial is None else Compute.from_json(read_metadata(initial).get("compute"))
    with ThreadPoolExecutor(1) as pool:
        ahead = prefetched(clips, pool, share_of(training.parts).following)
        given = (config, training, ahead, validation, folder, seed, weights, about, device, spent, ends_taught(before))
        follow(train_dynamics(*given), folder, training.steps, "dynamics", sample, sample_every)


def _inputs(memory: Path | None, training: DynamicsTraining, initial: Path | None) -> dict[str, bool]:
    """What the network takes beside the past; weights that filled in before go on to be able to."""
    before = {} if initial is None else read_metadata(initial).get("dit", {})
    return {"drawn": memory is not None, "infilling": training.infilling.wanted or bool(before.get("infilling"))}


def _network(coder: TokenizerConfig, spec: ActionSpec, sizes: Mapping[str, Any]) -> DiTConfig:
    """Sizes of the network for a game's latents."""
    return DiTConfig(channels=coder.channels, keys=len(spec.keys), camera=spec.camera, chunk=coder.chunk, **sizes)


def _clips(latents: Iterable[str | Path], **of: Any) -> MixedClips:
    """Clips of what is trained on in some places."""
    return MixedClips([clips_of(open_latents(f"{one}/train"), **of) for one in latents])


def _start_from(initial: Path | None, resumed: Path) -> tuple[dict[str, torch.Tensor] | None, dict[str, Any]]:
    """Weights to start from, and the metadata of what was trained before, of a resumed run or of those weights."""
    tensors, metadata = ({}, {}) if initial is None else load_tensors(initial)
    # A finished world keeps its prompts beside the weights.
    weights = {name: tensor for name, tensor in tensors.items() if name != "prompts"}
    if resumed.is_file():
        metadata = load_tensors(resumed)[1]
    return weights or None, metadata


@shielded
def dream(world: WorldModel, batch: LatentBatch, rows: int = 4, prefix: int = 8) -> NDArray[np.uint8]:
    """Recorded left, dreamt from a prefix with the recorded actions right; rows below each other: (F, H, 2 W, 3).

    Of shorter clips, the first half is the prefix; of single pictures, both sides are the same.
    """
    latents = batch.latents[:rows]
    recorded, _ = world.decode(latents)
    chunk, prefix = world.chunk, min(prefix, -(-latents.shape[1] // 2))
    clip = recorded[:, :prefix].reshape(len(latents), -1, *recorded.shape[3:])[:, chunk - 1 :]
    actions = batch.actions[:rows].numpy()
    past = actions[:, 1:prefix].reshape(len(latents), -1, actions.shape[-1])
    state = world.prefill(clip, past, list(range(len(latents))))
    dreamt = [recorded[:, t] for t in range(prefix)]
    for t in range(prefix, latents.shape[1]):
        state, step = world.step(state, actions[:, t], inplace=True)
        dreamt.append(step.frames)
    both = np.concatenate([recorded, np.stack(dreamt, 1)], -2)
    return np.concatenate(list(both.reshape(len(latents), -1, *both.shape[3:])), 1)
