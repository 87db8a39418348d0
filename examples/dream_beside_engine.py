"""Dream beside engine: the real game (Luanti) and the learned world, from one moment, under the same keys.

What one sees (beside.mp4): the game on the left, the dream on the right. Both turn and walk alike; what comes newly
into view is the dream's own invention. Without the game the script says what to install, and ends.

    python examples/dream_beside_engine.py
"""

import sys
from pathlib import Path

import numpy as np

import worldsim
from worldsim.datasets.store.video import write_video
from worldsim.envs.luanti.env import LuantiEnv
from worldsim.envs.luanti.process import find_programs
from worldsim.scripting.action_files import read_actions

PAST = 33  # video frames that the dream sees of the game before it goes on by itself

half = int(sys.argv[1]) if len(sys.argv) > 1 else 20  # video frames of the turn, and of the walk
try:
    find_programs()
except FileNotFoundError as missing:
    print(f"skipped, the game is not installed: {missing}")
    sys.exit()

world = worldsim.load("minecraft")
keys = read_actions(f"yaw +60 x {half}; forward {half}", world.spec)
rest = np.zeros((PAST - 1, world.spec.size), np.float32)
game = LuantiEnv(map_seed=5)
frames = [game.reset(seed=3)[0]]
for action in np.concatenate([rest, keys]):
    frames.append(game.step(action)[0])
game.close()

(dream,) = world.branch((np.stack(frames[:PAST]), rest), [keys])
real = np.stack(frames[PAST : PAST + len(dream.frames)])
error = np.abs(real.astype(float) - dream.frames).mean((1, 2, 3))
write_video(Path("beside.mp4"), np.concatenate([real, dream.frames], 2), fps=20)
print(f"the pictures differ by {error[0]:.0f} of 255 at first and by {error[-1]:.0f} at the end: beside.mp4")
