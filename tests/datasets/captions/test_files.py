import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.datasets.store.test_store import data_files, make_episode
from worldsim.datasets.captions.files import CaptionFile, CaptionWriter, caption_path
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.store import EpisodeStore

ABOUT = {"maker": "rules", "seed": 0}


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    out = EpisodeStore(tmp_path / "store")
    for number, name in enumerate("ab"):
        out.append(make_episode(100, seed=12 * number), name)
    return out


def fill(store: EpisodeStore) -> None:
    with CaptionWriter(store, "rules", ABOUT) as writer:
        for start in (0, 40, 80):
            writer.add("a", start, min(100, start + 40), f"a from {start}")


def test_a_clip_gets_the_caption_that_covers_most_of_it(store: EpisodeStore):
    fill(store)
    captions = CaptionFile(store, "rules")
    found = {start: captions.find("a", start, start + 16) for start in (0, 31, 33, 60, 76, 84)}
    assert found == {
        0: "a from 0", 31: "a from 0", 33: "a from 40", 60: "a from 40", 76: "a from 80", 84: "a from 80"
    }  # fmt: skip
    assert captions.find("b", 0, 16) is None and captions.find("a", 0, 99) is None and len(captions) == 3
    assert captions.about == ABOUT


def test_a_sampler_uses_captions_and_the_short_one_where_there_is_none(store: EpisodeStore):
    fill(store)
    sampler = ClipSampler(store, "train", frames=16, batch=20, caption=CaptionFile(store, "rules"))
    texts, places = sampler[0]["text"], [sampler.locate(int(clip)) for clip in sampler.draw(0)]
    for text, (name, _) in zip(texts, places, strict=True):
        assert text.startswith("a from") if name == "a" else text == "walking through a forest"
    assert {name for name, _ in places} == {"a", "b"}


def test_episodes_are_not_touched(store: EpisodeStore):
    before = {path: path.read_bytes() for name in "ab" for path in data_files(store, name)}
    fill(store)
    assert before == {path: path.read_bytes() for name in "ab" for path in data_files(store, name)}
    EpisodeStore(store.path).verify("a")


def test_a_killed_writer_leaves_whole_captions_and_the_next_goes_on(store: EpisodeStore):
    fill(store)
    path = caption_path(store, "rules")
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert len(CaptionFile(store, "rules")) == 2
    with CaptionWriter(store, "rules", ABOUT) as writer:
        assert writer.done == {("a", 0, 40), ("a", 40, 80)}
        writer.add("a", 80, 100, "a from 80")
    assert path.read_bytes() == content
    path.write_bytes(content[:5])
    fill(store)
    assert path.read_bytes() == content


def test_captions_of_an_episode_that_was_replaced_are_not_used(store: EpisodeStore):
    fill(store)
    (store.path / "episodes" / "a").rename(store.path / "old")
    again = EpisodeStore(store.path)
    again.append(replace(make_episode(100, seed=0), text="another"), "a")
    assert CaptionFile(again, "rules").find("a", 0, 16) is None
    with CaptionWriter(again, "rules", ABOUT) as writer:
        assert writer.done == set()


def test_two_makers_and_two_writers_do_not_mix(store: EpisodeStore):
    fill(store)
    with pytest.raises(ValueError, match="made otherwise"):
        CaptionWriter(store, "rules", {"maker": "endpoint"})
    with CaptionWriter(store, "rules", ABOUT), pytest.raises(ValueError, match="another process"):
        CaptionWriter(store, "rules", ABOUT)
    with CaptionWriter(store, "rules", ABOUT) as writer:
        assert len(writer.done) == 3


def test_mistakes_and_damage_are_told(store: EpisodeStore):
    with pytest.raises(ValueError, match="named"):
        CaptionFile(store, "../x")
    with pytest.raises(FileNotFoundError, match="there are: none"):
        CaptionFile(store, "rules")
    fill(store)
    with pytest.raises(FileNotFoundError, match="there are: rules"):
        CaptionFile(store, "other")
    path = caption_path(store, "rules")
    content = path.read_text()
    for damaged, line in ((content.replace('"text"', '"test"', 1), 2), (content.replace("{", "(", 1), 1), ("[]\n", 1)):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=f"line {line}"):
            CaptionFile(store, "rules")
    path.write_text(json.dumps({"format": 9, "about": {}}) + "\n")
    with pytest.raises(ValueError, match="another format"):
        CaptionFile(store, "rules")
