"""The page that play begins with: a start, a world, a picture of one's own, or a text that is typed."""

from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.dummy_screen import dummy
from tests.envs.play.fake_game import FakeGame
from tests.envs.play.test_window import Act, always, hold, opened, phase, press, run, shown
from tests.tiny_world import PROMPTS, save_tiny_world, tiny_starts, tiny_world
from worldsim import cli
from worldsim.envs.play import games
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.overlays.prompt_field import PromptField
from worldsim.envs.play.overlays.starts import StartPage
from worldsim.envs.play.pace import Prompt
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.errors import UserError
from worldsim.plotting.window import HIGHLIGHT, Window

# A fixture for every test here.
__all__ = ["dummy"]

TEXTS = ("walking in a desert at noon", "walking by the sea", "digging at dusk")


def typed(text: str) -> list[tuple[int, dict[str, Any]]]:
    """The keys of a text, as pygame tells of them."""
    return [(pygame.KEYDOWN, {"key": ord(letter), "mod": 0, "unicode": letter}) for letter in text]


def asked(window: PlayWindow) -> bool:
    """Whether the page lies open before anything was played."""
    return window.starts is not None and window.starts.open and phase(Phase.READY)(window)


def test_play_begins_with_the_page_and_the_start_that_was_chosen_stands_until_a_key_is_pressed():
    game = FakeGame()
    window = opened(game, start_page=True)
    stood: list[tuple[int, int]] = []

    def stands(w: PlayWindow) -> bool:
        stood.append((game.steps, w.session.shown))
        return len(stood) > 20

    run(
        window,
        [
            (asked, [*press(pygame.K_RIGHT), *press(pygame.K_RIGHT), *press(pygame.K_RETURN)]),
            (lambda w: game.start == 2 and phase(Phase.READY)(w), []),
            (stands, hold(pygame.K_w)),
            (shown(3), []),
        ],
    )
    assert set(stood) == {(0, 0)} and not window._covered() and window.session.seed == 3


def test_escape_leaves_the_page_for_the_first_start():
    game = FakeGame()
    window = opened(game, start_page=True)
    acts: list[Act] = [(asked, press(pygame.K_ESCAPE)), (phase(Phase.READY), hold(pygame.K_w)), (shown(3), [])]
    run(window, acts)
    assert game.start == 0 and window.session.seed == 3 and not window._covered()


@pytest.mark.parametrize(("pictures", "asks"), [(True, False), (False, True)])
def test_the_page_stays_shut_where_nobody_asks_for_it_or_there_is_nothing_to_choose(pictures: bool, asks: bool):
    game = FakeGame()
    game.pictures = game.pictures if pictures else None
    window = opened(game, start_page=asks)
    acts: list[Act] = [(phase(Phase.READY), []), (lambda w: not w._covered(), hold(pygame.K_w)), (shown(2), [])]
    run(window, acts)


def test_a_picture_that_is_dropped_on_the_page_is_begun_from():
    game = FakeGame()
    window = opened(game, start_page=True)
    acts: list[Act] = [
        (asked, [(pygame.DROPFILE, {"file": "home.png"})]),
        (lambda w: game.start == len("home.png") and phase(Phase.READY)(w), []),
    ]
    run(window, acts)
    assert not window._covered()


def test_a_text_is_typed_where_the_world_knows_texts():
    game = FakeGame()
    game.prompts = TEXTS
    window = opened(game, start_page=True)
    run(
        window,
        [
            # Esc first gives the text up, and leaves the page only then.
            (asked, [*typed("sea"), *press(pygame.K_ESCAPE)]),
            (asked, [*typed("walxing"), *press(pygame.K_BACKSPACE) * 4, *typed("king at"), *press(pygame.K_RETURN)]),
            (lambda w: bool(game.text) and phase(Phase.READY)(w), []),
        ],
    )
    assert game.text == "walking in a desert at noon" and game.start == 0 and not window._covered()


def test_letters_are_no_text_where_the_world_takes_none():
    window = opened(FakeGame(), start_page=True)
    run(window, [(asked, typed("sea")), (asked, [])])
    assert window.starts is not None and window.starts.field.text == ""


def test_texts_are_offered_by_their_words_and_ones_own_words_last():
    field = PromptField(TEXTS)
    field.text = "AT walk"
    assert field.offers() == ["walking in a desert at noon", "AT walk"]
    field.text = "digging at dusk"
    assert field.offers() == ["digging at dusk"]
    field.text = "wal"
    down, enter = (pygame.event.Event(pygame.KEYDOWN, {"key": key}) for key in (pygame.K_DOWN, pygame.K_RETURN))
    assert field.takes(down) and field.feed(down) is None and field.feed(enter) == "walking by the sea"
    # With nothing typed, arrows and the space bar belong to the pictures.
    space = pygame.event.Event(pygame.KEYDOWN, {"key": pygame.K_SPACE, "unicode": " "})
    assert field.text == "" and not field.takes(down) and not field.takes(space)


@pytest.mark.parametrize("size", [(400, 300), (1280, 800), (200, 600)])
def test_everything_on_the_page_fits_and_the_hints_lie_below(size: tuple[int, int]):
    window = Window(72, 40, "t")
    window.screen = pygame.display.set_mode(size, pygame.RESIZABLE)
    page = StartPage(np.full((11, 40, 72, 3), 90, np.uint8), lambda start: None, prompts=TEXTS, own=True)
    page.draw(window)
    lowest = max(place.bottom for place in page.places)
    ground = window.text(page._hints(), size=20, colour=(255, 255, 255), low=True)
    assert len(page.places) == 11 and all(window.screen.get_rect().contains(place) for place in page.places)
    assert lowest <= ground.top and window.screen.get_rect().contains(ground)
    written = window.picture()[ground.top :]
    assert (written == 255).all(-1).sum() > 50 and (window.picture()[:lowest] == HIGHLIGHT).all(-1).any()
    before = window.picture()
    page.field.text = "walk"
    page.draw(window)
    assert (before != window.picture()).any()


def test_a_world_follows_the_text_and_forgets_it_where_a_picture_is_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(games, "encoder_installed", lambda: False)
    world = tiny_world()
    game = WorldGame(world, tiny_starts())
    assert game.prompts == PROMPTS
    game.reset(1)
    plain = game.state.text.clone()
    game.begin_at(2)
    game.begin_at(Prompt(PROMPTS[0]))
    game.reset(1)
    assert game.begun.prompt == PROMPTS[0] and game.begun.start == 2
    assert not plain.any() and (game.state.text == world.prompt_embeddings[0]).all()
    with pytest.raises(UserError, match="only texts of the list"):
        game.begin_at(Prompt("flying"))
    game.reset(1)
    assert game.begun.prompt == PROMPTS[0]
    game.begin_at(3)
    game.reset(1)
    assert game.begun.prompt is None and game.begun.start == 3
    # A text that the command named stays.
    named = WorldGame(world, tiny_starts(), {"prompt": PROMPTS[1]})
    named.begin_at(1)
    named.reset(1)
    assert named.begun.prompt == PROMPTS[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wanted"),
    [([], True), (["prefix=1"], False), (["seed=2"], False), (["start_page=false"], False),
     (["prompt=" + PROMPTS[0]], False)],
)  # fmt: skip
def test_the_command_asks_where_to_begin_unless_it_was_told(
    words: list[str], wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    save_tiny_world(tmp_path / "tiny")
    original, seen = PlayWindow.run, []

    def sit(window: PlayWindow) -> Any:
        monkeypatch.setattr(PlayWindow, "run", original)
        return run(window, [(phase(Phase.READY), []), (always, []), (lambda w: not seen.append(w._covered()), [])], 120)

    monkeypatch.setattr(PlayWindow, "run", sit)
    assert cli.main(["play", "world=tiny", *words]) == 0
    assert seen == [wanted]
