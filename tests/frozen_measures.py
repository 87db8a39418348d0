"""What the code does, as pictures and numbers to compare with those frozen before the files moved (tests/frozen).

Every measure takes the folder into which the frozen artifacts were unpacked; it may write there.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import worldsim
from tests.tiny_world import CHANNELS, tiny_dit, tiny_tokenizer
from tests.toy_world import ToyWorld, standing_clips, toy_clips
from worldsim import cli
from worldsim.agents.policies.policy_net import load_policy
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.starts import load_starts
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.diffusion.dynamics_loss import LatentBatch, from_flat
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.envs.rollouts.tree_files import read_tree
from worldsim.errors import UserError
from worldsim.evaluation.measures.returns.looks import memory_report, memory_scores
from worldsim.evaluation.parts.actions import sign_evidence, sign_report
from worldsim.evaluation.parts.forced import forced_report
from worldsim.evaluation.parts.horizons import delta_report, free_running, horizon_report
from worldsim.simulation.state import WorldState
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT
from worldsim.training.dynamics import train_dynamics
from worldsim.training.tokenizer import TokenizerTraining, train_tokenizer

Frames = NDArray[np.uint8]
NOOP, TURN = np.array([0, 0, 0, 0, 0, 0, 0, 5, 5]), np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])
MODEL = "width=4 heads=1 kv_heads=1 blocks=1 temporal_every=1 registers=1 window=6"
DYNAMICS = [
    "train", "dynamics", "latents=latents", "tokenizer=../world/world/tokenizer.safetensors", "folder=run",
    "model=tiny", "batch=2", "frames=6", "device=cpu", "threads=1", "training.compile=false",
    "training.validate_every=1", "training.warmup=1", "training.error_injection=0.5",
    *(f"model.{word}" for word in MODEL.split()),
]  # fmt: skip
PPO = [
    "agent", "train", "world=../world/world", "task=survive", "rows=2", "folder=run", "episode=6", "net.shrink=4",
    "net.channels=2", "net.features=8", "net.stack=2", "training.rollout=8", "training.batch=16", "training.epochs=1",
    "schedule.eval_every=16", "schedule.eval_episodes=1", "schedule.video_every=0", "schedule.checkpoint_every=16",
]  # fmt: skip
PRESET = "clips=3 prefix=5 chunks=3 forced=1 forced_samples=2 still_starts=2 still_seconds=0.4"
EVAL = [
    "eval", "data=../store/store", "world=../world/world", "parts=[horizons,actions,forced,objects]", "threads=1",
    *(f"preset.{word}" for word in PRESET.split()),
]  # fmt: skip


def sha256(*arrays: NDArray[Any]) -> str:
    out = hashlib.sha256()
    for array in arrays:
        out.update(np.ascontiguousarray(array).tobytes())
    return out.hexdigest()


def pressed(world: WorldModel, steps: int) -> NDArray[np.float32]:
    """Fixed actions (steps, 1, r, A): the first key and, where there is a mouse, turns to and fro."""
    actions = np.zeros((steps, 1, world.chunk, world.spec.size), np.float32)
    actions[::2, ..., 0] = 1
    if world.spec.camera:
        actions[..., -1] = np.where(np.arange(steps) % 6 < 3, 4.0, -3.0)[:, None, None]
    return actions


def go_on(world: WorldModel, state: WorldState, steps: int) -> Frames:
    """Pictures (steps r, H, W, 3) that follow under fixed actions."""
    shown = []
    for action in pressed(world, steps):
        state, step = world.step(state, action)
        shown.append(step.frames[0])
    return np.concatenate(shown)


def shipped(name: str, steps: int) -> Frames:
    """A free-running rollout of a shipped world from its first start clip."""
    world = worldsim.load(name, bf16=False)
    starts = load_starts(worldsim.world_folder(name) / "starts")
    return go_on(world, world.prefill(starts.frames[:1], starts.actions[:1], [7]), steps)


def frozen_world(home: Path) -> WorldModel:
    return WorldModel.load(home / "world/world", bf16=False)


def frozen_env(home: Path) -> WorldSimEnv:
    return WorldSimEnv(frozen_world(home), starts=home / "world/world/starts")


def frozen_rollout(home: Path) -> Frames:
    world, starts = frozen_world(home), load_starts(home / "world/world/starts")
    return go_on(world, world.prefill(starts.frames[:1], starts.actions[:1], [7], [world.prompts[1]]), 8)


def toy_rollout(home: Path) -> Frames:
    world: Any = ToyWorld(blur=0.2, grain=4.0)
    clips = toy_clips(2, 9)
    state, shown = world.prefill(clips.frames[:1], None, [3]), []
    for k in range(8):
        action = np.zeros((1, 2, MINECRAFT.size), np.float32)
        action[..., -1] = k - 3
        state, step = world.step(state, action)
        shown.append(step.frames[0])
    return np.concatenate(shown)


def restored_snapshot(home: Path) -> Frames:
    """What is shown on being restored, after three steps, and after a reset that the snapshot's generator decides."""
    env = frozen_env(home)
    first, _ = env.restore(Snapshot.load(home / "moments/snapshot.safetensors"))
    steps = [env.step(action)[4]["frames"] for action in (TURN, NOOP, TURN)]
    return np.concatenate([first[None], *steps, env.reset()[0][None]])


def restored_state(home: Path) -> Frames:
    return go_on(frozen_world(home), WorldState.load(home / "moments/state.safetensors"), 3)


def tree(home: Path, name: str) -> Any:
    """The futures of a tree of actions from the frozen state."""

    def players(player: str):
        raise UserError(f"unknown policy {player!r}")

    world = frozen_world(home)
    nodes = read_tree(home / "trees" / name, world.spec, fps=world.config.fps, players=players)
    return world.branch(WorldState.load(home / "moments/state.safetensors"), nodes)


def tree_futures(home: Path) -> Frames:
    return np.concatenate([branch.frames for branch in tree(home, "plan.tree")])


def tree_names(home: Path) -> Any:
    futures = {name: tree(home, name) for name in ("plan.tree", "plan.yaml")}
    return {name: [[b.name, len(b.frames), sha256(b.actions)] for b in found] for name, found in futures.items()}


def store_contents(home: Path) -> Any:
    """All that a store tells, bit for bit."""
    store = EpisodeStore(home / "store/store", verify="whole")
    episodes = {name: store.read(name) for name in store.names()}
    batch = ClipSampler(store, "train", frames=9, batch=3, seed=1)[4]
    return {
        "splits": {split: store.names(split) for split in ("train", "validation", "test")},
        "digests": {name: store.digest(name) for name in store.names()},
        "arrays": {n: {key: sha256(a) for key, a in sorted(e.arrays().items())} for n, e in episodes.items()},
        "told": {n: [e.text, list(e.events), dict(e.provenance)] for n, e in episodes.items()},
        "batch": [sha256(batch["frames"], batch["actions"], batch["rewards"]), list(batch["text"])],
        "split_of": "".join(split_of(seed)[1] for seed in range(100)),
    }


def task_heads(home: Path) -> Any:
    """Facts, uncertainty and rewards that a frozen world with task heads estimates."""
    env = WorldSimEnv(frozen_world(home), starts=home / "world/world/starts", task="look_at_tree")
    env.reset(seed=4)
    told = [env.step(TURN)]
    while not told[-1][2] and len(told) < 4:
        told.append(env.step(TURN))
    heads = env.world.fact_heads
    assert heads is not None
    facts = heads.probabilities(env.current().features)
    return {
        "facts": {name: p.tolist() for name, p in facts.items()},
        "trust": [float(step[4]["trust"]) for step in told],
        "rewards": [float(step[1]) for step in told],
        "pose": [step[4]["pose"].tolist() for step in told],
    }


def policy_acts(home: Path) -> Any:
    learned = load_policy(home / "policy/run")
    pictures = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 6), np.uint8)
    return [learned.act(picture, deterministic=True).tolist() for picture in pictures]


def policy_values(home: Path) -> Any:
    policy = load_policy(home / "policy/run").policy
    pictures = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 6), np.uint8)
    with torch.no_grad():
        observed, _ = policy.obs_to_tensor(pictures)
        _, values, likelihood = policy(observed, deterministic=True)
    return {"values": values.flatten().tolist(), "likelihood": likelihood.tolist()}


def batches(index: int) -> LatentBatch:
    """Latent frames that the mouse moves."""
    generator = torch.Generator().manual_seed(index + 1000)
    actions = torch.zeros(4, 6, 2, 22)
    actions[..., -1] = torch.randn(4, 6, 1, generator=generator).expand(-1, -1, 2)
    data = torch.randn(4, 6, CHANNELS, 4, 4, generator=generator)
    return LatentBatch(data, actions, torch.zeros(4, 6, 5), torch.zeros(4, 6))


def pictures_to_code(index: int) -> torch.Tensor:
    flat = torch.rand(4, 4, 4, 4, 3, generator=torch.Generator().manual_seed(abs(index)))
    return (flat.repeat_interleave(8, 2).repeat_interleave(8, 3) * 255).byte()


def dynamics_losses(home: Path) -> Any:
    training = from_flat({"steps": 3, "warmup": 2, "compile": False, "validate_every": 1})
    run = train_dynamics(tiny_dit().config, training, batches, batches(-7), home / "losses/dynamics")
    return [metrics for _, metrics in run]


def tokenizer_losses(home: Path) -> Any:
    training = TokenizerTraining(steps=3, warmup=2, validate_every=1)
    run = train_tokenizer(
        tiny_tokenizer().config, training, pictures_to_code, pictures_to_code(999), home / "losses/tokenizer"
    )
    return [metrics for _, metrics in run]


def resumed_losses(home: Path) -> Any:
    """Steps 4 and 5 of the frozen run, which stopped after three."""
    assert call(home / "dynamics", [*DYNAMICS, "training.steps=5"]) == 0
    rows = [json.loads(line) for line in (home / "dynamics/run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    return [{name: value for name, value in row.items() if name != "time"} for row in rows[3:]]


def resumed_policy(home: Path) -> Any:
    """The frozen run of PPO, which stopped after 16 steps, goes on to 32."""
    assert call(home / "policy", [*PPO, "schedule.steps=32"]) == 0
    policy = load_policy(home / "policy/run/policy.safetensors")
    assert policy.about["steps"] == 32
    norms = {name: float(t.double().norm()) for name, t in policy.policy.state_dict().items()}
    return {"norms": norms, "task": policy.about["task"]}


def tiny_evaluation(home: Path) -> Any:
    """The numbers of an evaluation that measures everything anew."""
    (home / "eval").mkdir(exist_ok=True)
    assert call(home / "eval", [*EVAL, "folder=anew"]) == 0
    return results_of(home / "eval/anew/eval.json")


def results_of(path: Path) -> Any:
    """The measured numbers of an ``eval.json``."""
    found = json.loads(path.read_text())
    parts = {name: found[name] for name in ("horizons", "actions", "forced", "objects")}
    return {name: {k: v for k, v in part.items() if k != "took_seconds"} for name, part in parts.items()}


def toy_evaluation(home: Path) -> Any:
    """What is measured of a toy world that blurs and is noisy."""
    world: Any = ToyWorld(blur=0.3, grain=3.0)
    clips, still = toy_clips(4, 33), standing_clips()
    found = free_running(world, clips, 9, 8)
    signs = sign_evidence(world, clips, 9, turn_chunks=3, walk_chunks=4)
    return {
        "horizons": horizon_report(found, clips.maps, 3),
        "actions": delta_report(found, clips.maps),
        "signs": sign_report(signs, clips.maps),
        "forced": forced_report(world, clips, 9, 8, 2, samples=2),
        "memory": memory_report(memory_scores(world, still, 9, [3])[0], {}, still.maps),
    }


def call(folder: Path, words: list[str]) -> int:
    """``worldsim`` in a folder."""
    with contextlib.chdir(folder):
        return cli.main(words)


FRAMES: dict[str, Callable[[Path], Frames]] = {
    "shipped pong": lambda home: shipped("pong", 10),
    "toy": toy_rollout,
    "world": frozen_rollout,
    "snapshot": restored_snapshot,
    "state": restored_state,
    "tree": tree_futures,
}
EXACT: dict[str, Callable[[Path], Any]] = {"store": store_contents, "tree names": tree_names, "policy": policy_acts}
NUMBERS: dict[str, Callable[[Path], Any]] = {
    "task heads": task_heads,
    "policy values": policy_values,
    "dynamics losses": dynamics_losses,
    "tokenizer losses": tokenizer_losses,
    "resumed losses": resumed_losses,
    "resumed policy": resumed_policy,
    "tiny evaluation": tiny_evaluation,
    "toy evaluation": toy_evaluation,
}
