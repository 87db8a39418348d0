"""Training with frames known on both sides, beside causal training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny_world import CHANNELS, TEXT, tiny_dit
from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.flow import time_steps, velocity_from_data
from worldsim.diffusion.infilling import sample_infilling
from worldsim.diffusion.samplers import sample_euler
from worldsim.diffusion.settings import (
    DynamicsTraining,
    InfillingSettings,
    LossSettings,
    NoiseSettings,
    OptimizerSettings,
    SelfRolloutSettings,
)
from worldsim.models.checkpoint import load_tensors
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.patchify import previous_of
from worldsim.spec.batch import LatentBatch
from worldsim.training.dynamics import train_dynamics
from worldsim.training.flops import step_flops

FRAMES = 6
ENDS = torch.tensor([True, True, False, False, True, True])


def halves(index: int, batch: int = 32) -> LatentBatch:
    """Films of two halves, in each of which a picture and its negative alternate.

    What stands before the cut tells nothing of what comes after it, and no blend of two pictures is a negative.
    """
    generator = torch.Generator().manual_seed(index + 1000)
    a, b = torch.randn(2, batch, 1, generator=generator).sign()
    values = torch.cat([a, -a, a, b, -b, b], 1)
    pattern = torch.linspace(-1, 1, CHANNELS)[:, None, None].expand(-1, 2, 2)
    data = values[..., None, None, None] * pattern
    nothing = torch.zeros(batch, FRAMES)
    return LatentBatch(data, torch.zeros(batch, FRAMES, 2, 22), torch.zeros(batch, FRAMES, 5), nothing)


def small() -> DiTConfig:
    """A network of two layers, both over time, for pictures of one token."""
    return replace(tiny_dit(infilling=True).config, blocks=2, temporal_every=1, registers=1)


def settings(steps: int, fraction: float = 0.5, **more) -> DynamicsTraining:
    return DynamicsTraining(
        steps=steps, compile=False, validate_every=steps, image_fraction=0.0,
        optimizer=OptimizerSettings(rate=5e-3, matrix_rate=1e-2, warmup=5, ema=0.9),
        loss=LossSettings(noise_weight=1.0), noise=NoiseSettings(inference_level_fraction=0.9, error_injection=0.0),
        infilling=InfillingSettings(fraction=fraction), **more,
    )  # fmt: skip


def filled_in(dit: WorldDiT, batch: LatentBatch, noise: torch.Tensor) -> torch.Tensor:
    known = ENDS.expand(len(batch.latents), -1)
    hidden = torch.zeros_like(known)

    def predict(x, tau):
        return dit(x, previous_of(x), tau, torch.zeros_like(tau), batch.actions, hidden, known_BT=known).latents

    return sample_infilling(predict, batch.latents, known, noise, 2)


def gone_on(dit: WorldDiT, batch: LatentBatch, noise: torch.Tensor) -> torch.Tensor:
    """Frames 2 and 3 predicted one after another from those before alone."""
    data = batch.latents.clone()
    for t in (2, 3):
        past, hidden = data[:, :t], torch.zeros(len(data), t + 1, dtype=torch.bool)

        def velocity(x, time, past=past, hidden=hidden, t=t):
            given = torch.cat([past, x], 1)
            tau = torch.cat([torch.ones(len(x), t), time.expand(len(x), 1)], 1)
            out = dit(given, previous_of(given), tau, torch.zeros_like(tau), batch.actions[:, : t + 1], hidden)
            return velocity_from_data(x, out.latents[:, t:], tau[:, t:])

        data[:, t : t + 1] = sample_euler(velocity, noise[:, t : t + 1], time_steps(2))
    return data


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[WorldDiT, Path, dict[str, float]]:
    """A network that learned both, and what it measured last."""
    folder = tmp_path_factory.mktemp("both")
    config = small()
    run = list(train_dynamics(config, settings(60, fraction=0.6), halves, halves(-7), folder))
    dit = WorldDiT(config)
    dit.load_state_dict(load_tensors(folder / "dit.safetensors")[0])
    return dit.eval(), folder, run[-1][1]


@pytest.mark.slow
@torch.no_grad()
def test_what_is_between_two_ends_is_met_better_than_by_going_on_or_by_a_cross_fade(trained):
    dit, batch = trained[0], halves(-99, 64)
    truth, noise = batch.latents, torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(3))
    joined, forward = filled_in(dit, batch, noise), gone_on(dit, batch, noise)
    fade = truth.clone()
    for share, t in ((1 / 3, 2), (2 / 3, 3)):
        fade[:, t] = torch.lerp(truth[:, 1], truth[:, 4], share)
    errors = [float((each - truth)[:, 2:4].square().mean()) for each in (joined, forward, fade)]
    assert errors[0] < 0.4 * min(errors[1:]), errors
    assert torch.equal(joined[:, ENDS], truth[:, ENDS])
    # And what comes later decides.
    other = replace(batch, latents=truth * torch.where(torch.arange(FRAMES) < 4, 1, -1)[:, None, None, None])
    assert float((filled_in(dit, other, noise) - joined)[:, 2:4].abs().mean()) > 0.1


def test_the_checkpoint_says_that_it_fills_in_and_validation_measures_it(trained):
    _, folder, metrics = trained
    assert load_tensors(folder / "dit.safetensors")[1]["dit"]["infilling"] is True
    assert 0 < metrics["validation/infilling"] < float(halves(-7).latents.square().mean())


def test_causal_training_is_the_same_to_the_bit_where_nothing_is_filled_in():
    """Parameters that begin at zero change no loss and no gradient, and nothing is drawn for them."""
    plain = tiny_dit()
    dit = WorldDiT(replace(plain.config, infilling=True))
    dit.load_state_dict({**dit.state_dict(), **plain.state_dict()})
    dit.infilling.following_in.weight.data.zero_()  # pyright: ignore[reportOptionalMemberAccess]
    losses = []
    for network in (plain, dit):
        generator = torch.Generator().manual_seed(0)
        loss, _ = dynamics_loss(network, halves(0), settings(1, fraction=0.0), generator, ErrorBank(4))
        loss.backward()
        losses.append((loss, network.out.weight.grad, generator.get_state()))
    assert all(torch.equal(a, b) for a, b in zip(*losses, strict=True))
    assert all(p.grad is None or not p.grad.any() for n, p in dit.named_parameters() if n.startswith("infilling"))


@pytest.mark.parametrize("energy", [False, True])
def test_only_unknown_frames_are_learned_and_heads_and_errors_are_left_to_play(energy: bool):
    dit, bank, batch = tiny_dit(infilling=True), ErrorBank(4), halves(0)
    training = replace(settings(1, fraction=1.0), loss=LossSettings(energy_score_loss=energy, noise_weight=1.0))
    seen = []

    def forward(*inputs, **options):
        out = dit(*inputs, **options)
        known, data = options["known_BT"], inputs[0]
        assert bool((inputs[2][known] == 1).all()) and bool((inputs[2] == 1).sum() == known.sum())
        assert torch.equal(inputs[1][:, 1:][known[:, :-1]], data[:, :-1][known[:, :-1]])
        seen.append(known)
        return replace(out, latents=torch.where(known[..., None, None, None], out.latents * 1e9, out.latents))

    loss, parts = dynamics_loss(forward, batch, training, torch.Generator().manual_seed(0), bank)
    assert loss.item() < 1e3 and list(parts) == ["infilling"] and not bank.tensors()
    assert len(seen) == 1 and len(seen[0]) == 32


def test_reversed_clips_are_told_to_every_pass_of_the_network():
    dit, batch = tiny_dit(infilling=True), halves(0, 16)
    told = torch.tensor([0.0, 1.0] * 8)
    batch = replace(batch, backwards=told, text=torch.randn(16, TEXT))
    training = replace(
        settings(1, fraction=0.0), self_rollout=SelfRolloutSettings(fraction=0.25),
        loss=LossSettings(shortcut_from=0, energy_score_loss=True),
    )  # fmt: skip
    rows = []

    def forward(*inputs, **options):
        rows.append(options["backwards_B"].tolist())
        assert len(inputs[0]) == len(rows[-1])
        return dit(*inputs, **options)

    dynamics_loss(forward, batch, training, torch.Generator().manual_seed(0), ErrorBank(4), shortcut=True)
    half = told[:8].tolist()
    assert rows[-1] == half + half and len(rows) > 3
    assert all(each in (half[:2], half[6:]) for each in rows[:-1])


@pytest.mark.slow
def test_resume_equals_never_having_stopped(tmp_path):
    def run(folder, stop=None):
        config = small()
        training = replace(settings(8), validate_every=100, save_minutes=1e9)
        steps = train_dynamics(config, training, lambda i: halves(i, 4), halves(-7, 4), folder)
        losses = []
        for number, (_, metrics) in enumerate(steps, 1):
            losses.append(metrics["loss"])
            if number == stop:
                steps.close()
                break
        return losses

    whole = run(tmp_path / "whole")
    assert run(tmp_path / "parts", 3) + run(tmp_path / "parts") == pytest.approx(whole, rel=1e-5)


def test_a_network_without_infilling_cannot_learn_it(tmp_path):
    with pytest.raises(ValueError, match="infilling=True"):
        next(train_dynamics(tiny_dit().config, settings(2), halves, halves(-7), tmp_path))


@pytest.mark.slow
def test_operations_are_counted_for_both_kinds_of_steps():
    dit = tiny_dit(infilling=True)
    causal, mixed, between = (step_flops(dit, halves(0, 2), settings(1, fraction=f)) for f in (0.0, 0.5, 1.0))
    # The clean latent after each frame goes through one more layer.
    assert causal < mixed < between < 1.1 * causal
