"""The command line: help that can be read, mistakes in one line with exit code 2, results where they are said to be."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.timing import PATIENCE, wait_until
from tests.tiny_world import save_tiny_world, tiny_starts
from worldsim import cli
from worldsim.cli.worlds import evaluate
from worldsim.datasets.store.video import read_video, write_video
from worldsim.envs.learned.initial_context import shared_world
from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_world(tmp_path_factory.mktemp("cli") / "tiny"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder without a display, with two files of actions."""
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.csv").write_text("forward,repeat\n1,6\n")
    (tmp_path / "b.csv").write_text("forward,yaw,repeat\n1,3,6\n")
    return tmp_path


MISTAKES = [
    ["play", "--world", "nowhere"],
    ["play", "headles=true"],
    ["play", "--headles"],
    ["play", "seconds=soon"],
    ["play", "seconds=-1"],
    ["play", "scale=0"],
    ["play", "--headless", "--policy", "nobody"],
    ["play", "--headless", "--policy", "walk", "--engine", "luanti"],
    ["bench", "env", "rows=1"],
    ["train", "trust"],
    ["rollout", "--actions", "a.csv"],
    ["rollout", "--prefix", "0"],
    ["rollout", "--prefix", "0", "--actions", "missing.csv"],
    ["rollout", "--prefix", "cut.mp4", "--actions", "a.csv"],
    ["rollout", "--prefix", "77", "--actions", "a.csv"],
    ["rollout", "--prefix", "0", "--tree", "missing.tree"],
    ["rollout", "--prefix", "0", "--policy", "nobody"],
    ["rollout", "--prefix", "0", "--actions", "a.csv", "--task", "fly"],
    ["rollout", "--prefix", "0", "--actions", "a.csv", "--against", "engine"],
    ["rollout", "--prefix", "0", "--actions", "a.csv", "seconds=0"],
    ["rollout", "--prefix", "0", "--human"],
    ["train", "tokenizer"],
    ["train", "dynamics", "data=nowhere"],
    ["train", "dynamics", "training.rat=1"],
    ["train", "dynamics", "training.steps=many"],
    ["train", "dynamics", "model=huge"],
    ["train", "dynamics", "data=nowhere", "training.noise.sampler_steps=0"],
    ["train", "dynamics", "data=nowhere", "training.image_fraction=1.5"],
    ["train", "dynamics", "data=nowhere", "training.optimizer.rate=.nan"],
    ["train", "tokenizer", "data=nowhere", "training.steps=0"],
    ["train", "dynamics", "data=.", "tokenizer=cut.mp4", "device=abacus"],
    ["play", "device=abacus"],
    ["play", "--serve", "device=meta"],
    ["rollout", "--prefix", "0", "--actions", "a.csv", "device=cuda:99"],
    ["eval", "data=.", "device=abacus"],
    ["agent", "train", "device=cuda:-1"],
    ["agent", "eval", "policy=noop", "device="],
    ["agent", "watch", "policy=noop", "device=CUDA"],
    ["bench", "device=abacus"],
    ["eval", "data=nowhere"],
    ["data", "summary"],
    ["data", "list", "data=nowhere"],
    ["collect"],
    ["collect", "out=store", "maps=some"],
    ["bench", "steps=1"],
    ["play", "--headless", "sampling_steps=0"],
    ["bench", "train", "batch=0"],
    ["doctor", "x=1"],
]


@pytest.mark.slow
@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], world: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    write_video(folder / "cut.mp4", np.random.default_rng(0).integers(0, 255, (9, 48, 80, 3), np.uint8))
    content = (folder / "cut.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    if words[0] == "rollout" or words[:2] == ["bench", "steps=1"] or (words[0] == "play" and "--world" not in words):
        words = [*words, f"world={world}"]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("worldsim: ") and captured.err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["play", "--headless"], ["rollout", "--prefix", "0", "--actions", "a.csv"], ["bench", "steps=10"],
        ["eval", "data=anything"], ["agent", "watch", "policy=noop", "headless=true"],
        ["agent", "eval", "policy=noop", "sampling_steps=1"], ["agent", "train"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_gpu_is_taken_where_there_is_one(
    words: list[str], world: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if words[0] == "agent":
        pytest.importorskip("stable_baselines3")
    asked: list[str] = []

    def load(place: Path, *, device: str = "cpu", **_: object) -> WorldModel:
        asked.append(device)
        raise UserError("loaded enough")

    monkeypatch.setattr(WorldModel, "load", load)
    monkeypatch.setattr(evaluate, "store_at", Path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    shared_world.cache_clear()
    for more in ([], ["device=cpu"], ["device=cuda:1"]):
        assert cli.main([*words, f"world={world}", *more]) == 2
        assert capsys.readouterr().err == "worldsim: loaded enough\n"
    assert asked == ["cuda", "cpu", "cuda:1"]


def test_a_damaged_checkpoint_is_one_line(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    copy = folder / "world"
    copy.mkdir()
    for name in ("tokenizer.safetensors", "dit.safetensors"):
        (copy / name).write_bytes((Path(world) / name).read_bytes()[:-50])
    assert cli.main(["play", "--headless", f"world={copy}"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_play_without_a_display_writes_a_video(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["play", "--world", world, "--seconds", "0.5", "seed=3"]) == 0
    out = capsys.readouterr().out
    assert "no display" in out and "frames/s" in out and "p95" in out
    [run] = (folder / "runs").iterdir()
    assert len(read_video(run / "play.mp4")) == 12
    assert "seed: 3" in (run / "config.yaml").read_text()


@pytest.mark.slow
def test_a_video_begins_with_a_line_that_says_what_is_loaded_before_pytorch_is(world: str, folder: Path):
    program = "import builtins, sys\nsay = print\n"
    program += "builtins.print = lambda *words, **how: say('torch' in sys.modules, *words, **how)\n"
    program += "from worldsim import cli\nsys.exit(cli.main(sys.argv[1:]))\n"
    words = ["play", "--headless", "--world", world, "seconds=0.1"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=folder)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == f"False loading the world {world}" and lines[-1].startswith("True ")


@pytest.mark.slow
def test_the_planner_plays_without_a_display(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["play", "--headless", "--policy", "planner", "--world", world, "--seconds", "0.3", "--out", "a.mp4"]
    assert cli.main(words) == 0 and len(read_video(folder / "a.mp4")) == 8
    assert cli.main([*words[:2], *words[4:], "--out", "b.mp4"]) == 0
    assert not np.array_equal(read_video(folder / "a.mp4"), read_video(folder / "b.mp4"))


def test_rollout(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    write_video(folder / "clip.mp4", tiny_starts().frames[0])
    words = ["rollout", "--world", world, "--prefix", "clip.mp4"]
    assert cli.main([*words, "--actions", "a.csv", "--actions", "b.csv", "--actions", "a.csv", "--out", "out"]) == 0
    summary = json.loads((folder / "out" / "divergence.json").read_text())
    assert [b["first_different_frame"] for b in summary["branches"]] == [None, 1, None]
    assert summary["branches"][2]["mean_abs_difference"] == 0
    assert "equal to the first branch" in capsys.readouterr().out


@pytest.mark.slow
def test_bench_train(folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["bench", "train", "model=tiny", "batch=1", "frames=4", "steps=1", "training.compile=false"]
    assert cli.main(words) == 0
    results = json.loads(next((folder / "runs").glob("bench-train-*/bench.json")).read_text())
    # Forward and backward are six operations a weight and token; two blocks have at least 4 D^2 + 3 D 192 weights each.
    tokens = 4 * (45 + 1)
    assert results["step_gflop"] * 1e9 > 6 * tokens * 2 * (4 * 64 * 64 + 3 * 64 * 192)
    assert results["latent_frames_per_step"] == 4 and 0 < results["optimizer_share"] < 1
    assert "optimizer" in capsys.readouterr().out


def test_rollout_of_a_tree_with_policies(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "walk.tree").write_text("forward 4\n  yaw +20 x 4\n  back: a.csv\n")
    words = [
        "rollout",
        "--world",
        world,
        "--prefix",
        "1",
        "--tree",
        "walk.tree",
        "--policy",
        "walk, walk",
        "seconds=0.3",
    ]
    assert cli.main([*words, "--out", "out"]) == 0
    summary = json.loads((folder / "out" / "divergence.json").read_text())
    names = [branch["name"] for branch in summary["branches"]]
    assert names == ["1 forward 4, yaw +20 x 4", "2 forward 4, back", "3 walk", "4 walk"]
    assert summary["branches"][1]["first_different_frame"] == 5 and summary["frames"] == 10
    assert summary["branches"][2] | {"name": ""} == summary["branches"][3] | {"name": "", "segments": [3]}
    assert "tree.png" in capsys.readouterr().out and (folder / "out" / "branch-4.mp4").exists()


@pytest.mark.slow
def test_bench_and_doctor(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "--world", world, "steps=10", "minutes=0.02"]) == 0
    [run] = (folder / "runs").iterdir()
    results = json.loads((run / "bench.json").read_text())
    assert results["sampling_steps"] == 2
    assert results["step_p50_ms"] <= results["step_p95_ms"] and 0 < results["decode_share"] < 1
    assert 0 < results["share_of_matrix_ceiling"] < 1 and results["memory"]["most_mb"] > 0
    assert cli.main(["doctor"]) in (0, 1)
    assert "torch" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_keeps_what_was_played(world: str, folder: Path):
    command = [sys.executable, "-m", "worldsim", "play", "--headless", "--world", world, "seconds=3000"]
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A background job's children ignore Ctrl-C, and so would this one where the tests are such a job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: list(folder.glob("runs/*/.play.*")) or running.poll() is not None, "a video is written")
        assert running.poll() is None, "the command ended by itself"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()
    assert running.returncode == 130 and "Traceback" not in errors
    assert sorted(p.name for p in folder.glob("runs/*/*")) == ["config.yaml", "play.mp4"]
    [video] = folder.glob("runs/*/play.mp4")
    # The start's two frames, and those of every chunk since.
    assert len(read_video(video)) % 2 == 0 and len(read_video(video)) >= 2


@pytest.mark.slow
def test_bench_env_measures_and_compares(world: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["bench", "env", "--world", world, "steps=3", "rows=3", "processes=1", "null_steps=3", "folder=b"]
    assert cli.main(words) == 0
    results = json.loads((folder / "b" / "bench_env.json").read_text())
    assert min(results["steps_per_second"].values()) > 0 and 0 < results["share_of_matrix_ceiling"] < 1
    assert results["snapshots"]["new_bytes_when_taken"] == 0
    assert results["null_test"]["in another process"]["first_different_step"] is None
    assert "DIAMOND" in capsys.readouterr().out
