"""Training of task heads: what can be told is learned, calibrated, and belongs to the action that did it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_world import HEIGHT, WIDTH, tiny_world
from worldsim.datasets.governance.provenance import EpisodeFilter
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.facts import LEARNED
from worldsim.training.task_examples import TaskExamples, make_examples, recorded_heads
from worldsim.training.task_heads import TaskTraining, evaluate_heads, train_heads

QUICK = TaskTraining(hidden=32, steps=200, batch=256, rate=1e-2)


def examples(count: int, seed: int) -> TaskExamples:
    """Feature 0 tells wet, feature 1 rarely and noisily tells wood; sees_tree is not known; captions by feature 2."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 64, generator=generator)
    chance = torch.sigmoid(4 * features[:, 1] - 6)
    truth = {name: torch.zeros(count) for name in LEARNED} | {
        "wet": (features[:, 0] > 0.8).float(),
        "wood": (torch.rand(count, generator=generator) < chance).float(),
    }
    known = {name: torch.full((count,), name in ("wet", "wood")) for name in LEARNED}
    captions = ["day" if x > 0 else "night" for x in features[:, 2]]
    motion = torch.randn(count, 3, generator=generator)
    return TaskExamples(features, truth, known, motion, motion[:, [1, 2, 0]].clone(), captions)


def test_what_features_tell_is_learned_calibrated_and_judged():
    vectors = {"day": torch.tensor([1.0, 0, 0]), "night": torch.tensor([0.0, 1, 0])}
    heads = train_heads(examples(4000, 0), examples(2000, 1), QUICK, vectors)
    assert heads.config.known == ("wood", "wet")
    results = evaluate_heads(heads, examples(4000, 2), vectors)
    wet, wood = results["facts"]["wet"], results["facts"]["wood"]
    assert wet["auroc"] > 0.9 and wet["brier"] < 0.7 * wet["brier_base_rate"]
    assert wood["base_rate"] < 0.2 and wood["auroc"] > 0.85
    # The loss is weighted towards what is rare; the probabilities are not.
    assert max(wet["calibration_error"], wood["calibration_error"]) < 0.04
    assert results["text"]["auroc"] > 0.9
    assert results["motion"]["up_correlation"] == pytest.approx(1.0) and results["motion"]["up_error"] < 1e-6


def test_the_same_seed_gives_the_same_heads_and_nothing_to_learn_is_told():
    data = examples(500, 0), examples(300, 1)
    short = TaskTraining(hidden=8, steps=60, batch=64)
    a, b = (train_heads(*data, short, {}, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(a[n], b[n]) for n in a) and a["usual"].numel() == 0
    blank = examples(100, 0)
    for name in LEARNED:
        blank.truth[name].zero_()
    with pytest.raises(ValueError, match="record more"):
        train_heads(blank, blank, QUICK, {})


def record(store: EpisodeStore, seed: int, frames: int = 60, licence: str | None = None) -> None:
    """Grey by day, dark in water; the brightness of the last row tells the number of the frame."""
    rng = np.random.default_rng(seed)
    wet = (np.arange(frames) // 8) % 2 == 1
    pictures = np.repeat(np.where(wet, 40, 200).astype(np.uint8), HEIGHT * WIDTH * 3).reshape(-1, HEIGHT, WIDTH, 3)
    pictures = pictures + rng.integers(0, 20, pictures.shape, np.uint8)
    store.append(
        Episode(
            frames=pictures, actions=np.zeros((frames, MINECRAFT.size), np.float32),
            rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, bool),
            state={"position": np.zeros((frames, 3)), "in_water": wet},
            events=[{"frame": 25, "kind": "dig", "node": "default:tree"}],
            provenance={"seed": seed, "split": split_of(seed), "engine": "luanti", "fps": 20,
                        "keys": list(MINECRAFT.keys), "licence": licence},
        ),
        f"map{seed}",
    )  # fmt: skip


def test_moments_of_a_store_hold_the_truth_of_their_own_frame(tmp_path: Path):
    store, world = EpisodeStore(tmp_path), tiny_world()
    for seed in [s for s in range(200) if split_of(s) == "train"][:2]:
        record(store, seed)
    made = make_examples(world, [store], "train", windows=100, seed=1)
    # Windows of a still and 8 chunks, the first two of which give context: 4 windows of 7 moments fit into 60 frames,
    # one moment after the other, from frame 4 on.
    assert len(made) == 2 * 4 * 7 and made.features.shape[1] == 2 * world.dit.config.width
    at = 4 + 2 * np.arange(28)
    for row in (0, 28):
        assert made.truth["wet"][row : row + 28].tolist() == ((at // 8) % 2 == 1).tolist()
        # Frame 25 is on the way to frame 26.
        assert np.flatnonzero(made.truth["wood"][row : row + 28]).tolist() == [11]
    assert made.known["wet"].all() and made.known["wood"].all() and not made.known["sees_tree"].any()


def test_moments_come_from_episodes_that_may_be_used(tmp_path: Path):
    store, world = EpisodeStore(tmp_path), tiny_world()
    first, second = [s for s in range(200) if split_of(s) == "train"][:2]
    record(store, first)
    record(store, second, licence="CC0-1.0")
    made = make_examples(world, [store], "train", windows=100, only=EpisodeFilter(licence="CC0*"))
    assert made.episodes == {str(store.url): [f"map{second}"]}
    with pytest.raises(UserError, match=r"no train episode of .* fits licence=MIT"):
        make_examples(world, [store], "train", windows=100, only=EpisodeFilter(licence="MIT"))


@pytest.mark.parametrize("reuse_last_eval_for_cache", [False, True])
def test_features_of_recordings_are_those_of_play(reuse_last_eval_for_cache: bool):
    """Played with the recorded latents, the world shows its heads what teacher forcing shows them."""
    world = tiny_world(reuse_last_eval_for_cache=reuse_last_eval_for_cache, steps=2)
    generator = np.random.default_rng(0)
    frames = torch.from_numpy(generator.integers(0, 255, (2, 9, HEIGHT, WIDTH, 3), np.uint8))
    actions = torch.from_numpy(generator.normal(0, 1, (2, 8, MINECRAFT.size)).astype(np.float32))
    heads = recorded_heads(world, frames, actions, [0, 1])
    assert heads.pooled.shape == (2, 5, 64)
    if not reuse_last_eval_for_cache:
        # Without folding, features are read where the past is written: as `prefill` reads its last frame.
        state = world.prefill(frames, actions.numpy(), [0, 1])
        torch.testing.assert_close(heads.pooled[:, -1], state.features, atol=1e-4, rtol=1e-3)
