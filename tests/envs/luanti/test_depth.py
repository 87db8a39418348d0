"""Depth: its maths, and what the real engine says of a plane that is seen under a known angle."""

import numpy as np
import pytest

from tests.real_game import needs_game
from worldsim.envs.luanti.depth import inverse_depth, shrink_depth
from worldsim.envs.luanti.env import LuantiEnv
from worldsim.spec.camera import INVERSE_DEPTH_STEPS, MINECRAFT_CAMERA

HEIGHT, WIDTH = 80, 144


@pytest.mark.parametrize("hand", [1.0, -1.0])  # left-handed, as Luanti, and right-handed
def test_opengl_depth_becomes_inverse_metres(hand: float):
    near, far, metres = 1.0, 20000.0, np.array([[0.1, 0.5, 2.0, 60.0]], np.float32)
    p10, p14 = hand * (far + near) / (far - near), -2 * far * near / (far - near)
    z = hand * 10 * metres.astype(np.float64)
    window = (((p10 * z + p14) / (hand * z) + 1) / 2).astype(np.float32)
    out = inverse_depth(window, np.array([1.0, p10, hand, p14], np.float32))
    np.testing.assert_allclose(out, 1 / metres, rtol=5e-3)
    assert inverse_depth(np.ones((1, 1), np.float32), np.array([1.0, p10, hand, p14], np.float32)) == 0


def test_a_block_of_pixels_takes_one_of_its_distances_and_the_nearer_of_two_halves():
    inverse = np.array([[0.5, 0.5, 0.0, 0.0, 0.1, 0.1], [0.5, 0.1, 0.0, 1.0, 0.5, 0.5]], np.float32)
    out = shrink_depth(inverse, (2, 2))
    assert out.dtype == np.uint16
    np.testing.assert_array_equal(out, [[0.5 * INVERSE_DEPTH_STEPS, 0, 0.5 * INVERSE_DEPTH_STEPS]])
    assert shrink_depth(np.full((1, 1), 99.0, np.float32), (1, 1)) == 65535


@pytest.fixture(scope="module")
def plain():
    env = LuantiEnv(mapgen="flat", depth=True, viewing_range=40)
    yield env
    env.close()


def plane(pitch: float) -> np.ndarray:
    """Inverse depth (H,) of the rows of a picture of flat ground, 1 / metre, from standing height."""
    slope = (np.arange(HEIGHT) - (HEIGHT - 1) / 2) / MINECRAFT_CAMERA.focal_pixels(HEIGHT)
    angle = np.radians(pitch)
    return (np.sin(angle) + slope * np.cos(angle)) / MINECRAFT_CAMERA.eye_height


def on_plane(depth: np.ndarray, pitch: float) -> np.ndarray:
    """Which pixels (H, W) lie on flat ground as it is seen at a pitch, to a third of a pixel and 2 %."""
    expected = plane(pitch)
    allowed = 0.02 * expected + np.gradient(expected) / 3
    return np.abs(depth / INVERSE_DEPTH_STEPS - expected[:, None]) < allowed[:, None]


@needs_game
def test_depth_of_a_frame_is_that_of_its_own_world_without_hand_and_hotbar(plain):
    _, info = plain.reset(seed=14, options={"pitch": 50.0})
    right, late, early = [], [], []
    before = info
    for t in range(12):
        # Two frames of each pitch, so that a frame of delay to either side shows.
        _, _, _, _, info = plain.step({"camera": (5.0 if (t // 2) % 2 else -5.0, 0.0)})
        assert info["depth"].shape == (HEIGHT, WIDTH) and info["depth"].dtype == np.uint16
        right.append(on_plane(info["depth"], info["pitch"]))
        late.append(on_plane(info["depth"], before["pitch"]).mean())
        early.append(on_plane(before["depth"], info["pitch"]).mean())
        before = info
    shares = np.stack(right).mean(0)
    assert shares.mean() > 0.95 and max(late) < 0.2 and max(early) < 0.2
    # The hotbar, and the hand in the lower right corner, do not hide the ground.
    hotbar = MINECRAFT_CAMERA.rows_of_world(HEIGHT)
    assert shares[hotbar:].mean() > 0.95 and shares[50:hotbar, 100:].mean() > 0.95


@needs_game
def test_sky_is_zero_and_the_first_frame_has_depth_too(plain):
    _, info = plain.reset(seed=14, options={"pitch": -80.0})
    assert (info["depth"] == 0).mean() > 0.9
    _, info = plain.reset(seed=14, options={"pitch": 80.0})
    assert (info["depth"] > 0).all()


@needs_game
def test_depth_stands_still_with_the_player_and_stays_on_screen_while_the_hand_swings(plain):
    _, info = plain.reset(seed=14, options={"pitch": 20.0})
    still = info["depth"]
    # Pressing `use` on nothing near swings the hand; the world stands.
    depths = [plain.step({"use": t % 2, "hotbar.9": 1})[-1]["depth"] for t in range(8)]
    assert max(np.abs(depth.astype(int) - still).max() for depth in depths) <= 1


@needs_game
def test_without_asking_there_is_no_depth():
    env = LuantiEnv(mapgen="flat", viewing_range=40)
    try:
        assert "depth" not in env.reset(seed=14)[1]
    finally:
        env.close()
