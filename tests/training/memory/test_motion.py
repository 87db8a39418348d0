"""Training of ego-motion on a simulated walker: what it learns, when an action acts, rest, and bad recordings."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from tests.simulation.memory.room import CAMERA
from tests.tiny_memory import tiny_memory
from worldsim import cli
from worldsim.datasets.governance.provenance import ALL
from worldsim.datasets.loading.walks import Walk
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError
from worldsim.simulation.memory.ego_motion import load_ego_motion
from worldsim.simulation.memory.files import load_memory, save_memory
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import INVERSE_DEPTH_STEPS
from worldsim.training.memory.motion import MotionTraining, cut, headings, in_world, train_motion, unroll
from worldsim.training.memory.motion_data import Track, erroneous, split_names, track_of
from worldsim.training.memory.motion_report import evaluate_motion, rest_drift, walking

WALL = 6.0
QUICK = MotionTraining(steps=120, batch=32, shortest=4, longest=10, known=3, rate=8e-3)

# Measured, 120 steps: .023 m a frame against .019 by keys alone; predictions fit best with actions a frame early.
NOT_YET = pytest.mark.xfail(
    strict=True,
    reason="so short a training does not beat constant speed by keys; on recordings a whole one does "
    "(docs/experiments/2026-11-28-spatial-memory.md)",
)


def walker(seed: int, frames: int = 301) -> Walk:
    """A body with momentum in a corridor along z; walls across it at +-``WALL`` stop it, and depth shows them."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    for start in range(0, frames, 15):
        actions[start : start + 15, rng.integers(0, 2)] = rng.random() < 0.6
        actions[start : start + 15, -1] = rng.choice([0, 0, 4, -4])
    poses, speed = np.zeros((frames, 5), np.float32), np.zeros(2)
    # Away from the place of the last frame's yaw of 0, so that headings matter.
    poses[0, 3] = rng.uniform(-180, 180)
    depth = np.zeros((frames, 16, 32), np.float32)
    for t in range(frames):
        ahead = WALL - math.copysign(1, math.cos(math.radians(poses[t, 3]))) * poses[t, 2]
        depth[t] = abs(math.cos(math.radians(poses[t, 3]))) / max(ahead, 0.1)
        if t + 1 == frames:
            break
        heading = math.radians(poses[t, 3] + actions[t, -1] / 2)
        aim = 0.2 * (actions[t, 0] - actions[t, 1]) * np.array([math.sin(heading), math.cos(heading)])
        speed = 0.5 * speed + 0.5 * aim
        speed[np.abs(speed) < 1e-3] = 0
        poses[t + 1] = poses[t]
        poses[t + 1, 0] += speed[0]
        poses[t + 1, 2] = np.clip(poses[t, 2] + speed[1], -WALL + 0.3, WALL - 0.3)
        speed[1] = poses[t + 1, 2] - poses[t, 2]
        poses[t + 1, 3] += actions[t, -1]
    return Walk(
        camera=CAMERA,
        frames=torch.zeros(frames, 1),
        actions=torch.from_numpy(actions),
        poses=torch.from_numpy(poses),
        inverse_depth=torch.from_numpy(depth),
        fps=20.0,
    )


def tracks(seeds: range, shift: int = 0, noisy: bool = False) -> list[Track]:
    found = [track_of(walker(s), chunk=2, generator=torch.Generator().manual_seed(s) if noisy else None) for s in seeds]
    return [dataclasses.replace(t, actions=t.actions.roll(shift, 0)) for t in found]


@pytest.fixture(scope="module")
def learned():
    return train_motion(tracks(range(8)), QUICK)


@pytest.mark.slow
@NOT_YET
def test_a_walker_is_followed_freely_and_better_than_by_keys_alone(learned):
    report = evaluate_motion(learned, tracks(range(20, 24)), 2)
    freely, keys, still = (report[name] for name in ("recorded_depth", "walks_by_keys", "stands_still"))
    assert report["stretches"] == 4 * 2
    assert freely["per_frame"] < 0.5 * keys["per_frame"] and freely["drift_20"] < 0.4 * keys["drift_20"]
    assert freely["drift_200"] < 0.5 * still["drift_200"]


@pytest.mark.slow
@NOT_YET
def test_an_action_acts_between_its_frame_and_the_next(learned):
    """Shift the actions of unseen walks: the predictions fit best where nothing is shifted."""
    errors = {}
    for shift in (-2, -1, 0, 1, 2):
        (track,) = tracks(range(30, 31), shift)
        stretches = cut([track], [(0, 2)], 140, 2, torch.zeros(1, dtype=torch.long))
        with torch.no_grad():
            moved, _ = unroll(learned, stretches, 2, torch.full((1,), 4))
        errors[shift] = float((moved - stretches.moved)[0, :, 0].abs().mean())
    assert min(errors, key=errors.__getitem__) == 0
    # In the recording itself, speed changes with the action of the same frame, and not with that of the next one.
    (track,) = tracks(range(30, 31))
    push = walking(track.actions)[1:, 0]
    gain = track.moved[1:, 0] - 0.5 * track.moved[:-1, 0]
    fits = [float(torch.corrcoef(torch.stack([push.roll(lag), gain]))[0, 1]) for lag in (-1, 0, 1)]
    assert fits[1] == max(fits) and fits[1] > 0.6


@pytest.mark.slow
def test_a_minute_at_rest_stays_in_place(learned):
    (still,) = tracks(range(40, 41))
    rest = rest_drift(learned, [dataclasses.replace(still, actions=still.actions * 0, moved=still.moved * 0)], 2, 1200)
    assert rest["starts"] > 0 and rest["below_1_cm"] == 1.0


def test_the_same_seed_gives_the_same_weights_and_another_others():
    few, short = tracks(range(2), noisy=True), dataclasses.replace(QUICK, steps=3)
    one, same, other = (train_motion(few, short, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="no episode has 400 frames"):
        train_motion(few, dataclasses.replace(QUICK, longest=200))


def test_positions_add_up_in_the_axes_of_the_first_heading():
    turns = torch.tensor([[90.0, 0, 0]])
    world = in_world(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0.5]]]), headings(turns))
    torch.testing.assert_close(world.sum(1), torch.tensor([[-1.0, 1, 0.5]]), atol=1e-6, rtol=0)


def test_errors_of_depth_have_the_size_of_a_predicted_one_and_sky_stays():
    depth = torch.full((200, 16, 32), 0.25)
    depth[:, :4] = 0
    wrong = erroneous(depth, torch.Generator().manual_seed(0))
    assert bool((wrong[:, :3] == 0).all())
    assert 0.2 < float((wrong[:, 6:] / 0.25).log().abs().mean()) < 0.4


def _record(store: EpisodeStore, name: str, seed: int, walk: Walk) -> None:
    about = {"camera": walk.camera.to_json(), "seed": seed, "split": split_of(seed), "licence": "CC0-1.0", "fps": 20}
    store.append(
        Episode(
            frames=np.zeros((len(walk), 16, 32, 3), np.uint8),
            actions=walk.actions.numpy(),
            rewards=np.zeros(len(walk), np.float32),
            terminated=np.zeros(len(walk), bool),
            state={
                "position": walk.poses[:, :3].numpy(),
                "yaw": walk.poses[:, 3].numpy(),
                "pitch": walk.poses[:, 4].numpy(),
                "depth": (walk.inverse_depth.numpy() * INVERSE_DEPTH_STEPS).round().astype(np.uint16),  # pyright: ignore
            },
            provenance=about | {"source": "test"},
        ),
        name,
    )


def test_judges_are_other_maps_than_those_that_teach(tmp_path):
    store = EpisodeStore(tmp_path)
    for number, seed in enumerate((3, 3, 4)):
        _record(store, f"e{number}", seed, walker(0, 21))
    assert split_names(store, ALL, 60, 12) == (["e0", "e1"], ["e2"])
    _record(store, "t", 2, walker(0, 21))
    assert split_names(store, ALL, 2, 12) == (["e0", "e1"], ["t"])
    _record(store, "v", 1, walker(0, 21))
    assert split_names(store, ALL, 60, 12) == (["e0", "e1", "e2"], ["v"])
    with pytest.raises(UserError, match="two training maps"):
        alone = EpisodeStore(tmp_path / "alone")
        _record(alone, "e", 3, walker(0, 21))
        split_names(alone, ALL, 60, 12)


def test_the_command_trains_judges_and_refuses_shifted_actions(tmp_path, capfd):
    store = EpisodeStore(tmp_path / "store")
    _record(store, "a", 3, walker(0))
    _record(store, "v", 1, walker(1))
    words = ["train", "motion", f"data={tmp_path / 'store'}", f"folder={tmp_path / 'run'}"]
    words += ["training.steps=2", "training.batch=4", "training.longest=12", "training.shortest=4"]
    # Refused before it trains.
    assert cli.main([*words, f"world={tmp_path / 'store'}"]) == 2
    assert "has no spatial memory" in capfd.readouterr().err and not (tmp_path / "run").exists()
    memory = tiny_memory()
    save_memory(memory, tmp_path)
    assert cli.main([*words, f"world={tmp_path}"]) == 0
    assert "constant speed by keys" in capfd.readouterr().out
    now = load_memory(tmp_path)
    assert now is not None and (now.motion.leave[0].weight != memory.motion.leave[0].weight).any()  # pyright: ignore
    report = json.loads((tmp_path / "run" / "motion.json").read_text())
    assert report["held_out"] == ["v"] and report["stretches"] > 0
    assert load_ego_motion(tmp_path / "run" / "ego_motion.safetensors").config.actions == MINECRAFT.size
    late = walker(2)
    _record(store, "b", 5, dataclasses.replace(late, actions=late.actions.roll(1, 0)))
    assert cli.main(words) == 2
    assert "episode b: frame" in capfd.readouterr().err
