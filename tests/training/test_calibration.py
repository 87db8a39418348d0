import numpy as np
import pytest
import torch

from worldsim.training.calibration import auroc, brier, calibration_error, fit_platt, report


def test_auroc_counts_pairs():
    truth, score = np.array([0, 0, 1, 1.0]), np.array([0.1, 0.4, 0.4, 0.8])
    # Of the four pairs three are in order and one is a tie.
    assert auroc(truth, score) == pytest.approx(3.5 / 4)
    assert auroc(truth, -score) == pytest.approx(0.5 / 4)
    assert np.isnan(auroc(np.zeros(3), np.arange(3.0)))


def test_true_probabilities_are_calibrated_and_shouted_ones_are_not():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    truth = (rng.random(20_000) < p).astype(float)
    assert calibration_error(truth, p) < 0.02
    shouted = (p > 0.5).astype(float)
    assert calibration_error(truth, shouted) > 0.2
    assert brier(truth, p) == pytest.approx(1 / 6, abs=0.01) and brier(truth, shouted) > brier(truth, p)
    stats = report(truth, p)
    assert stats["brier"] < stats["brier_base_rate"] == pytest.approx(0.25, abs=0.01)


def test_platt_finds_the_slope_and_shift_that_made_the_truth():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, generator=generator)
    truth = (torch.rand(20_000, generator=generator) < torch.sigmoid(2.0 * logits - 3.0)).float()
    assert fit_platt(logits, truth) == pytest.approx((2.0, -3.0), abs=0.15)


def test_a_head_worse_than_chance_is_left_with_the_base_rate():
    logits = torch.cat([torch.ones(90), -torch.ones(10)])
    truth = torch.cat([torch.zeros(90), torch.ones(10)])
    slope, shift = fit_platt(logits, truth)
    assert slope == 0 and torch.sigmoid(torch.tensor(shift)) == pytest.approx(0.1, abs=0.02)
