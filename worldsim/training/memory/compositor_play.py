"""Worlds in play that a compositor learns from: what it shows there must pass for a recording.

From a true past a network makes good pictures; at play its past is what it showed before, and what comes newly into
view fades step by step. Nothing was recorded of such a picture, so a discriminator judges it (``Discriminator``).
B worlds, r frames per chunk, H W pixels, A action vector.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldsim.datasets.loading.walks import Walk
from worldsim.models.shield import shielded
from worldsim.simulation.memory.compositor import Composite, Compositor, staying
from worldsim.simulation.memory.memory_state import MemoryState
from worldsim.simulation.memory.spatial import Outlook, SpatialMemory
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.training.discriminator import FILE, Discriminator

# Chunks of a recorded past that a world in play begins from, and how long it is played.
PAST = 8
SHORTEST, LONGEST = 10, 80


@dataclass
class _Player:
    """A world in play: the walk whose actions it follows, the next frame's number, and chunks that are left."""

    walk: Walk
    at: int
    left: int


class WatchedMemory(SpatialMemory):
    """A memory that keeps what its compositor was given last."""

    given: tuple[Outlook, MemoryState, Tensor, Tensor]

    def compose(
        self, outlook: Outlook, state: MemoryState, generated_BRHWC: Tensor, actions_BRA: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As ``SpatialMemory.compose``."""
        self.given = (outlook, state, generated_BRHWC, actions_BRA)
        return super().compose(outlook, state, generated_BRHWC, actions_BRA)

    def composed(self) -> Composite:
        """What the compositor, as it is now, makes of that; with gradients."""
        outlook, state, generated, actions = self.given
        r, size = generated.shape[1], generated.shape[2:4]
        return self.compositor(
            outlook.drawn,
            state.screen.repeat_interleave(r, 0),
            generated.flatten(0, 1),
            actions.flatten(0, 1),
            staying(state.pose.repeat_interleave(r, 0), outlook.poses.flatten(0, 1), self.fixed(*size)),
            trust=self._trust(actions).repeat_interleave(r, 0),
        )


class Play:
    """B worlds that follow recorded actions with the compositor in training, each for a while, and a discriminator.

    Not a function of the step: a run that is resumed begins its worlds anew, and goes on with its discriminator.

    Args:
        world: that is played, with this memory.
        memory: whose compositor is in training.
        walks: to begin from and to follow.
        worlds: played side by side.
        rate: learning rate of the discriminator.
        folder: of the run.
        seed: of all draws.
    """

    def __init__(
        self, world: WorldModel, memory: SpatialMemory, walks: list[Walk], *, worlds: int, rate: float, folder: Path,
        seed: int,
    ) -> None:  # fmt: skip
        self.memory = WatchedMemory(memory.config, memory.depth, memory.motion, memory.compositor, memory.overlay)
        self.world = WorldModel(
            world.config, world.tokenizer, world.dit, prompt_embeddings=world.prompt_embeddings, bf16=world.bf16,
            memory=self.memory,
        )  # fmt: skip
        self.walks, self.worlds, self.folder = walks, worlds, folder
        self.random = np.random.default_rng(seed)
        self.players: list[_Player] = []
        self.state: WorldState | None = None
        self.discriminator = Discriminator(world.chunk, rate)
        if (folder / FILE).exists():
            self.discriminator.resume(folder, {})

    def keep(self, step: int) -> None:
        """Keep the discriminator in the run's folder, for a run that goes on."""
        self.discriminator.keep(self.folder, step)

    def judged(
        self, network: Compositor, loss: Tensor, weight: float, found: dict[str, float]
    ) -> tuple[Tensor, dict[str, float]]:
        """A loss and the discriminator's at play, whose gradient counts ``weight`` times as much; and its metrics."""
        recorded, shown = self.advance(network)
        seen = self.discriminator.learn(recorded, shown)
        passing = self.discriminator.generator_loss(shown)
        found = found | {"discriminator": seen, "passing": float(passing.detach())}
        return (loss + weight * balance(network, loss, passing) * passing if weight else loss), found

    @shielded
    def advance(self, network: Compositor) -> tuple[Tensor, Tensor]:
        """Every world plays a chunk; returns recorded chunks and those shown, with gradients, (B, r, 3, H, W) each."""
        self.memory.compositor = network
        r = self.world.chunk
        with torch.inference_mode():
            state = self._filled_up()
            actions = torch.stack([p.walk.actions[p.at - 1 : p.at - 1 + r] for p in self.players])
            recorded = torch.stack([p.walk.frames[p.at : p.at + r] for p in self.players])
            self.state, _ = self.world.step(state, actions, inplace=True)
        for player in self.players:
            player.at, player.left = player.at + r, player.left - 1
        self.memory.given = _plain(self.memory.given)
        shown = self.memory.composed().picture.unflatten(0, recorded.shape[:2])
        return recorded.clone().movedim(-1, 2) / 255, shown

    def _filled_up(self) -> WorldState:
        """The worlds that go on, and new ones in the place of those that are through."""
        on = [i for i, p in enumerate(self.players) if p.left > 0 and p.at + self.world.chunk <= len(p.walk)]
        kept = [] if self.state is None or not on else [self.state.select(on)]
        self.players = [self.players[i] for i in on]
        while len(self.players) < self.worlds:
            walk = self.walks[int(self.random.integers(len(self.walks)))]
            length = PAST * self.world.chunk
            at = int(self.random.integers(length + 1, len(walk) - SHORTEST * self.world.chunk))
            past = slice(at - length - 1, at)
            seed = int(self.random.integers(2**31))
            actions = walk.actions[at - length - 1 : at - 1]
            poses = walk.poses[None, past]
            kept.append(self.world.prefill(walk.frames[None, past], actions[None], [seed], poses=poses))
            self.players.append(_Player(walk, at, int(self.random.integers(SHORTEST, LONGEST + 1))))
        return kept[0] if len(kept) == 1 else WorldState.concatenate(kept)


def balance(network: Compositor, wanted: Tensor, other: Tensor) -> Tensor:
    """By how much ``other``'s gradient must be scaled to be as large as ``wanted``'s, at the last layer.

    Source: Esser, Rombach, Ommer 2021.
    """
    last = network.leave.weight
    ours, theirs = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (wanted, other))
    return (ours / theirs.clamp(min=1e-8)).clamp(max=1e4).detach()


def _plain(given: tuple[Outlook, MemoryState, Tensor, Tensor]) -> tuple[Outlook, MemoryState, Tensor, Tensor]:
    """The same, of tensors that gradients may pass by (those made in inference mode may not be saved for them)."""
    outlook, state, generated, actions = given
    drawn = replace(outlook.drawn, **{f.name: getattr(outlook.drawn, f.name).clone() for f in fields(outlook.drawn)})
    outlook = Outlook(outlook.poses.clone(), outlook.motion, drawn)
    state = replace(state, pose=state.pose.clone(), screen=state.screen.clone())
    return outlook, state, generated.clone(), actions.clone()
