import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from worldsim.evaluation.measures import stlpips
from worldsim.evaluation.measures.metrics import cells, colours, psnr, sharpness, ssim, turn_evidence, walk_evidence
from worldsim.evaluation.measures.recorded import blurred, ghosted


def scene(seed=0, height=80, width=300):
    rng = np.random.default_rng(seed)
    blurred = gaussian_filter(rng.normal(size=(height, width, 3)), (1.5, 1.5, 0))
    return np.clip(128 + 400 * blurred, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixels", [-17, -6, -1, 1, 6, 17])
def test_turning_is_seen_with_its_sign(pixels):
    wide = scene()
    frames = [wide[:, 78 - pixels * i : 78 - pixels * i + 144] for i in range(4)]
    assert np.sign(turn_evidence(frames)) == np.sign(pixels)


def walked(pitch, wall):
    """A camera that walks towards a wall over textured ground: drawn by casting rays, not by the measure's own warp."""
    ground, front = scene(seed=1, height=300), scene(seed=2, height=300)
    focal = 40 / np.tan(np.deg2rad(36))
    y, x = np.mgrid[:80, :144].astype(float)
    angle = np.deg2rad(pitch)
    right, down = (x - 71.5) / focal, (y - 39.5) / focal
    ahead, below = np.cos(angle) - np.sin(angle) * down, np.sin(angle) + np.cos(angle) * down
    frames = []
    for walked in np.arange(5) * 0.4:
        to_wall, to_ground = (wall - walked) / np.maximum(ahead, 1e-3), 1.625 / np.where(below > 1e-3, below, 1e-9)
        on_ground = to_ground < to_wall
        distance = np.where(on_ground, to_ground, to_wall)
        u = np.where(on_ground, distance * ahead + walked, distance * below) * 12 + 150
        v = distance * right * 12 + 150
        at = u.astype(int) % 300, v.astype(int) % 300
        frames.append(np.where(on_ground[..., None], ground[at], front[at]))
    return np.stack(frames)


PLACES = [(0.0, 6.0), (15.0, 30.0), (-10.0, 2.5)]


@pytest.mark.parametrize(("pitch", "wall"), PLACES)
def test_walking_is_seen_with_its_sign(pitch, wall):
    frames = walked(pitch, wall)
    assert walk_evidence(list(frames), pitch) > 0.02 and walk_evidence(list(frames[::-1]), pitch) < -0.02


@pytest.mark.parametrize(("pitch", "wall"), PLACES)
@pytest.mark.parametrize("spoil", [lambda x: blurred(x, 0, 1), lambda x: ghosted(x, 0.5)])
def test_walking_is_seen_in_pictures_as_dreams_show_them(pitch, wall, spoil):
    """Blur that grows, and ghosts, lean to neither side: what is spoiled is the picture, not the answer."""
    frames = walked(pitch, wall)
    forward, back = walk_evidence(list(spoil(frames)), pitch), walk_evidence(list(spoil(frames[::-1])), pitch)
    assert forward > 0 > back
    assert abs(forward + back) < 0.5 * min(forward, -back)


def test_walking_evidence_turns_round_with_time():
    frames = list(walked(5.0, 5.0))
    assert walk_evidence(frames, 5.0) == pytest.approx(-walk_evidence(frames[::-1], 5.0), abs=1e-5)


def test_standing_still_is_no_evidence():
    frames = np.stack([scene()[:, :144]] * 4)
    # Turning: symmetric by construction but for the borders, far from what a true turn gives.
    assert abs(turn_evidence(list(frames))) < 0.05
    assert walk_evidence(list(frames)) == pytest.approx(0, abs=1e-6)
    # A standing picture that blurs away is no walk: far from what a true one gives (tests above: 0.02 and more).
    assert abs(walk_evidence(list(blurred(frames, 0, 1)))) < 0.015


def test_psnr_of_a_known_error():
    a = np.full((2, 4, 4, 3), 100, np.uint8)
    b = a + np.array([10, 0], np.uint8)[:, None, None, None]
    assert psnr(a, b)[0] == pytest.approx(20 * np.log10(25.5)) and psnr(a, b)[1] == 60


def pair():
    y, x = np.mgrid[:40, :56]
    a = np.stack([(x * 5) % 256, (y * 6) % 256, ((x + y) * 3) % 256], -1)
    b = np.stack([(x * 5 + 40 * (y % 7 == 0)) % 256, (y * 6 + x) % 256, ((x + y) * 3) // 2 % 256], -1)
    return a.astype(np.uint8), b.astype(np.uint8)


def test_psnr_and_ssim_are_those_of_scikit_image():
    """Values of scikit-image 0.26.0: peak_signal_noise_ratio and structural_similarity with Wang's settings."""
    a, b = pair()
    assert psnr(a, b) == pytest.approx(12.78580127717292, abs=1e-9)
    assert ssim(a, b) == pytest.approx(0.6847185590020822, abs=1e-5)
    assert ssim(a, a) == pytest.approx(1)
    np.testing.assert_allclose(ssim(np.stack([a, b]), np.stack([b, b])), [float(ssim(a, b)), 1.0], atol=1e-6)
    with pytest.raises(ValueError, match="11x11"):
        ssim(a[:8], b[:8])


def test_blur_lowers_sharpness_and_contrast_and_leaves_colours():
    sharp = scene()[:, :144][None]
    soft = blurred(sharp, 1, 1)
    assert sharpness(soft) < 0.9 * sharpness(sharp)
    assert cells(soft).mean() < 0.95 * cells(sharp).mean() and cells(sharp).shape == (1, 7, 18)
    other = 255 - sharp // 2
    assert np.abs(colours(soft) - colours(sharp)).mean() < 0.4 * np.abs(colours(other) - colours(sharp)).mean()


@pytest.mark.skipif(not stlpips.available(), reason=stlpips.HOW_TO_GET)
def test_stlpips_forgives_a_shift_and_not_a_blur():
    picture = scene()[None, :, :144]
    far = stlpips.stlpips(blurred(picture, 2, 2), picture)
    assert stlpips.stlpips(picture, picture) == pytest.approx(0, abs=1e-6)
    assert 0 < stlpips.stlpips(np.roll(picture, 1, 2), picture) < 0.3 * far
