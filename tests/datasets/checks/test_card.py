"""The dataset card: what people wrote is quoted, never obeyed."""

from pathlib import Path

import numpy as np

from tests.datasets.checks.test_check import check
from worldsim.datasets.checks.card import write_card
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
