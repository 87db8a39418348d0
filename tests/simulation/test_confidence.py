"""Trust: statistics as described, a fit that is calibrated, a file that belongs to its weights and sampling."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_memory import remembering_world
from tests.tiny_world import save_tiny_world, tiny_starts, tiny_world, trusting_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.evaluation.confidence import Samples, auroc, check_trust, dream_samples, fit_trust, spearman
from worldsim.evaluation.measures.clips import Clips
from worldsim.simulation.confidence import load_trust, residual, save_trust, statistics, update_uncertainty
from worldsim.simulation.world_model import WorldModel


def made_up(seed: int, count: int = 4000) -> Samples:
    """Chunks that are believable with probability sigmoid(-2 x) of the first statistic x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    believable = rng.random(count) < 1 / (1 + np.exp(2 * x[:, 0]))
    return Samples(
        statistics=x, error=np.where(believable, 0.1, 0.9), horizon=np.tile(np.arange(1, 21), count // 20),
        seeds=np.zeros(count, np.int64), candidates={"nothing": np.zeros(count)},
    )  # fmt: skip


def test_statistics_are_those_of_the_first_step_and_the_mean():
    uncertainty = torch.zeros(2, 2)
    for step, residuals in enumerate(([-1.0, -2.0], [-3.0, -2.0])):
        uncertainty = update_uncertainty(uncertainty, torch.tensor(residuals), torch.full((2,), step))
    found = statistics(uncertainty, torch.tensor([2, 2]))
    torch.testing.assert_close(found, torch.tensor([[-1.0, -2.0, np.log(2)], [-2.0, -2.0, np.log(2)]]).float())
    torch.testing.assert_close(residual(torch.zeros(1, 4), torch.full((1, 4), 2.0)), torch.tensor([2.0]).log())


def test_the_fit_keeps_what_it_promises_on_new_samples():
    trust = fit_trust(tiny_world(), made_up(0), {}, ridge=1e-6)
    check = check_trust(trust, made_up(1))
    assert abs(float(trust.weights[0]) + 2) < 0.2 and check["ece"] < 0.03 and check["auroc"] > 0.8
    assert all(abs(row["promised"] - row["kept"]) < 0.07 for row in check["reliability"])
    assert check["signals"]["nothing"]["spearman"] is None
    one_sided = replace(made_up(0), error=np.zeros(4000))
    with pytest.raises(ValueError, match="one side"):
        fit_trust(tiny_world(), one_sided, {})


def test_measures():
    assert auroc(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 1
    assert auroc(np.ones(4), np.array([False, True, False, True])) == 0.5
    assert auroc(np.ones(2), np.ones(2, bool)) is None and spearman(np.arange(5.0), -np.arange(5.0)) == -1


def test_dreams_are_compared_with_what_followed():
    world, starts = tiny_world(), tiny_starts()
    count = len(starts)
    level = np.zeros(starts.frames.shape[:2], np.float32)
    clips = Clips(frames=starts.frames, actions=starts.actions, maps=np.arange(count), pitch=level)
    samples = dream_samples(world, clips, 1, rows=3, twice=True)
    assert samples.statistics.shape == (2 * count, 3) and (samples.error > 0).all()
    np.testing.assert_array_equal(samples.horizon, [1, 1, 1, 2, 2, 2, 1, 2])
    np.testing.assert_array_equal(samples.seeds, [0, 1, 2, 0, 1, 2, 3, 3])
    state = world.prefill(starts.frames[:1, :1], starts.actions[:1, :0], [0])
    state, out = world.step(state, starts.actions[:1, :2])
    np.testing.assert_allclose(samples.statistics[0], out.statistics[0], rtol=1e-4)
    assert (samples.candidates["disagreement of two noises"] > 0).all()


def test_with_one_evaluation_the_latent_before_is_the_first_guess():
    world, starts = tiny_world(steps=1), tiny_starts()
    state = world.prefill(starts.frames[:2, :1], starts.actions[:2, :0], [0, 1])
    following, out = world.step(state, starts.actions[:2, :2])
    changed = residual(state.latent, following.latent)
    torch.testing.assert_close(torch.from_numpy(out.statistics[:, 0]), changed)
    assert bool((changed > -9).all()), "something changed"


def test_a_calibration_belongs_to_its_weights_and_its_sampling(tmp_path: Path):
    folder = save_tiny_world(tmp_path / "tiny")
    trust = trusting_world().trust
    assert trust is not None and WorldModel.load(folder).trust is None
    save_trust(trust, folder)
    world = WorldModel.load(folder)
    assert world.trust is not None and world.trust.weights.tolist() == [0, 0, -1]
    assert 0 < WorldSimEnv(world, starts=tiny_starts()).reset(seed=0)[1]["trust"] <= 1
    assert world.with_sampling(steps=4).trust is None, "fitted to other sampling"
    assert load_trust(folder, {"steps": 9}) is None
    older = {name: value for name, value in asdict(world.config.sampling).items() if name != "temperature"}
    save_trust(replace(trust, sampling=older), folder)
    assert WorldModel.load(folder).trust is not None, "written before there was a temperature"
    no_places = {name: value for name, value in older.items() if name != "noise_metres"}
    save_trust(replace(trust, sampling=no_places), folder)
    assert WorldModel.load(folder).trust is not None, "without a memory noise is as it always was"
    remembering_world().save(folder)
    save_trust(replace(trust, sampling=no_places), folder)
    assert WorldModel.load(folder).trust is None, "fitted when noise did not belong to places"
    tiny_world(seed=1).save(folder)
    assert WorldModel.load(folder).trust is None, "fitted to other weights"
    (folder / "trust.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        WorldModel.load(folder)
