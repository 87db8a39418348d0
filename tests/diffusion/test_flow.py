import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.diffusion.flow import (
    data_from_velocity,
    energy_score,
    flow_loss,
    interpolate,
    sample_inference_tau,
    sample_shortcut,
    sample_tau,
    time_steps,
    velocity_from_data,
)
from worldsim.diffusion.noise import noise
from worldsim.diffusion.samplers import sample_euler, sample_heun


def test_path_ends_in_noise_and_data():
    data, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    torch.testing.assert_close(interpolate(data, other, torch.ones(2, 3)), data)
    torch.testing.assert_close(interpolate(data, other, torch.zeros(2, 3)), other)


def test_velocity_and_data_are_inverse():
    x, data, tau = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.rand(2, 3) * 0.9
    torch.testing.assert_close(data_from_velocity(x, velocity_from_data(x, data, tau), tau), data)


def test_loss_meets_its_analytic_optimum_on_a_gaussian():
    """Data N(m, s^2): the best x0 guess is linear in x, and no other linear guess does better."""
    m, s, generator = 0.7, 0.5, torch.Generator().manual_seed(0)
    data = m + s * torch.randn(200_000, 1, generator=generator)
    eps = torch.randn(200_000, 1, generator=generator)
    for level in (0.1, 0.4, 0.8):
        tau = torch.full((200_000,), level)
        x = interpolate(data, eps, tau)
        variance = (level * s) ** 2 + (1 - level) ** 2
        gain = level * s**2 / variance
        best = m + gain * (x - level * m)
        loss = flow_loss(best, data, tau).mean()
        optimum = (0.9 * level + 0.1) * s**2 * (1 - level) ** 2 / variance
        assert abs(float(loss) - optimum) < 0.01 * optimum + 1e-4
        slope, intercept = torch.linalg.lstsq(torch.cat([x, torch.ones_like(x)], 1), data).solution.flatten()
        assert abs(float(slope) - gain) < 0.01 and abs(float(intercept) - (m - gain * level * m)) < 0.01


def test_noise_weighs_what_it_is_told_beside_clean_data():
    tau, predicted, data = torch.tensor([0.0, 0.5, 1.0]), torch.ones(3, 4), torch.zeros(3, 4)
    torch.testing.assert_close(flow_loss(predicted, data, tau), torch.tensor([0.1, 0.55, 1.0]))
    torch.testing.assert_close(flow_loss(predicted, data, tau, 0.5), torch.tensor([0.5, 0.75, 1.0]))


def test_training_reaches_the_gaussian_optimum():
    torch.manual_seed(0)
    weights = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([weights], 0.05)
    m, s, level = 0.7, 0.5, 0.4
    for _ in range(400):
        data = m + s * torch.randn(512, 1)
        tau = torch.full((512,), level)
        x = interpolate(data, torch.randn(512, 1), tau)
        loss = flow_loss(weights[0] * x + weights[1], data, tau).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gain = level * s**2 / ((level * s) ** 2 + (1 - level) ** 2)
    assert abs(float(weights[0]) - gain) < 0.05
    assert abs(float(weights[1]) - (m - gain * level * m)) < 0.05


def test_energy_score_is_best_for_samples_of_the_data():
    """Neither their mean, nor what is too calm, nor what is too wild, nor a shifted guess scores as well."""
    generator = torch.Generator().manual_seed(0)
    data, first, second = torch.randn(3, 4000, 1, 4, 3, 3, generator=generator)

    def score(spread, shift=0.0):
        return float(energy_score(spread * first + shift, spread * second + shift, data).mean())

    best = score(1.0)
    assert all(score(spread) > 1.003 * best for spread in (0.0, 0.6, 1.5)) and score(1.0, 0.4) > 1.003 * best


def test_energy_score_knows_that_cells_belong_together():
    """Data whose cells are all equal: samples right cell by cell but not jointly score worse."""
    generator = torch.Generator().manual_seed(0)

    def alike():
        return torch.randn(4000, 1, 1, 1, 1, generator=generator).expand(-1, 1, 2, 4, 4)

    def apart():
        return torch.randn(4000, 1, 2, 4, 4, generator=generator)

    data = alike()
    joint, each = energy_score(alike(), alike(), data).mean(), energy_score(apart(), apart(), data).mean()
    assert float(each) > 1.05 * float(joint)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_energy_score_takes_two_equal_guesses_as_a_distance(t, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    guess, data = torch.randn(2, 2, t, 3, height, width, generator=generator).unbind(0)
    guess.requires_grad_(True)
    score = energy_score(guess, guess, data)
    assert score.shape == (2, t) and bool((score > 0).all())
    other = guess.detach() + 0.1
    torch.testing.assert_close(energy_score(guess, other, data), energy_score(other, guess, data))
    score.sum().backward()
    assert guess.grad is not None and bool(guess.grad.isfinite().all())


@pytest.mark.slow
def test_training_by_the_energy_score_reaches_the_spread_of_the_data():
    """Guesses a + b noise of data N(m, s^2): the squared error drives b to 0, the energy score to s."""
    torch.manual_seed(0)
    weights = torch.tensor([0.0, 0.1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], 0.02)
    for _ in range(500):
        data, first, second = torch.randn(3, 512, 1, 4, 3, 3)
        one, other = weights[0] + weights[1] * first, weights[0] + weights[1] * second
        loss = energy_score(one, other, 0.7 + 0.5 * data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(float(weights[0]) - 0.7) < 0.05 and abs(float(weights[1]) - 0.5) < 0.05


def test_perfect_model_carries_noise_to_the_data_distribution():
    """With the exact posterior mean as network, many small steps end on N(m, s^2)."""
    m, s = 0.7, 0.5

    def velocity(x, t):
        variance = (t * s) ** 2 + (1 - t) ** 2
        best = m + t * s**2 / variance * (x - t * m)
        return velocity_from_data(x, best, t.expand(len(x)), floor=1e-6)

    out = sample_euler(velocity, torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1)), time_steps(200))
    assert abs(float(out.mean()) - m) < 0.02 and abs(float(out.std()) - s) < 0.02


def test_euler_follows_a_constant_field_exactly():
    out = sample_euler(lambda x, t: torch.ones_like(x), torch.zeros(2), torch.linspace(0, 1, 5))
    torch.testing.assert_close(out, torch.ones(2))


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_heun, 2)])
def test_sampler_has_its_order(sampler, order):
    """dx/dt = x from 1 ends on e; halving the step divides the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)
    errors = [
        abs(float(sampler(lambda x, t: x, start, torch.linspace(0, 1, n + 1, dtype=torch.float64))) - torch.e)
        for n in (20, 40)
    ]
    assert abs(torch.tensor(errors[0] / errors[1]).log2().item() - order) < 0.15


def test_drawn_levels_are_in_range_and_on_the_step_sizes_grid():
    generator = torch.Generator().manual_seed(0)
    tau = sample_tau((1000, 4), generator, 0.25)
    assert float(tau.min()) == 0 and float(tau.max()) < 1
    assert abs(float((tau == 0).float().mean()) - 0.25) < 0.03
    half = sample_inference_tau(tau, 2, 0.6, generator)
    assert abs(float((half == 0.5).float().mean()) - 0.3) < 0.03
    assert bool(((half == tau) | (half == 0) | (half == 0.5)).all())
    level, d = sample_shortcut((1000, 4), 64, generator)
    assert set((1 / d).flatten().tolist()) == {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}
    torch.testing.assert_close((level / d).round(), level / d)
    assert bool((level + d <= 1 + 1e-6).all()) and bool((level >= 0).all())


def test_noise_depends_on_seed_and_step_alone():
    a = noise([1, 2], [5, 6], (3, 4))
    b = noise([2, 1], [6, 5], (3, 4))
    torch.testing.assert_close(a, b.flip(0), rtol=0, atol=0)
    assert not torch.equal(a[0], noise([1], [6], (3, 4))[0])
    torch.manual_seed(3)
    assert torch.equal(a, noise([1, 2], [5, 6], (3, 4)))
