"""Files of earlier versions load: names that were changed are mapped, values stay."""

from pathlib import Path

import numpy as np
import pytest
import torch

import worldsim
from tests.tiny_world import tiny_starts, tiny_tokenizer, tiny_world
from worldsim.datasets.governance.provenance import origins_of
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.state import WorldState
from worldsim.training.tokenizer import TokenizerTraining, train_tokenizer


def test_a_state_of_an_earlier_version_loads(tmp_path: Path):
    starts, world = tiny_starts(), tiny_world()
    state = world.prefill(starts.frames[:1], starts.actions[:1], seeds=[1])
    state, _ = world.step(state, np.zeros((1, 2, world.spec.size), np.float32))
    state.save(tmp_path / "new.safetensors")
    tensors, _ = load_tensors(tmp_path / "new.safetensors")
    assert "doubt" not in tensors
    tensors["doubt"] = tensors.pop("uncertainty")
    save_tensors(tmp_path / "old.safetensors", tensors, {"format": "worldsim-state-3"})
    old = WorldState.load(tmp_path / "old.safetensors")
    assert old.tensors().keys() == state.tensors().keys()
    assert all(torch.equal(tensor, old.tensors()[name]) for name, tensor in state.tensors().items())


def test_sampling_settings_of_an_earlier_version_load():
    raw = {
        "height": 80, "width": 144, "fps": 20, "spec": {"keys": ["jump"], "camera": False}, "prompts": [],
        "sampling": {"steps": 3, "fold": False, "context_tau": 0.9},
    }  # fmt: skip
    sampling = WorldConfig.from_json(raw).sampling
    assert (sampling.steps, sampling.reuse_last_eval_for_cache, sampling.context_tau) == (3, False, 0.9)


@pytest.mark.parametrize("name", ["minecraft", "pong"])
def test_shipped_worlds_keep_their_sampling_and_calibration(name: str):
    world = worldsim.load(name)
    assert world.config.sampling.reuse_last_eval_for_cache and world.trust is not None


def test_the_discriminator_of_a_run_of_an_earlier_version_goes_on(tmp_path: Path):
    def frames(index: int) -> torch.Tensor:
        shape, generator = (2, 4, 32, 32, 3), torch.Generator().manual_seed(abs(index))
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    def run(folder: Path) -> list[tuple[int, dict[str, float]]]:
        training = TokenizerTraining(steps=4, warmup=1, validate_every=4, adversarial=0.4)
        return list(train_tokenizer(tiny_tokenizer().config, training, frames, frames(9), folder))

    whole = run(tmp_path / "whole")
    training = TokenizerTraining(steps=4, warmup=1, validate_every=4, adversarial=0.4)
    stopped = train_tokenizer(tiny_tokenizer().config, training, frames, frames(9), tmp_path / "parts")
    for _ in range(2):
        next(stopped)
    stopped.close()
    (tmp_path / "parts" / "discriminator.safetensors").rename(tmp_path / "parts" / "adversary.safetensors")
    resumed = run(tmp_path / "parts")
    assert [step for step, _ in resumed] == [3, 4]
    for (_, one), (_, other) in zip(whole[2:], resumed, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["discriminator"] == pytest.approx(one["discriminator"], rel=1e-4)


def test_where_an_episode_was_recovered_from_is_read_under_both_names():
    about = {"identity": "0123456789abcdef0123"}
    assert origins_of({"salvaged": about}) == origins_of({"recovered": about}) == ["0123456789abcdef"]
