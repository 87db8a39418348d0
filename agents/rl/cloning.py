"""Behaviour cloning: a policy that does what was done in recordings; a start for learning by reward.

N examples, r video frames per step, A action vector.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticCnnPolicy

from worldsim.agents.rl.settings import CloneTraining
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.envs.learned.action_spaces import DiscreteActions, MultiDiscreteActions
from worldsim.errors import UserError
from worldsim.models.shield import shielded

Progress = Callable[[int, int, float], None]
# Keys that do all they do in one frame: the mean over a step's frames would hide them.
TAPPED = "hotbar."


@dataclass(frozen=True)
class Demonstrations:
    """Pictures uint8 (N, H, W, 3); ``seen`` (M, stack): which of them each example shows together, the latest last, -1
    (black) before an episode's first, as ``policy_net.Memory`` has it; ``actions`` (M, choices), or (M,) of one choice:
    the options that came closest to what was done.
    """

    pictures: NDArray[np.uint8]
    seen: NDArray[np.int64]
    actions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.actions)

    def stacked(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What a policy sees in these examples: (rows, H, W, 3 * stack)."""
        seen = self.seen[rows]
        pictures = np.where((seen >= 0)[..., None, None, None], self.pictures[seen], np.uint8(0))
        return np.moveaxis(pictures, 1, 3).reshape(*pictures.shape[:1], *pictures.shape[2:4], -1)


def read_demonstrations(
    store: EpisodeStore,
    actions: MultiDiscreteActions | DiscreteActions,
    chunk: int,
    split: Split,
    stack: int,
    *,
    scripts: Sequence[str] = (),
    most: int = 20_000,
    seed: int = 0,
) -> Demonstrations:
    """Every ``chunk``-th frame and what was done for the ``chunk`` frames after it.

    Args:
        store: recordings of the same game.
        actions: the policy's options.
        chunk: frames per step, r.
        split: whose episodes.
        stack: pictures that the policy sees together.
        scripts: only what these scripted players did; default: everything.
        most: examples, at most; episodes are drawn at random.
        seed: of the draw.

    Raises:
        UserError: the recordings are of another game, or hold nothing of this kind.
    """
    if recording_format(store).spec != actions.spec:
        raise UserError(f"the recordings in {store.url} have other actions than the environment")
    pictures, seen, chosen, total, kept = [], [], [], 0, 0
    back = np.arange(stack - 1, -1, -1)
    taps = np.array([key.startswith(TAPPED) for key in actions.spec.keys] + [False, False] * actions.spec.camera)
    names = store.names(split)
    for i in np.random.default_rng(seed).permutation(len(names)):
        episode = store.read(names[int(i)], depth=False)
        at = np.arange(0, len(episode) - chunk, chunk)
        wanted = np.arange(len(at))
        if scripts:
            recorded_names = list(episode.provenance.get("scripts", ()))
            theirs = [recorded_names.index(name) for name in scripts if name in recorded_names]
            wanted = wanted[np.isin(episode.state.get("script", np.full(len(episode), -1))[at], theirs)]
        if not len(wanted):
            continue
        looked = wanted[:, None] - back
        needed = np.unique(looked[looked >= 0])
        pictures.append(episode.frames[at[needed]])
        seen.append(np.where(looked >= 0, kept + np.searchsorted(needed, looked), -1))
        chosen += [actions.nearest(_held(episode.actions[t : t + chunk], taps)) for t in at[wanted]]
        total, kept = total + len(wanted), kept + len(needed)
        if total >= most:
            break
    if not total:
        raise UserError(f"no {split} episode in {store.url} shows {', '.join(scripts) or 'anything'}")
    return Demonstrations(np.concatenate(pictures), np.concatenate(seen)[:most], np.stack(chosen)[:most])


def _held(vectors: NDArray[np.float32], taps: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What was done in frames (r, A) as one vector (A,): the mean, but a tap in one of them is a tap."""
    return np.where(taps, vectors.max(0), vectors.mean(0))


@shielded
def clone(
    policy: ActorCriticCnnPolicy,
    shown: Demonstrations,
    training: CloneTraining,
    seed: int = 0,
    progress: Progress = lambda done, total, loss: None,
) -> float:
    """Train a policy in place to choose what was shown; returns the log-likelihood over the last tenth of steps."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), training.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.rate, total_steps=training.steps)
    policy.set_training_mode(True)
    likelihoods = []
    for step in range(training.steps):
        rows = torch.randint(len(shown), (min(training.batch, len(shown)),), generator=generator).numpy()
        pictures = torch.from_numpy(shown.stacked(rows)).permute(0, 3, 1, 2)
        chances = policy.get_distribution(pictures)
        likelihood, entropy = chances.log_prob(torch.from_numpy(shown.actions[rows])), chances.entropy()
        assert entropy is not None
        loss = -likelihood.mean() - training.entropy * entropy.mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        likelihoods.append(float(likelihood.mean().detach()))
        progress(step + 1, training.steps, float(loss.detach()))
    # What the value of a moment will be learnt from, where reward follows, is seen by the same features to begin with.
    policy.vf_features_extractor.load_state_dict(policy.pi_features_extractor.state_dict())
    policy.set_training_mode(False)
    return float(np.mean(likelihoods[-max(1, training.steps // 10) :]))
