"""A dream beside the real game: one past, the same actions, and both come back to the bit."""

from typing import Any

import numpy as np
import pytest

from tests.envs.play.fake_game import drive
from tests.envs.play.real.fake_real import FakeReal
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.learned.initial_context import choose
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.keeping import Outlets
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.pace import BOTH, REAL, Phase
from worldsim.envs.play.real.find import find_real
from worldsim.envs.play.real.twin import TwinGame, twin_opening
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT


def acts(yaw: float) -> np.ndarray:
    return np.tile(MINECRAFT.vector({"forward": 1, "camera": (0, yaw)}), (2, 1))


def make_twin(real: FakeReal, **options: Any) -> TwinGame:
    return TwinGame(WorldGame(tiny_world(), tiny_starts(), options), real, lambda what, share: None)


def test_the_dream_begins_from_the_real_games_pictures_and_both_get_the_same_actions():
    real = FakeReal()
    twin = make_twin(real)
    shown = twin.reset(4)
    begun = twin.dream.begun
    # The chunk's frames are the real game's; of the past, what does not fill a chunk is left out.
    np.testing.assert_array_equal(twin.insight()[REAL], shown)
    np.testing.assert_array_equal(shown, begun.frames[-2:])
    assert len(begun.frames) == 5 and begun.actions[:, 0].all() and begun.poses is not None and len(begun.poses) == 5
    # The seed draws the start that the dream alone would have.
    chosen = choose(tiny_world(), tiny_starts(), np.random.default_rng(4))
    assert real.began[0][0].start == chosen.start and begun.seed == chosen.seed
    alone = WorldGame(tiny_world(), tiny_starts(), beginning=begun)
    alone.reset(4)
    for yaw in (3, -5, 0):
        np.testing.assert_array_equal(twin.advance(acts(yaw)), alone.advance(acts(yaw)))
        np.testing.assert_array_equal(real.played[-1], acts(yaw))
        assert (twin.insight()[REAL][-1] == real.snapshot() % 256).all()
    assert twin.news == "fake: here" and "fake" in twin.status()
    twin.close()
    assert real.closed


def test_both_come_back_to_the_bit():
    twin = make_twin(FakeReal())
    timeline = Timeline(twin, every=3)
    shown = [(timeline.begin(1), twin.insight()[REAL])]
    for yaw in range(8):
        frames = timeline.advance(acts(yaw))
        shown.append((frames, twin.insight()[REAL]))
    for number in (8, 4, 0, 7, 2):
        dream, real = shown[number]
        np.testing.assert_array_equal(timeline.go(number), dream)
        np.testing.assert_array_equal(twin.insight()[REAL], real)
    twin.close()


def test_a_chosen_start_is_the_real_games_too_and_a_new_seed_another():
    real = FakeReal()
    twin = make_twin(real)
    twin.begin_at(3)
    twin.reset(1)
    twin.reset(2)
    assert [start.start for start, *_ in real.began] == [3, 3] and [seed for *_, seed in real.began] == [1, 2]
    with pytest.raises(UserError, match="cannot begin from a picture"):
        twin.begin_at("home.png")
    assert real.began[0][1] == {} == dict(tiny_starts().provenance[3])
    twin.close()


@pytest.mark.parametrize("same_start", [True, False])
@pytest.mark.parametrize("rewinds", [True, False])
def test_opened_beside_a_dream_it_plays_the_same_inputs_where_the_start_is_the_same(same_start: bool, rewinds: bool):
    real, dream = FakeReal(rewinds=rewinds, same_start=same_start), WorldGame(tiny_world(), tiny_starts())
    dream.reset(7)
    inputs = [acts(yaw) for yaw in (1, 2, 3)]
    kept = Outlets(folder=lambda: pytest.fail("nothing is kept"), origin=lambda game: pytest.fail("no origin"))
    opening = twin_opening(Opening(open_game=lambda tell: dream, seed=7, outlets=kept), dream, lambda: real, inputs)
    assert opening.view == BOTH and opening.outlets.origin is None and opening.real is None
    session = opening.session()
    drive(session, lambda: session.phase is Phase.READY and not session.moving, seconds=120)
    np.testing.assert_array_equal(real.played, inputs if same_start else [])
    assert session.shown == (3 if same_start and rewinds else 0) and session.picture() is not None
    # What is shown is the moment that the inputs lead to, also where the game keeps no others.
    alone = WorldGame(tiny_world(), tiny_starts(), beginning=session.game.dream.begun)  # pyright: ignore
    expected = alone.reset(7)
    for actions in inputs if same_start else ():
        expected = alone.advance(actions)
    np.testing.assert_array_equal(session.picture(), expected[-1])
    np.testing.assert_array_equal(
        session.insight[REAL][0, 0], [real.snapshot() % 256] * 3 if same_start else expected[-1][0, 0]
    )
    session.close()
    session.game.close()  # pyright: ignore[reportOptionalMemberAccess]


def test_a_world_whose_starts_tell_of_no_game_has_none():
    with pytest.raises(UserError, match="do not tell of a game"):
        find_real(WorldGame(tiny_world(), tiny_starts()))
