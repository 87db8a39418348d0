from dataclasses import replace

import numpy as np
import pytest

from tests.datasets.store.test_store import make_episode
from worldsim.datasets.captions.templates import clip_caption, episode_caption, place_phrase, time_phrase


def test_an_episode_tells_what_where_and_when():
    assert episode_caption("dig", "coniferous_forest", 0.5) == "digging in a coniferous forest at noon"
    assert episode_caption("walk", "", 0.9) == "walking in all directions at night"


@pytest.mark.parametrize(
    ("biome", "phrase"),
    [
        ("icesheet", " in an icesheet"),
        ("taiga_ocean", " by the sea"),
        ("default", ""),
        ("desert_under", " underground"),
    ],
)
def test_places(biome: str, phrase: str):
    assert place_phrase(biome) == phrase


def test_the_clock_goes_round():
    assert [time_phrase(t) for t in (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 0.95)] == [
        "at night", "at dawn", "in the morning", "at noon", "in the afternoon", "at dusk", "at night"
    ]  # fmt: skip


def test_a_clip_tells_its_own_activity_in_the_place_of_the_whole():
    whole = replace(make_episode(40, scripts=["walk", "dig"]), text="walking in all directions in a desert at noon")
    digging = replace(whole, state={"script": np.ones(40, np.int16)})
    assert clip_caption(digging) == "digging in a desert at noon"
    wet = replace(whole, state={"script": np.ones(40, np.int16), "in_water": np.ones(40, bool)})
    assert clip_caption(wet) == "swimming in a desert at noon"


def test_a_text_that_is_no_template_stays():
    whole = replace(make_episode(40, scripts=["walk"]), text="a person plays", state={"script": np.zeros(40, np.int16)})
    assert clip_caption(whole) == "a person plays"
    assert clip_caption(make_episode(40)) == "walking through a forest"
