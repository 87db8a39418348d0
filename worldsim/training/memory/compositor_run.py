"""From a world, a depth completion and an ego-motion to its spatial memory: the training of what joins them."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter, training_record
from worldsim.datasets.loading.walks import read_walk
from worldsim.datasets.store.store import EpisodeStore
from worldsim.models.checkpoint import build_module, load_tensors
from worldsim.models.shield import shielded
from worldsim.plotting.pictures import sheet, write_picture
from worldsim.progress import display
from worldsim.simulation.memory.compositor import Compositor, CompositorConfig
from worldsim.simulation.memory.depth import load_depth_completion
from worldsim.simulation.memory.ego_motion import load_ego_motion
from worldsim.simulation.memory.files import save_memory
from worldsim.simulation.memory.spatial import SpatialMemory, SpatialMemoryConfig
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import ActionSpec
from worldsim.spec.camera import Camera
from worldsim.training.logging import follow, write_config
from worldsim.training.memory.compositor import (
    FILE,
    CompositorTraining,
    compose,
    judge_compositor,
    train_compositor,
)
from worldsim.training.memory.compositor_examples import Scenes, scene_of
from worldsim.training.memory.depth_examples import choose_episodes
from worldsim.training.memory.drawn import AlongEpisodes, draw, drawer
from worldsim.training.memory.overlay import fixed_pixels, spread_frames

# Walks that the compositor is judged by, and chunks shown in the picture of samples.
JUDGED, SHOWN = 6, 8
# Video frames of a walk that the memory draws, for a network that takes that.
DRAWN_FRAMES = 201
# Names of keys that change the world.
CHANGING = ("attack", "use")


@shielded
def run_compositor(
    *,
    world: WorldModel,
    place: Path,
    data: str | Path,
    depth: Path,
    motion: Path,
    folder: Path,
    config: CompositorConfig,
    training: CompositorTraining,
    walks: int = 60,
    batch: int = 8,
    initial: Path | None = None,
    sample_every: int = 250,
    seed: int = 0,
    only: EpisodeFilter = ALL,
) -> Path:
    """Train on the walks of a store; resumes when ``folder`` holds a run. Returns the file of the whole memory.

    Args:
        world: whose pictures are composed.
        place: its folder, which receives ``memory.safetensors``.
        data: the store.
        depth: ``depth_completion.safetensors``.
        motion: ``ego_motion.safetensors``.
        folder: of the run; ``compositor.json`` holds the measures of ``judge_compositor``.
        config, training: sizes of the compositor; its schedule and losses.
        walks: episodes to learn from, at most.
        batch: chunks a step.
        initial: weights of a compositor to start a new run from.
        sample_every: steps between pictures of samples.
        seed, only: of all draws; episodes of some licences and sources.

    Raises:
        UserError: the store has no walks to learn from and others to judge by.
    """
    store = EpisodeStore(data)
    everything, held_out, _ = choose_episodes(store, only)
    names = [everything[i] for i in np.random.default_rng(seed).permutation(len(everything))[:walks]]
    before = without_compositor(store, names, world.spec, depth, motion, config)
    drawn = AlongEpisodes(folder / "drawn", store, drawer(depth, motion, place / "tokenizer.safetensors"))
    scenes, judged = Material(world, before, drawn, store, seed).both(names, held_out)
    about = {"trained_on": training_record(store, names), "seed": seed}
    write_config(folder, data=data, model=asdict(config), training=asdict(training), batch=batch, seed=seed)

    def sample(step: int) -> None:
        if (folder / FILE).exists():
            composed = samples(load_compositor(folder / FILE, config), judged)
            write_picture(folder / "samples" / f"{step:06d}.png", composed)

    weights = None if initial is None else load_tensors(initial)[0]
    options: dict[str, Any] = {"batch": batch, "seed": seed, "initial": weights, "about": about}
    run = train_compositor(scenes, judged, config, training, folder, **options)
    follow(run, folder, training.steps, "compositor", sample, sample_every)
    network = load_compositor(folder / FILE, config)
    (folder / "compositor.json").write_text(json.dumps(judge_compositor(network, judged, chunks=192), indent=1) + "\n")
    before.compositor = network
    parts = {"depth_trained_on": depth, "motion_trained_on": motion}
    about |= {name: load_tensors(path)[1].get("trained_on") for name, path in parts.items()}
    return save_memory(before, place, about)


def without_compositor(
    store: EpisodeStore, names: list[str], spec: ActionSpec, depth: Path, motion: Path, config: CompositorConfig
) -> SpatialMemory:
    """A memory whose compositor has learned nothing yet; what is fixed to the screen is found in episodes."""
    camera = read_walk(store, names[0], depth=False).camera
    networks = (load_depth_completion(depth), load_ego_motion(motion), Compositor(config))
    return SpatialMemory(config_of(camera, spec), *networks, fixed_pixels(spread_frames(store, names)))


def config_of(camera: Camera, spec: ActionSpec) -> SpatialMemoryConfig:
    """The settings of a game's memory: its camera, and which of its keys change the world."""
    changing = tuple(i for i, key in enumerate(spec.keys) if key in CHANGING)
    return SpatialMemoryConfig(camera=camera, changing=changing)


def load_compositor(path: Path, config: CompositorConfig) -> Compositor:
    """Weights of a run."""
    return build_module(lambda: Compositor(config), load_tensors(path)[0], str(path)).eval()


@dataclass(frozen=True)
class Material:
    """What walks are turned into scenes with.

    Attributes:
        world: generates.
        memory: draws, for a network that takes that; its compositor is not asked.
        drawn: keeps what it draws.
        store: where the walks are.
        seed: of the network's noise.
    """

    world: WorldModel
    memory: SpatialMemory
    drawn: AlongEpisodes
    store: EpisodeStore
    seed: int

    def both(self, names: list[str], held_out: list[str]) -> tuple[Scenes, Scenes]:
        """Scenes to learn from, and to judge by."""
        spread = np.linspace(0, len(held_out) - 1, min(JUDGED, len(held_out))).astype(int)
        with display() as show:
            learned = self.scenes(names, show.stage("walks to learn from"))
            return learned, self.scenes([held_out[i] for i in spread], show.stage("walks to judge by"))

    def scenes(self, names: list[str], progress: Callable[[int, int], None]) -> Scenes:
        """Scenes of episodes."""
        found, world, drawn = [], self.world, {}
        if world.dit.config.drawn:
            draw(self.drawn, names, self.memory, world.encode_chunks, world.chunk, DRAWN_FRAMES, progress)
            drawn = self.drawn.load(names)
        least = self.memory.config.keyframes.least_confidence
        for number, name in enumerate(names):
            walk = read_walk(self.store, name, depth=False)
            fixed = self.memory.fixed(*walk.frames.shape[1:3])
            given = torch.from_numpy(drawn[name].copy()) if name in drawn else None
            found.append(scene_of(world, self.memory.depth, walk, least, self.seed + number, fixed, given))
            progress(number + 1, len(names))
        return Scenes(found, world.chunk, self.memory.fixed(*found[0].walk.frames.shape[1:3]))


@torch.inference_mode()
def samples(network: Compositor, scenes: Scenes, count: int = SHOWN) -> np.ndarray:
    """One row a chunk's last frame: the picture before, what memory draws, what is generated, shown, recorded."""
    e = scenes.batch(7, 0, count, drift=0.03, holes=0.0)
    shown = (compose(network, e).picture.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1)
    rows = slice(scenes.chunk - 1, None, scenes.chunk)
    columns = [t[rows] for t in (e.screen, e.drawn.picture, e.generated, shown, e.truth)]
    return sheet(list(torch.stack(columns, 1).flatten(0, 1).numpy()), columns=len(columns))
