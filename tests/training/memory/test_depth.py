"""Training of depth completion in a room whose depth is known."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny_memory import tiny_memory
from tests.tiny_world import shaken
from tests.training.memory.test_depth_examples import TRAIN, VALIDATION
from tests.training.memory.walks import episode, walk, walks
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_module, load_tensors, save_tensors
from worldsim.simulation.memory.depth import (
    COLOURS,
    FILE,
    TOLD,
    DepthCompletion,
    DepthCompletionConfig,
    load_depth_completion,
    save_depth_completion,
)
from worldsim.simulation.memory.files import save_memory
from worldsim.simulation.memory.unet import CELL
from worldsim.training.memory.depth import TILT, DepthTraining, tilted, train_depth
from worldsim.training.memory.depth_judge import Places, judge, miscalibration
from worldsim.training.memory.depth_run import run_depth, start_from

SMALL = DepthCompletionConfig(channels=(16, 16, 32), blocks=(1, 1, 1))
QUICK = DepthTraining(steps=60, rate=4e-3, warmup=5, validate_every=100, ema=0.9)


def learn(folder, some, training=QUICK, **options):
    """Train to the end; the averaged weights, and the metrics of each step."""
    metrics = [m for _, m in train_depth(some, SMALL, training, folder, batch=4, **options)]
    return load_depth_completion(folder / FILE), metrics


@pytest.mark.slow
def test_training_lowers_the_error_and_finds_the_overlay(tmp_path):
    some, others = walks(), walks(count=1, frames=90)
    places = Places.of(others, 6)
    before = judge(DepthCompletion(SMALL), others, places)
    network, metrics = learn(tmp_path, some)
    after = judge(network, others, places)
    assert metrics[-1]["depth"] < 0.6 * metrics[0]["depth"]
    assert after["error"] < 0.6 * before["error"]
    assert after["overlay"] < 0.2 < 0.5 < after["promised"]
    assert after["miscalibrated"] < before["miscalibrated"]
    # What does not depend on the network is what it was; drawing by true depth is best.
    for name in ("drawn1_game", "drawn8_game", "drawn1_repeated", "drawn8_turned"):
        assert after[name] == before[name]
    assert after["drawn8_game"] > after["drawn8_own"] > before["drawn8_own"]
    assert after["drawn1_game"] > after["drawn1_turned"] > after["drawn1_repeated"]


def test_resumed_equals_uninterrupted(tmp_path):
    short = DepthTraining(steps=8, validate_every=100, save_minutes=0)
    some = walks(count=1, frames=40)
    whole, _ = learn(tmp_path / "whole", some, short)
    run = train_depth(some, SMALL, short, tmp_path / "parts", batch=4)
    assert [step for step, _ in itertools.islice(run, 3)] == [1, 2, 3]
    run.close()
    parts, metrics = learn(tmp_path / "parts", some, short)
    assert len(metrics) == 5
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name])


@pytest.mark.slow
def test_without_depth_reprojection_teaches_it(tmp_path):
    training = DepthTraining(steps=100, rate=4e-3, warmup=5, validate_every=1000, ema=0.9, jitter=0.0)
    others = walks(count=1, frames=90)
    places = Places.of(others, 6)
    before = judge(DepthCompletion(SMALL), others, places)
    network, metrics = learn(tmp_path, walks(depth=False), training)
    after = judge(network, others, places)
    mean = [sum(m["depth"] for m in part) / len(part) for part in (metrics[:10], metrics[-10:])]
    assert mean[1] < 0.85 * mean[0]
    assert after["error"] < 0.9 * before["error"] and after["kept"] > before["kept"]
    assert after["overlay"] < 0.2


def test_weights_to_start_from_are_taken(tmp_path):
    some = walks(count=1, frames=40)
    first, _ = learn(tmp_path / "a", some, DepthTraining(steps=3, validate_every=9))
    weights = load_tensors(tmp_path / "a" / FILE)[0]
    second, _ = learn(tmp_path / "b", some, DepthTraining(steps=1, rate=1e-12, validate_every=9), initial=weights)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, atol=1e-6, rtol=0)


def test_a_share_of_the_pictures_is_told_a_wrong_pitch():
    poses = torch.arange(5.0).expand(4000, 5)
    told = tilted(poses, 0.25, torch.Generator().manual_seed(0))
    wrong = told[:, 4] != poses[:, 4]
    assert torch.equal(told[:, :4], poses[:, :4]) and wrong.float().mean() == pytest.approx(0.25, abs=0.03)
    assert (told - poses)[wrong, 4].std() == pytest.approx(TILT, rel=0.1)
    assert torch.equal(tilted(poses, 0.0, torch.Generator()), poses)


def test_a_run_starts_from_the_depth_of_a_memory_from_before_the_pitch_was_told(tmp_path):
    memory = tiny_memory()
    memory.depth = DepthCompletion(replace(memory.depth.config, inclined=False)).eval()
    shaken(memory.depth, 1)
    record = {"format": 1, "stores": []}
    save_memory(memory, tmp_path, {"trained_on": {}, "depth_trained_on": record})
    weights, before = start_from(tmp_path / "memory.safetensors", replace(memory.depth.config, inclined=True))
    assert before == record
    after = DepthCompletion(replace(memory.depth.config, inclined=True))
    load_module(after, weights, "weights")
    # What it said of the pitch is nothing, and what was told before is in the bias.
    told = slice(COLOURS * CELL**2, (COLOURS + TOLD) * CELL**2)
    assert not after.enter.weight[:, told].any()
    assert (after.enter.bias != memory.depth.enter.bias).any()  # pyright: ignore
    again, _ = start_from(saved(after, tmp_path), after.config)
    for name, tensor in after.state_dict().items():
        torch.testing.assert_close(again[name].float(), tensor, atol=1e-2, rtol=1e-2)


def saved(network: DepthCompletion, folder: Path) -> Path:
    save_depth_completion(folder / FILE, network)
    return folder / FILE


def test_miscalibration_is_the_mean_distance_between_promise_and_truth():
    promised = torch.tensor([0.05, 0.05, 0.95, 0.95])
    assert miscalibration(promised, promised) == 0
    assert miscalibration(promised, torch.tensor([0.0, 0.1, 1.0, 0.5])) == pytest.approx((0 + 0.4) / 4)


def test_places_need_a_camera_that_moves():
    some = walks(count=1, frames=90)
    some.walks[0].poses[:] = some.walks[0].poses[0]
    with pytest.raises(ValueError, match="must move"):
        Places.of(some, 4)


def test_a_run_writes_weights_that_say_where_they_come_from(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    store.append(episode(walk(70), "train", TRAIN[0]), "a")
    store.append(episode(walk(90, phase=2), "validation", VALIDATION), "b")
    path = run_depth(
        data=tmp_path / "store", folder=tmp_path / "run", config=SMALL, batch=2, places=2, sample_every=2,
        training=DepthTraining(steps=2, validate_every=2),
    )  # fmt: skip
    assert load_depth_completion(path.parent).config == SMALL
    about = load_tensors(path)[1]
    assert list(about["trained_on"]["stores"][0]["episodes"]) == ["a"] and about["depth_of_game"]
    results = json.loads((tmp_path / "run" / "depth.json").read_text())
    assert results["frames"] == 70 and results["places"] == 2 and results["error"] > 0
    assert (tmp_path / "run" / "samples" / "000002.png").stat().st_size > 0


def test_other_files_are_no_depth_completion(tmp_path):
    save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="train one with worldsim train depth"):
        load_depth_completion(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError):
        load_depth_completion(tmp_path / FILE)
