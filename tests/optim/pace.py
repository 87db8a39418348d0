"""Whether a training step of one process costs more than in another checkout, say of before a change.

``python -m tests.optim.pace CHECKOUT`` trains the same network on the same clips in two processes, one with the code of
each checkout. They take turns of a few steps while the other one waits, so what else runs on the machine slows both
down alike. Printed is, for a network of the tests and a larger one, the ratio of the processor time (user) of the turns
here to those there: the median over pairs of turns, and a 95 % bootstrap interval of it.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

# Width, blocks, clips, latent frames.
SIZES = {"tests": (32, 2, 4, 6), "larger": (192, 6, 4, 16)}
# Run in each checkout: its own modules, found there. Losses show that both do the same.
CHILD = """
import json, resource, sys, tempfile
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from tests.tiny_world import tiny_dit
from worldsim.diffusion.settings import DynamicsTraining, OptimizerSettings
from worldsim.spec.batch import LatentBatch
from worldsim.training.dynamics import train_dynamics
width, blocks, clips, frames, steps = map(int, sys.argv[2:7])
torch.set_num_threads(1)
config = replace(tiny_dit().config, width=width, blocks=blocks, window=frames)

def latents(index):
    noise = torch.Generator().manual_seed(abs(index))
    def draw(*shape):
        return torch.randn(clips, frames, *shape, generator=noise)
    return LatentBatch(draw(config.channels, 6, 10), draw(2, config.keys + 2), draw(5), torch.zeros(clips, frames))

training = DynamicsTraining(
    steps=1_000_000, optimizer=OptimizerSettings(warmup=2), compile=False, validate_every=1_000_000, save_minutes=1e9
)
with tempfile.TemporaryDirectory() as folder:
    run = train_dynamics(config, training, latents, latents(-7), Path(folder))
    for _ in sys.stdin:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        losses = [next(run)[1]["loss"] for _ in range(steps)]
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(json.dumps([spent / steps, losses]), flush=True)
"""


class Turns:
    """A training with a checkout's code, which goes on when it is asked to."""

    def __init__(self, checkout: Path, size: tuple[int, ...], steps: int) -> None:
        words = [sys.executable, "-c", CHILD, str(checkout), *map(str, size), str(steps)]
        # In a folder of neither checkout, and without its path: from there modules would be found first.
        there = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = subprocess.Popen(words, cwd="/", env=there, **pipes)

    def next(self) -> tuple[float, list[float]]:
        """User seconds of a step, and the losses, of the next turn."""
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        spent, losses = json.loads(self.child.stdout.readline())
        return spent, losses

    def stop(self) -> None:
        """End it, without a last save."""
        self.child.kill()
        self.child.wait()


def compared(here: Path, there: Path, size: tuple[int, ...], pairs: int, steps: int) -> dict[str, float]:
    """Ratio of the costs of a step, from pairs of turns; the first pair warms up."""
    ours, theirs = (Turns(checkout, size, steps) for checkout in (here, there))
    try:
        costs, apart = [], 0.0
        for pair in range(pairs + 1):
            # Who begins changes with every pair.
            order = (ours, theirs) if pair % 2 else (theirs, ours)
            found = {turns: turns.next() for turns in order}
            costs.append([found[ours][0], found[theirs][0]])
            apart = max(apart, float(np.abs(np.subtract(found[ours][1], found[theirs][1])).max()))
    finally:
        ours.stop()
        theirs.stop()
    times = np.array(costs[1:])
    ratios = times[:, 0] / times[:, 1]
    draws = np.random.default_rng(0).integers(pairs, size=(2000, pairs))
    low, high = np.percentile(np.median(ratios[draws], 1), [2.5, 97.5])
    ms = np.median(times, 0) * 1000
    return {
        "here_ms": ms[0], "there_ms": ms[1], "ratio": float(np.median(ratios)), "low": low, "high": high,
        "losses_apart": apart,
    }  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    settings = parser.parse_args()
    for name, size in SIZES.items():
        found = compared(Path(__file__).parents[2], settings.checkout.absolute(), size, settings.pairs, settings.steps)
        print(
            f"{name}: {found['here_ms']:.1f} ms a step here, {found['there_ms']:.1f} there, ratio {found['ratio']:.3f} "
            f"({found['low']:.3f} to {found['high']:.3f}), losses at most {found['losses_apart']:.1e} apart",
            flush=True,
        )


if __name__ == "__main__":
    main()
