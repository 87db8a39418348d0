"""The GIF of the README: the shipped world, played by one script from four starts.

``python -m docs.tools.world_film GIF``. The starts are every sixth of those that ship, beginning with the first.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORLD = Path("worldsim/assets/minecraft")
EVERY = 6
# What is done: seconds, keys, degrees that the mouse turns to the right in all.
SCRIPT = ((1.0, (), 0), (0.8, (), 60), (0.8, (), -60), (2.6, ("forward",), 0), (2.2, ("back",), 0))


def written(keys: list[str], size: int, fps: float) -> NDArray[np.float32]:
    """The script as actions (F, A)."""
    rows = []
    for seconds, held, degrees in SCRIPT:
        frames = round(seconds * fps)
        action = np.zeros((frames, size), np.float32)
        for key in held:
            action[:, keys.index(key)] = 1
        action[:, -1] = degrees / frames
        rows.append(action)
    return np.concatenate(rows)


def main(gif: Path) -> None:
    """Play and write."""
    from PIL import Image

    import worldsim
    from docs.tools.film import RATE
    from worldsim.datasets.loading.starts import load_starts
    from worldsim.plotting.pictures import save_gif

    world, starts = worldsim.load("minecraft"), load_starts(WORLD / "starts")
    some = list(range(0, len(starts.frames), EVERY))[:4]
    given = starts.actions[some], list(range(len(some)))
    state = world.prefill(starts.frames[some], *given, **starts.known(some))
    actions = written(list(world.spec.keys), world.spec.size, world.config.fps)
    shown = []
    for at in range(0, len(actions) - world.chunk + 1, world.chunk):
        chunk = np.repeat(actions[None, at : at + world.chunk], len(some), 0)
        state, step = world.step(state, chunk, inplace=True)
        shown.append(step.frames)
    film = np.concatenate(shown, 1)[:, :: round(world.config.fps / RATE)]
    save_gif(gif, [Image.fromarray(np.concatenate(list(frame), 1)) for frame in film.swapaxes(0, 1)], RATE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
