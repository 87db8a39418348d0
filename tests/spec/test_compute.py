"""What weights have cost: counted, cumulative, equal after an interruption, carried into the world."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_world import tiny_dit, tiny_world
from tests.training.test_training import latents
from worldsim.cli.bench.timing import counted_flop
from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining, LossSettings, OptimizerSettings, SelfRolloutSettings
from worldsim.models.checkpoint import load_tensors
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.compute import UNKNOWN, Compute
from worldsim.training.dynamics import train_dynamics
from worldsim.training.flops import step_flops


def spent(folder: Path) -> Compute:
    return Compute.from_json(load_tensors(folder / "dit.safetensors")[1].get("compute"))


def run(folder: Path, steps: int, stop: int | None = None, **more: Any) -> Compute:
    training = DynamicsTraining(
        steps=steps, optimizer=OptimizerSettings(warmup=1), compile=False, validate_every=100, save_minutes=1e9
    )
    going = train_dynamics(tiny_dit().config, training, latents, latents(-7), folder, **more)
    for _ in range(steps if stop is None else stop):
        next(going)
    going.close()
    return spent(folder)


@pytest.mark.slow
def test_compute_is_that_of_all_steps_and_equal_after_an_interruption(tmp_path: Path):
    whole = run(tmp_path / "whole", 4)
    assert run(tmp_path / "parts", 4, stop=2).steps == 2
    assert run(tmp_path / "parts", 4, stop=2) == whole
    one = step_flops(tiny_dit(), latents(0), DynamicsTraining())
    assert whole == Compute(steps=4, latent_frames=4 * 24, flop=4 * one) and whole.known and one > 0


@pytest.mark.slow
def test_compute_is_cumulative_over_initial_weights(tmp_path: Path):
    before = run(tmp_path / "before", 2)
    weights = load_tensors(tmp_path / "before" / "dit.safetensors")[0]
    after = run(tmp_path / "after", 3, initial=weights, before=before)
    assert after == Compute(steps=5, latent_frames=5 * 24, flop=2.5 * before.flop)
    # Resumed, it is told again what came before; that counts once.
    assert run(tmp_path / "after", 3, stop=0, initial=weights, before=before) == after
    blind = run(tmp_path / "blind", 1, initial=weights)
    assert blind.since == UNKNOWN and not blind.known and blind.steps == 1


SETTINGS = {
    "plain": DynamicsTraining(image_fraction=0.0),
    "energy score": DynamicsTraining(loss=LossSettings(energy_score_loss=True), image_fraction=0.0),
    "shortcuts, computed again": DynamicsTraining(
        loss=LossSettings(shortcut_from=0), recompute=True, image_fraction=0.0
    ),
    "dreams and half clips": DynamicsTraining(
        self_rollout=SelfRolloutSettings(fraction=0.5, max_frames=3), half_clip_fraction=0.5, image_fraction=0.0
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("learn", [(), ("heads",)])
@pytest.mark.parametrize("name", SETTINGS)
def test_operations_are_those_that_the_network_does(name: str, learn: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worldsim.training.flops.DRAWS", 3)
    training, dit = SETTINGS[name], tiny_dit()
    dit.recompute = training.recompute
    for weight, parameter in dit.named_parameters():
        parameter.requires_grad_(not learn or weight.startswith(learn))
    draws, counted = 3 if name == "dreams and half clips" else 1, 0
    for draw in range(draws):
        generator, shortcut = torch.Generator().manual_seed(draw), training.loss.shortcut_from == 0
        given = (dit, latents(0), training, generator, ErrorBank(1), shortcut)
        counted += counted_flop(lambda given=given: dynamics_loss(*given)[0].backward())
        dit.zero_grad(set_to_none=True)
    assert step_flops(dit, latents(5), training) == counted / draws


def test_counting_operations_changes_neither_weights_nor_draws():
    dit = tiny_dit()
    before, state = [p.clone() for p in dit.parameters()], torch.get_rng_state()
    dreams = SelfRolloutSettings(fraction=0.5, max_frames=3)
    plain, dreaming = (
        step_flops(dit, latents(0), DynamicsTraining(self_rollout=rollout, image_fraction=1.0))
        for rollout in (SelfRolloutSettings(), dreams)
    )
    assert plain < dreaming
    assert torch.equal(state, torch.get_rng_state()) and all(p.grad is None for p in dit.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, dit.parameters(), strict=True))


@pytest.mark.parametrize("raw", [None, "much", {}, {"steps": -1, "latent_frames": 0, "flop": 1.0, "since": "x"}])
def test_of_anything_else_nothing_is_known(raw: Any):
    assert Compute.from_json(raw) == Compute(since=UNKNOWN)


def test_a_world_carries_its_compute(tmp_path: Path):
    known = Compute(steps=7, latent_frames=70, flop=1.5e12)
    world = tiny_world()
    assert not world.compute.known
    exported = WorldModel(
        world.config, world.tokenizer, world.dit, prompt_embeddings=world.prompt_embeddings, bf16=False, compute=known
    )
    exported.with_sampling(steps=1).save(tmp_path / "world")
    assert WorldModel.load(tmp_path / "world").compute == known
