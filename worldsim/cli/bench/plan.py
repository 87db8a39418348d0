"""``worldsim bench plan``: memory, work and expected speed of a model on devices that need not be here.

Counted on tensors that have shapes and no content (PyTorch's meta device): weights, operations, what a block keeps for
its gradient. Everything else is an assumption, and named.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from worldsim.cli.runs import run_folder
from worldsim.cli.settings import folder_setting, group, setting
from worldsim.cli.train.worlds import DECIDED
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.optim.loop import split_optimizers
from worldsim.simulation.config import SamplingConfig
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.batch import LatentBatch
from worldsim.training.flops import step_flops

GIB, TERA = 2**30, 1e12


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is assumed of a device and of how well it is used.

    Attributes:
        name: of the device.
        tflops: dense bf16 TFLOP/s by its data sheet.
        memory_gib: of the device, GiB.
        bandwidth_tb: of its memory, TB/s.
        link_gb: between devices, GB/s each way.
        training_share: of ``tflops`` that training reaches.
        playing_share: of ``tflops`` and of ``bandwidth_tb`` that one world at play reaches: its products are small.
    """

    name: str = "H100 SXM"
    tflops: float = 989.0
    memory_gib: float = 80.0
    bandwidth_tb: float = 3.35
    link_gb: float = 450.0
    training_share: float = 0.35
    playing_share: float = 0.15

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "name" and not 0 < value < float("inf"):
                raise ValueError(f"machine.{name} must be above 0, got {value}")


@dataclass(kw_only=True)
class BenchPlan:
    """Settings of ``worldsim bench plan``."""

    devices: int = setting(8, help="that train together", minimum=1)
    clips: int = setting(2, help="clips per step on each device", minimum=1)
    frames: int = setting(32, help="latent frames per clip", minimum=1)
    height: int = setting(352, help="of the pictures", unit="pixels", minimum=16)
    width: int = setting(640, help="of the pictures", unit="pixels", minimum=16)
    folder: str | None = folder_setting("bench-plan")
    machine: Machine = group(Machine)
    training: DynamicsTraining = group(DynamicsTraining)
    model: dict[str, Any] = group(DiTConfig, option="large", filled=DECIDED)


def bench_plan(config: BenchPlan) -> None:
    """``worldsim bench plan``."""
    tokenizer = TokenizerConfig()
    with torch.device("meta"):
        coder = VideoTokenizer(tokenizer)
    grid = coder.latent_grid(config.height, config.width)
    sizes = DiTConfig(
        channels=tokenizer.channels, keys=len(MINECRAFT.keys), camera=True, chunk=tokenizer.chunk,
        infilling=config.training.infilling.wanted, **config.model,
    )  # fmt: skip
    results = {
        "devices": config.devices, "machine": asdict(config.machine), "sizes": asdict(sizes), "grid": grid,
        "memory": memory(sizes, grid, config), "training": training(sizes, grid, config),
        "playing": playing(sizes, coder, grid, config.machine), "assumptions": assumptions(config),
    }  # fmt: skip
    folder = run_folder("bench-plan", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results, config)))
    print(folder / "bench.json")


def memory(sizes: DiTConfig, grid: tuple[int, int], config: BenchPlan) -> dict[str, float]:
    """Bytes on each device while training: sharded state, what is gathered, activations."""
    with torch.device("meta"):
        dit = WorldDiT(sizes)
    weights = sum(p.numel() for p in dit.parameters())
    matrices = sum(
        p.numel() for o in split_optimizers(dit, "blocks", 1.0, 1.0)[1:] for g in o.param_groups for p in g["params"]
    )
    largest = max(sum(p.numel() for p in block.parameters()) for block in dit.blocks)
    # fp32 weights, gradients and averages; AdamW keeps two numbers a weight, Muon one.
    state = 4 * (3 * weights + 2 * (weights - matrices) + matrices)
    rows, columns = dit.patchifier.grid(*grid)
    tokens = rows * columns + sizes.registers
    stream = 4 * config.clips * config.frames * tokens * sizes.width
    block = kept_by_a_block(sizes, grid, config.frames) * config.clips
    activations = sizes.blocks * stream + block if config.training.recompute else sizes.blocks * block
    latents = 4 * config.clips * config.devices * config.frames * sizes.channels * grid[0] * grid[1]
    found: dict[str, float] = {
        "parameters": weights,
        "state": state / config.devices,
        # Two blocks at a time in bf16, and the gradients of one in fp32.
        "gathered": (2 * 2 + 4) * largest,
        "activations": activations,
        # Noise, noisy latents, context, predictions and their gradients, of all clips of a part.
        "loss": 12 * latents / config.training.parts,
    }
    return found | {"bytes": sum(v for name, v in found.items() if name != "parameters")}


def kept_by_a_block(sizes: DiTConfig, grid: tuple[int, int], frames: int) -> int:
    """Bytes that a block with temporal attention keeps for the gradient of one clip, without scores of attention."""
    one = DiTConfig(**{**asdict(sizes), "blocks": 1, "temporal_every": 1})
    with torch.device("meta"):
        network = WorldDiT(one)
    rows, columns = network.patchifier.grid(*grid)
    tokens = rows * columns + sizes.registers
    outside = {p.untyped_storage()._cdata for p in network.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        scores = tensor.ndim > 2 and tensor.shape[-1] == tokens and tensor.shape[-2] % tokens == 0
        if storage._cdata not in outside and not scores:
            seen[storage._cdata] = storage.nbytes()
            held.append(tensor)
        return tensor

    # Storages are told apart by where they are: none may be freed meanwhile.
    held: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = network(*_inputs(one, grid, 1, frames))
    del out
    return sum(seen.values())


def _inputs(sizes: DiTConfig, grid: tuple[int, int], clips: int, frames: int) -> tuple[Tensor, ...]:
    with torch.device("meta"):
        latents = torch.empty(clips, frames, sizes.channels, *grid)
        levels = torch.empty(clips, frames)
        actions = torch.empty(clips, frames, sizes.chunk, sizes.actions)
        return latents, latents, levels, levels, actions, torch.ones(clips, frames, dtype=torch.bool)


def training(sizes: DiTConfig, grid: tuple[int, int], config: BenchPlan) -> dict[str, float]:
    """Operations of a step, and how long it takes."""
    with torch.device("meta"):
        dit = WorldDiT(sizes)
    batch = LatentBatch(
        latents=torch.zeros(config.clips, config.frames, sizes.channels, *grid),
        actions=torch.zeros(config.clips, config.frames, sizes.chunk, sizes.actions),
        motion=torch.zeros(config.clips, config.frames, 5),
        terminated=torch.zeros(config.clips, config.frames),
    )
    flop = step_flops(dit, batch, config.training)
    weights = sum(p.numel() for p in dit.parameters())
    machine = config.machine
    compute = flop / (machine.tflops * TERA * machine.training_share)
    # Weights come in bf16 for the pass forward and again for the one back; gradients leave in fp32.
    sent = (config.devices - 1) / config.devices * weights * (2 + 2 + 4) / (machine.link_gb * 1e9)
    seconds = max(compute, sent)
    return {
        "device_flop": flop, "compute_seconds": compute, "communication_seconds": sent, "step_seconds": seconds,
        "latent_frames_per_second": config.devices * config.clips * config.frames / seconds,
        "days": config.training.steps * seconds / 86400,
    }  # fmt: skip


def playing(sizes: DiTConfig, coder: VideoTokenizer, grid: tuple[int, int], machine: Machine) -> dict[str, float]:
    """Operations of a latent frame at play, with the cache full, and expected video frames per second."""
    from torch.utils.flop_counter import FlopCounterMode

    sampling = SamplingConfig(reuse_last_eval_for_cache=sizes.clean_past)
    evaluations = sampling.steps + (not sampling.reuse_last_eval_for_cache)
    with torch.device("meta"):
        network = WorldDiT(sizes)
    cache, inputs = network.empty_cache(1, grid, torch.bfloat16), _inputs(sizes, grid, 1, 1)
    with torch.no_grad(), FlopCounterMode(display=False) as drawing:
        coder.decode_chunks(inputs[0])
    with torch.no_grad(), FlopCounterMode(display=False) as evaluating:
        network(*inputs, cache=cache)
    flop = evaluations * evaluating.get_total_flops() + drawing.get_total_flops()
    held = cache.keys.nbytes + cache.values.nbytes
    read = evaluations * (2 * sum(p.numel() for p in network.parameters()) + held)
    share = machine.playing_share
    seconds = max(flop / (machine.tflops * TERA * share), read / (machine.bandwidth_tb * TERA * share))
    return {
        "latent_frame_flop": flop, "frame_flop": flop / sizes.chunk, "evaluations": evaluations, "cache_bytes": held,
        "read_bytes": read, "frames_per_second": sizes.chunk / seconds,
    }  # fmt: skip


def assumptions(config: BenchPlan) -> list[str]:
    """What was not counted."""
    machine = config.machine
    return [
        f"{machine.name}: {machine.tflops:g} dense bf16 TFLOP/s, {machine.memory_gib:g} GiB, {machine.bandwidth_tb:g} "
        f"TB/s memory, {machine.link_gb:g} GB/s between devices",
        f"training reaches {machine.training_share:.0%} of the TFLOP/s; sending hides behind computing or exceeds it",
        f"a world at play reaches {machine.playing_share:.0%} of the TFLOP/s and of the memory bandwidth",
        "FSDP2 over all devices (training.shard=true); weights are sent in bf16, gradients in fp32; masters are fp32",
        "activations as counted in fp32: an upper bound where products run in bf16; attention keeps no scores",
        f"the loss holds 12 tensors of the size of a part's latents; {config.training.parts} part(s) a step",
        "text conditioning, fragmentation of memory and what libraries take for themselves are not counted",
    ]


def _lines(results: dict[str, Any], config: BenchPlan) -> Iterator[str]:
    """For people."""
    found, trained, played = results["memory"], results["training"], results["playing"]
    gib = {name: value / GIB for name, value in found.items()}
    fits = "fits" if gib["bytes"] <= config.machine.memory_gib else "does not fit"
    yield (
        f"{found['parameters'] / 1e6:.0f} M parameters, pictures {config.width}x{config.height}, {config.devices} x "
        f"{config.machine.name}, {config.clips} clips of {config.frames} latent frames on each"
    )
    yield (
        f"memory of a device: {gib['bytes']:.1f} GiB ({fits} {config.machine.memory_gib:g} GiB): "
        f"state {gib['state']:.1f}, gathered {gib['gathered']:.1f}, activations {gib['activations']:.1f}, "
        f"loss {gib['loss']:.1f}"
    )
    yield (
        f"training: {trained['device_flop'] / TERA:.1f} TFLOP a step and device, {trained['step_seconds']:.2f} s "
        f"({trained['communication_seconds']:.2f} s of sending beside it), "
        f"{trained['latent_frames_per_second']:.0f} latent frames/s, {trained['days']:.1f} days for "
        f"{config.training.steps} steps"
    )
    yield (
        f"playing, one world on one device: {played['frame_flop'] / TERA:.3f} TFLOP a video frame, "
        f"{played['frames_per_second']:.0f} frames/s expected"
    )
    yield from (f"assumed: {text}" for text in results["assumptions"])
