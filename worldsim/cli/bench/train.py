"""``worldsim bench train``: how fast dynamics train on this machine, beside its own matrix products."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldsim.cli.bench.machine import machine, matrix_ceiling, resident_mb, synchronise
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, group, setting, threads_setting
from worldsim.cli.train.worlds import DECIDED
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import OLD_KEYS, DynamicsTraining
from worldsim.models.dit import DiTConfig, DiTOutput, WorldDiT
from worldsim.models.precision import fast_bf16
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.devices import device_of
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.batch import LatentBatch
from worldsim.training.dynamics import prepared, training_step
from worldsim.training.flops import step_flops

UNTIMED = 2


@dataclass(kw_only=True)
class BenchTrain:
    """Settings of ``worldsim bench train``."""

    batch: int = setting(4, help="clips per step", minimum=1)
    frames: int = setting(32, help="latent frames per clip", minimum=1)
    height: int = setting(80, help="of the pictures", unit="pixels", minimum=16)
    width: int = setting(144, help="of the pictures", unit="pixels", minimum=16)
    steps: int = setting(5, help="timed steps, after two that are not", minimum=1)
    threads: int | None = threads_setting()
    device: str | None = device_setting()
    folder: str | None = folder_setting("bench-train")
    training: DynamicsTraining = group(DynamicsTraining, renamed=OLD_KEYS)
    model: dict[str, Any] = group(DiTConfig, option="small", filled=DECIDED)


def bench_train(config: BenchTrain) -> None:
    """``worldsim bench train``."""
    use_threads(config.threads)
    tokenizer, training = TokenizerConfig(), config.training
    grid = VideoTokenizer(tokenizer).latent_grid(config.height, config.width)
    sizes = DiTConfig(
        channels=tokenizer.channels, keys=len(MINECRAFT.keys), camera=True, chunk=tokenizer.chunk,
        infilling=training.infilling.wanted, **config.model,
    )  # fmt: skip
    device = torch.device(device_of(config.device))
    dit = WorldDiT(sizes).to(device)
    dit.recompute = training.recompute
    batch = random_batch(config.batch, config.frames, sizes, grid).to(device)
    flops = step_flops(dit, batch, training)
    seconds, optimizing = time_steps(dit, batch, training, config.steps)
    ceiling = matrix_ceiling(torch.bfloat16 if device.type != "cpu" or fast_bf16() else torch.float32, device)
    results = {
        "machine": machine(),
        "parameters": sum(p.numel() for p in dit.parameters()),
        "latent_frames_per_step": config.batch * config.frames,
        "step_seconds": seconds,
        "latent_frames_per_second": config.batch * config.frames / seconds,
        "optimizer_share": optimizing / seconds,
        "step_gflop": flops / 1e9,
        "gflops": flops / seconds / 1e9,
        "matrix_gflops": ceiling / 1e9,
        "share_of_matrix_ceiling": flops / seconds / ceiling,
        "resident_mb": resident_mb(),
    }
    folder = run_folder("bench-train", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print(
        f"{results['parameters'] / 1e6:.1f} M parameters, {config.batch} clips of {config.frames} latent frames: "
        f"{seconds:.2f} s a step, {results['latent_frames_per_second']:.1f} latent frames/s"
    )
    print(
        f"{flops / 1e9:.0f} GFLOP a step, forward and backward: {results['gflops']:.0f} GFLOP/s, "
        f"{results['share_of_matrix_ceiling']:.0%} of the {ceiling / 1e9:.0f} GFLOP/s of large matrix products here"
    )
    print(
        f"optimizer and averaging: {results['optimizer_share']:.0%} of a step; {results['resident_mb']:.0f} MB resident"
    )
    print(folder / "bench.json")


def random_batch(batch: int, frames: int, sizes: DiTConfig, grid: tuple[int, int]) -> LatentBatch:
    """Noise of a batch's shape: how long a step takes does not depend on what it learns."""
    return LatentBatch(
        latents=torch.randn(batch, frames, sizes.channels, *grid),
        actions=torch.rand(batch, frames, sizes.chunk, sizes.actions),
        motion=torch.randn(batch, frames, 5),
        terminated=torch.zeros(batch, frames),
        text=torch.randn(batch, sizes.text_size),
        mouse=sizes.camera,
    )


def time_steps(dit: WorldDiT, batch: LatentBatch, training: DynamicsTraining, steps: int) -> tuple[float, float]:
    """Median seconds of a whole step, and of its optimizer and averaging alone."""
    forward: Callable[..., DiTOutput] = torch.compile(dit, dynamic=False) if training.compile else dit
    trained, bank = prepared(dit, training, Path("unsaved")), ErrorBank()
    whole, optimizing = [], []
    for step in range(UNTIMED + steps):
        begun = time.perf_counter()
        training_step(forward, trained, [batch], training, step, 0, [bank])
        synchronise(batch.latents.device)
        whole.append(time.perf_counter() - begun)
        for parameter in dit.parameters():
            parameter.grad = torch.zeros_like(parameter)
        begun = time.perf_counter()
        trained.step(step)
        synchronise(batch.latents.device)
        optimizing.append(time.perf_counter() - begun)
    return statistics.median(whole[UNTIMED:]), statistics.median(optimizing[UNTIMED:])
