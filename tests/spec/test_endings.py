"""Termination heads that were taught no end say nothing; counts are kept, carried on and into the world."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_world import tiny_dit, tiny_starts, tiny_world
from tests.training.test_training import latents
from worldsim.diffusion.settings import DynamicsTraining, OptimizerSettings
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.models.checkpoint import load_tensors, read_metadata
from worldsim.models.heads import MOTION
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.endings import KEY, ends_taught, more_ends
from worldsim.training.dynamics import train_dynamics

ASSETS = Path(__file__).parents[2] / "worldsim" / "assets"


def of(*sources: dict[str, int]) -> dict[str, Any]:
    return {"trained_on": {"format": 1, "stores": [{"sources": found} for found in sources]}}


@pytest.mark.parametrize(
    ("metadata", "count"),
    [
        ({KEY: 0}, 0),
        ({KEY: 12, **of({"luanti": 3})}, 12),
        ({KEY: None, **of({"luanti": 3})}, None),
        ({KEY: -1}, None),
        (of({"luanti": 3}, {"luanti": 1}), 0),
        (of({"luanti": 3}, {"gym:Game-v0": 1}), None),
        (of({"luanti": 3}, {}), None),
        (of(), None),
        ({}, None),
    ],
)
def test_counts_are_read_and_older_checkpoints_told_by_their_recordings(metadata: dict[str, Any], count: int | None):
    assert ends_taught(metadata) == count


def test_of_the_shipped_worlds_only_that_of_luanti_is_known_to_have_seen_no_end():
    assert ends_taught(read_metadata(ASSETS / "minecraft" / "dit.safetensors")) == 0
    assert ends_taught(read_metadata(ASSETS / "pong" / "dit.safetensors")) is None


def test_what_is_not_known_stays_so_until_an_end_is_seen():
    assert [more_ends(*pair) for pair in ((0, 0), (0, 2), (3, 2), (None, 0), (None, 2))] == [0, 2, 5, None, 2]


def taught(count: int | None, logit: float = 9.0) -> WorldModel:
    """A world whose head says with all its might that everything is over."""
    world = copy.deepcopy(tiny_world())
    with torch.no_grad():
        world.dit.heads.out.bias[MOTION] = logit
    world.ends_taught = count
    return world


@pytest.mark.parametrize(("count", "over"), [(0, False), (1, True), (None, True)])
def test_only_a_head_that_saw_an_end_ends_an_episode(count: int | None, over: bool):
    env = WorldSimEnv(taught(count), starts=tiny_starts())
    env.reset(seed=1)
    _, _, terminated, truncated, _ = env.step(env.action_space.sample())
    assert (terminated, truncated) == (over, False)


def test_a_silent_head_gives_no_probability_and_pictures_stay():
    noop = np.zeros((1, 2, tiny_world().spec.size), np.float32)
    shown = {}
    for count in (0, 5):
        world = taught(count)
        _, shown[count] = world.step(world.prefill(tiny_starts().frames[:1], tiny_starts().actions[:1], [3]), noop)
    assert np.isnan(shown[0].termination).all() and not shown[0].terminated.any()
    assert shown[5].termination[0] > 0.99 and shown[5].terminated.all()
    np.testing.assert_array_equal(shown[0].frames, shown[5].frames)


@pytest.mark.parametrize("count", [0, 7, None])
def test_a_world_carries_its_count(tmp_path: Path, count: int | None):
    taught(count).with_sampling(steps=1).save(tmp_path / "world", {"dit": of({"luanti": 3})})
    assert WorldModel.load(tmp_path / "world").ends_taught == count


def run(folder: Path, steps: int, ends: int, stop: int | None = None, **more: Any) -> int | None:
    """Train on batches with so many ends each, at frames that have a past; one end more has none and does not count."""
    training = DynamicsTraining(
        steps=steps, optimizer=OptimizerSettings(warmup=1), compile=False, validate_every=100, save_minutes=1e9
    )

    def batches(step: int) -> Any:
        batch = latents(step)
        terminated = torch.zeros_like(batch.terminated)
        terminated[0, 0] = 1
        terminated[0, 1 : 1 + ends] = 1
        return replace(batch, terminated=terminated)

    going = train_dynamics(tiny_dit().config, training, batches, latents(-7), folder, **more)
    for _ in range(steps if stop is None else stop):
        next(going)
    going.close()
    return ends_taught(load_tensors(folder / "dit.safetensors")[1])


def test_training_counts_ends_also_after_an_interruption(tmp_path: Path):
    assert run(tmp_path / "none", 2, 0) == 0
    assert run(tmp_path / "parts", 4, 2, stop=2) == 4
    assert run(tmp_path / "parts", 4, 2, stop=2) == 8


def test_counts_go_on_from_initial_weights(tmp_path: Path):
    run(tmp_path / "before", 1, 0)
    weights = load_tensors(tmp_path / "before" / "dit.safetensors")[0]
    assert run(tmp_path / "known", 1, 0, initial=weights, ends_before=3) == 3
    assert run(tmp_path / "blind", 1, 0, initial=weights) is None
    assert run(tmp_path / "silent", 1, 0, initial=weights, ends_before=0) == 0
