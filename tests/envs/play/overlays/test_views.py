"""Ways to look at a game: whose pictures stand where, and what their colours mean."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim.envs.play.overlays.insight import depth_picture, difference_picture, sources_picture
from worldsim.envs.play.overlays.views import CURVE, Panel, Views, filmed, flat, grid, next_view
from worldsim.envs.play.pace import BOTH, DREAM, REAL


def plain(value: int, height: int = 40, width: int = 72) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_both_shows_dream_real_game_and_three_times_their_difference():
    views = Views(BOTH)
    dream, real = plain(100), plain(110)
    real[0, 0] = 250
    names = [panel.name for panel in views.panels(dream, {REAL: real})]
    assert names[:2] == [DREAM, "real game"] and names[2].startswith("difference 10.0")
    first, second, third, _ = (panel.picture for panel in views.panels(dream, {REAL: real}))
    assert (first == dream).all() and (second == real).all()
    assert (third[1:] == 30).all() and (third[0, 0] == 255).all()
    # Which one is darker does not matter.
    np.testing.assert_array_equal(difference_picture(dream, real), difference_picture(real, dream))


def test_a_view_that_the_frame_knows_nothing_of_is_the_plain_picture():
    dream, real = plain(1), plain(2)
    assert [p.picture[0, 0, 0] for p in Views(REAL).panels(dream, {REAL: real})] == [2]
    assert [p.picture[0, 0, 0] for p in Views("depth").panels(dream, {REAL: real})] == [1]
    assert Views("picture").panels(dream, {}) == [Panel("", dream)]


def test_the_curve_ends_at_the_newest_frame_and_is_as_high_as_the_difference():
    views = Views(BOTH)
    for value in (0, 16, 32, 64):
        views.note(plain(0), {REAL: plain(value)})
    views.note(plain(0), {})
    curve = views.curve(64, 10)
    high = (curve == CURVE).all(-1).sum(0)
    np.testing.assert_array_equal(high, [0, 0, 0, 0, 0, 0, 0, 16, 32, 64])
    assert views.name == BOTH and views.panels(plain(0), {REAL: plain(1)})[3].name == "over time, up to 64.0"
    for _ in range(2000):
        views.note(plain(0), {REAL: plain(32)})
    # What was larger is forgotten with its frames.
    assert ((views.curve(64, 10) == CURVE).all(-1).sum(0) == 64).all() and len(views.differences) <= 400


@pytest.mark.parametrize(
    ("across", "down", "columns"), [(1000, 100, 4), (100, 1000, 1), (720, 400, 2), (600, 600, 2), (600, 130, 4)]
)
def test_a_grid_is_the_one_that_a_window_shows_largest(across: int, down: int, columns: int):
    panels = [Panel(str(i), plain(10 * i, 40, 70)) for i in range(4)]
    picture, corners = grid(panels, across, down)
    assert picture.shape == (40 * -(-4 // columns), 70 * columns, 3)
    for i, (x, y) in enumerate(corners):
        assert (picture[y : y + 40, x : x + 70] == 10 * i).all()
    assert len(set(corners)) == 4


def test_a_film_in_a_view_keeps_its_size():
    class Game:
        def insight(self) -> dict[str, NDArray[np.uint8]]:
            return {REAL: np.stack([plain(7), plain(9)])}

    film = filmed(BOTH)
    first, second = film(Game(), np.stack([plain(1), plain(2)]))  # pyright: ignore[reportArgumentType]
    assert first.shape == second.shape == (80, 144, 3)
    assert first[0, 72, 0] == 7 and second[0, 72, 0] == 9 and second[0, 0, 0] == 2
    [only] = filmed("")(Game(), plain(3)[None])  # pyright: ignore[reportArgumentType]
    assert (only == 3).all() and (flat([Panel("", plain(4))]) == 4).all()


def test_views_come_round():
    views, seen = ("dream", "real", "both"), ["dream"]
    for _ in range(3):
        seen.append(next_view(views, seen[-1]))
    assert seen == ["dream", "real", "both", "dream"] and next_view(views, "gone") == "dream"


def test_depth_darkens_with_distance_and_what_is_no_world_keeps_its_picture():
    metres = np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf]], np.float32)
    frame, sure = plain(200, 1, 8), np.full((1, 8), 255, np.uint8)
    picture = depth_picture(frame, 1 / metres, sure)
    light = picture[0].astype(int) @ [299, 587, 114]
    assert (np.diff(light[:7]) < 0).all() and light[7] < light[4]
    # Nearer than the nearest and farther than the farthest are the ends of the scale.
    ends = depth_picture(frame[:, :2], np.array([[5.0, 1 / 500]]), sure[:, :2])
    np.testing.assert_array_equal(ends[0], picture[0, [0, 6]])
    sure[0, 3] = 0
    assert (depth_picture(frame, 1 / metres, sure)[0, 3] == 70).all()


def test_pixels_are_tinted_by_whose_they_are():
    frame, sources = plain(100, 1, 3), np.array([[0, 1, 2]], np.uint8)
    memory, screen, network = sources_picture(frame, sources)[0].astype(int)
    assert memory.argmax() == 1 and screen.argmax() == 2 and network.argmax() == 0
    # The picture is still to be seen.
    brighter = sources_picture(plain(200, 1, 3), sources)[0].astype(int)
    np.testing.assert_allclose(brighter - [memory, screen, network], 55, atol=1)
