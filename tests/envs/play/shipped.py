"""The world that comes with WorldSim, as ``worldsim play`` opens it, for the pictures of the documentation.

``WORLDSIM_SCREENSHOTS=docs/media pytest tests/envs/play -k shipped`` makes them anew.
"""

from collections.abc import Callable
from typing import Any

from worldsim.cli.worlds.play import Play
from worldsim.cli.worlds.play_games import open_game


def shipped(start: int) -> Callable[[Any], Any]:
    """Loads it, at one of its start clips, with one evaluation of the network a frame."""

    def load(tell: Any) -> Any:
        import torch

        # As many threads as before: other tests come after.
        return open_game(Play(prefix=str(start), sampling_steps=1, threads=torch.get_num_threads()), tell, None)

    return load
