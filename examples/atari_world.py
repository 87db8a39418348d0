"""A world of an Atari game: record a random player in the emulator, make a world of it, and play it by a script.

What one sees (atari.mp4): the dream of the game from four moments of recorded play, each with the recording on its
left. The verdict that is printed says whether the keys matter yet; give more `hours` or more episodes if not.

    pip install 'worldsim[atari]'
    python examples/atari_world.py ALE/Breakout-v5 40 1.0
"""

import shutil
import sys
from pathlib import Path

from worldsim import cli

env, episodes, hours = (*sys.argv[1:4], *("ALE/Breakout-v5", "40", "1.0")[len(sys.argv[1:4]) :])
more = sys.argv[4:]  # further settings of make-world

recorded = cli.main([
    "collect", "source=gym", f"env={env}", "env_kwargs={frameskip:4,repeat_action_probability:0.0}", "resize=80x96",
    "out=data/atari", f"episodes={episodes}", "episode_frames=500", "workers=1",
])  # fmt: skip
made = recorded or cli.main(["make-world", "data/atari", f"hours={hours}", "out=worlds/atari", "folder=runs/atari", *more])
if made:
    sys.exit(made)
shutil.copyfile(sorted(Path("runs/atari/dynamics/samples").glob("*.mp4"))[-1], "atari.mp4")
print("atari.mp4; to play it: worldsim play --world worlds/atari")
