"""Put a trained world together with start clips, as it ships inside the package."""

import shutil
from pathlib import Path

import numpy as np

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.starts import StartClips, recorded_poses, save_starts
from worldsim.datasets.store.episode import DEPTH, Episode
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.simulation.config import SamplingConfig
from worldsim.training.export import export_world

# What makes a poor beginning: night, a wall in front of one's nose, or a player under water.
DARKEST = 60.0
PLAINEST = 18.0
# Frames between two start clips from one episode, and of a start clip.
APART, CLIP = 200, 33


def is_good_start(clip: Episode) -> bool:
    """Whether a clip ends in a view that a player can make something of: bright, textured, dry."""
    last = clip.frames[-1][: round(clip.frames.shape[1] * 0.78)].astype(np.float32)
    dry = not bool(np.asarray(clip.state.get("in_water", np.zeros(1, bool))).any())
    rows = last.mean(-1)
    return dry and float(last.mean()) > DARKEST and float(np.abs(np.diff(rows, axis=1)).mean() + rows.std()) > PLAINEST


def choose_starts(
    store: EpisodeStore, split: Split, count: int, frames: int = CLIP, seed: int = 0, only: EpisodeFilter = ALL
) -> StartClips:
    """Draw clips at random, at most one from 200 frames of an episode; good ones first, others where these run out.

    Returns:
        ``count`` clips, fewer where the split is that short.

    Raises:
        ValueError: the split has no clip of that length.
    """
    sampler = ClipSampler(store, split, frames=frames, batch=1, seed=seed, only=only)
    good: dict[tuple[str, int], tuple[int, Episode]] = {}
    other: dict[tuple[str, int], tuple[int, Episode]] = {}
    for index in range(60 * count):
        name, start = sampler.locate(int(sampler.draw(index)[0]))
        place = (name, start // APART)
        if place in good:
            continue
        clip = store.read(name, start, start + frames)
        if is_good_start(clip):
            good[place] = (start, clip)
        elif len(other) < count:
            other[place] = (start, clip)
        if len(good) == count:
            break
    # What is good is known of the default game; any clip of another one will do.
    chosen = dict([*good.items(), *((place, clip) for place, clip in other.items() if place not in good)][:count])
    clips = [clip for _, clip in chosen.values()]
    poses = [pose for clip in clips if (pose := recorded_poses(clip)) is not None]
    depth = [clip.state[DEPTH][-1] for clip in clips if DEPTH in clip.state]
    return StartClips(
        frames=np.stack([clip.frames for clip in clips]),
        actions=np.stack([clip.actions[:-1] for clip in clips]),
        keys=recording_format(store, only.names(store)).spec.keys,
        provenance=[
            dict(clip.provenance) | {"episode": name, "first_frame": start, "text": clip.text}
            for (name, _), (start, clip) in chosen.items()
        ],
        # Where some clips lack them, none is given: whoever reads them need not look clip by clip.
        poses=np.stack(poses) if len(poses) == len(clips) else None,
        depth=np.stack(depth) if len(depth) == len(clips) else None,
    )


def ship(
    *,
    run: Path,
    tokenizer: Path,
    latents: str | Path,
    data: str | Path,
    out: Path,
    starts: int = 32,
    split: Split = "test",
    sampling: SamplingConfig | None = None,
    only: EpisodeFilter = ALL,
    exact: bool = False,
) -> int:
    """Write ``out``: a world checkpoint and start clips from maps it was not trained on. Replaces what is there.

    ``exact``: keep every pixel of the start clips, where things of one or two pixels matter.

    Returns:
        The number of start clips.
    """
    store = EpisodeStore(data)
    recordings = recording_format(store, only.names(store))
    world = export_world(run, tokenizer, latents, recordings, sampling)
    clips = choose_starts(store, split, starts, only=only)
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(world, aside)
    save_starts(aside / "starts", clips, fps=recordings.fps, exact=exact)
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    return len(clips)
