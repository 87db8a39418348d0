import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from tests.test_latents import episode
from tests.tiny_world import tiny_world
from worldsim.agents.evaluate import action_use, draw_clips, horizons, obedience
from worldsim.agents.measures import growth_evidence, psnr, turn_evidence
from worldsim.datasets.store import EpisodeStore


def scene(seed=0, height=80, width=300):
    rng = np.random.default_rng(seed)
    blurred = gaussian_filter(rng.normal(size=(height, width, 3)), (1.5, 1.5, 0))
    return np.clip(128 + 400 * blurred, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixels", [-17, -6, -1, 1, 6, 17])
def test_turning_is_seen_with_its_sign(pixels):
    wide = scene()
    frames = [wide[:, 78 - pixels * i : 78 - pixels * i + 144] for i in range(4)]
    assert np.sign(turn_evidence(frames)) == np.sign(pixels)


@pytest.mark.parametrize("factor", [0.04, 0.08])
def test_growing_and_shrinking_are_told_apart(factor):
    frames = []
    for i in range(4):
        scale = (1 + factor) ** i * 1.5
        big = np.asarray(zoom(scene(width=144).astype(np.float32), (scale, scale, 1), order=1))
        top, left = (big.shape[0] - 80) // 2, (big.shape[1] - 144) // 2
        frames.append(np.clip(big[top : top + 80, left : left + 144], 0, 255).astype(np.uint8))
    assert growth_evidence(frames) > 0 > growth_evidence(frames[::-1])


def test_standing_still_is_no_evidence():
    frames = [scene()[:, :144]] * 3
    # Symmetric by construction but for the borders: far from what a true turn gives.
    assert abs(turn_evidence(frames)) < 0.05


def test_psnr_of_a_known_error():
    a = np.full((2, 4, 4, 3), 100, np.uint8)
    b = a + np.array([10, 0], np.uint8)[:, None, None, None]
    assert psnr(a, b)[0] == pytest.approx(20 * np.log10(25.5)) and psnr(a, b)[1] == 60


def test_reports_are_complete_and_repeatable(tmp_path):
    store = EpisodeStore(tmp_path)
    for i in range(2):
        store.append(episode(frames=41, seed=i), f"e{i}")
    world = tiny_world(height=32, width=32, window=6)
    clips = draw_clips(store, "train", 4, 17, seed=3)
    report = horizons(world, clips, prefix=9, rows=3)
    assert report["chunks"] == 4 and all(len(report[k]) == 4 for k in ("model", "repeat", "shuffled", "tokenizer"))
    assert report == horizons(world, clips, prefix=9, rows=3)
    signs = obedience(world, clips, 9, turn_chunks=2, walk_chunks=3, rows=4)
    assert len(signs["per_start"]["right"]) == 4 and 0 <= signs["camera_opposite_and_correct"] <= 1
    use = action_use(world, clips, rows=2)
    assert use["true"] > 0 and use["ratio"] > 0
