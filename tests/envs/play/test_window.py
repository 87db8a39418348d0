"""The real window under SDL's dummy driver, driven by a script that looks before each key."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from PIL import Image

from tests.envs.play.dummy_screen import dummy
from tests.envs.play.fake_game import FakeGame, forward
from worldsim.datasets.store.video import read_video
from worldsim.envs.play.bindings import COMMANDS, DEFAULTS, Preferences, default_path
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.keeping import Outlets
from worldsim.envs.play.opening import Opening, WorldTile
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.envs.play.tree.origin import Origin
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.envs.play.worker import StepTimes
from worldsim.errors import UserError
from worldsim.plotting.window import Window
from worldsim.spec.actions import MINECRAFT, ActionSpec

# A fixture for every test here.
__all__ = ["dummy"]

# Waits for something; then these events are given to the window.
Act = tuple[Callable[[PlayWindow], Any], list[tuple[int, dict[str, Any]]]]


def press(code: int, mod: int = 0) -> list[tuple[int, dict[str, Any]]]:
    return [(pygame.KEYDOWN, {"key": code, "mod": mod}), (pygame.KEYUP, {"key": code, "mod": mod})]


def hold(code: int) -> list[tuple[int, dict[str, Any]]]:
    return [(pygame.KEYDOWN, {"key": code, "mod": 0})]


def phase(wanted: Phase) -> Callable[[PlayWindow], bool]:
    return lambda window: window.session.phase is wanted and not window.session.moving


def shown(number: int) -> Callable[[PlayWindow], bool]:
    return lambda window: window.session.shown >= number


def always(window: PlayWindow) -> bool:
    return True


def run(window: PlayWindow, acts: list[Act], seconds: float = 30.0) -> StepTimes:
    """Play a script; the window is closed at its end."""
    left, end = list(acts), time.monotonic() + seconds

    def events() -> list[Any]:
        assert time.monotonic() < end, f"waited in vain for act {len(acts) - len(left)}; {window.session.phase}"
        if not left:
            return [pygame.event.Event(pygame.QUIT)]
        if not left[0][0](window):
            return []
        return [pygame.event.Event(kind, members) for kind, members in left.pop(0)[1]]

    window.window.events = events  # pyright: ignore[reportAttributeAccessIssue]
    return window.run()


def opened(game: FakeGame, preferences: Preferences | None = None, **options: Any) -> PlayWindow:
    return PlayWindow(Opening(open_game=lambda tell: game, seed=3, **options), preferences=preferences)


def outlets(folder: Path, **more: Any) -> Outlets:
    origin = Origin(world="w", weights="x", sampling={}, keys=MINECRAFT.keys, camera=True, chunk=2)
    return Outlets(folder=lambda: folder, origin=lambda game: origin, **more)


def test_play_pause_and_go_on():
    game = FakeGame()
    window = opened(game)
    stood: list[int] = []
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(4), press(pygame.K_p)),
            (phase(Phase.PAUSED), []),
            (lambda w: w.session._job is None and (stood.append(game.steps) or len(stood) > 40), press(pygame.K_p)),
            (lambda w: w.session.shown >= 8, []),
        ],
    )
    assert len(set(stood)) == 1
    np.testing.assert_array_equal(game.seen[0], forward())
    assert window.window.closed


@pytest.mark.parametrize("open_it", [pygame.K_h, pygame.K_ESCAPE])
def test_help_and_menu_pause_the_world(open_it: int):
    game = FakeGame()
    stood: list[int] = []
    window = opened(game)
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(open_it)),
            (phase(Phase.PAUSED), []),
            (lambda w: w.session._job is None and (stood.append(game.steps) or len(stood) > 40), press(open_it)),
            (phase(Phase.PLAYING), []),
            (shown(6), []),
        ],
    )
    assert len(set(stood)) == 1 and not window.help


@pytest.mark.slow
def test_back_branch_mark_and_timeline(tmp_path: Path):
    window = opened(FakeGame(), outlets=outlets(tmp_path))
    seen: dict[str, Any] = {}

    def strip(w: PlayWindow) -> bool:
        timeline = w.session.timeline
        assert timeline is not None
        if w.strip._lanes and len(w.strip._lanes) == 2 and w.session.phase is Phase.PAUSED:
            lane = next(lane for lane in w.strip._lanes if lane.stretch == 0)
            seen["place"] = (w.strip._x(5), w.strip._y(lane.row))
            seen["number"] = w.strip.at(seen["place"], timeline)
            return True
        return False

    acts: list[Act] = [
        (phase(Phase.READY), hold(pygame.K_w)),
        (shown(22), press(pygame.K_BACKSPACE)),
        (phase(Phase.READY), []),
        (lambda w: seen.setdefault("back", w.session.shown) < 9, hold(pygame.K_s)),
        (lambda w: w.session.shown > 24, press(pygame.K_F5)),
        (lambda w: seen.setdefault("mark", w.session.shown), []),
        (shown(28), press(pygame.K_F9)),
        (phase(Phase.READY), []),
        (lambda w: w.session.shown == w.session.mark, press(pygame.K_COMMA)),
        (phase(Phase.PAUSED), press(pygame.K_COMMA, pygame.KMOD_SHIFT)),
        (phase(Phase.PAUSED), []),
        (strip, []),
    ]
    run(window, acts)
    assert seen["number"] == 5
    assert len(window.session.timeline.stretches) == 2  # pyright: ignore[reportOptionalMemberAccess]
    [saved] = window.keeper.kept
    loaded = Playthrough.load(saved)
    assert saved.stat().st_size < 5000 and len([s for s in loaded.stretches if len(s.actions)]) == 2
    # Back played "s" from where it had gone back to.
    assert loaded.stretches[1].at == seen["back"] and loaded.stretches[1].actions[-1, 1] == 1


def test_a_click_on_the_timeline_goes_there():
    window, seen = opened(FakeGame()), {}

    def click(w: PlayWindow) -> bool:
        if not w.strip._lanes:
            return False
        event = pygame.event.Event(pygame.MOUSEBUTTONDOWN, {"button": 1, "pos": (w.strip._x(4), w.strip._y(0))})
        w._event(event)
        seen["now"] = w.session.shown
        return True

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(10), press(pygame.K_p)),
            (phase(Phase.PAUSED), []),
            (click, []),
            (phase(Phase.PAUSED), []),
        ],
    )
    assert seen["now"] == 4 == window.session.shown == window.session.timeline.here  # pyright: ignore


@pytest.mark.parametrize("by_mouse", [False, True])
def test_a_start_is_chosen_by_its_picture(by_mouse: bool):
    game = FakeGame()
    window = opened(game)

    def chosen(w: PlayWindow) -> bool:
        if w.starts is None or not w.starts.places:
            return False
        if by_mouse:
            place = w.starts.places[3].center
            w._event(pygame.event.Event(pygame.MOUSEBUTTONDOWN, {"button": 1, "pos": place}))
        else:
            for code in (pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_RETURN):
                w._event(pygame.event.Event(pygame.KEYDOWN, {"key": code}))
        return True

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(pygame.K_b)),
            (chosen, []),
            (lambda w: game.start == 3, []),
            (phase(Phase.READY), []),
        ],
    )
    assert window.session.shown == 0 and window.session.seed == 3 and not window._covered()


def test_a_playthrough_is_gone_on_with(tmp_path: Path):
    first = opened(FakeGame(), outlets=outlets(tmp_path))
    run(first, [(phase(Phase.READY), hold(pygame.K_w)), (shown(7), [])])
    saved = Playthrough.load(first.keeper.kept[0])
    assert first.session.timeline is not None
    last = first.session.timeline.picture(first.session.shown)
    again = opened(FakeGame(), outlets=outlets(tmp_path), restore=lambda game, timeline: saved.fill(timeline))
    run(again, [(phase(Phase.READY), []), (lambda w: w.session.shown > 0 and not w.session.moving, [])])
    assert again.session.timeline is not None and again.session.shown == first.session.shown
    np.testing.assert_array_equal(again.session.timeline.picture(again.session.shown), last)
    # What was only looked at is not written again.
    assert again.keeper.kept == []


def test_beginning_anew_forgets_nothing_that_was_played(tmp_path: Path):
    window = opened(FakeGame(), outlets=outlets(tmp_path))
    run(
        window,
        [
            # Nothing was played: there is nothing to keep.
            (phase(Phase.READY), press(pygame.K_r)),
            (lambda w: w.session.seed == 4 and w.session.phase is Phase.READY, hold(pygame.K_w)),
            (shown(7), press(pygame.K_r)),
            (lambda w: w.session.seed == 5 and w.session.phase is Phase.READY, []),
            (always, press(pygame.K_s)),
            (shown(3), []),
        ],
    )
    first, second = (Playthrough.load(path) for path in window.keeper.kept)
    assert (first.seed, second.seed) == (4, 5) and len(first.actions()) >= 2 * 7 and len(second.actions()) >= 2 * 3
    np.testing.assert_array_equal(first.actions()[0], forward()[0])


def test_a_display_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    pygame.display.quit()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4077")
    with pytest.raises(UserError, match="no window can be opened"):
        Window(72, 40, "fake")
    pygame.display.quit()


def test_films_and_screenshots_are_kept(tmp_path: Path):
    window = opened(FakeGame(), outlets=outlets(tmp_path, scale=2))
    run(
        window,
        [
            (phase(Phase.READY), press(pygame.K_F7)),
            (always, hold(pygame.K_w)),
            (shown(6), press(pygame.K_F7)),
            (always, press(pygame.K_F8)),
            (shown(12), press(pygame.K_F2)),
        ],
    )
    names = sorted(path.name for path in window.keeper.kept)
    assert names == ["play-1.playthrough.json", "recording-1.gif", "recording-1.mp4", "screenshot-1.png"]
    film = read_video(tmp_path / "recording-1.mp4")
    assert film.shape[1:] == (80, 144, 3) and len(film) >= 2 * 5
    with Image.open(tmp_path / "recording-1.gif") as gif:
        assert gif.size == (144, 80) and getattr(gif, "n_frames", 1) >= 2
    with Image.open(tmp_path / "screenshot-1.png") as picture:
        assert picture.size == window.window.size


def test_the_episode_goes_into_a_store_or_says_why_not(tmp_path: Path):
    got: list[Any] = []

    def episode(game: Any, played: Playthrough) -> str:
        got.append(played.actions())
        return "kept it"

    window = opened(FakeGame(), outlets=outlets(tmp_path, episode=episode))
    said: list[str] = []
    window.keeper.say = said.append
    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), press(pygame.K_F10)),
            (lambda w: "kept it" in said, []),
        ],
    )
    assert len(got[0]) >= 6 and got[0][:, 0].all()


def test_keys_are_bound_anew_and_kept():
    window = opened(FakeGame(), preferences=Preferences.load(default_path()))

    def to_jump(w: PlayWindow) -> bool:
        assert w.menu is not None
        return w.menu.entries[w.menu.chosen].text().startswith("jump")

    def down(w: PlayWindow) -> bool:
        if not to_jump(w):
            w._event(pygame.event.Event(pygame.KEYDOWN, {"key": pygame.K_DOWN}))
        return to_jump(w)

    def find_keys(w: PlayWindow) -> bool:
        assert w.menu is not None
        w._event(pygame.event.Event(pygame.KEYDOWN, {"key": pygame.K_DOWN}))
        return w.menu.entries[w.menu.chosen].text().startswith("Change keys")

    run(
        window,
        [
            (phase(Phase.READY), press(pygame.K_ESCAPE)),
            (find_keys, press(pygame.K_RETURN)),
            (down, press(pygame.K_RETURN)),
            (always, press(pygame.K_j)),
        ],
    )
    loaded = Preferences.load(default_path())
    assert loaded.keys_of("jump") == ["j"] and loaded.keys["w"] == "forward" and "space" not in loaded.keys


def test_no_command_is_called_like_a_control():
    assert not set(COMMANDS) & set(MINECRAFT.keys) and set(DEFAULTS.values()) == {*COMMANDS, *MINECRAFT.keys}


def test_damaged_settings_are_one_line(tmp_path: Path):
    path = default_path()
    path.parent.mkdir(parents=True)
    for keys, sensitivity in (
        (DEFAULTS | {"w": "fly"}, 0.1),
        (DEFAULTS, 99),
        (DEFAULTS | {"nokey": "jump"}, 0.1),
        (3, 1),
    ):
        path.write_text(json.dumps({"keys": keys, "sensitivity": sensitivity, "smooth": False}))
        with pytest.raises(UserError, match="is damaged"):
            Preferences.load(path)


def test_what_a_world_never_learned_is_not_offered():
    game = FakeGame()
    game.hands = HumanInputMapper(MINECRAFT, learned=("forward", "back", "hotbar.2"))
    lines = Preferences().help(game.hands.meanings, camera=True, rewinds=True)
    assert "2                   choose an item" in lines and not any("drop" in line or "jump" in line for line in lines)
    assert not game.hands(MINECRAFT.vector({"jump": 1})).any()
    window = opened(game)
    run(window, [(phase(Phase.READY), hold(pygame.K_q)), (always, []), (always, [])])
    assert "never learned 'drop'" in window.message and game.steps == 0


def test_a_game_without_a_mouse_or_a_way_back_says_so():
    game = FakeGame(ActionSpec(keys=("noop", "up", "down"), camera=False), rewinds=False)
    window = opened(game)
    run(
        window,
        [
            (phase(Phase.READY), [(pygame.MOUSEBUTTONDOWN, {"button": 2, "pos": (1, 1)})]),
            (always, hold(pygame.K_UP)),
            (lambda w: game.steps > 3, press(pygame.K_BACKSPACE)),
        ],
    )
    assert not window.captured and window.message == "this game cannot go back"
    np.testing.assert_array_equal(game.seen[0], np.tile([0, 1, 0], (2, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("code", [pygame.K_h, pygame.K_ESCAPE, pygame.K_b, pygame.K_p, pygame.K_F3, pygame.K_BACKSPACE])
def test_a_world_slower_than_real_time_answers_at_once(code: int):
    """While a step lasts for ever: drawn after one look at the events, in less than 100 ms of work."""
    game = FakeGame()
    window = opened(game)
    pictures: list[Any] = []
    answer: dict[str, Any] = {}

    def hang(w: PlayWindow) -> bool:
        game.open.clear()
        return w.session._job is not None and not w.session.queue._waiting

    def before(w: PlayWindow) -> bool:
        w._draw()
        pictures.append(w.window.picture())
        answer["begun"] = time.thread_time()
        return True

    def after(w: PlayWindow) -> bool:
        w._draw()
        answer["seconds"] = time.thread_time() - answer["begun"]
        pictures.append(w.window.picture())
        assert w.session._job is not None and not w.session._job.done()
        return True

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(8), []),
            (hang, []),
            (before, press(code)),
            (after, []),
        ],
    )
    assert (pictures[0] != pictures[1]).any() and answer["seconds"] < 0.1
    game.open.set()


@pytest.mark.slow
def test_closing_works_while_the_world_hangs():
    game = FakeGame()
    window = opened(game)
    began = []

    def hang(w: PlayWindow) -> bool:
        game.open.clear()
        began.append(time.monotonic())
        return w.session._job is not None

    run(window, [(phase(Phase.READY), hold(pygame.K_w)), (hang, [])])
    assert time.monotonic() - began[-1] < 5 and window.window.closed
    game.open.set()


def test_loading_is_shown_at_once_and_its_failure_is_the_commands():
    gate = FakeGame().open
    gate.clear()

    def slow(tell: Any) -> FakeGame:
        tell("opening the box", 0.5)
        gate.wait()
        raise FileNotFoundError("no world 'x'")

    window = PlayWindow(Opening(open_game=slow, seed=0))
    drawn: list[bool] = []

    def bar(w: PlayWindow) -> bool:
        drawn.append(bool(w.window.picture().any()))
        if drawn[-1]:
            gate.set()
        return drawn[-1]

    with pytest.raises(FileNotFoundError, match="no world"):
        run(window, [(bar, []), (lambda w: False, [])])


def test_the_window_fits_and_keeps_its_size():
    pygame.display.init()
    across, down = pygame.display.get_desktop_sizes()[0]
    tall = Window(80, 600, "t")
    assert tall.size[1] <= down and tall.size[0] <= across
    window = Window(72, 40, "t")
    pygame.display.set_mode((500, 333), pygame.RESIZABLE)
    window.screen = pygame.display.get_surface()
    window.resize(True)
    assert window.full_screen
    window.resize(False)
    assert window.screen.get_size() == (500, 333)
    # Crisp: whole pixels; smooth: as large as fits.
    assert window.place(72, 40).size == (432, 240)
    window.smooth = True
    assert window.place(72, 40).size == (500, 277)


def test_texts_fit_a_small_window():
    window = opened(FakeGame())
    window.window.screen = pygame.display.set_mode((400, 300), pygame.RESIZABLE)
    lines = window.preferences.help(FakeGame().hands.meanings, camera=True, rewinds=True)
    ground = window.window.text(lines, size=24, colour=(255, 255, 255), middle=True)
    assert window.window.screen.get_rect().contains(ground) and ground.height < 300 and ground.width < 400
    window.session.close()


class FakeTwin(FakeGame):
    """Beside it runs a game that is its negative, which tells how much of the same was played."""

    def __init__(self, played: int = 0, **options: Any):
        super().__init__(**options)
        self.views, self.watch, self.news = ("dream", "real", "both"), "dream", f"stands after {played}"

    def insight(self) -> dict[str, Any]:
        return {"real": 255 - self._frames()}


def test_one_key_opens_the_real_game_beside_the_dream_and_another_looks_at_each(tmp_path: Path):
    twins: list[FakeTwin] = []

    def real(game: Any, inputs: Any) -> Opening:
        twins.append(FakeTwin(len(inputs)))
        np.testing.assert_array_equal(inputs[0], forward())
        return Opening(open_game=lambda tell: twins[-1], seed=99, view="both")

    seen: dict[str, Any] = {}
    window = opened(FakeGame(), outlets=outlets(tmp_path), real=real)

    def look(name: str) -> Callable[[PlayWindow], bool]:
        def take(w: PlayWindow) -> bool:
            seen[name] = (w.views.name, [panel.picture for panel in w._panels()], w._frame, w.message)
            return True

        return take

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(6), press(pygame.K_g)),
            (lambda w: bool(twins) and w.session.game is twins[0] and phase(Phase.READY)(w), hold(pygame.K_w)),
            (shown(3), press(pygame.K_p)),
            (phase(Phase.PAUSED), []),
            (look("both"), press(pygame.K_v)),
            (phase(Phase.PAUSED), []),
            (look("dream"), press(pygame.K_v)),
            (phase(Phase.PAUSED), []),
            (look("real"), []),
        ],
    )
    assert window.session.seed == 3
    # What was played in the dream is kept, and the real game was told of all of it.
    assert [path.name for path in window.kept] == ["play-1.playthrough.json"]
    assert seen["both"][3] == f"stands after {len(Playthrough.load(window.kept[0]).actions()) // 2}"
    name, pictures, frame, _ = seen["both"]
    assert name == "both" and (pictures[0] == frame).all() and (pictures[1] == 255 - frame).all()
    name, pictures, frame, _ = seen["real"]
    assert name == "real" and (pictures[0] == 255 - frame).all() and len(pictures) == 1
    name, pictures, frame, _ = seen["dream"]
    assert name == "dream" and (pictures[0] == frame).all()


def test_where_there_is_no_real_game_the_dream_goes_on():
    def missing(game: Any, inputs: Any) -> Opening:
        raise FileNotFoundError("minetest not found: apt-get install -y minetest")

    for real, words in ((missing, "apt-get install"), (None, "not known which game")):
        window = opened(FakeGame(), real=real)
        run(window, [(phase(Phase.READY), hold(pygame.K_w)), (shown(3), press(pygame.K_g)), (shown(6), [])])
        assert words in window.message and window.session.game is not None


def test_a_real_game_that_does_not_start_leaves_the_dream_where_it_stood(tmp_path: Path):
    def dies(tell: Any) -> FakeGame:
        raise RuntimeError("Luanti died: no display")

    window = opened(FakeGame(), outlets=outlets(tmp_path), real=lambda game, inputs: Opening(open_game=dies, seed=0))
    seen: dict[str, Any] = {}

    def stands(w: PlayWindow) -> bool:
        seen.setdefault("shown", w.session.shown)
        seen.setdefault("frame", w.session.picture())
        return True

    def back(w: PlayWindow) -> bool:
        return "Luanti died" in w.message and phase(Phase.PAUSED)(w) and w.session.shown == seen["shown"]

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(6), press(pygame.K_p)),
            (phase(Phase.PAUSED), press(pygame.K_COMMA)),
            (phase(Phase.PAUSED), []),
            (stands, press(pygame.K_g)),
            (back, []),
        ],
    )
    np.testing.assert_array_equal(window.session.picture(), seen["frame"])


def test_another_world_is_opened_from_the_page_of_starts(tmp_path: Path):
    game, other = FakeGame(), FakeGame(ActionSpec(keys=("noop", "up", "down"), camera=False))
    picture = np.full((80, 80, 3), 33, np.uint8)
    tile = WorldTile(name="pong", picture=picture, opening=lambda: Opening(open_game=lambda tell: other, seed=5))
    window = opened(game, outlets=outlets(tmp_path), worlds=lambda: [tile])

    def click(w: PlayWindow) -> bool:
        if w.starts is None or len(w.starts.places) < 6:
            return False
        event = pygame.event.Event(pygame.MOUSEBUTTONDOWN, {"button": 1, "pos": w.starts.places[5].center})
        w._event(event)
        return True

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(3), []),
            (lambda w: w.starts is not None and len(w.starts.tiles) == 6, press(pygame.K_b)),
            (click, []),
            (lambda w: w.session.game is other and phase(Phase.READY)(w), hold(pygame.K_UP)),
            (shown(3), []),
        ],
    )
    # The other game's keys hold, and what was played in the first is kept.
    np.testing.assert_array_equal(other.seen[0], np.tile([0, 1, 0], (2, 1)))
    assert len(window.kept) == 1 and window.session.seed == 5 and not window._covered()


def test_views_are_looked_at_in_turn_also_of_a_moment_that_stands():
    window, seen = opened(FakeGame()), {}

    def look(w: PlayWindow) -> bool:
        seen["negative"] = (w._panels()[0].picture, w._frame)
        return "negative" in w.session.insight

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(5), press(pygame.K_p)),
            (phase(Phase.PAUSED), press(pygame.K_v)),
            (phase(Phase.PAUSED), []),
            (look, press(pygame.K_v)),
            (phase(Phase.PAUSED), []),
        ],
    )
    picture, frame = seen["negative"]
    np.testing.assert_array_equal(picture, 255 - frame)
    assert window.views.name == "picture" and (window._panels()[0].picture == window._frame).all()


def test_a_film_ends_where_the_view_changes_its_size(tmp_path: Path):
    window = opened(FakeTwin(), outlets=outlets(tmp_path, scale=1), view="dream")
    run(
        window,
        [
            (phase(Phase.READY), press(pygame.K_F7)),
            (always, hold(pygame.K_w)),
            (shown(4), press(pygame.K_v)),
            (always, press(pygame.K_v)),
            (lambda w: bool(w.kept), []),
        ],
    )
    assert read_video(window.kept[0]).shape[1:] == (40, 72, 3)


def test_a_command_newer_than_the_settings_has_its_usual_key_if_that_is_free():
    path = default_path()
    path.parent.mkdir(parents=True)
    old = {key: what for key, what in DEFAULTS.items() if what not in ("real", "view")} | {"g": "jump"}
    path.write_text(json.dumps({"keys": old, "sensitivity": 0.1, "smooth": False}))
    keys = Preferences.load(path).keys
    assert keys["v"] == "view" and keys["g"] == "jump" and "real" not in keys.values()


def test_a_picture_that_is_dropped_on_the_window_is_begun_from_and_anything_else_is_refused():
    game, seen = FakeGame(), {}
    window = opened(game)

    def refused(w: PlayWindow) -> bool:
        seen["error"] = w.session.error
        return w.session.phase is Phase.FAILED

    run(
        window,
        [
            (phase(Phase.READY), hold(pygame.K_w)),
            (shown(4), [(pygame.DROPFILE, {"file": "home.txt"})]),
            (refused, press(pygame.K_BACKSPACE)),
            # What was played is still there.
            (phase(Phase.READY), [(pygame.DROPFILE, {"file": "home.png"})]),
            (lambda w: game.start == len("home.png") and phase(Phase.READY)(w), []),
        ],
    )
    assert "home.txt is no picture" in seen["error"] and window.session.shown == 0 and window.session.error == ""
