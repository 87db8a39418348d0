"""A world of an Atari game: record a random player in the emulator, make a world of it, and play it by a script.

What one sees (atari.mp4): the dream of the game from four moments of recorded play, each with the recording on its
left. The verdict that is printed says whether the keys matter yet; give more `hours` or more episodes if not.

    pip install '.[atari]'
    python examples/atari_world.py ALE/Breakout-v5 40 1.0
"""

import shutil
import sys
from pathlib import Path

from worldsim import cli


def main(env: str = "ALE/Breakout-v5", episodes: str = "40", hours: str = "1.0", *more: str) -> int:
    """Record, make the world, keep its last sample; ``more``: further settings of make-world."""
    for split, count in (("train", int(episodes)), ("validation", 1), ("test", 1)):
        failed = cli.main([
            "collect", "source=gym", f"env={env}", "env_kwargs={frameskip:4,repeat_action_probability:0.0}",
            "resize=80x96", "out=data/atari", f"maps={split}", f"episodes={count}", "episode_frames=500", "workers=1",
        ])  # fmt: skip
        if failed:
            return failed
    words = [f"hours={hours}", "out=worlds/atari", "folder=runs/atari", *more]
    if failed := cli.main(["make-world", "data/atari", *words]):
        return failed
    shutil.copyfile(sorted(Path("runs/atari/dynamics/samples").glob("*.mp4"))[-1], "atari.mp4")
    print("atari.mp4; to play it: worldsim play --world worlds/atari")
    return 0


# Recording starts processes, which import this file again: nothing may run then.
if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
