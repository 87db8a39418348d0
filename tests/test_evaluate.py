import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.test_latents import episode
from tests.tiny_world import tiny_world
from worldsim.agents.evaluate import action_use, draw_clips, horizons, obedience
from worldsim.agents.measures import psnr, turn_evidence, walk_evidence
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


@pytest.mark.parametrize(("pitch", "wall"), [(0.0, 6.0), (15.0, 30.0), (-10.0, 2.0)])
def test_walking_is_seen_with_its_sign(pitch, wall):
    """A camera that walks towards a wall over textured ground: drawn by casting rays, not by the measure's own warp."""
    ground, front = scene(seed=1, height=300), scene(seed=2, height=300)
    focal = 40 / np.tan(np.deg2rad(36))
    y, x = np.mgrid[:80, :144].astype(float)
    angle = np.deg2rad(pitch)
    right, down = (x - 71.5) / focal, (y - 39.5) / focal
    ahead, below = np.cos(angle) - np.sin(angle) * down, np.sin(angle) + np.cos(angle) * down
    frames = []
    for walked in np.arange(4) * 0.4:
        to_wall, to_ground = (wall - walked) / np.maximum(ahead, 1e-3), 1.625 / np.where(below > 1e-3, below, 1e-9)
        on_ground = to_ground < to_wall
        distance = np.where(on_ground, to_ground, to_wall)
        u = np.where(on_ground, distance * ahead + walked, distance * below) * 12 + 150
        v = distance * right * 12 + 150
        at = u.astype(int) % 300, v.astype(int) % 300
        frames.append(np.where(on_ground[..., None], ground[at], front[at]))
    assert walk_evidence(frames, pitch) > 0.02 and walk_evidence(frames[::-1], pitch) < -0.02


def test_standing_still_is_no_evidence():
    frames = [scene()[:, :144]] * 3
    # Symmetric by construction but for the borders: far from what a true turn gives.
    assert abs(turn_evidence(frames)) < 0.05 and abs(walk_evidence(frames)) < 0.05


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
