"""``worldsim bench plan``: what it counts is what the real network has and does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from worldsim import cli
from worldsim.cli.bench.plan import kept_by_a_block
from worldsim.cli.bench.train import random_batch
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.training.dynamics import prepared, training_step
from worldsim.training.flops import step_flops

SIZE = ["model=tiny", "height=32", "width=64", "frames=4", "clips=2"]


def plan(folder: Path, *words: str) -> dict[str, Any]:
    assert cli.main(["bench", "plan", *SIZE, f"folder={folder}", *words]) == 0
    return json.loads((folder / "bench.json").read_text())


@pytest.mark.slow
def test_what_is_planned_is_what_a_real_training_holds_and_computes(tmp_path: Path):
    planned = plan(tmp_path, "devices=1")
    training, sizes = DynamicsTraining(compile=False), DiTConfig(**planned["sizes"])
    dit = WorldDiT(sizes)
    batch = random_batch(2, 4, sizes, (4, 8))
    trained = prepared(dit, training, tmp_path / "unsaved")
    training_step(dit, trained, [batch], training, 0, 0, [ErrorBank()])
    held = [*dit.parameters(), *trained.ema.shadow.values()]
    held += [t for o in trained.optimizers for state in o.state.values() for t in state.values() if t.ndim]
    real = sum(t.nbytes for t in held) + sum(p.nbytes for p in dit.parameters())
    assert planned["memory"]["parameters"] == sum(p.numel() for p in dit.parameters())
    assert planned["memory"]["state"] == pytest.approx(real, rel=0.01)
    assert planned["training"]["device_flop"] == pytest.approx(step_flops(dit, batch, training), rel=0.02)


def test_activations_of_a_block_are_those_that_autograd_keeps():
    sizes = DiTConfig(
        channels=8, keys=3, camera=True, chunk=2, width=64, heads=4, kv_heads=2, blocks=1, temporal_every=1
    )
    dit, grid, seen = WorldDiT(sizes), (4, 8), {}
    own = {p.untyped_storage().data_ptr() for p in dit.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (tensor, storage.nbytes())
        return tensor

    batch = random_batch(1, 4, sizes, grid)
    levels, present = torch.rand(1, 4), torch.ones(1, 4, dtype=torch.bool)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        dit(batch.latents, batch.latents, levels, levels, batch.actions, present)
    # Those are with scores of attention, and the shares that they become: 11 keys and as many queries, four heads.
    scores = 2 * 4 * 4 * 4 * 11 * 11
    assert kept_by_a_block(sizes, grid, 4) == pytest.approx(sum(n for _, n in seen.values()) - scores, rel=0.1)


@pytest.mark.slow
def test_devices_share_the_state_and_recomputing_trades_work_for_memory(tmp_path: Path):
    one, eight = plan(tmp_path / "1", "devices=1"), plan(tmp_path / "8", "devices=8", "training.recompute=true")
    assert eight["memory"]["state"] == pytest.approx(one["memory"]["state"] / 8)
    assert eight["memory"]["activations"] < one["memory"]["activations"]
    assert 1.1 < eight["training"]["device_flop"] / one["training"]["device_flop"] < 1.5
    assert one["training"]["communication_seconds"] == 0 and one["playing"]["frames_per_second"] > 0
    faster = plan(tmp_path / "f", "devices=1", "machine.training_share=0.7")
    assert faster["training"]["step_seconds"] == pytest.approx(one["training"]["step_seconds"] / 2)
    assert any("70%" in text for text in faster["assumptions"])


def test_a_machine_that_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "plan", *SIZE, f"folder={tmp_path}", "machine.tflops=0"]) == 2
    assert "machine.tflops must be above 0" in capsys.readouterr().err
