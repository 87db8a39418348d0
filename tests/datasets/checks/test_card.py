"""The dataset card: what people wrote is quoted, never obeyed."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.checks.test_check import check
from worldsim.datasets.checks.card import _key, _quoted, write_card
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore

SCRIPT, PICTURE, LINK = "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "[x](javascript:alert(3))"


def test_a_card_quotes_what_people_wrote(tmp_path: Path):
    rng = np.random.default_rng(0)
    store = EpisodeStore(tmp_path / "s")
    for i in range(3):
        about = {"keys": ["a" + SCRIPT, "b`" + PICTURE, "left"], "fps": 20, "split": "train", "game": LINK}
        about |= {"licence": SCRIPT, "source": PICTURE, "engine": SCRIPT, "policy": LINK, "biome": PICTURE}
        actions = rng.integers(0, 2, (20, 3)).astype(np.float32)
        frames = rng.integers(0, 255, (20, 48, 64, 3), np.uint8)
        zeros = np.zeros(20, np.float32)
        episode = Episode(frames=frames, actions=actions, rewards=zeros, terminated=zeros > 0, provenance=about)
        store.append(episode, f"e{i}")
    card = write_card(store, check(store), tmp_path / "card").read_text()
    assert "<script" not in card and "<img" not in card and "[x](" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in card and "license: other" in card


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("look_round", "look_round"),
        ("_hidden_", "&#95;hidden&#95;"),
        ("a|b", "a\\|b"),
        # A backslash before a bar would end the cell.
        ("a\\|b", "a&#92;\\|b"),
        ("**loud**", "&#42;&#42;loud&#42;&#42;"),
        ("`code`", "&#96;code&#96;"),
        ("![x](http://x/y.png)", "!&#91;x&#93;(http://x/y.png)"),
        ("two\nlines\n# heading", "two lines # heading"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("~~x~~ $y$", "&#126;&#126;x&#126;&#126; &#36;y&#36;"),
    ],
)
def test_what_people_wrote_is_shown_as_it_is(written: str, shown: str):
    assert _quoted(written) == shown


def test_a_key_is_code_whatever_it_is_called():
    assert _key("hotbar.1") == "`hotbar.1`"
    assert _key("a`|<i>") == "<code>a&#96;\\|&lt;i&gt;</code>"
