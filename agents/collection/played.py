"""Play in the window as an episode of a store: dreamt again from its actions, with where it comes from."""

import os
import time
import uuid
from dataclasses import replace

from worldsim.agents.collection.job import plan_worlds
from worldsim.agents.collection.source_world import DreamStage, WorldSource
from worldsim.agents.collection.tape import EpisodeBuffer
from worldsim.datasets.recording.recorder import STARTED_BY_PLAYER
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.errors import UserError


def keep_played(out: str | os.PathLike[str], game: WorldGame, played: Playthrough) -> str:
    """Append what was played from the beginning to where the player stood to a store; says where, for people.

    Args:
        out: folder of the episode store.
        game: what was played; left as it is.
        played: the actions, and the beginning.

    Raises:
        UserError: nothing was played.
    """
    actions, chunk = played.actions(), played.origin.chunk
    if not len(actions):
        raise UserError("nothing was played yet")
    stage = DreamStage(WorldSource(world=played.origin.world, prompt=game.begun.prompt), threads=False)
    # Sampled as it was played.
    stage.world = game.world
    told = {} if game.begun.start >= 0 else {"prefix": str(played.origin.options.get("prefix", ""))}
    tape = EpisodeBuffer(stage.begin(game.begun, **told))
    for first in range(0, len(actions), chunk):
        for moment in stage.advance(actions[first : first + chunk]):
            tape.add(moment, "human")
    [job] = plan_worlds(
        seed=played.seed, episodes=1, episodes_per_world=1, episode_frames=len(tape.frames), policy="human",
        frozen_limit=1.0,
    )  # fmt: skip
    episode = tape.episode(job, stage)
    about = {
        "source": "human", "played": stage.source.name, "policy_version": "", "consent": STARTED_BY_PLAYER,
        "sampling": dict(played.origin.sampling),
    }  # fmt: skip
    # A person is no script, whose doing a caption could name.
    episode = replace(episode, text="", provenance=dict(episode.provenance) | about)
    name = f"play-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
    EpisodeStore(out).append(episode, name)
    return f"kept {name} ({len(episode)} frames) in {os.fspath(out)}"
