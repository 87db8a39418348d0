"""``worldsim bench peers`` with stand-ins for other world models: who is found, how it is opened, what is compared."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.cli.bench.machine import LARGE
from worldsim.cli.bench.peers import command, dreamer4
from worldsim.cli.bench.peers.diamond import diamond

DREAMER4 = """
import torch
from torch import nn
CALLS = []
class VideoTokenizer(nn.Module):
    def __init__(self, **sizes):
        super().__init__()
        assert sizes["lpips_loss_weight"] == 0
        self.layer = nn.Linear(4, 4)
    def tokenize(self, video):
        assert video.ndim == 5
        return torch.zeros(len(video), 1, 2, 4)
class DynamicsWorldModel(nn.Module):
    def __init__(self, *, dim, dim_latent, video_tokenizer, num_discrete_actions):
        super().__init__()
        self.video_tokenizer = video_tokenizer
        self.layer = nn.Linear(4, 4)
    def generate(self, frames, *, batch_size, prompt_latents, prompt_discrete_actions, **settings):
        assert prompt_discrete_actions.shape == (batch_size, frames, 1) and not self.training
        assert not any(weight.requires_grad for weight in self.parameters())
        CALLS.append((frames, batch_size, settings["num_steps"]))
        return self.layer(prompt_latents)
"""
DIAMOND = """
from dataclasses import dataclass
import torch
from torch import nn
import data, utils
@dataclass
class InnerModelConfig:
    img_channels: int
    num_steps_conditioning: int
    num_actions: int = None
@dataclass
class DenoiserConfig:
    inner_model: InnerModelConfig
    sigma_data: float
    upsampling_factor: int = None
@dataclass
class DiffusionSamplerConfig:
    num_steps_denoising: int
    sigma_min: float = 1
    s_tmax: float = float("inf")
class Denoiser(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
class DiffusionSampler:
    def __init__(self, denoiser, cfg):
        self.denoiser, self.cfg = denoiser, cfg
        assert (cfg.sigma_min, cfg.s_tmax) == (0.002, float("inf"))
    def sample(self, past, act):
        assert past.shape[1] == self.denoiser.cfg.inner_model.num_steps_conditioning + (act is None)
        assert act is None or (act < self.denoiser.cfg.inner_model.num_actions).all()
        x = past[:, -1]
        for _ in range(self.cfg.num_steps_denoising):
            x = self.denoiser.conv(x)
        return x, []
"""
SAMPLER = "num_steps_denoising: 3\n{0}sigma_min: 2e-3\n{0}rho: 7\n{0}s_tmax: ${{eval:'float(\"inf\")'}}\n"
NETWORK = "  sigma_data: 0.5\n  inner_model: {img_channels: 3, num_steps_conditioning: 4, cond_channels: 9}\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_world(tmp_path_factory.mktemp("peers") / "tiny")


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch: pytest.MonkeyPatch):
    """Figures are not what is tested."""
    monkeypatch.setitem(LARGE, "cpu", 64)
    monkeypatch.setattr(command, "CEILING_SECONDS", 0.0)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch):
    """Nothing is installed, whatever is."""
    monkeypatch.setattr(dreamer4, "PACKAGE", "nobodys_world_model")


def checkout(folder: Path, *, csgo: bool = False) -> Path:
    """A stand-in for a checkout, with modules that have anybody's names."""
    files = {
        "src/models/__init__.py": "", "src/models/diffusion/__init__.py": DIAMOND, "src/data.py": "",
        "src/utils.py": "from omegaconf import OmegaConf\nimport wandb\n",
    }  # fmt: skip
    if csgo:
        files |= {
            "config/agent/csgo.yaml": f"denoiser:\n{NETWORK}upsampler:\n  upsampling_factor: 5\n{NETWORK}",
            "config/env/csgo.yaml": "train: {size: [150, 280]}\nnum_actions: 51\n",
            "config/world_model_env/fast.yaml": "diffusion_sampler_next_obs:\n  " + SAMPLER.format("  ")
            + "diffusion_sampler_upsampling:\n  " + SAMPLER.format("  "),
        }  # fmt: skip
    else:
        files |= {
            "config/agent/default.yaml": f"denoiser:\n{NETWORK}", "config/env/atari.yaml": "train: {size: 64}\n",
            "config/trainer.yaml": "world_model_env:\n  diffusion_sampler:\n    " + SAMPLER.format("    "),
        }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(world: Path, folder: Path, *words: str) -> dict[str, Any]:
    words = (f"world={world}", "rows=2", "rounds=1", "seconds=.001", f"folder={folder}", *words)
    assert cli.main(["bench", "peers", *words]) == 0
    return json.loads((folder / "bench.json").read_text())


@pytest.mark.slow
def test_what_is_here_is_compared(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "site" / "dreamer4").mkdir(parents=True)
    (tmp_path / "site" / "dreamer4" / "__init__.py").write_text(DREAMER4)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "dreamer4", raising=False)
    results = run(world, tmp_path / "run", f"diamond={checkout(tmp_path / 'diamond')}")
    ours, *others = results["peers"]
    assert ours.startswith("WorldSim tiny, 80x48") and [name.split()[0].strip(",") for name in others] == [
        "DIAMOND", "dreamer4",
    ]  # fmt: skip
    calls = set(sys.modules["dreamer4"].CALLS)
    assert calls == {(1 + dreamer4.FRAMES, rows, dreamer4.PASSES) for rows in (1, 2)}
    for found in results["rows"].values():
        figures = found["figures"]
        assert figures[ours]["ours_by_theirs"] == 1 and min(each["frames_per_second"] for each in figures.values()) > 0
        # Three passes of 3 x 3 convolutions of 3 channels over 64x64 pixels.
        assert figures[others[0]]["gflop_a_frame"] == pytest.approx(3 * 2 * 9 * 9 * 64 * 64 / 1e9)
        assert figures[others[1]]["gflop_a_frame"] == pytest.approx(2 * 2 * 4 * 4 / dreamer4.FRAMES / 1e9)
    assert results["peers"][others[0]]["parameters"] == 3 * 3 * 9 + 3
    out = capsys.readouterr().out
    assert "rows: 2" in out and "WorldSim, times" in out
    monkeypatch.delitem(sys.modules, "dreamer4")


@pytest.mark.usefixtures("alone")
def test_the_csgo_branch_draws_small_and_enlarges(tmp_path: Path):
    peer = diamond(checkout(tmp_path, csgo=True))
    assert peer.name == "DIAMOND, CS:GO, fast, 280x150, 3 + 3 steps" and len(peer.networks) == 2
    call = peer.begin(2)
    call()
    assert call().shape == (2, 3, 150, 280)


def test_modules_of_a_checkout_leave_those_of_the_program_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own, path = ModuleType("utils"), list(sys.path)
    monkeypatch.setitem(sys.modules, "utils", own)
    before = set(sys.modules)
    diamond(checkout(tmp_path))
    assert sys.modules["utils"] is own and sys.path == path
    assert not {"data", "models", "models.diffusion"} & (set(sys.modules) - before)
    assert {"wandb", "omegaconf"} & set(sys.modules) == {"wandb", "omegaconf"} & before


@pytest.mark.usefixtures("alone")
def test_nothing_installed_is_one_line(world: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "peers", f"world={world}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("worldsim: no other world model is here") and error.count("\n") == 1


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config/trainer.yaml", None, "no checkout of DIAMOND"),
        ("config/trainer.yaml", "world_model_env: {}\n", "KeyError"),
        ("config/agent/default.yaml", "- 1\n", "default.yaml"),
        ("src/models/diffusion/__init__.py", "import nobodys_package\n", "nobodys_package"),
    ],
)
def test_another_folder_is_one_line(
    file: str, text: str | None, said: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = checkout(tmp_path)
    (folder / file).unlink() if text is None else (folder / file).write_text(text)
    assert cli.main(["bench", "peers", f"world={world}", f"diamond={folder}"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_package_that_does_not_load_is_one_line(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "broken_world_model.py").write_text("import nobodys_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(dreamer4, "PACKAGE", "broken_world_model")
    assert cli.main(["bench", "peers", f"world={world}"]) == 2
    error = capsys.readouterr().err
    assert "cannot be imported" in error and error.count("\n") == 1
