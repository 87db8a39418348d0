import numpy as np

from worldsim.datasets.checks.stillness import FROZEN_DIFFERENCE, difference


def test_the_difference_is_that_of_the_widened_pictures_and_symmetric():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 5, 8, 12, 3), dtype=np.uint8)
    wide = np.abs(a.astype(np.int16) - b).mean((1, 2, 3))
    np.testing.assert_array_equal(difference(a, b), wide)
    np.testing.assert_array_equal(difference(b, a), wide)
    assert difference(a[0], b[0]) == wide[0]
    assert difference(a[0], a[0]) == 0 < FROZEN_DIFFERENCE < difference(a[0], a[0] ^ 1)
