"""The past that a rollout begins from, as its name on the command line tells it.

F video frames, A action vector.
"""

from pathlib import Path

from worldsim.datasets.loading.starts import StartClips, recorded_poses
from worldsim.datasets.store.episode import DEPTH, Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.learned.initial_context import InitialContext, fit_past, past_frames
from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel


def find_prefix(text: str, world: WorldModel, starts: StartClips | None, *, frames: int, seed: int) -> InitialContext:
    """The past that ``text`` names.

    Args:
        text: number of a start clip; path of a video (its last frames count, no keys pressed) or a picture; or
            STORE:EPISODE[@FRAME] (``frames`` frames from that frame on, with their recorded actions).
        world: gives picture size and chunk.
        starts: the world's start clips; None where ``text`` is no number.
        frames: length of the past at most.
        seed: of the noise.

    Raises:
        FileNotFoundError: there is no such video, store or episode.
        UserError: it does not fit.
    """
    if frames < 1:
        raise UserError(f"prefix_frames must be at least 1, got {frames}")
    poses, depth, start = None, None, -1
    if text.isdecimal():
        assert starts is not None
        if int(text) >= len(starts):
            raise UserError(f"there is no start clip {text}: choose 0 to {len(starts) - 1}")
        start = int(text)
        past, actions = starts.frames[start], starts.actions[start]
        poses, depth = starts.known(start).values()
    elif names_episode(text):
        store, name, first, last = _episode_part(text, frames)
        episode = store.read(name, first, last)
        past, actions, poses = episode.frames, episode.actions[:-1], recorded_poses(episode)
        depth = episode.state[DEPTH][-1] if DEPTH in episode.state else None
    else:
        past, actions = past_frames(text, (world.config.width, world.config.height), frames), None
    past = past[-frames:]
    past, vectors = fit_past(world, past, None if actions is None else actions[len(actions) - len(past) + 1 :])
    # A world with a spatial memory begins with the camera as it was held.
    poses = None if poses is None else poses[-len(past) :]
    return InitialContext(frames=past, actions=vectors, seed=seed, start=start, poses=poses, depth=depth)


def names_episode(text: str) -> bool:
    """Whether ``text`` is of the form STORE:EPISODE[@FRAME]."""
    return ":" in text and not Path(text).exists()


def find_recorded(text: str, frames: int) -> Episode:
    """The episode that ``text`` names from its very first frame up to where ``find_prefix``'s past ends.

    Raises:
        FileNotFoundError: there is no such store or episode.
        UserError: ``text`` does not name an episode, or there is no such frame.
    """
    if not names_episode(text):
        raise UserError(f"only an episode can be played again in its engine: give STORE:EPISODE[@FRAME], not {text!r}")
    store, name, _, last = _episode_part(text, frames)
    return store.read(name, 0, last)


def _episode_part(text: str, frames: int) -> tuple[EpisodeStore, str, int, int]:
    """Store, name, first frame and the one after the last."""
    folder, _, rest = text.rpartition(":")
    name, _, at = rest.partition("@")
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no such store: {folder}")
    if at and not at.isdecimal():
        raise UserError(f"after @ comes the number of a frame, got {at!r}")
    first, store = int(at or 0), EpisodeStore(folder)
    total = int(store.manifest(name)["frames"])
    if first >= total:
        raise UserError(f"episode {name} has {total} frames: there is no frame {first}")
    return store, name, first, min(first + frames, total)
