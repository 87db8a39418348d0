"""Does a world obey? Sign tests on opposite actions, Delta PSNR, and the loss under shuffled actions.

B clips, K chunks, r video frames per chunk.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.agents.eval_clips import Clips
from worldsim.agents.eval_rollouts import held, held_rollouts
from worldsim.agents.eval_starts import by_start, estimate_by_start
from worldsim.agents.eval_statistics import curve, estimate
from worldsim.agents.measures import WALK, turn_evidence, walk_evidence
from worldsim.diffusion.flow import interpolate
from worldsim.diffusion.noise import noise
from worldsim.models.dit import previous_of
from worldsim.simulation.world_model import WorldModel

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
                pitches, step = part.pitch[:, prefix - 1], WALK * world.chunk
                # From the second chunk on: the first still carries the momentum of the past.
                seen = zip(lasts[:, 2:], pitches, strict=True)
                out[name] += [walk_evidence(list(row), float(pitch), metres=step) for row, pitch in seen]
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
    out: dict[str, Any] = {name: estimate_by_start(test, maps, seed) for name, test in tests.items()}
    both = np.stack([t["forward"] > 0, t["back"] < 0])
    out["movement_correct"] = estimate(both.ravel(), np.concatenate([maps, maps]), seed=seed)
    out["movement_correct"] |= by_start(both.mean(0), maps)
    out["mean_evidence"] = {name: round(float(values.mean()), 5) for name, values in t.items()}
    out["per_start"] = {name: values.round(4).tolist() for name, values in t.items()}
    return out


def delta_report(found: dict[str, NDArray], maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """Delta PSNR: how many dB nearer to the recorded future the true actions are than another map's.

    Source: Bruce et al. 2024, "Genie", section 3 (there at the 4th frame).
    """
    delta = found["psnr/model"] - found["psnr/shuffled"]
    out: dict[str, Any] = {"delta_psnr": curve(delta, maps, seed)}
    fourth = delta[:, min(1, delta.shape[1] - 1)]
    return out | {"at_frame_4": estimate_by_start(fourth, maps, seed)}


@torch.inference_mode()
def x0_errors(
    world: WorldModel,
    clips: Clips,
    told: Mapping[str, tuple[NDArray[np.float32], Tensor | None]],
    rows: int = 8,
    levels: Sequence[float] = (0.0, 0.25, 0.5, 0.75),
    chunks: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """x0 error (B,) of single noised frames on a clean past, by name of what the network is told.

    Args:
        world: to be judged.
        clips: recorded play.
        told: actions (B, F - 1, A), and sentence embeddings (B, X) or None.
        rows: side by side.
        levels: of signal, averaged over.
        chunks: after each clip's first frame, of which every second in the later half is judged; 0: the first frame
            alone. Default and most: as many as the network can see at once.
    """
    r, size = world.chunk, clips.actions.shape[-1]
    most = min((clips.frames.shape[1] - 1) // r, world.dit.config.window)
    t = 1 + (most if chunks is None else min(chunks, most))
    judged = torch.arange(t // 2, t, 2)
    losses: dict[str, list[NDArray[np.float32]]] = {name: [] for name in told}
    for at in range(0, len(clips), rows):
        latents = world.encode(clips.frames[at : at + rows, : 1 + (t - 1) * r])
        b = len(latents)
        eps = noise(range(at, at + b), [0] * b, tuple(latents.shape[1:]))
        previous = previous_of(latents)
        present = torch.ones(b, t, dtype=torch.bool)
        present[:, 0] = False
        for name, (source, text) in told.items():
            actions = np.zeros((b, t, r, size), np.float32)
            actions[:, 1:] = source[at : at + b, : (t - 1) * r].reshape(b, t - 1, r, size)
            total = torch.zeros(b)
            for level in levels:
                tau = torch.ones(b, t)
                tau[:, judged] = level
                noisy = interpolate(latents, eps, tau)
                given = None if text is None else text[at : at + b]
                out = world.predict(noisy, previous, tau, torch.from_numpy(actions), present, given)
                total += (out - latents)[:, judged].float().square().flatten(1).mean(1) / len(levels)
            losses[name].append(total.numpy())
    return {name: np.concatenate(values) for name, values in losses.items()}


def error_ratio(loss: Mapping[str, NDArray], name: str, than: str, maps: NDArray, seed: int = 0) -> dict[str, Any]:
    """How many times the mean error ``than`` the error ``name`` is, with its interval over maps."""
    found = estimate(
        loss[than], maps, seed=seed, statistic=lambda i: float(loss[name][i].mean() / loss[than][i].mean())
    )
    return found | by_start(loss[name], maps, loss[than])


def action_use(world: WorldModel, clips: Clips, rows: int = 8, seed: int = 0) -> dict[str, Any]:
    """x0 errors with true and with foreign actions, and their ratio."""
    told = {"true": (clips.actions, None), "shuffled": (clips.actions[clips.foreign()], None)}
    loss = x0_errors(world, clips, told, rows)
    shown = {name: estimate(values, clips.maps, seed=seed) for name, values in loss.items()}
    return shown | {"ratio": error_ratio(loss, "shuffled", "true", clips.maps, seed)}
