"""Every text of the window, with the shipped worlds: it fits, and it is about the game that is played."""

import re

import pytest

from tests.envs.play.dummy_screen import dummy
from tests.envs.play.overlays.shipped import SIZES, WORLDS, Shown, faults, letters_seen
from tests.envs.play.screenshots import keep

# A fixture for every test here.
__all__ = ["dummy"]

# Words of a game that is walked through, which mean nothing in one without a camera.
FOREIGN = re.compile(
    r"\b(m|met(er|re)s?|mouse|blocks?|hotbar|dig|place|walk\w*|jump\w*|sneak\w*|sprint\w*|attack\w*|items?|inventory|drop"
    r"|look around|camera|degrees|biome|depth|memory|pixels of|forward|luanti|minecraft)\b",
    re.IGNORECASE,
)
# Of commands and of the page of starts, where "forward" is in time and "minecraft" another world.
ALLOWED = ("paused: forward", "minecraft")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WORLDS)
def test_every_text_fits_the_window(name: str, size: tuple[int, int]):
    shown, found, names = Shown(name, size), {}, []
    for screen, written in shown.screens():
        covered = shown.window._covered()
        strip = shown.window.strip.ground if written.places and _strip(shown) and not covered else None
        picture = shown.window.window.picture()
        keep(picture, f"{name}-{size[0]}-{screen}".replace(" ", "-").replace(",", ""))
        wrong = faults(written, size, strip)
        wrong += [f"{place} is empty" for _, place in written.places if not letters_seen(picture, place)]
        if wrong:
            found[screen] = wrong
        names.append(screen)
    shown.close()
    assert not found, "\n".join(f"{screen}: {line}" for screen, lines in found.items() for line in lines)
    assert {"loading", "inside", "everything", "both, everything", "failed", "starts", "press a key"} <= set(names)


def _strip(shown: Shown) -> bool:
    from worldsim.envs.play.overlays.screens import has_strip

    return has_strip(shown.window.session)


@pytest.mark.slow
def test_no_text_of_a_game_without_a_camera_speaks_of_another_game():
    shown, rows = Shown("pong", (1280, 800)), set()
    for _, written in shown.screens():
        rows |= set(written.asked)
    shown.close()
    texts = sorted(rows)
    for allowed in ALLOWED:
        texts = [text.replace(allowed, "") for text in texts]
    assert not [text for text in texts if FOREIGN.search(text)]
    # The other way round: they speak of this one.
    assert any(re.search(r"W, Up +up$", text) for text in texts)
    assert "stick up, cross up  up" in texts
    assert any(text.startswith("E does nothing in this game") for text in texts)


def test_the_search_for_foreign_words_can_fail():
    for words in ("12 m from the start", "mouse  look around", "hotbar.3", "1 to 9   choose an item", "reward +0.02 m"):
        assert FOREIGN.search(words)
    for words in ("two seconds back", "mark this moment", "step p50 12 ms, p95 20 ms", "12 moments, 3 snapshots"):
        assert not FOREIGN.search(words)
