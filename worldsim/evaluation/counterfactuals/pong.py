"""Exact truth about Pong: branches dreamt by the learned world beside the same branches in clones of the emulator.

G games, K branches, S steps, P frames of past, H W pixels, A action vector.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.agents.policies.pong import PONG, PongPlayer
from worldsim.datasets.store.store import SPLIT_PERIOD, split_of
from worldsim.envs.pong.engine import FPS, PongEngine
from worldsim.envs.pong.pixels import Sight, read
from worldsim.errors import UserError
from worldsim.evaluation.measures.metrics import psnr
from worldsim.evaluation.measures.types import Progress
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
Curve = NDArray[np.float64]
# What is held, one after the other, for equal shares of the steps; "any" is drawn anew, for two steps on average.
SCRIPTS = (("up",), ("down",), ("noop",), ("up", "down"), ("down", "up"), ("any",))
# Steps of play after which a branching point is looked for, and steps that up and down are held until compared.
BEFORE, SIGN_STEPS = (40, 200), 6
# Seeds of test games: those of this remainder are never trained on.
TEST = next(r for r in range(SPLIT_PERIOD) if split_of(r) == "test")


@dataclass(frozen=True, kw_only=True)
class Branches:
    """What the emulator showed.

    past (G, P, H, W, 3) and its actions (G, P - 1, A); actions (G, K, S, A) of the branches; frames (G, K, S, H, W, 3)
    and rewards (G, K, S) that followed.
    """

    past: Frames
    past_actions: NDArray[np.float32]
    actions: NDArray[np.float32]
    frames: Frames
    rewards: NDArray[np.float32]


def play_branches(
    games: int, *, past: int = 33, steps: int = 30, seed: int = 0, progress: Progress = lambda *_: None
) -> Branches:
    """Play test games to a moment with the ball in play, then every script from a clone of that moment."""
    engine = PongEngine()
    played = []
    for game in range(games):
        rng = np.random.default_rng([seed, game])
        played.append(_branch(engine, int(rng.integers(2**24)) * SPLIT_PERIOD + TEST, past, steps, rng))
        progress("emulator", game + 1, games)
    engine.close()
    frames, given, actions, futures, rewards = zip(*played, strict=True)
    return Branches(
        past=np.stack(frames),
        past_actions=np.stack(given),
        actions=np.stack(actions),
        frames=np.stack(futures),
        rewards=np.stack(rewards),
    )


def _branch(engine: PongEngine, seed: int, past: int, steps: int, rng: np.random.Generator) -> tuple[NDArray, ...]:
    obs, info = engine.reset(seed=seed)
    player = PongPlayer(PONG, FPS)
    player.reset(rng, info)
    frames, given = [obs], []
    least = int(rng.integers(*BEFORE)) + past
    while len(frames) < least or not info["ball_seen"]:
        given.append(player.act(obs, info))
        obs, _, over, _, info = engine.step(given[-1].argmax())
        frames.append(obs)
        if over:
            obs, info = engine.reset()
            frames, given = [obs], []
    moment = engine.clone_state()
    actions = np.stack([_script(words, steps, rng) for words in SCRIPTS])
    futures = np.zeros((len(SCRIPTS), steps, *obs.shape), np.uint8)
    rewards = np.zeros((len(SCRIPTS), steps), np.float32)
    for k, branch in enumerate(actions):
        engine.restore_state(moment)
        for t, action in enumerate(branch):
            futures[k, t], rewards[k, t], *_ = engine.step(action.argmax())
    return np.stack(frames[-past:]), np.stack(given[-past + 1 :]), actions, futures, rewards


def dream_branches(
    world: WorldModel, branches: Branches, actions: NDArray[np.float32], progress: Progress = lambda *_: None
) -> Frames:
    """The same pasts and noise, under ``actions`` (G, K, S, A), in the learned world: (G, K, S, H, W, 3)."""
    if world.chunk != 1 or world.spec != PONG:
        raise UserError(
            "this is no world of Pong with one frame a step: train it as docs/guides/your-own-game.md says"
        )
    out = np.zeros_like(branches.frames)
    games, count, steps, _ = actions.shape
    for game in range(games):
        state = world.prefill(branches.past[game][None], branches.past_actions[game][None], [game]).select([0] * count)
        for t in range(steps):
            state, step = world.step(state, actions[game, :, t][:, None], inplace=True)
            out[game, :, t] = step.frames[:, 0]
        progress("dream", game + 1, games)
    return out


def compare(world: WorldModel, branches: Branches, dreamt: Frames, shuffled: Frames) -> dict[str, Any]:
    """How far dreams are from the truth, by step, beside reference rows.

    Args:
        world: for the tokenizer's row.
        branches: the truth.
        dreamt: (G, K, S, H, W, 3) under the branches' own actions.
        shuffled: the same under the next branch's actions.

    Returns:
        Rows ``model``, ``shuffled``, ``repeat`` (the last frame of the past) and ``tokenizer`` (the truth, coded), each
        with curves over steps; the sign of the paddle's answer; retrieval among 3 to K branches.
    """
    truth = branches.frames
    games, count, steps = truth.shape[:3]
    coded = np.stack([world.decode(world.encode(branch))[0][:, :, 0] for branch in truth])
    rows = {
        "model": dreamt,
        "shuffled": shuffled,
        "repeat": np.broadcast_to(branches.past[:, -1][:, None, None], truth.shape),
        "tokenizer": coded,
    }
    seen = _sight(truth)
    up, down = (_sight(dreamt[:, k]).paddle_y[:, min(steps, SIGN_STEPS) - 1] for k in (0, 1))
    answers = down - up
    return {
        "games": games,
        "branches": count,
        "steps": steps,
        "points": int(np.abs(branches.rewards).sum()),
        "rows": {name: _row(frames, truth, seen) for name, frames in rows.items()},
        "up_above_down": float((answers > 1).mean()),
        "up_below_down": float((answers < -1).mean()),
        "retrieval": {str(k): _retrieval(dreamt[:, :k], truth[:, :k]) for k in range(3, count + 1)},
    }


def _row(frames: Frames, truth: Frames, seen: Sight) -> dict[str, Any]:
    """Curves over steps: PSNR (dB), distances of ball and paddles (pixels), whether the ball is there as in truth."""
    sight = _sight(frames)
    ball = np.hypot(sight.ball_x - seen.ball_x, sight.ball_y - seen.ball_y)
    there, truly = np.isfinite(sight.ball_x), np.isfinite(seen.ball_x)
    return {
        "psnr": _mean(psnr(frames, truth)),
        "ball": _mean(ball),
        "ball_median": _median(ball),
        "ball_kept": _mean(np.where(truly, there, np.nan)),
        "ball_invented": _mean(np.where(truly, np.nan, there)),
        "paddle": _mean(np.abs(sight.paddle_y - seen.paddle_y)),
        "opponent": _mean(np.abs(sight.opponent_y - seen.opponent_y)),
    }


def _sight(frames: Frames) -> Sight:
    found = read(frames.reshape(-1, *frames.shape[-3:]))
    return Sight(**{name: values.reshape(frames.shape[:-3]) for name, values in vars(found).items()})


def _mean(values: Curve) -> list[float | None]:
    """Mean over games and branches by step; None where there is nothing to average."""
    count = np.isfinite(values).sum((0, 1))
    total = np.where(np.isfinite(values), values, 0).sum((0, 1))
    return [round(float(t / n), 3) if n else None for t, n in zip(total, count, strict=True)]


def _median(values: Curve) -> list[float | None]:
    by_step = values.reshape(-1, values.shape[-1]).T
    return [round(float(np.nanmedian(v)), 2) if np.isfinite(v).any() else None for v in by_step]


def _retrieval(dreamt: Frames, truth: Frames) -> float:
    """How often, of all true branches of a game, the one with the same actions is the closest to a dream."""
    count = dreamt.shape[1]
    hits = []
    for dreams, futures in zip(dreamt, truth, strict=True):
        apart = [[np.square(a.astype(np.float32) - b).mean() for b in futures] for a in dreams]
        hits.append((np.argmin(apart, 1) == np.arange(count)).mean())
    return float(np.mean(hits))


def _script(words: tuple[str, ...], steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    keys = PONG.keys
    numbers = np.zeros(steps, np.int64)
    for word, part in zip(words, np.array_split(np.arange(steps), len(words)), strict=True):
        if word == "any":
            drawn = rng.integers(len(keys), size=len(part))
            kept = np.maximum.accumulate(np.where(rng.random(len(part)) < 0.5, np.arange(len(part)), 0))
            numbers[part] = drawn[kept]
        else:
            numbers[part] = keys.index(word)
    return np.eye(len(keys), dtype=np.float32)[numbers]
