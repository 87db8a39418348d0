"""The file of a world's spatial memory: three networks and what they are told."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from worldsim.errors import UserError
from worldsim.models.checkpoint import compact, load_module, load_tensors, save_tensors
from worldsim.simulation.memory.compositor import Compositor, CompositorConfig
from worldsim.simulation.memory.depth import DepthCompletion, DepthCompletionConfig
from worldsim.simulation.memory.ego_motion import EgoMotion, EgoMotionConfig
from worldsim.simulation.memory.observe import MemoryConfig
from worldsim.simulation.memory.spatial import SpatialMemory, SpatialMemoryConfig
from worldsim.spec.camera import Camera

FILE = "memory.safetensors"
FORMAT = "worldsim-memory-1"
_PARTS = ("depth", "motion", "compositor")


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
        "depth": _sizes(memory.depth.config),
        "compositor": _sizes(memory.compositor.config),
        "motion": {k: v for k, v in asdict(memory.motion.config).items() if k != "camera"},
    }
    save_tensors(folder / FILE, tensors, {"format": FORMAT, **config, "about": dict(about or {})})
    return folder / FILE


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
    try:
        camera = Camera.from_json(about["camera"])
        parts = {
            "depth": DepthCompletion(DepthCompletionConfig(**_tuples(about["depth"]))),
            "motion": EgoMotion(EgoMotionConfig(camera=camera, **about["motion"])),
            "compositor": Compositor(CompositorConfig(**_tuples(about["compositor"]))),
        }
        config = SpatialMemoryConfig(
            camera=camera,
            changing=tuple(about["changing"]),
            trust=float(about["trust"]),
            keyframes=MemoryConfig(**about["keyframes"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds no spatial memory: {error}") from error
    for name, part in parts.items():
        start = f"{name}."
        load_module(part, {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}, str(path))
    overlay = tensors.get("overlay")
    return SpatialMemory(config, **parts, overlay=None if overlay is None else overlay.bool())


def _sizes(config: Any) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}
