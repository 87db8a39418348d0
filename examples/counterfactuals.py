"""Counterfactuals: one past, one noise, three futures that differ by the keys alone.

What one sees (counterfactuals.png): a row per future. The first walks on, the second turns right halfway, the third
turns left: up to the turn all pictures are the same, to the bit.

    python examples/counterfactuals.py
"""

import sys
from pathlib import Path

import numpy as np

from worldsim.envs.learned.initial_context import resolve
from worldsim.plotting.pictures import enlarge, sheet, write_picture

half = int(sys.argv[1]) if len(sys.argv) > 1 else 16  # video frames before the turn, and of it
world, starts = resolve("minecraft", None)
past = starts.frames[2], starts.actions[2]
turns = [f"forward {half}; yaw {degrees} x {half}" for degrees in ("+60", "-60")]
futures = world.branch(past, [f"forward {2 * half}", *turns], seed=0)

for future in futures[1:]:
    assert np.array_equal(futures[0].frames[:half], future.frames[:half])
shown = np.linspace(0, 2 * half - 1, 6).astype(int)
pictures = [enlarge(future.frames[t], 2) for future in futures for t in shown]
write_picture(Path("counterfactuals.png"), sheet(pictures, columns=len(shown)))
apart = np.abs(futures[1].frames[-1].astype(float) - futures[2].frames[-1]).mean()
print(f"after the turns, the pictures of right and left differ by {apart:.0f} of 255: counterfactuals.png")
