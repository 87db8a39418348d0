"""The files of a world's checkpoint folder: its networks with what they need, read and written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldsim.models.checkpoint import build_module, compact, load_tensors, save_tensors
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.fact_heads import FactHeads, load_fact_heads
from worldsim.models.shield import shielded
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.confidence import Trust, load_trust
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.memory.files import load_memory, save_memory
from worldsim.simulation.memory.spatial import SpatialMemory
from worldsim.spec.compute import Compute
from worldsim.spec.damage import reading
from worldsim.spec.endings import KEY as ENDS
from worldsim.spec.endings import ends_taught
from worldsim.spec.from_json import dataclass_of

FILES = ("tokenizer.safetensors", "dit.safetensors")


@dataclass(frozen=True, kw_only=True)
class WorldFiles:
    """Contents of a checkpoint folder: all that a world is made of.

    Attributes:
        config: what the world is and how it is sampled.
        tokenizer: of its frames.
        dit: its network.
        prompt_embeddings: of the prompts that ship with it (P, X), or None.
        compute: what its training cost.
        ends_taught: ends of episodes that its termination head saw; None: not known.
        fact_heads, trust, memory: task heads, calibration and spatial memory, where it has them.
    """

    config: WorldConfig
    tokenizer: VideoTokenizer
    dit: WorldDiT
    prompt_embeddings: Tensor | None
    compute: Compute
    ends_taught: int | None = None
    fact_heads: FactHeads | None = None
    trust: Trust | None = None
    memory: SpatialMemory | None = None

    def to(self, device: torch.device | str) -> "WorldFiles":
        """The same with its networks moved to a device. Embeddings of prompts stay: they are looked up on the CPU."""
        parts = {name: getattr(self, name) for name in ("tokenizer", "dit", "fact_heads", "trust", "memory")}
        return replace(self, **{name: None if part is None else part.to(device) for name, part in parts.items()})


@shielded
def write_world(files: WorldFiles, folder: Path, about: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write a checkpoint folder: two safetensors files, weights in bf16, and that of a memory.

    Task heads and calibration have files of their own, which are written where they are made.

    Args:
        files: what to write.
        folder: receives them.
        about: further metadata by file, "tokenizer" and "dit": what they were trained on.
    """
    world = asdict(files.config)
    for name, module in (("tokenizer", files.tokenizer), ("dit", files.dit)):
        tensors = compact(module)
        if name == "dit" and files.prompt_embeddings is not None:
            tensors["prompts"] = files.prompt_embeddings.bfloat16()
        metadata = {name: asdict(module.config), "world": world, **(about or {}).get(name, {})}
        if name == "dit":
            metadata["compute"] = files.compute.to_json()
            metadata[ENDS] = files.ends_taught
        save_tensors(folder / f"{name}.safetensors", tensors, metadata)
    if files.memory is not None:
        save_memory(files.memory, folder)


@shielded
def read_world(folder: Path, *, fact_heads: bool = True) -> WorldFiles:
    """Read a checkpoint folder; ``fact_heads`` False leaves its task heads aside.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or does not fit.
    """
    tokenizer_tensors, tokenizer_json = load_tensors(folder / FILES[0])
    dit_tensors, dit_json = load_tensors(folder / FILES[1])
    prompts = dit_tensors.pop("prompts", None)
    with reading(folder / FILES[0], "a world's tokenizer"):
        sizes = dataclass_of(TokenizerConfig, tokenizer_json["tokenizer"])
    tokenizer = build_module(lambda: VideoTokenizer(sizes), tokenizer_tensors, str(folder / FILES[0]))
    with reading(folder / FILES[1], "a world's network"):
        network = dataclass_of(DiTConfig, dit_json["dit"])
        config, ends = WorldConfig.from_json(dit_json["world"]), ends_taught(dit_json)
        if prompts is not None and not bool(prompts.isfinite().all()):
            raise ValueError("embeddings of prompts are not finite")
    dit = build_module(lambda: WorldDiT(network), dit_tensors, str(folder / FILES[1]))
    return WorldFiles(
        config=config,
        tokenizer=tokenizer,
        dit=dit,
        prompt_embeddings=None if prompts is None else prompts.float(),
        compute=Compute.from_json(dit_json.get("compute")),
        ends_taught=ends,
        fact_heads=load_fact_heads(folder) if fact_heads else None,
        trust=load_trust(folder, asdict(config.sampling)),
        memory=load_memory(folder),
    )


def check_parts(
    config: WorldConfig,
    tokenizer: VideoTokenizer,
    dit: WorldDiT,
    prompts: Tensor,
    heads: FactHeads | None,
    memory: SpatialMemory | None,
) -> None:
    """Check that the parts of a world fit together.

    Raises:
        ValueError: they do not.
    """
    if dit.config.actions != config.spec.size or len(config.spec.keys) != dit.config.keys:
        raise ValueError(f"the network takes {dit.config.actions} action values, the game has {config.spec.size}")
    if dit.config.channels != tokenizer.config.channels or dit.config.chunk != tokenizer.config.chunk:
        raise ValueError("tokenizer and network differ in channels or chunk")
    if config.sampling.reuse_last_eval_for_cache and not dit.config.clean_past:
        raise ValueError(
            "a network without clean_past knows its past from the cache alone: "
            "use sampling.reuse_last_eval_for_cache=false"
        )
    tokenizer.latent_grid(config.height, config.width)
    if prompts.shape != (len(config.prompts), dit.config.text_size):
        raise ValueError(f"{len(config.prompts)} prompts, but embeddings {tuple(prompts.shape)}")
    if heads is not None and heads.config.features != 2 * dit.config.width:
        raise ValueError(f"task heads read {heads.config.features} features, not {2 * dit.config.width}")
    if memory is not None:
        memory.check_fits(config.spec.size, config.height, config.width)
