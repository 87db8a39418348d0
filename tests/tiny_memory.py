"""A small spatial memory with random weights for worlds of tests."""

import torch

from tests.tiny_world import shaken, tiny_world
from worldsim.models.dit import WorldDiT
from worldsim.simulation.memory.compositor import Compositor, CompositorConfig
from worldsim.simulation.memory.depth import DepthCompletion, DepthCompletionConfig
from worldsim.simulation.memory.ego_motion import EgoMotion, EgoMotionConfig
from worldsim.simulation.memory.spatial import SpatialMemory, SpatialMemoryConfig
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.camera import MINECRAFT_CAMERA

CHANNELS, BLOCKS = (8, 16, 32), (1, 1, 1)


def tiny_memory(seed: int = 0, amount: float = 0.05) -> SpatialMemory:
    """``amount``: of the noise on all weights; 0 leaves a memory that shows what it has and never moves."""
    torch.manual_seed(seed)
    depth = DepthCompletion(DepthCompletionConfig(channels=CHANNELS, blocks=BLOCKS))
    motion = EgoMotion(EgoMotionConfig(actions=22, camera=MINECRAFT_CAMERA, hidden=64, near=64))
    compositor = Compositor(CompositorConfig(actions=22, channels=CHANNELS, blocks=BLOCKS))
    for part in (depth, motion, compositor):
        shaken(part, seed, amount)
    if not amount:
        # Sure of every depth.
        assert depth.leave.bias is not None
        depth.leave.bias.data[16:] = 5.0
    return SpatialMemory(SpatialMemoryConfig(camera=MINECRAFT_CAMERA), depth, motion, compositor)


def remembering_world(amount: float = 0.05, dit: WorldDiT | None = None) -> WorldModel:
    """The tiny world with a memory, and with another network where one is given."""
    plain = tiny_world()
    return WorldModel(
        plain.config, plain.tokenizer, dit or plain.dit, prompt_embeddings=plain.prompt_embeddings, bf16=False,
        memory=tiny_memory(amount=amount),
    )  # fmt: skip
