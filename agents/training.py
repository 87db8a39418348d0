"""Training runs from a store: batches, progress, TensorBoard, sample videos, and the finished world.

A run is a folder: ``config.json``, ``state.safetensors`` (to resume), weights, ``metrics.jsonl``, ``tensorboard/``,
``samples/``.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worldsim.actions import MINECRAFT
from worldsim.checkpoint import load_module, load_tensors
from worldsim.datasets.clips import ClipSampler
from worldsim.datasets.latents import LatentClips, build_latents
from worldsim.datasets.store import EpisodeStore
from worldsim.datasets.video import write_video
from worldsim.dit import DiTConfig, WorldDiT
from worldsim.errors import UserError
from worldsim.text import TextEncoder, default_encoder
from worldsim.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.train_dynamics import DynamicsTraining, LatentBatch, train_dynamics
from worldsim.train_tokenizer import TokenizerTraining, to_chunks, train_tokenizer
from worldsim.world import SamplingConfig, WorldConfig, WorldModel

T = TypeVar("T")
Metrics = Iterator[tuple[int, dict[str, float]]]
# Batches that the linear path is fitted on are drawn far from those trained on.
APART = 1_000_000_000


class RunLog:
    """Appends metrics to ``metrics.jsonl`` and, where tensorboard is installed, to ``tensorboard/``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "metrics.jsonl").open("a")
        self.board = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row."""
        self.file.write(json.dumps({"step": step, "time": round(time.time(), 1), **metrics}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in metrics.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self.file.close()
        if self.board is not None:
            self.board.close()


def follow(
    run: Metrics,
    folder: Path,
    steps: int,
    title: str,
    sample: Callable[[int], None],
    sample_every: int,
    every: int = 10,
) -> None:
    """Drain a training generator: progress bar, log, sample videos; without a terminal, a line a minute."""
    log = RunLog(folder)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    printed = time.monotonic()
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
            task = progress.add_task(title, total=steps, note="")
            for step, metrics in run:
                validated = {
                    k.removeprefix("validation/"): v for k, v in metrics.items() if k.startswith("validation/")
                }
                if validated:
                    shown = "  ".join(f"{name} {value:.4g}" for name, value in validated.items())
                    progress.console.print(f"{time.strftime('%H:%M:%S')} step {step}: {shown}", highlight=False)
                if validated or step % every == 0:
                    log.write(step, metrics)
                    progress.update(task, completed=step, note=f"loss {metrics['loss']:.4f}")
                if not progress.console.is_terminal and time.monotonic() - printed > 60:
                    print(f"{time.strftime('%H:%M:%S')} step {step}/{steps} loss {metrics['loss']:.4f}", flush=True)
                    printed = time.monotonic()
                if step % sample_every == 0 or step == steps:
                    sample(step)
    finally:
        log.close()


def prefetched(batches: Callable[[int], T], pool: ThreadPoolExecutor) -> Callable[[int], T]:
    """The same batches, each read while the one before is trained on."""
    waiting: dict[int, Any] = {}

    def get(index: int) -> T:
        future = waiting.pop(index, None) or pool.submit(batches, index)
        waiting.clear()
        waiting[index + 1] = pool.submit(batches, index + 1)
        return future.result()

    return get


def write_config(folder: Path, **parts: Any) -> None:
    """Keep what the run was started with beside its results."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(parts, indent=1, default=str))


def run_tokenizer(
    *,
    data: Path,
    folder: Path,
    tokenizer: TokenizerConfig,
    training: TokenizerTraining,
    batch: int = 8,
    chunks: int = 8,
    sample_every: int = 500,
    seed: int = 0,
) -> None:
    """Train a tokenizer on the clips of a store; resumes when ``folder`` holds a run.

    Raises:
        ValueError: the store has no training or validation episodes.
    """
    store = EpisodeStore(data)
    frames = chunks * tokenizer.chunk
    clips = ClipSampler(store, "train", frames=frames, batch=batch, seed=seed)
    held_out = ClipSampler(store, "validation", frames=frames, batch=16, seed=12345)
    validation = torch.from_numpy(held_out[0]["frames"])
    write_config(folder, data=data, tokenizer=asdict(tokenizer), training=asdict(training), batch=batch, chunks=chunks)

    def sample(step: int) -> None:
        path = folder / "tokenizer.safetensors"
        if path.exists():
            model = load_tokenizer(path)
            out = [rearrange_side_by_side(model, to_chunks(validation[i : i + 1], tokenizer.chunk)) for i in range(4)]
            write_video(folder / "samples" / f"{step:06d}.mp4", np.concatenate(out, 1))

    with ThreadPoolExecutor(1) as pool:
        ahead = prefetched(lambda i: torch.from_numpy(clips[i]["frames"]), pool)
        run = train_tokenizer(
            tokenizer,
            training,
            lambda i: ahead(i) if i >= 0 else torch.from_numpy(clips[APART - i]["frames"]),
            validation,
            folder,
            seed,
        )
        follow(run, folder, training.steps, "tokenizer", sample, sample_every)


@torch.inference_mode()
def rearrange_side_by_side(model: VideoTokenizer, chunks: torch.Tensor) -> NDArray[np.uint8]:
    """Recorded frames left, reconstruction right: uint8 (F, H, 2 W, 3)."""
    out, _ = model.decode_chunks(model.encode_chunks(chunks))
    both = torch.cat([chunks, out.clamp(0, 1)], -1)[0].flatten(0, 1)
    return (both * 255).round().byte().permute(0, 2, 3, 1).numpy()


def load_tokenizer(path: Path) -> VideoTokenizer:
    """Read ``tokenizer.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no tokenizer.
    """
    tensors, metadata = load_tensors(path)
    if "tokenizer" not in metadata:
        raise UserError(f"{path} holds no tokenizer")
    model = VideoTokenizer(TokenizerConfig(**metadata["tokenizer"]))
    load_module(model, tensors, str(path))
    return model.eval()


def cache_latents(data: Path, tokenizer: Path, folder: Path, splits: tuple[str, ...] = ("train", "validation")) -> None:
    """Encode the splits of a store into ``folder/SPLIT`` unless they are there for this many episodes already."""
    store, model = EpisodeStore(data), load_tokenizer(tokenizer)
    embed = TextEncoder() if default_encoder() is not None else None
    encode = torch.inference_mode()(lambda chunks: model.encode_chunks(chunks.permute(0, 1, 2, 5, 3, 4).float() / 255))
    for split in splits:
        target = folder / split
        names = store.names(split)  # pyright: ignore[reportArgumentType]
        index = target / "index.json"
        if index.is_file() and len(json.loads(index.read_text())["names"]) == len(names):
            continue
        with Progress() as progress:
            task = progress.add_task(f"latents {split}", total=len(names))
            build_latents(
                store,
                split,  # pyright: ignore[reportArgumentType]
                target,
                encode,
                model.config.chunk,
                lambda done, total: progress.update(task, completed=done),  # noqa: B023
                embed,
            )


def run_dynamics(
    *,
    data: Path,
    tokenizer: Path,
    latents: Path,
    folder: Path,
    model: Mapping[str, Any],
    training: DynamicsTraining,
    batch: int = 8,
    frames: int = 32,
    initial: Path | None = None,
    sample_every: int = 1000,
    seed: int = 0,
) -> None:
    """Train the dynamics on the latents of a store, then leave a playable world in ``folder/world``.

    ``initial``: a ``dit.safetensors`` whose weights to start from, for more training where the run's state is gone.
    """
    cache_latents(data, tokenizer, latents)
    coder = load_tokenizer(tokenizer)
    config = DiTConfig(
        channels=coder.config.channels,
        keys=len(MINECRAFT.keys),
        camera=MINECRAFT.camera,
        chunk=coder.config.chunk,
        **model,
    )
    clips = LatentClips(latents / "train", frames=frames, batch=batch, seed=seed)
    held_out = LatentClips(latents / "validation", frames=frames, batch=16, seed=12345)
    write_config(
        folder,
        data=data,
        tokenizer=tokenizer,
        dit=asdict(config),
        training=asdict(training),
        batch=batch,
        frames=frames,
    )
    validation = held_out(0)

    def sample(step: int) -> None:
        if (folder / "dit.safetensors").exists():
            export_world(folder, tokenizer, latents)
            write_video(folder / "samples" / f"{step:06d}.mp4", dream(WorldModel.load(folder / "world"), validation))

    with ThreadPoolExecutor(1) as pool:
        weights = None
        if initial is not None:
            weights = {n: t for n, t in load_tensors(initial)[0].items() if n != "prompts"}
        run = train_dynamics(config, training, prefetched(clips, pool), validation, folder, seed, weights)
        follow(run, folder, training.steps, "dynamics", sample, sample_every)


def export_world(folder: Path, tokenizer: Path, latents: Path, sampling: SamplingConfig | None = None) -> Path:
    """Join the averaged weights of a dynamics run and a tokenizer into the playable world ``folder/world``."""
    tensors, metadata = load_tensors(folder / "dit.safetensors")
    dit = WorldDiT(DiTConfig(**metadata["dit"]))
    load_module(dit, tensors, str(folder / "dit.safetensors"))
    prompts, vectors = common_prompts(latents)
    config = WorldConfig(spec=MINECRAFT, sampling=sampling or SamplingConfig(), prompts=prompts)
    world = WorldModel(config, load_tokenizer(tokenizer), dit, prompt_embeddings=vectors, bf16=False)
    world.save(folder / "world")
    return folder / "world"


def common_prompts(latents: Path, count: int = 64) -> tuple[tuple[str, ...], torch.Tensor | None]:
    """The most common captions trained on and their embeddings (P, X), which ship with the world."""
    if not (latents / "train" / "text.npy").is_file():
        return (), None
    texts = json.loads((latents / "train" / "index.json").read_text())["texts"]
    vectors = np.load(latents / "train" / "text.npy")
    chosen = [text for text, _ in Counter(t for t in texts if t).most_common(count)]
    return tuple(chosen), torch.from_numpy(vectors[[texts.index(text) for text in chosen]])


def dream(world: WorldModel, batch: LatentBatch, rows: int = 4, prefix: int = 8) -> NDArray[np.uint8]:
    """Recorded left, dreamt from a prefix with the recorded actions right; rows below each other: (F, H, 2 W, 3)."""
    latents = batch.latents[:rows]
    recorded, _ = world.decode(latents)
    chunk = world.chunk
    clip = recorded[:, :prefix].reshape(rows, -1, *recorded.shape[3:])[:, chunk - 1 :]
    actions = batch.actions[:rows].numpy()
    state = world.prefill(clip, actions[:, 1:prefix].reshape(rows, -1, actions.shape[-1]), list(range(rows)))
    dreamt = [recorded[:, t] for t in range(prefix)]
    for t in range(prefix, latents.shape[1]):
        state, step = world.step(state, actions[:, t], donate=True)
        dreamt.append(step.frames)
    both = np.concatenate([recorded, np.stack(dreamt, 1)], -2)
    video = both.reshape(rows, -1, *both.shape[3:])
    return np.concatenate(list(video), 1)
