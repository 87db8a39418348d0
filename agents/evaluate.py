"""Evaluation of a world on recorded maps it never saw: horizon curves, obedience to actions, use of actions.

B clips, r video frames per chunk, K chunks of horizon. The unit of statistics is the map seed where a spread is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.agents.measures import psnr, turn_evidence, walk_evidence
from worldsim.datasets.clips import ClipSampler
from worldsim.datasets.episode import Episode
from worldsim.datasets.governance import ALL, EpisodeFilter
from worldsim.datasets.store import EpisodeStore, Split
from worldsim.flow import interpolate
from worldsim.noise import noise
from worldsim.world import WorldModel

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Recorded clips: prefix and what followed.

    frames uint8 (B, F, H, W, 3), actions (B, F - 1, A), map seeds (B,), pitch of the camera (B, F) in degrees, positive
    down, zeros where it was not recorded.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    seeds: NDArray[np.int64]
    pitch: NDArray[np.float32]


def draw_clips(
    store: EpisodeStore, split: Split, count: int, frames: int, seed: int = 0, only: EpisodeFilter = ALL
) -> Clips:
    """Clips drawn uniformly over a split: ``count`` of them, the same for the same seed."""
    sampler = ClipSampler(store, split, frames=frames, batch=count, seed=seed, only=only)
    episodes = [sampler.read(int(i)) for i in sampler.draw(0)]
    return Clips(
        frames=np.stack([e.frames for e in episodes]),
        actions=np.stack([e.actions[:-1] for e in episodes]),
        seeds=np.array([int(e.provenance["seed"]) for e in episodes]),
        pitch=np.stack([np.asarray(e.state.get("pitch", np.zeros(frames)), np.float32) for e in episodes]),
    )


def rollout(
    world: WorldModel, frames: NDArray, actions: NDArray, future: NDArray, seeds: Sequence[int]
) -> NDArray[np.uint8]:
    """Free-running futures uint8 (B, K, r, H, W, 3) from a prefix, under ``future`` actions (B, K, r, A)."""
    state = world.prefill(frames, actions, seeds)
    out = []
    for k in range(future.shape[1]):
        state, step = world.step(state, future[:, k], donate=True)
        out.append(step.frames)
    return np.stack(out, 1)


def horizons(
    world: WorldModel, clips: Clips, prefix: int, rows: int = 8, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """PSNR in dB of each chunk ahead, mean over clips, for the model and its reference rows.

    Rows: ``model``; ``repeat`` the last prefix frame; ``shuffled`` the model under another clip's actions;
    ``tokenizer`` the recorded future through encoder and decoder (the ceiling).
    """
    r = world.chunk
    count = (clips.frames.shape[1] - prefix) // r
    scores: dict[str, list[NDArray]] = {"model": [], "repeat": [], "shuffled": [], "tokenizer": []}
    total = len(clips.frames)
    for at in range(0, total, rows):
        part = slice(at, at + rows)
        frames, actions = clips.frames[part], clips.actions[part]
        size = len(frames)
        truth = frames[:, prefix : prefix + count * r].reshape(size, count, r, *frames.shape[2:])
        future = actions[:, prefix - 1 : prefix - 1 + count * r].reshape(size, count, r, -1)
        foreign = np.roll(clips.actions, 1, 0)[part][:, prefix - 1 : prefix - 1 + count * r].reshape(future.shape)
        given = (frames[:, :prefix], actions[:, : prefix - 1])
        seeds = list(range(at, at + size))
        scores["model"].append(psnr(rollout(world, *given, future, seeds), truth, 4))
        scores["shuffled"].append(psnr(rollout(world, *given, foreign, seeds), truth, 4))
        scores["repeat"].append(psnr(np.broadcast_to(frames[:, prefix - 1][:, None, None], truth.shape), truth, 4))
        coded, _ = world.decode(world.encode(frames[:, : prefix + count * r]))
        scores["tokenizer"].append(psnr(coded[:, -count:], truth, 4))
        progress("horizons", min(total, at + rows), total)
    curves = {name: np.concatenate(values) for name, values in scores.items()}
    gain = curves["model"] - curves["repeat"]
    maps = np.unique(clips.seeds)
    by_map = np.stack([gain[clips.seeds == m].mean(0) for m in maps])
    return {
        "clips": total,
        "maps": len(maps),
        "chunks": count,
        **{name: values.mean(0).round(3).tolist() for name, values in curves.items()},
        "gain_over_repeat": gain.mean(0).round(3).tolist(),
        "gain_standard_error_over_maps": (by_map.std(0, ddof=1) / np.sqrt(len(maps))).round(3).tolist()
        if len(maps) > 1
        else None,
        "chunks_above_repeat": int((gain.mean(0) > 0).sum()),
        "clips_above_repeat": (gain > 0).mean(0).round(3).tolist(),
    }


def held(world: WorldModel, chunks: int, **action: Any) -> NDArray[np.float32]:
    """One action held for some chunks: (K, r, A)."""
    return np.tile(world.spec.vector(action), (chunks, world.chunk, 1))


def obedience(
    world: WorldModel,
    clips: Clips,
    prefix: int,
    *,
    degrees: float = 3.0,
    turn_chunks: int = 4,
    walk_chunks: int = 8,
    rows: int = 8,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Sign tests on opposite actions from the same prefix and noise, measured on the pictures alone.

    Turning right must move the scene left and turning left right (both must hold); walking forward must expand the
    scene and walking back contract it (each counted, and both). How often the measures themselves err on recorded
    play: see ``recorded_obedience``.
    """
    totals: dict[str, list[float]] = {"right": [], "left": [], "forward": [], "back": []}
    total = len(clips.frames)
    branches = {
        "right": held(world, turn_chunks, camera=(0.0, degrees)),
        "left": held(world, turn_chunks, camera=(0.0, -degrees)),
        "forward": held(world, walk_chunks, forward=1),
        "back": held(world, walk_chunks, back=1),
    }
    for at in range(0, total, rows):
        frames, actions = clips.frames[at : at + rows, :prefix], clips.actions[at : at + rows, : prefix - 1]
        pitches = clips.pitch[at : at + rows, prefix - 1]
        for name, branch in branches.items():
            future = np.repeat(branch[None], len(frames), 0)
            made = rollout(world, frames, actions, future, list(range(at, at + len(frames))))
            lasts = np.concatenate([frames[:, None, -1], made[:, :, -1]], 1)
            if name in ("right", "left"):
                totals[name] += [turn_evidence(list(row)) for row in lasts]
            else:
                # From the second chunk on: the first still carries the momentum of the prefix.
                totals[name] += [walk_evidence(list(r), float(p)) for r, p in zip(lasts[:, 2:], pitches, strict=True)]
        progress("obedience", min(total, at + rows), total)
    t = {name: np.array(values) for name, values in totals.items()}
    return {
        "starts": total,
        "camera_opposite_and_correct": float(((t["right"] < 0) & (t["left"] > 0)).mean()),
        "right_correct": float((t["right"] < 0).mean()),
        "left_correct": float((t["left"] > 0).mean()),
        "forward_expands": float((t["forward"] > 0).mean()),
        "back_contracts": float((t["back"] < 0).mean()),
        "forward_expands_back_contracts": float(((t["forward"] > 0) & (t["back"] < 0)).mean()),
        "forward_expands_more_than_back": float((t["forward"] > t["back"]).mean()),
        "per_start": {name: values.round(4).tolist() for name, values in t.items()},
    }


def recorded_obedience(store: EpisodeStore, splits: Sequence[Split], most: int = 400) -> dict[str, Any]:
    """The same measures on recorded play where the action is known: how far they can be trusted.

    Windows of 8 frames: turning steadily by 1 to 5 degrees a frame; or only forward or only back held on level ground,
    with the camera nearly still and the player really moving.
    """
    found: dict[str, list[float]] = {"right": [], "left": [], "forward": [], "back": []}
    for name in (name for split in splits for name in store.names(split)):
        episode = store.read(name)
        for t in range(20, len(episode) - 20, 12):
            kind = _window_kind(episode, t)
            if kind and len(found[kind]) < most:
                frames = [episode.frames[t + i] for i in range(0, 9, 2)]
                turning = kind in ("right", "left")
                evidence = turn_evidence(frames) if turning else walk_evidence(frames, float(episode.state["pitch"][t]))
                found[kind].append(evidence)
    sign = {"right": -1, "left": 1, "forward": 1, "back": -1}
    return {
        kind: {"windows": len(v), "correct": float((np.array(v) * sign[kind] > 0).mean()) if v else None}
        for kind, v in found.items()
    }


def _window_kind(episode: Episode, t: int) -> str | None:
    keys, mouse = episode.actions[t : t + 8, :5] > 0.5, episode.actions[t : t + 8, -2:]
    position = episode.state["position"][t : t + 9]
    yaw = mouse[:, 1]
    if (np.abs(yaw) > 1).all() and (np.abs(yaw) < 5).all() and np.ptp(np.sign(yaw)) == 0:
        return "right" if yaw[0] > 0 else "left"
    moved = np.linalg.norm((position[-1] - position[0])[[0, 2]])
    if keys[:, 2:].any() or np.abs(mouse).max() > 1 or moved < 1.0 or np.ptp(position[:, 1]) > 0.15:
        return None
    forward, back = keys[:, 0], keys[:, 1]
    if forward.all() and not back.any():
        return "forward"
    return "back" if back.all() and not forward.any() else None


@torch.inference_mode()
def action_use(
    world: WorldModel, clips: Clips, rows: int = 8, levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75)
) -> dict[str, float]:
    """Validation loss with true and with shuffled actions: x0 error of single noised frames on a clean past."""
    losses: dict[str, list[float]] = {"true": [], "shuffled": []}
    r, size = world.chunk, clips.actions.shape[-1]
    # As much of each clip as the network can see at once.
    frames = 1 + min((clips.frames.shape[1] - 1) // r, world.dit.config.window) * r
    for at in range(0, len(clips.frames), rows):
        latents = world.encode(clips.frames[at : at + rows, :frames])
        b, t = latents.shape[:2]
        eps = noise(range(at, at + b), [0] * b, tuple(latents.shape[1:]))
        previous = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], 1)
        present = torch.ones(b, t, dtype=torch.bool)
        present[:, 0] = False
        judged = torch.arange(t // 2, t, 2)
        for name, source in (("true", clips.actions), ("shuffled", np.roll(clips.actions, 1, 0))):
            actions = np.zeros((b, t, r, size), np.float32)
            actions[:, 1:] = source[at : at + b, : frames - 1].reshape(b, t - 1, r, size)
            for level in levels:
                tau = torch.ones(b, t)
                tau[:, judged] = level
                noisy = interpolate(latents, eps, tau)
                out = world.predict(noisy, previous, tau, torch.from_numpy(actions), present)
                losses[name].append(float((out - latents)[:, judged].square().mean()))
    mean = {name: float(np.mean(values)) for name, values in losses.items()}
    return mean | {"ratio": mean["shuffled"] / mean["true"]}
