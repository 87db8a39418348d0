"""Made the files of this folder, with the code of commit fb61654, before the files moved into subpackages.

Written against the modules of that commit and kept as a record: today's code must not make these files anew.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import io
import json
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from worldsim.actions import MINECRAFT
from worldsim.datasets.episode import Episode
from worldsim.datasets.starts import StartClips, save_starts
from worldsim.dit import DiTConfig, WorldDiT
from worldsim.fact_heads import FactHeads, FactHeadsConfig, save_fact_heads
from worldsim.heads import MOTION
from worldsim.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.trust import Trust, save_trust
from worldsim.world import WorldModel
from worldsim.world_config import WorldConfig

from tests.frozen_measures import DYNAMICS, EVAL, EXACT, FRAMES, NUMBERS, PPO, TURN, call, frozen_env, sha256
from tests.test_frozen import KINDS, machine, pooled, unpacked
from tests.tiny_world import shaken
from worldsim.datasets.store import EpisodeStore, split_of

HEIGHT, WIDTH, CHANNELS = 32, 48, 4
# Names that users wrote into recordings and settings: they must go on working for one release.
OLD_NAMES = [
    "worldsim.agents.pong_player:PongPlayer",
    "worldsim.agents.policies_random:StickyRandom",
    "worldsim.agents.policies_random:Idle",
    "worldsim.script_player:ScriptPolicy",
]
TREE = "left: yaw -20 x 4\n  forward 4\n  back 2\nforward 6\n"
YAML = "- play: yaw -20 x 4\n  name: left\n  branches: [forward 4, back 2]\n- forward 6\n"


def make_world(folder: Path) -> None:
    """A world with prompts, start clips, task heads and a calibration."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(
        TokenizerConfig(
            channels=CHANNELS, encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=2, detail_width=4,
            detail_blocks=1,
        )
    )  # fmt: skip
    tokenizer.fit_linear(torch.rand(4, 2, 2, 3, 32, 32))
    shaken(tokenizer, 0, 0.05)
    dit = WorldDiT(
        DiTConfig(
            channels=CHANNELS, keys=len(MINECRAFT.keys), camera=True, chunk=2, width=16, heads=2, kv_heads=1, blocks=2,
            temporal_every=2, registers=1, window=6, text_size=6, modulation=4,
        )
    )  # fmt: skip
    shaken(dit, 0)
    with torch.no_grad():
        dit.heads.out.weight[MOTION] = 0
        dit.heads.out.bias[MOTION] = -20
    config = WorldConfig(height=HEIGHT, width=WIDTH, spec=MINECRAFT, prompts=("in a forest", "in a desert"))
    WorldModel(config, tokenizer, dit, prompt_embeddings=torch.randn(2, 6), bf16=False).save(folder)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 5, HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 2).repeat(8, 3)
    actions = np.zeros((2, 4, MINECRAFT.size), np.float32)
    actions[..., 0] = 1
    starts = StartClips(frames=frames, actions=actions, keys=MINECRAFT.keys, provenance=[{"seed": 1}, {"seed": 2}])
    save_starts(folder / "starts", starts, exact=True)
    heads = FactHeads(FactHeadsConfig(features=32, hidden=8, known=("wet", "sees_tree"), text=6))
    save_fact_heads(shaken(heads, 1), folder)
    weights = torch.tensor([0.2, 0.1, -1.0])
    save_trust(Trust(torch.zeros(3), torch.ones(3), weights, torch.tensor(1.0), asdict(config.sampling), {}), folder)


def make_store(folder: Path) -> None:
    """Two episodes of each split: a picture turns with the player; recorded by a policy that is named by its class."""
    store = EpisodeStore(folder)
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            rng = np.random.default_rng(seed)
            wide = rng.integers(0, 255, (HEIGHT // 8, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            turn = np.repeat(rng.integers(0, 4, 6) * np.arange(6).__mod__(2), 10).astype(np.float32)
            yaw = np.concatenate([[0], np.cumsum(turn)[:-1]])
            actions = np.zeros((60, MINECRAFT.size), np.float32)
            actions[:-1, -1] = np.diff(yaw)
            zeros = np.zeros((60, 3), np.float32)
            about = {"seed": seed, "split": split, "fps": 20, "keys": list(MINECRAFT.keys), "engine": "none",
                     "licence": "CC0-1.0", "source": "frozen", "policy": OLD_NAMES[0]}  # fmt: skip
            store.append(
                Episode(
                    frames=np.stack([np.roll(wide, -int(y), 1)[:, :WIDTH] for y in yaw]), actions=actions,
                    rewards=rng.normal(size=60).astype(np.float32), terminated=np.arange(60) == 59,
                    state={"position": zeros, "velocity": zeros, "yaw": yaw, "pitch": np.zeros(60)},
                    text=("walking in a forest", "standing in a desert")[seed % 2], provenance=about,
                    events=[{"frame": 20, "kind": "dig"}],
                ),
                f"map{seed}",
            )  # fmt: skip
    store.index()


def make_runs(home: Path) -> None:
    """Runs that stopped after some steps, and an evaluation."""
    for name in ("dynamics", "policy", "eval"):
        (home / name).mkdir()
    assert call(home / "dynamics", [*DYNAMICS, "data=../store/store", "training.steps=3"]) == 0
    assert call(home / "policy", [*PPO, "schedule.steps=16"]) == 0
    assert call(home / "eval", [*EVAL, "folder=run"]) == 0


def make_moments(home: Path) -> None:
    """A snapshot and a state, a few steps into an episode."""
    env = frozen_env(home)
    env.reset(seed=5)
    for _ in range(3):
        env.step(TURN)
    (home / "moments").mkdir()
    env.snapshot().save(home / "moments/snapshot.safetensors")
    env.current().save(home / "moments/state.safetensors")


# What can be made anew, or is too large to keep: folders, names, endings.
LEFT_OUT = {"dynamics": {"samples", "world", "tensorboard"}, "policy": {"videos"}, "eval": {"videos", "report.html"}}


def pack(home: Path, kind: str, target: Path) -> None:
    """A kind of artifact as one file: weights that it holds twice are then kept once."""
    with tarfile.open(target, "w:xz", preset=9) as out:
        for path in sorted(path for path in (home / kind).rglob("*") if path.is_file()):
            name = path.relative_to(home / kind)
            left_out = LEFT_OUT.get(kind, set()) & set(name.parts) or name.name.startswith("events.out")
            if not left_out and not (kind == "eval" and name.suffix == ".npz"):
                about = tarfile.TarInfo(str(name))
                about.size = path.stat().st_size
                out.addfile(about, io.BytesIO(path.read_bytes()))


def main(target: Path) -> None:
    """Write all frozen files to a folder."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        make_world(home / "world/world")
        make_store(home / "store/store")
        make_runs(home)
        make_moments(home)
        (home / "trees").mkdir()
        (home / "trees/plan.tree").write_text(TREE)
        (home / "trees/plan.yaml").write_text(YAML)
        for kind in KINDS:
            pack(home, kind, target / f"{kind}.tar.xz")
    expected = {"machine": machine(), "frames": {}, "exact": {}, "numbers": {}, "old_names": OLD_NAMES}
    pictures = {}
    for kind, measures in (("frames", FRAMES), ("exact", EXACT), ("numbers", NUMBERS)):
        for name, measure in measures.items():
            with tempfile.TemporaryDirectory() as temporary:
                found = measure(unpacked(target, Path(temporary)))
            expected[kind][name] = sha256(found) if kind == "frames" else found
            if kind == "frames":
                pictures |= {f"{name}/pooled": pooled(found), f"{name}/last": found[-1]}
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    np.savez_compressed(target / "frames.npz", allow_pickle=False, **pictures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
