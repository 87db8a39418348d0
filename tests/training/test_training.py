import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.tiny_world import CHANNELS, TEXT, tiny_dit, tiny_tokenizer
from worldsim.diffusion.dynamics_loss import conditions, drawings, dynamics_loss, head_loss, saliency
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.self_rollout import self_rollout
from worldsim.diffusion.settings import (
    ConditioningSettings,
    DynamicsTraining,
    LossSettings,
    NoiseSettings,
    OptimizerSettings,
    SelfRolloutSettings,
)
from worldsim.models.checkpoint import load_tensors
from worldsim.models.dit import COPIED, WorldDiT, previous_of
from worldsim.optim.ema import Ema
from worldsim.optim.schedule import learning_rate_factor
from worldsim.spec.batch import LatentBatch
from worldsim.training.dynamics import train_dynamics, validate, with_drawing
from worldsim.training.tokenizer import TokenizerTraining, train_tokenizer


def latents(index, batch=4, frames=6):
    """A world with a rule: each latent frame is the one before, moved by the mouse."""
    generator = torch.Generator().manual_seed(index + 1000)
    actions = torch.zeros(batch, frames, 2, 22)
    actions[..., -1] = torch.randn(batch, frames, 1, generator=generator).expand(-1, -1, 2)
    start = torch.randn(batch, 1, CHANNELS, 4, 4, generator=generator)
    moved = actions[..., 0, -1].clone()
    moved[:, 0] = 0
    data = start + moved.cumsum(1)[..., None, None, None]
    return LatentBatch(data, actions, torch.zeros(batch, frames, 5), torch.zeros(batch, frames))


SHORT_WARMUP = OptimizerSettings(warmup=2)


def train(folder, steps, optimizer=SHORT_WARMUP, validate_every=5, **options):
    training = DynamicsTraining(
        steps=steps, optimizer=optimizer, compile=False, validate_every=validate_every, **options
    )
    return list(train_dynamics(tiny_dit().config, training, latents, latents(-7), folder))


@pytest.mark.slow
@pytest.mark.parametrize("injected", [0.0, 0.9])
def test_resume_equals_never_having_stopped(tmp_path, monkeypatch, injected: float):
    # So small that errors are injected from the third step on.
    monkeypatch.setattr("worldsim.training.dynamics.ErrorBank", lambda: ErrorBank(40))
    options: dict[str, Any] = {
        "noise": NoiseSettings(error_injection=injected),
        "image_fraction": 0.0,
        "save_minutes": 1e9,
    }
    whole = train(tmp_path / "whole", 12, **options)
    # The schedule looks at the number of steps in all: stop the same run early instead of asking for fewer.
    training = DynamicsTraining(
        steps=12, optimizer=OptimizerSettings(warmup=2), compile=False, validate_every=5, **options
    )
    run = train_dynamics(tiny_dit().config, training, latents, latents(-7), tmp_path / "parts")
    for _ in range(6):
        next(run)
    run.close()
    resumed = train(tmp_path / "parts", 12, **options)
    assert resumed[0][0] == 7
    for (step, a), (other, b) in zip(resumed, whole[6:], strict=True):
        assert step == other and a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def test_errors_of_pictures_of_several_sizes_are_kept_apart():
    bank, generator = ErrorBank(4), torch.Generator().manual_seed(0)
    for value in range(1, 6):
        bank.add(torch.full((1, 2, 3, 4), float(value)))
        bank.add(torch.full((1, 2, 4, 3), -float(value)))
    for shape, sign in (((5, 6, 2, 3, 4), 1), ((5, 6, 2, 4, 3), -1)):
        drawn = bank.draw(shape, 1.0, generator)
        assert drawn is not None and drawn.shape == shape
        assert (drawn * sign >= 0).all() and drawn.abs().max() <= 5 and drawn.abs().max() > 0
    assert bank.draw((5, 6, 2, 3, 3), 1.0, generator) is None
    again = ErrorBank(4)
    again.restore(bank.tensors())
    again.add(torch.full((1, 2, 3, 4), 6.0))
    held = next(iter(again.tensors().values()))
    assert held[:, 0, 0, 0].tolist() == [5.0, 6.0, 3.0, 4.0]


def test_halves_of_clips_are_clips():
    batch = replace(latents(0), text=torch.randn(4, TEXT), known=torch.tensor([True, False, True, True]))
    cut = batch.half_clips()
    for name in ("latents", "actions", "motion", "terminated"):
        whole, parts = getattr(batch, name), getattr(cut, name)
        assert parts.shape == (8, 3, *whole.shape[2:])
        assert torch.equal(torch.cat([parts[::2], parts[1::2]], 1), whole)
    assert cut.text is not None and torch.equal(cut.text[::2], cut.text[1::2]) and cut.known is not None
    assert cut.known.tolist() == [True, True, False, False, True, True, True, True]
    metrics = dynamics_loss_shapes(DynamicsTraining(half_clip_fraction=0.5, image_fraction=0.0))
    assert metrics == {(4, 6), (8, 3)}


def dynamics_loss_shapes(training: DynamicsTraining) -> set[tuple[int, ...]]:
    """Shapes (B, T) that the network sees in twenty steps."""
    dit, seen = tiny_dit(), set()

    def forward(*inputs, **options):
        seen.add(tuple(inputs[0].shape[:2]))
        return dit(*inputs, **options)

    for seed in range(20):
        dynamics_loss(forward, latents(0), training, torch.Generator().manual_seed(seed), ErrorBank())
    return seen


@pytest.mark.slow
def test_training_learns_the_rule_and_uses_actions(tmp_path):
    metrics = train(
        tmp_path,
        125,
        optimizer=OptimizerSettings(warmup=2, rate=3e-3, matrix_rate=1e-2, ema=0.9),
        conditioning=ConditioningSettings(action_drop=0.05),
        validate_every=125,
    )
    last = metrics[-1][1]
    assert last["flow"] < 0.5 * metrics[0][1]["flow"]
    assert last["validation/shuffled_ratio"] > 1.1


def test_a_fraction_of_levels_is_those_of_the_sampler():
    dit, seen = tiny_dit(), []

    def forward(*inputs, **options):
        seen.append(inputs[2])
        return dit(*inputs, **options)

    training = DynamicsTraining(noise=NoiseSettings(inference_level_fraction=1.0, sampler_steps=4), image_fraction=0.0)
    dynamics_loss(forward, latents(0), training, torch.Generator().manual_seed(0), ErrorBank())
    assert set(seen[0].flatten().tolist()) == {0.0, 0.25, 0.5, 0.75}


def test_the_two_rows_of_the_energy_score_differ_by_the_noise_of_pure_noise_alone():
    dit, seen = tiny_dit(), []

    def forward(*inputs, **options):
        seen.append(inputs)
        return dit(*inputs, **options)

    training = DynamicsTraining(
        loss=LossSettings(energy_score_loss=True),
        noise=NoiseSettings(inference_level_fraction=0.5, sampler_steps=1),
        image_fraction=0.0,
        self_rollout=SelfRolloutSettings(fraction=0.5, max_frames=2),
    )
    generator = torch.Generator().manual_seed(0)
    batch = latents(0)
    loss, _ = dynamics_loss(forward, replace(batch, text=torch.randn(4, TEXT)), training, generator, ErrorBank())
    assert bool(loss.isfinite())
    noisy, *shared = seen[-1]
    for value in shared:
        torch.testing.assert_close(value[:2], value[2:], rtol=0, atol=0)
    tau = shared[1][:2]
    same = (noisy[:2] == noisy[2:]).flatten(2).all(-1)
    # A frame of the past that the network dreamt is pure noise too, as the cache holds it, and not learnt from.
    assert bool(same[tau > 0].all()) and not bool(same[:1][tau[:1] == 0].any())


@pytest.mark.slow
def test_the_energy_score_teaches_samples_where_the_squared_error_teaches_the_mean(tmp_path):
    """A world whose next frame is anyone's guess: noise must come out as its spread, not as its mean."""

    def batches(index):
        batch = latents(index, batch=8)
        generator = torch.Generator().manual_seed(abs(index))
        return replace(batch, latents=torch.randn(batch.latents.shape, generator=generator))

    spread = {}
    for twins in (False, True):
        training = DynamicsTraining(
            steps=80,
            compile=False,
            validate_every=80,
            optimizer=OptimizerSettings(warmup=5, rate=3e-3, matrix_rate=1e-2, ema=0.9),
            noise=NoiseSettings(inference_level_fraction=0.8, sampler_steps=1),
            loss=LossSettings(energy_score_loss=twins, noise_weight=1.0),
        )
        folder = tmp_path / str(twins)
        *_, (_, last) = train_dynamics(tiny_dit().config, training, batches, batches(-7), folder)
        spread[twins] = last["validation/spread_0"]
    assert spread[False] < 0.2 and 0.6 < spread[True] < 1.1


def test_salient_things_weigh_where_they_are_and_were():
    """A dot that moves over a still ground: its cell and the one it left count most, the ground least."""
    clip = torch.full((2, 6, 3, 4, 8), 0.3)
    for t in range(6):
        clip[:, t, :, 1, t] = 2.0
    rare = saliency(clip)
    assert rare.shape == (2, 6, 1, 4, 8)
    torch.testing.assert_close(rare.mean(), torch.tensor(1.0))
    for t in range(1, 6):
        marked = rare[0, t, 0] > 5
        assert marked.nonzero().tolist() == [[1, t - 1], [1, t]]
    assert float(rare[:, :, :, 2:].max()) < 1e-5
    assert bool(saliency(torch.ones(1, 2, 3, 4, 4)).isfinite().all())


def test_the_saliency_weight_changes_the_loss_by_where_the_error_is():
    dit, batch = tiny_dit(), latents(0)
    still = replace(batch, latents=torch.zeros_like(batch.latents))
    still.latents[:, :, :, 0, 0] = torch.randn(still.latents.shape[:3], generator=torch.Generator().manual_seed(1))
    losses = {}
    for place in ("rare", "ground"):
        for weight in (0.0, 1.0):

            def forward(*inputs, place=place, **options):
                out = dit(*inputs, **options)
                guess = still.latents.clone()
                guess[..., 0, 0] += float(place == "rare")
                guess[..., 1, 1] += float(place == "ground")
                return replace(out, latents=guess)

            training = DynamicsTraining(loss=LossSettings(saliency_weight=weight), image_fraction=0.0)
            generator = torch.Generator().manual_seed(0)
            parts = dynamics_loss(forward, still, training, generator, ErrorBank())[1]
            losses[place, weight] = float(parts["flow"])
    assert losses["rare", 0.0] == pytest.approx(losses["ground", 0.0], rel=1e-4)
    assert losses["rare", 1.0] > 2 * losses["rare", 0.0]
    assert losses["ground", 1.0] == pytest.approx(0.5 * losses["ground", 0.0], rel=0.05)


@pytest.mark.slow
def test_shortcut_training_runs_and_stays_finite(tmp_path):
    metrics = train(tmp_path, 8, loss=LossSettings(shortcut_from=2), image_fraction=0.3)
    assert all(torch.tensor(list(m.values())).isfinite().all() for _, m in metrics)


def test_what_was_not_recorded_teaches_nothing():
    batch = latents(0, batch=2)
    unknown = replace(batch, known=torch.tensor([True, False]), posed=torch.tensor([False, True]))
    training = DynamicsTraining(conditioning=ConditioningSettings(action_drop=0.5))
    _, present, _ = conditions(unknown, training, torch.Generator().manual_seed(0))
    assert not present[1].any() and not present[:, 0].any()
    dit = tiny_dit()
    t = batch.latents.shape[1]
    out = dit(batch.latents, previous_of(batch.latents), torch.ones(2, t), torch.zeros(2, t), batch.actions, present)
    before = head_loss(out, unknown, present)
    # Actions of the one row and the motion of the other are only placeholders.
    actions, motion = unknown.actions.clone(), unknown.motion.clone()
    actions[1] += 7
    motion[0] += 7
    after = head_loss(out, replace(unknown, actions=actions, motion=motion), present)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("frames", "mouse"), [(1, True), (6, False)])
def test_pictures_and_games_without_a_mouse_train(tmp_path, frames, mouse):
    def batches(index):
        batch = latents(index, frames=frames)
        return replace(batch, actions=batch.actions if mouse else batch.actions[..., :20], mouse=mouse)

    config = replace(tiny_dit().config, camera=mouse)
    training = DynamicsTraining(steps=3, optimizer=OptimizerSettings(warmup=1), compile=False, validate_every=3)
    metrics = list(train_dynamics(config, training, batches, batches(-7), tmp_path))
    assert all(torch.tensor(list(m.values())).isfinite().all() for _, m in metrics)


def test_state_of_another_model_is_refused(tmp_path):
    train(tmp_path, 2)
    config = tiny_dit(window=6).config
    other = type(config)(**{**vars(config), "width": 64})
    with pytest.raises(ValueError, match="other sizes"):
        list(train_dynamics(other, DynamicsTraining(steps=3, compile=False), latents, latents(-7), tmp_path))
    assert json.dumps(vars(config))  # the configuration is plain data


def test_previous_is_the_frame_before():
    data = torch.arange(4.0).reshape(1, 4, 1, 1, 1)
    assert previous_of(data).flatten().tolist() == [0, 0, 1, 2]


@pytest.mark.slow
def test_tokenizer_improves_on_its_linear_path(tmp_path):
    def frames(index):
        generator = torch.Generator().manual_seed(abs(index))
        flat = torch.rand(4, 4, 4, 4, 3, generator=generator)
        return (flat.repeat_interleave(8, 2).repeat_interleave(8, 3) * 255).byte()

    training = TokenizerTraining(steps=150, warmup=5, validate_every=50, rate=3e-3, latent_noise=0.0, ema=0.9)
    run = list(train_tokenizer(tiny_tokenizer().config, training, frames, frames(999), tmp_path))
    last = run[-1][1]
    assert last["validation/psnr"] > run[49][1]["validation/psnr"]
    assert (tmp_path / "tokenizer.safetensors").exists() and (tmp_path / "state.safetensors").exists()


def test_tokenizer_starts_from_given_weights(tmp_path):
    given = tiny_tokenizer(seed=3)
    frames = torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8)
    training = TokenizerTraining(steps=1, rate=0.0, ema=0.0, freeze_encoder=True)
    list(train_tokenizer(given.config, training, lambda i: frames, frames, tmp_path, initial=given.state_dict()))
    kept, _ = load_tensors(tmp_path / "tokenizer.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in given.state_dict().items())


def test_schedule_and_average():
    assert learning_rate_factor(0, 10, 100) == pytest.approx(0.1)
    assert learning_rate_factor(50, 10, 100) == 1
    assert learning_rate_factor(99, 10, 100) == pytest.approx(0.05)
    module = torch.nn.Linear(1, 1)
    ema = Ema(module, 0.5)
    before = ema.shadow["weight"].clone()
    with torch.no_grad():
        module.weight.add_(2)
    ema.update(module, 100)
    torch.testing.assert_close(ema.shadow["weight"], before + 1)
    with ema.averaged(module):
        torch.testing.assert_close(module.weight.detach(), before + 1)
    torch.testing.assert_close(module.weight.detach(), before + 2)


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_before_each_frame_stands_a_dream_of_so_many_frames(frames):
    """It follows what was recorded before the dream, under its own actions, and knows nothing of what it replaces."""
    dit, t = tiny_dit(), 7
    batch = latents(3, batch=2, frames=t)
    present = torch.ones(2, t, dtype=torch.bool)

    def past(data, actions):
        return self_rollout(dit, data, actions, present, None, frames, 2, 0.0, torch.Generator().manual_seed(1))

    def changed(other):
        return (other != base).flatten(2).any(-1).all(0).tolist()

    base = past(batch.latents, batch.actions)
    assert torch.equal(base[:, :2], previous_of(batch.latents)[:, :2])
    for i in range(1, t):
        data = batch.latents.clone()
        data[:, i] += 1
        # Frame i stands before frame i + 1: in the dream of frame j, the frames j - frames to j - 1 are not recorded.
        first = i + 1 + frames
        seen = changed(past(data, batch.actions))
        assert not any(seen[:first]) and (first >= t or seen[first])
    for i in range(1, t):
        actions = batch.actions.clone()
        actions[:, i] += 1
        seen = changed(past(batch.latents, actions))
        assert not any(seen[: i + 1]) and (i + 1 >= t or seen[i + 1] is (frames > 0))


def test_a_dreamt_past_of_one_frame_is_the_networks_answer_to_the_recorded_past():
    dit, t = tiny_dit(), 5
    batch = latents(3, batch=2, frames=t)
    present, zero = torch.ones(2, t, dtype=torch.bool), torch.zeros(2, t)
    before = self_rollout(dit, batch.latents, batch.actions, present, None, 1, 1, 0.0, torch.Generator().manual_seed(1))
    noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(1))
    out = dit(noise, previous_of(batch.latents), zero, zero, batch.actions, present)
    torch.testing.assert_close(before[:, 2:], out.latents[:, 1:-1])


def test_dreams_that_begin_nearer_to_the_recording_stay_nearer_to_it():
    dit, t = tiny_dit(), 6
    batch, present = latents(3, batch=2, frames=t), torch.ones(2, t, dtype=torch.bool)
    away = []
    for level in (0.0, 0.5, 0.9, 1.0):
        generator = torch.Generator().manual_seed(1)
        past = self_rollout(dit, batch.latents, batch.actions, present, None, 2, 2, level, generator)
        away.append(float((past - previous_of(batch.latents)).square().mean()))
    assert away == sorted(away, reverse=True) and away[-1] == pytest.approx(0, abs=1e-9)


def test_dreaming_before_learning_leaves_the_gradient_whole():
    """Autocast keeps weights that it has cast: those of a pass without a gradient must not serve the one that has."""
    dit = tiny_dit()
    training = DynamicsTraining(
        self_rollout=SelfRolloutSettings(fraction=1.0, max_frames=1),
        image_fraction=0.0,
        noise=NoiseSettings(error_injection=0.0),
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = dynamics_loss(dit, latents(1), training, torch.Generator().manual_seed(0), ErrorBank(4))
    loss.backward()
    untouched = {name for name, weight in dit.named_parameters() if weight.grad is None or not weight.grad.any()}
    # No text was given.
    assert untouched == {"conditioning.text.weight", "conditioning.text.bias"}


@pytest.mark.slow
def test_training_on_dreamt_pasts_learns_the_rule(tmp_path):
    metrics = train(
        tmp_path,
        80,
        optimizer=OptimizerSettings(warmup=2, rate=3e-3, matrix_rate=1e-2, ema=0.9),
        self_rollout=SelfRolloutSettings(fraction=0.5, max_frames=3),
        loss=LossSettings(shortcut_from=50),
        validate_every=80,
    )
    before = validate(WorldDiT(tiny_dit().config).eval(), latents(-7))["x0"]
    assert metrics[-1][1]["validation/x0"] < 0.5 * before
    assert all(torch.tensor(list(m.values())).isfinite().all() for _, m in metrics)


def drawn_latents(index, batch=4, frames=6):
    """A memory that draws each frame as it will be."""
    plain = latents(index, batch, frames)
    share = torch.ones(batch, frames, 1, 4, 4)
    return replace(plain, drawn=torch.cat([plain.latents, share], 2))


def test_a_memory_draws_nothing_where_the_action_is_hidden_and_is_dropped_as_often_as_asked():
    batch = drawn_latents(0, batch=2000)
    present = torch.rand(2000, 6, generator=torch.Generator().manual_seed(1)) < 0.7
    made = drawings(batch, present, 0.2, torch.Generator().manual_seed(2))
    assert made is not None
    shown = made[:, :, -1].amax((2, 3)) > 0
    assert torch.equal(made[shown], batch.drawn[shown]) and not bool((shown & ~present).any())  # pyright: ignore
    # A fifth of the clips has none; another fifth has some from a random frame on.
    every = drawings(batch, torch.ones(2000, 6, dtype=torch.bool), 0.2, torch.Generator().manual_seed(2))
    frames = (every[:, :, -1].amax((2, 3)) > 0).sum(1)  # pyright: ignore
    assert abs(float((frames == 0).float().mean()) - 0.2) < 0.03
    assert abs(float((frames == 6).float().mean()) - 0.6 - 0.2 / 6) < 0.03
    assert bool((every[:, 1:, -1].amax((2, 3)) >= every[:, :-1, -1].amax((2, 3))).all())  # pyright: ignore


@pytest.mark.slow
def test_weights_without_a_memory_go_on_with_one_and_learn_what_it_draws(tmp_path):
    plain = tiny_dit()
    config = replace(plain.config, drawn=True)
    training = DynamicsTraining(
        steps=60, compile=False, validate_every=60, image_fraction=0.0,
        optimizer=OptimizerSettings(rate=3e-3, matrix_rate=1e-3, warmup=2), loss=LossSettings(noise_weight=1.0),
    )  # fmt: skip
    run = list(train_dynamics(config, training, drawn_latents, drawn_latents(-7), tmp_path, initial=plain.state_dict()))
    blind = list(
        train_dynamics(plain.config, training, latents, latents(-7), tmp_path / "blind", initial=plain.state_dict())
    )
    assert run[-1][1]["validation/x0_0"] < 0.7 * blind[-1][1]["validation/x0_0"]
    weights, about = load_tensors(tmp_path / "dit.safetensors")
    assert about["dit"]["drawn"] and float(weights["drawn_in.weight"].abs().max()) > 0


def test_halves_of_clips_keep_their_drawings():
    batch = drawn_latents(3).half_clips()
    assert batch.drawn is not None and torch.equal(batch.drawn[:, :, :-1], batch.latents)


@pytest.mark.slow
def test_only_what_is_named_learns(tmp_path):
    plain = tiny_dit()
    training = DynamicsTraining(
        steps=40, compile=False, validate_every=40, image_fraction=0.1, learn=("copied",),
        optimizer=OptimizerSettings(rate=2e-2, warmup=2, ema=0.5),
    )  # fmt: skip
    config = replace(plain.config, drawn=True)
    run = train_dynamics(config, training, drawn_latents, drawn_latents(-7), tmp_path, initial=plain.state_dict())
    learned = list(run)[-1][1]["validation/x0_0"]
    weights, before = load_tensors(tmp_path / "dit.safetensors")[0], plain.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    assert not weights["drawn_in.weight"].any() and bool((weights["copied.bias"] > COPIED).all())
    # What is drawn is the truth: taking more of it is all that there is to learn.
    untrained = WorldDiT(config)
    untrained.load_state_dict(with_drawing(untrained, before))
    assert learned < 0.7 * validate(untrained.eval(), drawn_latents(-7))["x0_0"]
