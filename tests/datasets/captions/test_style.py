import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.datasets.captions.clip_facts import ClipFacts
from worldsim.datasets.captions.style import CAMERA, DOING, LIGHT, TIMES, describe, expand, understand
from worldsim.datasets.captions.templates import episode_caption

BLOCKS = st.lists(
    st.tuples(st.sampled_from(["dirt", "sand", "torch"]), st.integers(1, 30)), max_size=3, unique_by=lambda b: b[0]
)
FACTS = st.builds(
    ClipFacts,
    place=st.sampled_from(["", " in a desert", " by the sea", " underground"]),
    time=st.sampled_from(["", *TIMES]),
    light=st.sampled_from(["", *LIGHT]),
    activities=st.lists(st.sampled_from(sorted(DOING)), max_size=6).map(tuple),
    camera=st.sampled_from(["", *CAMERA]),
    degrees=st.floats(0, 800),
    climbed=st.floats(-5, 5),
    dug=BLOCKS.map(tuple),
    placed=BLOCKS.map(tuple),
)


@given(FACTS, st.integers(0, 2**31))
def test_every_caption_is_clean_english_and_says_every_fact(facts: ClipFacts, seed: int):
    text = describe(facts, seed)
    assert text == describe(facts, seed) and text.endswith(".") and text[0].isupper()
    assert not re.search(r"  | [.,:]|\.\.|[{}]|,,", text), text
    for sentence in re.split(r"(?<=\.) ", text):
        assert sentence[0].isupper(), text
    lower = text.lower()
    assert facts.place.strip() in lower and facts.time in lower
    assert all(name in lower for name, _ in (*facts.dug, *facts.placed))
    said = [kind for kind, words in DOING.items() if any(w in lower for w in words)]
    assert set(facts.activities[:2]) <= set(said) and set(said) <= set(facts.activities)
    for kinds in (CAMERA, LIGHT):
        own = facts.camera if kinds is CAMERA else facts.light
        found = [kind for kind, words in kinds.items() if any(w in lower for w in words)]
        assert found == ([own] if own else []), text


def test_one_clip_has_many_phrasings():
    facts = ClipFacts(
        place=" in a desert", time="at noon", light="bright", activities=("forward", "dig"), camera="left"
    )
    assert len({describe(facts, seed) for seed in range(300)}) > 150


def test_left_is_never_right():
    a, b = (ClipFacts(activities=(side,), camera=side, degrees=90) for side in ("left", "right"))
    for seed in range(50):
        assert "right" not in describe(a, seed) and "left" not in describe(b, seed)


@pytest.mark.parametrize(
    ("script", "activity"),
    [("dig", "dig"), ("walk", "forward"), ("still", "still"), ("swim", "swim"), ("place", "place")],
)
@pytest.mark.parametrize(
    ("biome", "place"),
    [("coniferous_forest", " in a coniferous forest"), ("icesheet", " in an icesheet"), ("taiga_ocean", " by the sea")],
)
def test_short_captions_are_understood(script: str, activity: str, biome: str, place: str):
    for time in (0.5, 0.9, 0.25):
        short = episode_caption(script, biome, time)
        facts = understand(short)
        assert facts.activities == (activity,) and facts.place == place and facts.time in short


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("turn left", {"camera": "left", "place": "", "activities": ()}),
        ("Looking up at the sky.", {"camera": "up", "place": ""}),
        ("a snowy forest at night", {"place": " in a snowy forest", "time": "at night", "light": "dark"}),
        ("explore the old mine at dusk", {"place": " in the old mine", "time": "at dusk"}),
        ("walking in all directions in a desert", {"place": " in a desert", "activities": ("forward",)}),
        (
            "turning on the spot in a taiga in the morning",
            {"place": " in a taiga", "time": "in the morning", "camera": "sweep"},
        ),
        ("standing still underground", {"place": " underground", "activities": ("still",)}),
        ("dig, then build", {"activities": ("dig", "place")}),
    ],
)
def test_prompts_are_understood(prompt: str, wanted: dict[str, object]):
    facts = vars(understand(prompt))
    assert {key: facts[key] for key in wanted} == wanted


def test_an_expanded_prompt_keeps_what_the_short_one_says():
    for seed, (deed, place, time) in enumerate(itertools.product(("digging", "swimming"), ("desert", "swamp"), TIMES)):
        facts = understand(f"{deed} in a {place} {time}")
        long = expand(f"{deed} in a {place} {time}", seed)
        assert f"in a {place}" in long.lower() and time in long.lower() and len(long) > 40
        assert any(word in long for word in DOING[facts.activities[0]])
    assert len({expand("walk", seed) for seed in range(40)}) > 20


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="empty"):
        expand("  ", 0)
