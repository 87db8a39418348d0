"""The pieces of work that ``worldsim bench parts`` measures, made one at a time so that only one is in memory."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from worldsim.asides import scratch_folder
from worldsim.cli.bench.timing import counted_flop
from worldsim.cli.bench.train import random_batch
from worldsim.cli.bench.walk import Walk
from worldsim.datasets.loading.benchmark import varied_clips, write_measured_store
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.starts import StartClips
from worldsim.datasets.store.store import EpisodeStore
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import WorldDiT
from worldsim.models.precision import fast_bf16
from worldsim.models.shield import shielded
from worldsim.simulation.world_model import WorldModel
from worldsim.training.dynamics import compiled, prepared, training_step
from worldsim.training.flops import step_flops

MEMORY = ("look_ahead", "compose", "remember")
PIECES = ("play", "batch", "training", "encoder", "decoder", *MEMORY, "data")
# Steps of play before its parts are measured, so that the memory has something to draw.
BEFORE = 4
EPISODES, EPISODE_FRAMES = 8, 100


@dataclass(frozen=True)
class Piece:
    """Something to call and to measure.

    Attributes:
        call: does it once.
        rows: worlds, or clips of a batch.
        frames: video frames that a call is about, of all rows; latent frames of training.
        bf16: whether its products run in bf16.
        flop: operations of its products; 0: it has none.
    """

    call: Callable[[], Any]
    rows: int
    frames: int
    bf16: bool
    flop: float


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What the pieces are made of.

    Attributes:
        world: to play, and whose network is trained, with other weights.
        starts: that play begins from, and of which a store is made.
        rows: of the batch.
        clips: of a training step's batch, and of a batch of data.
        frames: latent frames of a clip.
        compile: the training's network.
        data: store to draw clips from; None: one that is made for the measurement.
        threads: that read clips.
    """

    world: WorldModel
    starts: StartClips
    rows: int
    clips: int
    frames: int
    compile: bool
    data: str | None
    threads: int | None

    @property
    def bf16(self) -> bool:
        """Whether products of some pieces run in bf16."""
        return self.world.bf16 or self._trains_in_bf16

    @property
    def _trains_in_bf16(self) -> bool:
        return self.world.device.type != "cpu" or fast_bf16()

    def named(self, wanted: Sequence[str]) -> list[str]:
        """The pieces of ``wanted`` that this world has."""
        return [name for name in PIECES if name in wanted and (name not in MEMORY or self.world.memory is not None)]

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Piece]:
        """A piece by its name."""
        if name == "data":
            with self._data() as piece:
                yield piece
        elif name == "training":
            yield self._training()
        elif name in ("play", "batch"):
            walk = Walk(self.world, self.starts, 1 if name == "play" else self.rows)
            yield Piece(walk.step, walk.rows, walk.frames, self.world.bf16, counted_flop(walk.step))
        else:
            call, bf16 = self._part_of_a_step(name)
            yield Piece(call, 1, self.world.chunk, bf16, counted_flop(call))

    def _training(self) -> Piece:
        world, training = self.world, DynamicsTraining(compile=self.compile)
        grid = world.tokenizer.latent_grid(world.config.height, world.config.width)
        dit = WorldDiT(world.dit.config).to(world.device)
        batch = random_batch(self.clips, self.frames, dit.config, grid).to(world.device)
        # Optimizers are made before the network is compiled, as in a training.
        trained, bank, forward = prepared(dit, training, Path("unsaved")), ErrorBank(), compiled(dit, training)
        call = partial(training_step, forward, trained, [batch], training, 0, 0, [bank])
        flop = step_flops(dit, batch, training)
        return Piece(call, self.clips, self.clips * self.frames, self._trains_in_bf16, flop)

    def _part_of_a_step(self, name: str) -> tuple[Callable[[], Any], bool]:
        """One row's encoder, decoder or work of the memory, as after some steps of play."""
        world, walk = self.world, Walk(self.world, self.starts, 1)
        out = walk.steps(BEFORE)
        shown = torch.as_tensor(out.frames, device=world.device)
        if name == "encoder":
            return partial(world.encode_chunks, shown[:, None]), world.bf16
        if name == "decoder":
            return partial(world.decode, out.latents[:, None], walk.state.decoder), world.bf16
        memory, state, steps = world.memory, walk.state.memory, walk.state.steps + 1
        assert memory is not None and state is not None
        actions = torch.as_tensor(walk.actions, device=world.device)
        inference = torch.inference_mode()
        look_ahead = shielded(inference(memory.look_ahead))
        compose, remember = shielded(inference(memory.compose)), shielded(inference(memory.remember))
        outlook = look_ahead(state, actions, steps)
        pictures, sources = compose(outlook, state, shown, actions)
        calls = {
            "look_ahead": partial(look_ahead, state, actions, steps),
            "compose": partial(compose, outlook, state, shown, actions),
            "remember": partial(remember, outlook, state, pictures, sources[:, -1], steps),
        }
        # The memory's networks are not held in bf16.
        return calls[name], False

    @contextlib.contextmanager
    def _data(self) -> Iterator[Piece]:
        frames = self.frames * self.world.chunk
        with contextlib.ExitStack() as stack:
            if self.data is None:
                clips = varied_clips(list(self.starts.frames), max(frames, EPISODE_FRAMES), 0)
                scratch = stack.enter_context(scratch_folder())
                store = write_measured_store(scratch, clips, EPISODES, 0, lambda done, total: None)
            else:
                store = EpisodeStore(self.data)
            sampler = ClipSampler(store, None, frames=frames, batch=self.clips, threads=self.threads)
            batches = sampler.batches()
            yield Piece(partial(next, batches), self.clips, self.clips * frames, False, 0.0)
