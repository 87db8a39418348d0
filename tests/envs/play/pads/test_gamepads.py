"""Gamepads through SDL's own events: virtual pads that it takes for real ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.pads.virtual import UNKNOWN_PAD, VirtualPad
from worldsim.envs.play.bindings import DEFAULTS, FASTEST, TURN, Preferences
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.pads.gamepads import DEAD, Gamepads, Pad, guess
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    pygame.display.init()
    yield
    pygame.display.quit()


class Player:
    """Somebody at a pad, and the controls that hear it."""

    def __init__(self, preferences: Preferences | None = None):
        self.pads = Gamepads()
        self.controls = Controls(MINECRAFT, preferences or Preferences(), self.pads)

    def hear(self) -> list[tuple[int, str]]:
        """Take in what happened; the names that were pressed and let go."""
        events = [one for event in pygame.event.get() for one in self.pads.read(event)]
        named = [event for event in events if hasattr(event, "name")]
        for event in named:
            self.controls.feed(event, captured=False)
        return [(event.type, event.name) for event in named]

    def acts(self, **controls: Any) -> None:
        """What is done now is exactly this."""
        self.hear()
        np.testing.assert_allclose(self.controls.take(2), [MINECRAFT.vector(controls)] * 2, atol=2e-3)


@pytest.fixture
def pad() -> Iterator[VirtualPad]:
    pygame.joystick.init()
    one = VirtualPad()
    yield one
    one.pull()


def test_every_part_of_a_known_pad_does_what_its_name_says(pad: VirtualPad):
    player = Player()
    player.acts()
    pad.axis(1, -1.0)
    player.acts(forward=1)
    pad.axis(0, 1.0)
    player.acts(forward=1, right=1)
    pad.axis(1, 0.0)
    pad.axis(0, 0.0)
    player.acts()
    pad.axis(2, 1.0)
    player.acts(camera=(0, TURN))
    pad.axis(2, 0.0)
    pad.axis(3, -1.0)
    player.acts(camera=(-TURN, 0))
    pad.axis(3, 0.0)
    # The triggers turn nothing.
    pad.axis(5, 1.0)
    player.acts(attack=1)
    pad.axis(4, 1.0)
    player.acts(attack=1, use=1)
    pad.axis(4, -1.0)
    pad.axis(5, -1.0)
    for button, control in ((0, "jump"), (1, "sneak"), (7, "sprint"), (11, "forward"), (13, "left")):
        pad.button(button, True)
        player.acts(**{control: 1})
        pad.button(button, False)
        player.hear()
        player.acts()


def test_a_pad_that_was_there_before_the_window_is_heard_by_the_next_window_too(pad: VirtualPad):
    for _ in range(2):
        pygame.event.clear()
        player = Player()
        assert list(player.pads.pads) == [pad.number]
        pad.button(0, True)
        player.acts(jump=1)
        pad.button(0, False)
        player.hear()


def test_a_tap_between_two_steps_counts_once(pad: VirtualPad):
    player = Player()
    player.hear()
    pad.button(0, True)
    player.hear()
    pad.button(0, False)
    player.acts(jump=1)
    player.acts()


def test_pulled_out_it_lets_go_of_what_it_held_and_can_come_back(pad: VirtualPad):
    player = Player()
    player.hear()
    pad.axis(1, 1.0)
    pad.axis(2, 1.0)
    pad.button(0, True)
    player.acts(back=1, jump=1, camera=(0, TURN))
    pad.pull()
    assert {(pygame.CONTROLLERBUTTONUP, "pad a"), (pygame.CONTROLLERBUTTONUP, "pad tilt down")} <= set(player.hear())
    player.acts()
    assert player.pads.pads == {}
    again = VirtualPad()
    player.hear()
    again.axis(1, 1.0)
    player.acts(back=1)
    again.pull()
    player.acts()


def test_two_pads_play_together_and_one_that_lets_go_leaves_the_others_button(pad: VirtualPad):
    player, other = Player(), VirtualPad()
    player.hear()
    for one in (pad, other):
        one.button(0, True)
    player.acts(jump=1)
    other.pull()
    player.acts(jump=1)
    pad.button(0, False)
    player.acts()


def test_a_pad_without_a_mapping_is_played_by_its_order():
    pygame.joystick.init()
    pad = VirtualPad(UNKNOWN_PAD, axes=4, buttons=10)
    player = Player()
    player.hear()
    pad.axis(0, -1.0)
    pad.axis(3, 1.0)
    pad.button(0, True)
    pad.hat(1)
    player.acts(left=1, forward=1, jump=1, camera=(TURN, 0))
    pad.hat(0)
    pad.button(0, False)
    pad.axis(0, 0.0)
    pad.axis(3, 0.0)
    player.acts()
    pad.pull()
    player.hear()


@pytest.mark.parametrize(
    ("at_rest", "order"),
    [
        ([0, 0], {0: 0, 1: 1}),
        ([0, 0, 0, 0], {0: 0, 1: 1, 2: 2, 3: 3}),
        ([0, 0, -1, 0, 0, -1], {0: 0, 1: 1, 3: 2, 4: 3, 2: 4, 5: 5}),
        ([0, 0, 0, 0, -1, -1], {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5}),
        ([0, 0, 0, 0, 0, 0], {0: 0, 1: 1, 3: 2, 4: 3, 2: 4, 5: 5}),
    ],
)
def test_which_axes_of_an_unknown_pad_are_triggers(at_rest: list[float], order: dict[int, int]):
    assert guess(at_rest) == order


def test_dead_zone_and_curve_of_the_stick_that_turns():
    pad = Pad()

    def turn(x: float, y: float) -> np.ndarray:
        pad.move(2, x)
        pad.move(3, y)
        return pad.look()

    assert not turn(DEAD, 0).any() and not turn(0.14, -0.14).any()
    # No jump at the edge of the dead zone, fine near to it, whole at the edge of the stick, in any direction.
    assert 0 < turn(DEAD + 0.01, 0)[1] < 1e-3
    np.testing.assert_allclose(turn(0.6, 0), (0, 0.25))
    np.testing.assert_allclose(turn(-1, 0), (0, -1))
    np.testing.assert_allclose(turn(0.6, 0.8), (0.8, 0.6))
    # Cheap sticks reach into their corners: no faster than straight.
    np.testing.assert_allclose(np.hypot(*turn(1, 1)), 1)


def test_a_stick_that_trembles_presses_nothing_twice_and_its_eighths_are_of_one_size():
    pad = Pad()
    seen = []
    for value in (0.3, 0.48, 0.52, 0.47, 0.45, 0.51, 0.38, 0.45):
        pad.move(0, value)
        seen.append("pad tilt right" in pad.down())
    assert seen == [False, False, True, True, True, True, False, False]
    sizes: dict[tuple[str, ...], int] = {}
    for angle in np.arange(720) * np.pi / 360:
        one = Pad()
        one.move(0, float(np.cos(angle)))
        one.move(1, float(np.sin(angle)))
        names = tuple(sorted(one.down()))
        sizes[names] = sizes.get(names, 0) + 1
    assert len(sizes) == 8 and max(sizes.values()) - min(sizes.values()) <= 2


def test_the_sensitivity_of_the_stick_is_kept_and_bounded(pad: VirtualPad, tmp_path: Path):
    path = tmp_path / "play.json"
    Preferences(path, turn=9.0).save()
    player = Player(Preferences.load(path))
    player.hear()
    pad.axis(2, 1.0)
    player.acts(camera=(0, 9))
    player.controls.motion[:] = 900
    assert player.controls.take(1)[0, -1] == FASTEST
    path.write_text(path.read_text().replace("9.0", "900"))
    with pytest.raises(UserError, match="turn 900"):
        Preferences.load(path)


def test_settings_from_before_gamepads_get_their_usual_parts_and_own_ones_stay(tmp_path: Path):
    path = tmp_path / "play.json"
    old = Preferences(path, {key: what for key, what in DEFAULTS.items() if not key.startswith("pad")})
    old.save()
    loaded = Preferences.load(path)
    assert loaded.keys == DEFAULTS
    loaded.bind("pad b", "jump")
    # The keyboard's key is left alone.
    assert loaded.keys_of("jump") == ["space"] and loaded.keys_of("jump", pad=True) == ["pad b"]
    loaded.save()
    assert Preferences.load(path).keys == loaded.keys and "pad a" not in loaded.keys


def window_with(game: FakeGame, acts: list[tuple[Any, Any]]) -> PlayWindow:
    """Play with real events: once something holds, do the next thing."""
    window = PlayWindow(Opening(open_game=lambda tell: game, seed=3))
    look, left, ticks = window.window.events, list(acts), [0]

    def events() -> list[Any]:
        ticks[0] += 1
        assert ticks[0] < 3000, f"waited in vain for act {len(acts) - len(left)}; {window.session.phase}"
        if not left:
            return [pygame.event.Event(pygame.QUIT)]
        if left[0][0](window):
            left.pop(0)[1]()
        return look()

    window.window.events = events  # pyright: ignore[reportAttributeAccessIssue]
    window.run()
    return window


def ready(window: PlayWindow) -> bool:
    return window.session.phase is Phase.READY and not window.session.moving


def test_the_window_is_played_paused_and_left_by_a_pad_alone(pad: VirtualPad):
    game, seen = FakeGame(), {}

    def push(button: int) -> Any:
        return lambda: pad.button(button, True)

    def free(button: int) -> Any:
        return lambda: pad.button(button, False)

    def stands(window: PlayWindow) -> bool:
        seen["paused"] = window.session.phase is Phase.PAUSED
        return bool(window.menu and window.menu.open)

    window = window_with(
        game,
        [
            (ready, lambda: pad.axis(1, -1.0)),
            (lambda w: w.session.shown > 2, push(6)),
            (stands, free(6)),
            (lambda w: True, push(0)),
            # "Go on" is the first line; the stick was held all the time.
            (lambda w: w.session.phase is Phase.PLAYING, free(0)),
            (lambda w: w.session.shown > 8, push(4)),
            (lambda w: w.help, free(4)),
            (lambda w: True, push(1)),
            (lambda w: not w.help, free(1)),
            (lambda w: w.session.phase is Phase.PLAYING, lambda: pad.axis(1, 0.0)),
            (lambda w: not game.seen[-1].any(), push(2)),
            (ready, free(2)),
        ],
    )
    assert seen["paused"] and window.session.shown == 0
    walked = [bool(actions[0, 0]) for actions in game.seen]
    assert walked == sorted(walked, reverse=True), "it stopped walking when the menu closed"
    assert not any(actions[:, MINECRAFT.keys.index("jump")].any() for actions in game.seen)


def test_a_joystick_game_is_played_by_stick_and_cross(pad: VirtualPad):
    game = FakeGame(ActionSpec(keys=("noop", "up", "down"), camera=False))
    window_with(
        game,
        [
            (ready, lambda: pad.button(12, True)),
            (lambda w: w.session.shown > 2, lambda: pad.button(12, False)),
            (lambda w: not game.seen[-1].any() or game.seen[-1][0, 0], lambda: pad.axis(1, -1.0)),
            (lambda w: game.seen[-1][0, 1] == 1, lambda: None),
        ],
    )
    np.testing.assert_array_equal(game.seen[0], np.tile([0, 0, 1], (2, 1)))


def test_help_and_menu_name_the_parts_of_a_pad():
    meanings = FakeGame().hands.meanings
    lines = Preferences().help(meanings, camera=True, rewinds=True, pad=True)
    pad = lines[lines.index("gamepad:") :]
    for words in (
        "left stick, cross   walk", "right stick         look around", "A                   jump",
        "right trigger       attack, dig", "start               menu", "X                   two seconds back",
    ):  # fmt: skip
        assert words in pad
    assert not any("pad" in line or "stick" in line for line in Preferences().help(meanings, camera=True, rewinds=True))
