"""What can be played: a learned world, or the real game, chunk by chunk.

r video frames per chunk, H W pixels, A action vector.
"""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.loading.starts import StartClips
from worldsim.envs.learned.initial_context import InitialContext, choose, last_frames, prefill
from worldsim.envs.learned.world_rewards import world_facts
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.overlays.insight import depth_picture, sources_picture
from worldsim.envs.play.pace import DEPTH, MEMORY, PICTURE, Insight, Prompt, Start
from worldsim.envs.play.worker import StepTimes
from worldsim.errors import UserError
from worldsim.models.text import encoder_installed
from worldsim.own_pages import BlobPool
from worldsim.simulation.memory.compositor import SOURCES
from worldsim.simulation.packed_state import PackedState
from worldsim.simulation.state import Step, WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT, hold

Frames = NDArray[np.uint8]
# What a step may take of a chunk's duration: the next one begins before the last is shown.
IN_TIME = 0.95
WARM_UP, TIMED_STEPS = 3, 8


class Game(Protocol):
    """A game that gives ``chunk`` frames for as many actions.

    ``hands`` turns a person's controls into the game's actions. Where ``rewinds``, a snapshot holds all that the
    future depends on: restored, the same actions give the same frames.

    ``views`` are the ways to look at it, the plain picture first; a view that needs more than the frames is told of in
    ``watch`` and finds it in ``insight``.
    """

    hands: HumanInputMapper
    width: int
    height: int
    fps: float
    chunk: int
    title: str
    rewinds: bool
    views: tuple[str, ...]
    # Pictures uint8 (N, H, W, 3) of starts to choose from, or None.
    pictures: Frames | None
    # Texts that it can follow; none: it takes no text.
    prompts: tuple[str, ...]

    @property
    def watch(self) -> str:
        """The view that somebody looks at."""
        ...

    @watch.setter
    def watch(self, view: str) -> None: ...

    @property
    def news(self) -> str:
        """What the player should know at the beginning, or ""."""
        ...

    def reset(self, seed: int) -> Frames:
        """Begin anew; returns the frames (r, H, W, 3) to show first."""
        ...

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A); returns frames (r, H, W, 3)."""
        ...

    def snapshot(self) -> Any:
        """This moment; None where the game does not rewind."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Go back to a moment; the snapshot stays good."""

    def begin_at(self, start: Start) -> None:
        """Let ``reset`` begin at one of the starts, from a picture or video, or with a text."""

    def status(self) -> str:
        """A few words about where the player is, in one line or several."""
        ...

    def insight(self) -> Insight:
        """Pictures (r, H, W, 3) of the present moment by name, beside its frames."""
        ...

    def latent(self) -> NDArray[np.float16] | None:
        """The latents of the present moment; None in a game that has none."""
        ...

    def close(self) -> None:
        """Free what the game holds."""


class WorldGame:
    """A learned world. One of another game than Minecraft is played by what the same keys mean there.

    Args:
        world: dreams.
        starts: clips to begin from.
        options: as for ``WorldSimEnv.reset``.
        beginning: begin here every time instead.
        learned: the keys that the world knows; None: all.

    Raises:
        UserError: a keyboard cannot play it.
    """

    rewinds = True

    def __init__(
        self,
        world: WorldModel,
        starts: StartClips,
        options: dict[str, Any] | None = None,
        beginning: InitialContext | None = None,
        learned: Collection[str] | None = None,
    ):
        self.world, self.starts, self.options, self.beginning = world, starts, dict(options or {}), beginning
        self.hands, self.learned = HumanInputMapper(world.spec, learned=learned), learned
        self.chunk, self.fps = world.chunk, float(world.config.fps)
        self.width, self.height = world.config.width, world.config.height
        self.title, self.watch, self.news = "WorldSim", PICTURE, ""
        self.views: tuple[str, ...] = (PICTURE,) if world.memory is None else (PICTURE, DEPTH, MEMORY)
        self.pictures: Frames | None = None if beginning is not None else starts.frames[:, -1]
        self.prompts = () if beginning is not None else tuple(world.prompts)
        # What was typed since holds until another beginning is chosen.
        self._prompt: str | None = self.options.get("prompt")
        self._state: WorldState | None = None
        # What snapshots have in common.
        self._blobs = BlobPool()
        self._begun: InitialContext | None = None
        self._step: Step | None = None
        # What the world's heads read from the present moment, by fact.
        self._facts: Mapping[str, float] = {}

    @property
    def state(self) -> WorldState:
        """Where the world stands."""
        assert self._state is not None, "reset comes first"
        return self._state

    @property
    def begun(self) -> InitialContext:
        """The past that the last reset began from."""
        assert self._begun is not None, "reset comes first"
        return self._begun

    def another(self) -> "WorldGame":
        """A game of its own in the same world, which is loaded once; for before anybody plays this one."""
        return WorldGame(self.world, self.starts, self.options, self.beginning, self.learned)

    def reset(self, seed: int) -> Frames:
        """Begin from a start clip that the seed decides, or where it was said."""
        self._begun = self.beginning or choose(self.world, self.starts, np.random.default_rng(seed), self.options)
        self._state, self._step, self._facts = prefill(self.world, [self._begun]), None, {}
        return last_frames(self._begun, self.chunk)

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Generate the next chunk."""
        self._state, self._step = self.world.step(self.state, actions[None], inplace=True)
        if (heads := self.world.fact_heads) is not None:
            told = world_facts(self.world, self._state).row(0)
            self._facts = {name: told[name] for name in heads.config.known}
        return self._step.frames[0]

    def snapshot(self) -> PackedState:
        """A copy: the next step is taken in place."""
        return PackedState(self.state, self._blobs)

    def begin_at(self, start: Start) -> None:
        """Begin at a start clip, or from a picture's or video's last frames, or there with a text, from now on.

        Raises:
            ValueError, FileNotFoundError: it cannot be begun from; the beginning stays what it was.
        """
        if self.beginning is not None:
            raise UserError("this game has one beginning")
        typed = isinstance(start, Prompt)
        changed = {"prompt": start.text} if typed else {"prefix": start, "prompt": self._prompt}
        options = {name: value for name, value in {**self.options, **changed}.items() if value is not None}
        choose(self.world, self.starts, np.random.default_rng(0), options)
        if typed and start.text not in self.prompts and not encoder_installed():
            raise UserError("only texts of the list can be read here: others need worldsim[text]")
        self.options = options

    def restore(self, snapshot: PackedState) -> None:
        """Go on from a copy of the snapshot."""
        self._state, self._step, self._facts = snapshot.unpack(), None, {}

    def status(self) -> str:
        """What the world's own heads tell: distance, trust, reward, facts; and whose its pixels are."""
        state, step, words = self._state, self._step, []
        if state is None:
            return ""
        if self.world.spec == MINECRAFT:
            x, _, z = state.pose[0, :3].tolist()
            words.append(f"{np.hypot(x, z):.0f} m from the start")
        if step is None:
            return "   ".join(words)
        if np.isfinite(step.trust[0]):
            words.append(f"trust {100 * step.trust[0]:.0f} %")
        if self.world.spec == MINECRAFT:
            words.append(f"reward {step.reward[0]:+.2f} m")
        if np.isfinite(step.termination[0]):
            words.append(f"end {100 * step.termination[0]:.0f} %")
        facts = [f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in self._facts.items()]
        lines = ["   ".join(words), "   ".join(facts)]
        if step.sources is not None:
            shares = np.bincount(step.sources[0].ravel(), minlength=len(SOURCES)) / step.sources[0].size
            names = ("memory", "screen", "network")
            parts = [f"{name} {100 * share:.0f} %" for name, share in zip(names, shares, strict=True)]
            lines.append(f"pixels of {', '.join(parts)}")
        return "\n".join(line for line in lines if line)

    def insight(self) -> Insight:
        """Depth, or whose each pixel is, as it is watched; of a moment returned to, memory's share is not known."""
        state, step = self.state, self._step
        if self.watch == DEPTH and state.memory is not None:
            seen, depth, sure = (
                t[0].cpu().numpy() for t in (state.memory.screen, state.memory.inverse_depth, state.memory.confidence)
            )
            return {DEPTH: np.repeat(depth_picture(seen, depth, sure)[None], self.chunk, 0)}
        if self.watch == MEMORY and step is not None and step.sources is not None:
            pairs = zip(step.frames[0], step.sources[0], strict=True)
            return {MEMORY: np.stack([sources_picture(frame, sources) for frame, sources in pairs])}
        return {}

    def latent(self) -> NDArray[np.float16]:
        """The last latent frame."""
        return self.state.latent[0].float().cpu().numpy().astype(np.float16)

    def close(self) -> None:
        """Nothing to free."""


def in_time(world: WorldModel, starts: StartClips, share: float = IN_TIME) -> WorldModel:
    """The same world where it keeps real time on this machine, else with fewer network evaluations a latent frame.

    ``share``: of a chunk's duration, that a step may take at most (the median of some steps from the first start).
    """
    sampling = world.config.sampling
    saved = [{"inpaint_level": 0.0}] if world.memory is not None and sampling.inpaint_level else []
    saved += [{"steps": 1}] if sampling.steps > 1 else []
    for change in saved:
        if _pace(world, starts) <= share:
            break
        world = world.with_sampling(**change)
    return world


def _pace(world: WorldModel, starts: StartClips) -> float:
    """Which share of a chunk's duration a step takes."""
    game = WorldGame(world, starts)
    game.reset(seed=0)
    actions, times = hold(world.spec.idle(), game.chunk), StepTimes(game.chunk, keep=TIMED_STEPS)
    for _ in range(WARM_UP + TIMED_STEPS):
        times.measure(lambda: game.advance(actions))
    return times.percentile(50) / 1000 * game.fps / game.chunk
