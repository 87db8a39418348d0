"""The commands of a whole road on a tiny store: train a tokenizer, train dynamics, evaluate what came out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldsim import cli
from worldsim.actions import MINECRAFT
from worldsim.datasets.episode import Episode
from worldsim.datasets.governance import read_metadata
from worldsim.datasets.store import EpisodeStore, split_of
from worldsim.world import WorldModel

TINY = [f"model.{name}=8" for name in ("channels", "encoder_width", "decoder_width", "detail_width")]


def record(store: EpisodeStore, seed: int, frames: int = 80) -> None:
    """A noisy picture that moves to the left when the player turns right."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 255, (6, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    yaw = np.cumsum(rng.uniform(0, 3, frames))
    pictures = np.stack([np.roll(wide, -int(y), 1)[:, :80] for y in yaw])
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:-1, -1] = np.diff(yaw)
    state = {"position": np.zeros((frames, 3)), "yaw": yaw, "pitch": np.zeros(frames)}
    episode = Episode(
        frames=pictures, actions=actions, rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, bool),
        state=state, text="turning", provenance={"seed": seed, "split": split_of(seed), "fps": 20},
    )  # fmt: skip
    store.append(episode, f"map{seed}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store"
    made = EpisodeStore(path)
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            record(made, seed)
    return path


def test_train_tokenizer_then_dynamics_then_evaluate(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    words = ["train", "tokenizer", f"data={store}", "folder=tok", "training.steps=2", "batch=2", "chunks=4", *TINY]
    assert cli.main(words) == 0
    assert (tmp_path / "tok" / "tokenizer.safetensors").exists() and (tmp_path / "tok" / "config.yaml").exists()
    words = ["train", "dynamics", f"data={store}", "tokenizer=tok/tokenizer.safetensors", "folder=dyn", "model=tiny"]
    words += ["training.steps=2", "training.compile=false", "batch=2", "frames=8"]
    assert cli.main(words) == 0
    # Started again, a finished run has nothing left to do.
    assert cli.main(words) == 0
    assert WorldModel.load(tmp_path / "dyn" / "world").chunk == 2
    for file in ("tokenizer.safetensors", "dit.safetensors"):
        (trained_on,) = read_metadata(tmp_path / "dyn" / "world" / file)["trained_on"]["stores"]
        assert trained_on["store"] == str(store) and len(trained_on["episodes"]) == 2
    capsys.readouterr()
    words = ["eval", f"data={store}", "world=dyn/world", "clips=4", "prefix=9", "chunks=3", "folder=eval"]
    assert cli.main(words) == 0
    results = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert len(results["horizons"]["model"]) == 3 and results["action_use"]["ratio"] > 0
    assert "PSNR" in capsys.readouterr().out


def test_pictures_train_a_world(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures = EpisodeStore(tmp_path / "pictures")
    for name in EpisodeStore(store).names():
        clip = EpisodeStore(store).read(name, 0, 1)
        pictures.append(replace(clip, provenance={**clip.provenance, "actions": "unknown"}), name)
    words = ["train", "tokenizer", "data=pictures", "folder=tok", "training.steps=2", "batch=2", *TINY]
    assert cli.main(words) == 0
    words = ["train", "dynamics", "data=pictures", "tokenizer=tok/tokenizer.safetensors", "folder=dyn", "model=tiny"]
    words += ["training.steps=2", "training.compile=false", "batch=2", "frames=1"]
    assert cli.main(words) == 0
    assert (tmp_path / "dyn" / "samples" / "000002.mp4").exists()


def test_data_commands(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "summary", f"data={store}"]) == 0
    assert "2 episodes" in capsys.readouterr().out
    assert cli.main(["data", "list", f"data={store}", "split=test"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["data", "sheet", f"data={store}", "--out", "sheet.png"]) == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["data", "verify", f"data={store}"]) == 0
    damaged = next(path for path in store.rglob("*") if path.is_file() and path.stat().st_size > 5000)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert cli.main(["data", "verify", f"data={store}"]) == 1
    assert "5 of 6 episodes are whole" in capsys.readouterr().out
