"""Does a world obey? Sign tests on opposite actions, Delta PSNR, and the loss under shuffled actions.

B clips, K chunks, r video frames per chunk.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.agents.eval_clips import Clips
from worldsim.agents.eval_rollouts import held, held_rollouts
from worldsim.agents.eval_statistics import curve, estimate
from worldsim.agents.measures import turn_evidence, walk_evidence
from worldsim.dit import previous_of
from worldsim.flow import interpolate
from worldsim.noise import noise
from worldsim.world import WorldModel

Progress = Callable[[str, int, int], None]
BRANCHES = ("right", "left", "forward", "back", "nothing")


def sign_evidence(
    world: WorldModel,
    clips: Clips,
    prefix: int,
    *,
    degrees: float = 3.0,
    turn_chunks: int = 4,
    walk_chunks: int = 8,
    rows: int = 8,
    progress: Progress = lambda *_: None,
) -> dict[str, NDArray[np.float64]]:
    """Evidence (B,) per branch of opposite actions from the same past and noise, read off the pictures alone.

    Turning right must move the scene left and turning left right; walking forward must expand it and walking back
    contract it. ``nothing`` is the walk's control: no key pressed.
    """
    branches = {
        "right": held(world, turn_chunks, camera=(0.0, degrees)),
        "left": held(world, turn_chunks, camera=(0.0, -degrees)),
        "forward": held(world, walk_chunks, forward=1),
        "back": held(world, walk_chunks, back=1),
        "nothing": held(world, walk_chunks),
    }
    out: dict[str, list[float]] = {name: [] for name in branches}
    for at, futures in held_rollouts(world, clips, prefix, branches, rows):
        part = clips.part(slice(at, at + rows))
        for name, made in futures.items():
            lasts = np.concatenate([part.frames[:, None, prefix - 1], made[:, :, -1]], 1)
            if name in ("right", "left"):
                out[name] += [turn_evidence(list(row)) for row in lasts]
            else:
                pitches = part.pitch[:, prefix - 1]
                # From the second chunk on: the first still carries the momentum of the past.
                out[name] += [walk_evidence(list(r), float(p)) for r, p in zip(lasts[:, 2:], pitches, strict=True)]
        progress("sign tests", at + len(part), len(clips))
    return {name: np.array(values) for name, values in out.items()}


def sign_report(t: dict[str, NDArray[np.float64]], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Shares of starts that pass, with intervals.

    ``forward_expands`` and ``back_contracts`` ask for the right sign; the ``_beyond_nothing`` ones also for more than
    the control from the same start shows, which a dream's own decay cannot give. ``nothing_expands`` should be a half.
    """
    tests = {
        "camera_opposite_and_correct": (t["right"] < 0) & (t["left"] > 0),
        "right_correct": t["right"] < 0,
        "left_correct": t["left"] > 0,
        "forward_expands": t["forward"] > 0,
        "back_contracts": t["back"] < 0,
        "forward_expands_back_contracts": (t["forward"] > 0) & (t["back"] < 0),
        "forward_expands_beyond_nothing": t["forward"] > np.maximum(0, t["nothing"]),
        "back_contracts_beyond_nothing": t["back"] < np.minimum(0, t["nothing"]),
        "forward_expands_more_than_back": t["forward"] > t["back"],
        "nothing_expands": t["nothing"] > 0,
    }
    out: dict[str, Any] = {name: estimate(test, maps, seed=seed) for name, test in tests.items()}
    both = np.concatenate([t["forward"] > 0, t["back"] < 0])
    out["movement_correct"] = estimate(both, np.concatenate([maps, maps]), seed=seed)
    out["mean_evidence"] = {name: round(float(values.mean()), 5) for name, values in t.items()}
    out["per_start"] = {name: values.round(4).tolist() for name, values in t.items()}
    return out


def delta_report(found: dict[str, NDArray], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Delta PSNR: how many dB nearer to the recorded future the true actions are than another map's.

    Source: Bruce et al. 2024, "Genie", section 3 (there at the 4th frame).
    """
    delta = found["psnr/model"] - found["psnr/shuffled"]
    out: dict[str, Any] = {"delta_psnr": curve(delta, maps, seed)}
    return out | {"at_frame_4": estimate(delta[:, min(1, delta.shape[1] - 1)], maps, seed=seed)}


@torch.inference_mode()
def action_use(
    world: WorldModel,
    clips: Clips,
    rows: int = 8,
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75),
    seed: int = 0,
) -> dict[str, Any]:
    """Loss with true and with foreign actions: x0 error of single noised frames on a clean past; and their ratio."""
    losses: dict[str, list[NDArray]] = {"true": [], "shuffled": []}
    r, size = world.chunk, clips.actions.shape[-1]
    # As much of each clip as the network can see at once.
    frames = 1 + min((clips.frames.shape[1] - 1) // r, world.dit.config.window) * r
    foreign = clips.actions[clips.foreign()]
    for at in range(0, len(clips), rows):
        latents = world.encode(clips.frames[at : at + rows, :frames])
        b, t = latents.shape[:2]
        eps = noise(range(at, at + b), [0] * b, tuple(latents.shape[1:]))
        previous = previous_of(latents)
        present = torch.ones(b, t, dtype=torch.bool)
        present[:, 0] = False
        judged = torch.arange(t // 2, t, 2)
        for name, source in (("true", clips.actions), ("shuffled", foreign)):
            actions = np.zeros((b, t, r, size), np.float32)
            actions[:, 1:] = source[at : at + b, : frames - 1].reshape(b, t - 1, r, size)
            total = torch.zeros(b)
            for level in levels:
                tau = torch.ones(b, t)
                tau[:, judged] = level
                noisy = interpolate(latents, eps, tau)
                out = world.predict(noisy, previous, tau, torch.from_numpy(actions), present)
                total += (out - latents)[:, judged].float().square().flatten(1).mean(1) / len(levels)
            losses[name].append(total.numpy())
    loss = {name: np.concatenate(values) for name, values in losses.items()}
    ratio = estimate(
        loss["true"],
        clips.maps,
        seed=seed,
        statistic=lambda i: float(loss["shuffled"][i].mean() / loss["true"][i].mean()),
    )
    return {name: estimate(values, clips.maps, seed=seed) for name, values in loss.items()} | {"ratio": ratio}
