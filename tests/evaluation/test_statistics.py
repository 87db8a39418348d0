import numpy as np
import pytest
from scipy import stats

from worldsim.evaluation.measures.statistics import curve, estimate, quantile_members, survival, survival_summary


def test_the_map_is_the_unit():
    """Copies of a clip of the same map tell nothing new: the interval stays as wide."""
    rng = np.random.default_rng(0)
    values, maps = rng.normal(size=12), np.arange(12)
    one, many = estimate(values, maps), estimate(np.repeat(values, 50), np.repeat(maps, 50))
    assert many["value"] == pytest.approx(one["value"]) and many["maps"] == 12
    assert many["high"] - many["low"] == pytest.approx(one["high"] - one["low"], rel=0.01)
    alone = estimate(np.repeat(values, 50), np.arange(600))
    assert alone["high"] - alone["low"] < 0.4 * (one["high"] - one["low"])


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(30):
        effects = rng.normal(size=20)
        found = estimate((effects[:, None] + rng.normal(size=(20, 5))).ravel(), np.repeat(np.arange(20), 5), seed=trial)
        covered += found["low"] < 0 < found["high"]
    assert covered >= 24


def test_one_map_has_no_interval_and_gaps_do_not_count():
    assert estimate([1.0, 2.0], [7, 7]) == {"value": 1.5, "low": None, "high": None, "count": 2, "maps": 1}
    found = estimate([1.0, np.nan, 3.0], [1, 2, 3])
    assert found["value"] == 2 and found["count"] == 2 and found["maps"] == 2
    assert estimate([np.nan], [1])["value"] is None
    assert estimate([], [])["value"] is None
    assert curve(np.array([[1.0, 2.0], [3.0, 4.0]]), [1, 2])["value"] == [2, 3]


def test_survival_of_a_textbook_example():
    """Failures at 1, 3, 3 and 5, censored at 2 and 6: (1 - 1/6)(1 - 2/4)(1 - 1/2)."""
    found = survival([1, 2, 3, 3, 5, 6], [1, 0, 1, 1, 1, 0], 6)
    np.testing.assert_allclose(found, [1, 5 / 6, 5 / 6, 5 / 12, 5 / 12, 5 / 24, 5 / 24])


def test_who_fails_at_once_has_no_good_steps():
    np.testing.assert_allclose(survival([0, 2], [True, True], 3), [0.5, 0.5, 0, 0])
    assert survival_summary([0, 0], [True, True], [1, 2], 3)["restricted_mean"]["value"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_survival_is_that_of_scipy(seed: int):
    rng = np.random.default_rng(seed)
    times, failed = rng.integers(0, 15, 40), rng.random(40) < 0.6
    watched = stats.CensoredData.right_censored(times, ~failed)
    np.testing.assert_allclose(survival(times, failed, 20), stats.ecdf(watched).sf.evaluate(np.arange(21)), atol=1e-12)
    # Who is watched for longer than asked has not failed by then.
    np.testing.assert_allclose(survival(times, failed, 9), survival(times, failed, 20)[:10], atol=1e-12)


def test_survival_summary_says_when_half_have_failed():
    found = survival_summary([2, 4, 4, 8], [True, True, True, False], [1, 2, 3, 4], 8)
    assert found["median"] == 4 and found["failed"] == 3 and found["censored"] == 1
    assert found["restricted_mean"]["value"] == pytest.approx((2 + 4 + 4 + 8) / 4)
    assert survival_summary([8, 8], [False, False], [1, 2], 8)["median"] is None


def test_galleries_are_chosen_by_quantile():
    assert quantile_members([3.0, 1.0, 2.0, 5.0, 4.0]) == [1, 2, 0, 4, 3]
    assert quantile_members([7.0]) == [0] * 5 and quantile_members([]) == []
