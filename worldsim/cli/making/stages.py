"""The stages of a making: each is one of the commands, with the settings that one would type."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldsim.cli.command import run_words
from worldsim.cli.making.plan import Plan, dynamics_words
from worldsim.cli.making.recipes import RECIPES
from worldsim.cli.making.rounds import Target
from worldsim.cli.making.settings import MakeWorld
from worldsim.errors import UserError

# Stretches of recordings that heads for tasks learn from.
WINDOWS = 200
ANY_NUMBER = 1_000_000_000
# Rollouts that the evaluation measures, their length, and the bounds of that in chunks.
JUDGED_CLIPS, JUDGED_SECONDS, SHORTEST, MOST_CHUNKS = 16, 3.0, 2, 60


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What each stage is asked to do.

    Attributes:
        plan: of the making.
        folder: of the making; each run has its own folder in it.
        config: what a user asked for.
        fps: frames a second of the recordings.
        longest: frames of the longest recording that the world is judged on.
    """

    plan: Plan
    folder: Path
    config: MakeWorld
    fps: int
    longest: int

    @property
    def data(self) -> str:
        """The store."""
        return f"data={self.plan.store}"

    @property
    def weights(self) -> str:
        """The tokenizer's weights."""
        return f"tokenizer={self.folder / 'tokenizer' / 'tokenizer.safetensors'}"

    @property
    def latents(self) -> str:
        """Where latents are kept."""
        return f"latents={self.folder / 'latents'}"

    @property
    def allowed(self) -> list[str]:
        """The store, and which of its episodes may be used."""
        return [self.data, *self.config.passed_on("licence", "source")]

    @property
    def run_settings(self) -> list[str]:
        """Settings of every training."""
        return [*self.allowed, *self.config.passed_on("seed", "threads")]

    def check(self) -> list[str]:
        """Settings of ``data check``: a look of about a minute."""
        words = [self.data, f"folder={self.folder / 'check'}", "frames=8000", "gigabytes=0.5"]
        # A game without a camera is one place: its episodes look alike, in whichever split they are.
        return words if self.plan.look["camera"] else [*words, f"limits.shared_views={ANY_NUMBER}"]

    def train_tokenizer(self) -> list[str]:
        """Settings of ``train tokenizer``."""
        steps = self.plan.tokenizer_steps
        rest = [f"training.steps={steps}", f"training.warmup={min(100, steps // 10)}"]
        mine = [*RECIPES[self.plan.kind].tokenizer, *rest, *self.config.tokenizer]
        return [*self.run_settings, f"folder={self.folder / 'tokenizer'}", f"sample_every={steps}", *mine]

    def train_dynamics(self, target: Target) -> list[str]:
        """Settings of ``train dynamics`` up to a target."""
        goal = [
            f"training.steps={target.steps}",
            f"training.optimizer.cooldown={target.cooldown:.6g}",
            f"training.validate_every={target.steps}",
            f"sample_every={target.steps}",
        ]
        words = [self.weights, self.latents, f"folder={self.folder / 'dynamics'}"]
        return [
            *self.run_settings,
            *words,
            *dynamics_words(self.plan.kind, self.plan.model, self.config.dynamics),
            *goal,
        ]

    def export(self) -> list[str]:
        """Settings of ``train export``."""
        words = [f"run={self.folder / 'dynamics'}", self.weights, self.latents, f"split={self.plan.split}"]
        return [*self.allowed, *words, f"out={self.config.out}", *RECIPES[self.plan.kind].export]

    def train_tasks(self) -> list[str]:
        """Settings of ``train tasks``."""
        words = [f"world={self.config.out}", "text=false", f"windows={WINDOWS}", f"folder={self.folder / 'tasks'}"]
        return [*self.run_settings, *words]

    def train_depth(self, steps: int) -> list[str]:
        """Settings of ``train depth``."""
        return [*self.run_settings, f"folder={self.folder / 'depth'}", f"training.steps={steps}"]

    def train_motion(self) -> list[str]:
        """Settings of ``train motion``."""
        return [*self.run_settings, f"folder={self.folder / 'motion'}"]

    def train_memory(self, steps: int) -> list[str]:
        """Settings of ``train memory``."""
        depth = f"depth={self.folder / 'depth' / 'depth_completion.safetensors'}"
        motion = f"motion={self.folder / 'motion' / 'ego_motion.safetensors'}"
        return [
            *self.run_settings,
            f"world={self.config.out}",
            depth,
            motion,
            f"folder={self.folder / 'memory'}",
            f"training.steps={steps}",
        ]

    def evaluate(self, chunk: int) -> list[str]:
        """Settings of ``eval``."""
        prefix = prefix_of(chunk)
        room = (self.longest - prefix) // chunk
        chunks = max(SHORTEST, min(MOST_CHUNKS, room, round(JUDGED_SECONDS * self.fps / chunk)))
        amount = [f"preset.clips={JUDGED_CLIPS}", f"preset.prefix={prefix}", f"preset.chunks={chunks}"]
        words = [f"world={self.config.out}", f"split={self.plan.split}", "parts=[horizons,actions]"]
        return [*self.run_settings, *words, *amount, *self.config.evaluate, f"folder={self.folder / 'eval'}"]


def prefix_of(chunk: int) -> int:
    """Frames of the past from which rollouts are judged: about 16, whole chunks and the frame before them."""
    return 1 + chunk * max(1, round(16 / chunk))


def run_stage(name: str, words: Sequence[str]) -> None:
    """Run a command, after saying which.

    Raises:
        UserError: it says that something is wrong (exit code 1).
    """
    print(f"\n$ worldsim {name} {shlex.join(words)}", flush=True)
    if run_words(name, words):
        raise UserError(f"worldsim {name} found something wrong: see above")
