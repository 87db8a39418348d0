"""The file of a world's spatial memory: three networks and what they are told."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, compact, load_tensors, read_metadata, save_tensors
from worldsim.models.shield import shielded
from worldsim.simulation.memory.compositor import Compositor, CompositorConfig
from worldsim.simulation.memory.depth import DepthCompletion, depth_sizes
from worldsim.simulation.memory.ego_motion import EgoMotion, motion_sizes
from worldsim.simulation.memory.spatial import SpatialMemory, SpatialMemoryConfig
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

FILE = "memory.safetensors"
FORMAT = "worldsim-memory-1"
_PARTS = ("depth", "motion", "compositor")
_SETTINGS = ("camera", "changing", "trust", "refined_from", "keyframes")


@shielded
def save_memory(memory: SpatialMemory, folder: Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write into a world's folder, weights in bf16. ``about``: what it was trained on."""
    parts = {name: getattr(memory, name) for name in _PARTS}
    tensors = {f"{name}.{key}": t for name, part in parts.items() for key, t in compact(part).items()}
    if memory.overlay is not None:
        tensors["overlay"] = memory.overlay.to(torch.uint8)
    config = {
        "camera": memory.config.camera.to_json(),
        "keyframes": asdict(memory.config.keyframes),
        "changing": list(memory.config.changing),
        "trust": memory.config.trust,
        "refined_from": memory.config.refined_from,
        "depth": _sizes(memory.depth.config),
        "compositor": _sizes(memory.compositor.config),
        "motion": {k: v for k, v in asdict(memory.motion.config).items() if k != "camera"},
    }
    save_tensors(folder / FILE, tensors, {"format": FORMAT, **config, "about": dict(about or {})})
    return folder / FILE


@shielded
def load_memory(folder: Path) -> SpatialMemory | None:
    """The memory in a world's folder; None where there is none.

    Raises:
        UserError: the file is no such memory.
        ValueError: it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no spatial memory")
    with reading(path, "a spatial memory", UserError):
        # Older files do not say from what magnification on the network shows anew: it does nowhere.
        about = {"refined_from": 0.0, **about}
        config = dataclass_of(SpatialMemoryConfig, {name: about[name] for name in _SETTINGS})
        depth = depth_sizes(about["depth"])
        motion = motion_sizes({**about["motion"], "camera": about["camera"]})
        compositor = dataclass_of(CompositorConfig, about["compositor"])
    own = {name: part_of(tensors, name) for name in _PARTS}
    overlay = tensors.get("overlay")
    return SpatialMemory(
        config,
        build_module(lambda: DepthCompletion(depth), own["depth"], str(path)),
        build_module(lambda: EgoMotion(motion), own["motion"], str(path)),
        build_module(lambda: Compositor(compositor), own["compositor"], str(path)),
        overlay=None if overlay is None else overlay.bool(),
    )


def memory_of(world: Path) -> SpatialMemory:
    """The memory in a world's folder.

    Raises:
        UserError: the world has none.
        ValueError: its file is damaged.
    """
    if (memory := load_memory(world)) is None:
        raise UserError(f"{world} has no spatial memory: worldsim train memory makes one")
    return memory


def replace_part(world: Path, name: str, network: nn.Module, trained_on: Mapping[str, Any]) -> Path:
    """Give the memory in a world's folder another network ("depth", "motion"), and note what it was trained on.

    Raises:
        UserError: the world has no spatial memory.
        ValueError: its file is damaged.
    """
    memory = memory_of(world)
    setattr(memory, name, network)
    about = read_metadata(world / FILE).get("about", {})
    return save_memory(memory, world, {**about, f"{name}_trained_on": trained_on})


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one of a memory's networks ("depth", "motion", "compositor") among those of its file."""
    return {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}


def _sizes(config: Any) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
