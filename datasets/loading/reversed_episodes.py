"""Episodes that run backwards in time: further episodes of a latent cache, beside those they were made of.

Chunks are encoded one by one, so latents in reverse order are not those of the film in reverse: within each chunk the
frames would still run forwards. A reversed episode is therefore encoded anew, from its frames in reverse.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldsim.datasets.store.episode import Episode
from worldsim.spec.actions import ActionSpec
from worldsim.spec.reversal import reversed_actions

# What stands behind an episode's name in a cache where it runs backwards.
REVERSED = " (reversed)"


def chosen(names: Sequence[str], fraction: float) -> list[str]:
    """A fraction of the episodes, at least one unless it is 0: always the same ones, whatever their order."""
    count = min(len(names), max(1, round(fraction * len(names)))) if fraction > 0 else 0
    return sorted(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


def reversed_episode(episode: Episode, chunk: int, spec: ActionSpec) -> Episode:
    """The episode, cut to 1 + r k frames, in reverse. It does not end: what its end is came first.

    Actions that cannot be inverted are nan.
    """
    used = 1 + (len(episode) - 1) // chunk * chunk
    return replace(
        episode,
        frames=episode.frames[:used][::-1],
        actions=reversed_actions(episode.actions[:used], spec),
        rewards=np.zeros(used, np.float32),
        terminated=np.zeros(used, np.bool_),
        state={name: array[:used][::-1] for name, array in episode.state.items()},
        events=(),
    )
