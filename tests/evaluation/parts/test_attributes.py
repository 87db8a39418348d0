"""Place and light of captions: on a world that obeys the words, on one that ignores them, and on recordings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.test_eval import record
from tests.evaluation.toy_part import GivenText, only
from tests.tiny_world import tiny_world
from worldsim.datasets.captions.attributes import Light, Place
from worldsim.datasets.captions.clip_facts import ClipFacts
from worldsim.datasets.captions.style import PLACES, TIMES, describe
from worldsim.datasets.store.store import EpisodeStore
from worldsim.evaluation.config import PRESETS, EvalGoals, EvalThresholds
from worldsim.evaluation.interface.part import Evaluation
from worldsim.evaluation.measures.attributes import Shown, attributes_report, leave_maps_out, plan, shown_by_recordings
from worldsim.evaluation.parts.text import attribute_adherence
from worldsim.evaluation.reports.summary import skipped, summary
from worldsim.evaluation.runner import films_of, run_parts
from worldsim.spec.actions import MINECRAFT

COLOURS = {"in a desert": (220, 200, 120), "in a forest": (30, 120, 40), "in a snowy grassland": (230, 235, 245)}
SHADES = {"at noon": 1.0, "in the morning": 0.9, "at dusk": 0.5, "at night": 0.2}
PICTURE = (16, 16)


def picture(caption: str, rng: np.random.Generator | None = None) -> np.ndarray:
    """What a caption tells: the place's colour in the time's shade, with some noise."""
    colour = next((c for place, c in COLOURS.items() if place in caption), (128, 128, 128))
    shade = next((s for time, s in SHADES.items() if time in caption), 1.0)
    noise = 0 if rng is None else rng.normal(0, 12)
    flat = np.clip(np.array(colour) * shade + noise, 0, 255)
    return np.broadcast_to(flat, (*PICTURE, 3)).astype(np.uint8)


def recorded(places: list[str], times: list[str], maps: int = 6) -> Shown:
    """Frames of every place at every time, each place on every map."""
    rng = np.random.default_rng(0)
    captions = [f"walking {place} {time}" for _ in range(maps) for place in places for time in times]
    return Shown(
        frames=np.stack([picture(caption, rng) for caption in captions]),
        captions=captions,
        maps=np.repeat(np.arange(maps), len(places) * len(times)),
    )


class Dreamer:
    """Dreams what it is told, or the same whatever it is told; rows differ by their noise."""

    def __init__(self, obeys: bool):
        self.obeys, self.sentences = obeys, []

    def embed(self, texts):
        self.sentences = list(texts)
        return torch.arange(len(texts)).float()[:, None]

    def dream(self, text):
        told = [self.sentences[int(row)] for row in text[:, 0]]
        return np.stack([picture(t if self.obeys else "", np.random.default_rng(row)) for row, t in enumerate(told)])


CLIPS = ["standing still in a desert at noon", "walking in a forest at dusk", "walking in the morning", "walking"] * 2
MAPS = np.arange(8) // 2


@pytest.mark.parametrize("obeys", [True, False])
def test_a_world_that_obeys_is_told_from_one_that_hears_nothing(obeys: bool):
    shown, dreamer = recorded(list(COLOURS), list(SHADES)), Dreamer(obeys)
    report, films = attributes_report(CLIPS, MAPS, shown, embed=dreamer.embed, dream=dreamer.dream)
    place, light = report["place"], report["light"]
    assert place["values"] == sorted(COLOURS) and light["dark"] == ["at dusk", "at night"]
    # Clips that name no place are not told one.
    assert place["nearer"]["count"] == 4 and light["darker"]["count"] == 6
    assert place["nearer"]["value"] == light["darker"]["value"] == (1 if obeys else 0.5)
    assert light["difference"]["value"] == (pytest.approx(90, abs=15) if obeys else 0)
    assert light["difference_recorded"]["value"] == pytest.approx(95, abs=15)
    assert place["recorded"]["value"] > 0.6 and light["recorded"]["value"] > 0.8
    # A recorded frame of each value above the quantiles, each (V, H, W, 3).
    assert films["place"].shape == (6, 3, *PICTURE, 3) and films["light"].shape == (6, 4, *PICTURE, 3)
    assert len(place["gallery"]) == 5 and set(light["gallery"]) <= set(CLIPS)
    assert set(dreamer.sentences) >= {"standing still in a forest at noon", "standing still in a desert at night"}
    again = attributes_report(CLIPS, MAPS, shown, embed=dreamer.embed, dream=dreamer.dream)[0]
    assert again == report


def test_a_world_that_does_the_opposite_is_below_chance():
    shown, dreamer = recorded(["in a desert", "in a forest"], ["at noon", "at night"]), Dreamer(True)
    opposite = {"noon": "night", "night": "noon", "desert": "forest", "forest": "desert"}

    def embed(texts: Sequence[str]):
        words = [" ".join(opposite.get(word, word) for word in text.split()) for text in texts]
        return dreamer.embed(words)

    report, _ = attributes_report(CLIPS, MAPS, shown, embed=embed, dream=dreamer.dream)
    assert report["place"]["nearer"]["value"] == report["light"]["darker"]["value"] == 0


def test_too_few_values_and_missing_encoders_are_said():
    dreamer = Dreamer(True)

    def measured(shown, embed=dreamer.embed, texts=CLIPS):
        return attributes_report(texts, MAPS, shown, embed=embed, dream=dreamer.dream)[0]

    report = measured(recorded(["in a desert"], ["at noon", "in the morning"]))
    assert report["place"]["skipped"].endswith("name in a desert")
    assert report["light"]["skipped"].endswith("at noon, in the morning")
    shown = recorded(list(COLOURS), list(SHADES))
    assert measured(shown, texts=["walking"] * 8)["place"] == {"skipped": "no clip's caption names one"}

    def missing(texts):
        raise ValueError("no encoder")

    report = measured(shown, missing)
    assert report == {"place": {"skipped": "no encoder"}, "light": {"skipped": "no encoder"}}
    goals = EvalGoals()
    assert [name for name, _ in skipped({"text": {"attributes": report}})] == ["place in captions", "light in captions"]
    estimate = {"value": 0.5, "low": None, "high": None}
    ratios = {"swapped_ratio": estimate, "none_ratio": estimate}
    text = {"next": ratios, "first": ratios, "pictures": {"own_nearer": estimate}}
    names = [row.name for row in summary({"text": text | {"attributes": report}}, goals)]
    assert not any("told" in name for name in names)
    whole = {"text": text | {"attributes": measured(shown)}}
    names = [row.name for row in summary(whole, goals)]
    assert {"pictures nearer to the place they are told", "pictures darker when told a dark time"} <= set(names)


def test_recorded_frames_are_judged_by_other_maps():
    seen = np.array([[0.0], [0.1], [1.0], [1.1]])
    rows = {"a": np.array([0, 1]), "b": np.array([2, 3])}
    assert leave_maps_out(seen, np.array([0, 1, 2, 3]), rows).tolist() == [1, 1, 1, 1]
    # No other map than those of the two frames shows both places.
    assert np.isnan(leave_maps_out(seen, np.array([0, 1, 1, 1]), rows)).all()
    # Maps differ by more than places do: by frames of its own map each would be judged right.
    seen, rows = np.array([[0.0], [9.0], [3.0], [4.0]]), {"a": np.array([0, 1]), "b": np.array([2, 3])}
    assert leave_maps_out(seen, np.array([0, 1, 2, 3]), rows).max() < 1


def test_values_of_most_maps_are_told_and_only_of_one_form():
    shown = recorded(list(COLOURS), ["at noon"])
    shown = replace(shown, captions=[*shown.captions[:-1], "Walking at noon. It is dark."])
    found = plan(Light(), CLIPS, shown)
    assert isinstance(found, str) and found.endswith("name at noon")
    found = plan(Place(), CLIPS, replace(shown, captions=shown.captions), most=2)
    assert not isinstance(found, str) and found.values == ["in a desert", "in a forest"]
    assert found.clips.tolist() == [0, 1, 4, 5] and found.sentences[0][1] == "standing still in a forest at noon"


@pytest.mark.parametrize(
    ("caption", "place", "light"),
    [
        ("walking in a snowy grassland at dusk", "in a snowy grassland", "at dusk"),
        ("walking in all directions in a grassland dunes in the morning", "in a grassland dunes", "in the morning"),
        ("looking around by the sea at night", "by the sea", "at night"),
        ("walking into things at noon", "", "at noon"),
        ("At dawn in a forest, the player waits. The light is dim.", "in a forest", "at dawn, dim"),
        ("Gameplay underground. Someone digs. It is dark.", "underground", "dark"),
        ("in a forest at noon, then in a desert at night", "", ""),
        ("walking in a desert outpost at nightfall", "", ""),
        ("", "", ""),
    ],
)
def test_words_of_a_caption(caption: str, place: str, light: str):
    assert Place(["grassland_dunes", ""]).of(caption) == place and Light().of(caption) == light


def test_only_the_words_of_an_attribute_change():
    caption = "At dawn in a forest, the player waits. The light is dim."
    assert Place().with_value(caption, "by the sea") == "At dawn by the sea, the player waits. The light is dim."
    assert (
        Light().with_value(caption, "at noon, bright") == "At noon in a forest, the player waits. The light is bright."
    )
    assert Light().with_value("It is dark.", "bright") == "The light is bright."
    assert Light().form("at noon, dim") == "time, level" and Light.dark("at noon, dim") and not Light.dark("at noon")


def test_every_written_caption_is_told_anew_and_back():
    attributes = {"place": (Place(), f"in a {PLACES[0]}", f"in a {PLACES[2]}"), "time": (Light(), TIMES[0], TIMES[3])}
    for seed in range(40):
        facts = ClipFacts(place=f" in a {PLACES[0]}", time=TIMES[0], activities=("forward", "dig"), camera="sweep")
        caption = describe(facts, seed)
        for attribute, value, other in attributes.values():
            assert attribute.of(caption) == value
            changed = attribute.with_value(caption, other)
            assert attribute.of(changed) == other and attribute.with_value(changed, value) == caption


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("told")
    store = EpisodeStore(folder / "store")
    captions = iter(["walking in a desert at noon", "walking in a forest at dusk", "walking in a forest at noon"])
    for seed in (1, 2, 13):
        record(store, seed, 60, text=next(captions))
    return Evaluation(
        world=tiny_world(), store=store, split="test", preset=replace(PRESETS["quick"], clips=3, prefix=5, chunks=2),
        thresholds=EvalThresholds(), seed=0, folder=folder / "run", branches=folder,
    )  # fmt: skip


class Hears:
    """The tiny world with an encoder of its own."""

    def __init__(self):
        self.world = tiny_world()
        self.chunk, self.spec = self.world.chunk, MINECRAFT

    def __getattr__(self, name):
        return getattr(self.world, name)

    def embed(self, texts, batch):
        seeds = [sum(map(ord, text)) for text in texts]
        return torch.stack([torch.randn(12, generator=torch.Generator().manual_seed(s)) for s in seeds])


@pytest.mark.slow
def test_a_real_world_is_judged_beside_frames_of_all_held_out_maps(evaluation: Evaluation):
    shown = shown_by_recordings(evaluation.store, ("validation", "test"), 0, count=3)
    assert len(shown.frames) == 9 and len(set(shown.maps)) == 3
    e = replace(evaluation, world=Hears())  # pyright: ignore[reportArgumentType]
    clips = e.clips(3, 5, 2)
    texts = [e.store.manifest(name)["text"] for name, _ in clips.places]
    report, films = attribute_adherence(e, clips, texts)
    assert report["place"]["values"] == ["in a desert", "in a forest"] and 0 <= report["place"]["nearer"]["value"] <= 1
    assert attribute_adherence(e, clips, texts)[0] == report
    # The report shows what was kept.
    part = GivenText({"attributes": report}, films)
    results = run_parts(evaluation, only(part), ["text"])
    sections = list(part.sections(results["text"], films_of(evaluation.folder, "text")))
    assert [section.title for section in sections] == [
        f"The same caption with another {kind}: {'; '.join(report[kind]['values'])}" for kind in ("place", "light")
    ]
    assert sections[1].pictures[0].caption == "recorded" and len(sections[1].pictures) == 6
    assert (sections[0].pictures[0].frames == films["place"][0]).all()


def test_a_store_without_captions_tells_nothing(tmp_path: Path):
    empty = shown_by_recordings(EpisodeStore(tmp_path), ("test",))
    assert len(empty.frames) == 0 and isinstance(plan(Place(), CLIPS, empty), str)
