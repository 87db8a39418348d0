"""Importing into a store: cutting, resuming, broken recordings, names, splits."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.import_film import assert_aligned, film, random_actions, write_film
from worldsim.datasets.governance.withdrawal import withdraw
from worldsim.datasets.importers.formats import detect_format, find_recordings
from worldsim.datasets.importers.importer import ImportOptions, import_recordings
from worldsim.datasets.importers.recording import Footage, Recording, cuts, episode_name, names_of
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT


def recording(name: str = "a", frames: int = 25, seed: int = 0, breaks: int | None = None, **changes: Any) -> Recording:
    """A recording in memory; ``breaks``: the frame at which reading fails."""
    actions = random_actions(frames, seed)

    def play() -> Iterator[np.ndarray]:
        for t, picture in enumerate(film(actions)):
            if t == breaks:
                raise ValueError(f"frame {t} is torn")
            yield picture

    def verify() -> None:
        for _ in play():
            pass

    def start() -> Footage:
        return Footage(
            frames=play,
            actions=actions,
            rewards=np.append(np.arange(frames - 1, dtype=np.float32), np.float32(0)),
            terminated=np.arange(frames) == frames - 1,
            state={"tick": np.arange(frames)},
            events=[{"frame": t, "kind": f"e{t}"} for t in range(frames)],
            provenance={"keys": list(MINECRAFT.keys), "fps": 20},
            verify=verify,
        )

    return Recording(**{"name": name, "origin": f"{name}.mp4", "open": start, "part": f"{name}{seed}"} | changes)


@given(length=st.integers(1, 500), longest=st.integers(2, 60))
def test_cuts_share_one_frame_and_lose_no_transition(length: int, longest: int):
    pieces = cuts(length, longest)
    assert pieces[0][0] == 0 and pieces[-1][1] == length
    assert all(0 < end - begin <= longest for begin, end in pieces)
    assert all(end == begin + 1 for (_, end), (begin, _) in itertools.pairwise(pieces))
    assert sum(end - begin - 1 for begin, end in pieces) == length - 1


def test_a_long_recording_becomes_aligned_pieces_that_lose_nothing(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    report = import_recordings(store, [recording()], ImportOptions(episode_frames=10))
    assert store.names() == [f"a.part-{i:04d}-of-3" for i in range(3)] and report.episodes == 3
    episodes = [store.read(name) for name in store.names()]
    whole = random_actions(25)
    np.testing.assert_array_equal(np.concatenate([e.actions[:-1] for e in episodes]), whole[:-1])
    assert np.concatenate([e.rewards[:-1] for e in episodes]).tolist() == list(range(24))
    assert [e["kind"] for episode in episodes for e in episode.events] == [f"e{t}" for t in range(25)]
    for i, episode in enumerate(episodes):
        assert_aligned(episode)
        assert episode.provenance["first_frame"] == 9 * i == episode.state["tick"][0]
        assert all(event["kind"] == f"e{event['frame'] + 9 * i}" for event in episode.events)
    np.testing.assert_array_equal(episodes[0].frames[-1], episodes[1].frames[0])
    assert [e.terminated.any() for e in episodes] == [False, False, True]
    assert len({e.provenance["split"] for e in episodes}) == 1


def test_importing_again_adds_nothing_and_goes_on_where_it_stopped(tmp_path: Path):
    store, options = EpisodeStore(tmp_path), ImportOptions(episode_frames=10)
    both = [recording("a"), recording("b", seed=1)]

    class StopError(Exception):
        pass

    def stop_in_b(message: tuple[str, Any]) -> None:
        if message == ("recording", "b.mp4"):
            stop_in_b.armed = True  # pyright: ignore
        elif message[0] == "frames" and getattr(stop_in_b, "armed", False):
            stop_in_b.count = getattr(stop_in_b, "count", 0) + 1  # pyright: ignore
            if stop_in_b.count == 2:  # pyright: ignore
                raise StopError

    with pytest.raises(StopError):
        import_recordings(store, both, options, stop_in_b)
    assert len(store) == 4
    before = {name: (tmp_path / "episodes" / name / "manifest.json").read_bytes() for name in store.names()}
    report = import_recordings(EpisodeStore(tmp_path), both, options)
    assert report.there == 1 and report.imported == 1 and report.episodes == 2 and len(store) == 6
    assert all((tmp_path / "episodes" / name / "manifest.json").read_bytes() == was for name, was in before.items())
    again = import_recordings(EpisodeStore(tmp_path), both, options)
    assert again.there == 2 and not again.episodes and "2 were there" in again.line()
    # Other pieces of the same recording would hold it twice.
    withdraw(store, "b.part-0001-of-3", "test", delete=True)
    assert import_recordings(EpisodeStore(tmp_path), both, options).there == 2 and len(store) == 5
    (tmp_path / "episodes/a.part-0002-of-3").rename(tmp_path / "gone")
    other = import_recordings(EpisodeStore(tmp_path), both, ImportOptions(episode_frames=20))
    assert "cut differently" in other.broken[0][1] and len(store) == 4


def test_withdrawn_episodes_stay_away(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    import_recordings(store, [recording("a"), recording("b", seed=1)])
    withdraw(store, "a", "the player asked for it")
    report = import_recordings(EpisodeStore(tmp_path), [recording("a"), recording("b", seed=1)])
    assert report.there == 2 and store.names() == ["b"]
    # Another recording of that name is told from it, and has to take another name.
    other = import_recordings(EpisodeStore(tmp_path), [recording("a", seed=2)])
    assert "'a' was withdrawn" in other.broken[0][1] and store.names() == ["b"]
    assert import_recordings(store, [recording("a", seed=2)], ImportOptions(prefix="new-")).imported == 1


def test_a_broken_recording_is_named_and_left_out_whole(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    recordings = [recording("a"), recording("b", breaks=20), recording("c", seed=2)]
    report = import_recordings(store, recordings, ImportOptions(episode_frames=10))
    assert report.broken == [("b.mp4", "frame 20 is torn")] and report.imported == 2
    assert Counter(name[0] for name in store.names()) == {"a": 3, "c": 3}
    for name in store.names():
        store.verify(name)


def test_a_recording_that_ends_early_or_changes_size_is_left_out(tmp_path: Path):
    def shorter(original: Recording, change: Any) -> Recording:
        footage = original.open()
        frames = footage.frames

        def start() -> Footage:
            return Footage(**{**vars(footage), "frames": lambda: change(frames())})

        return Recording(name="x", origin="x.mp4", open=start)

    def grown(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return (frame if t < 4 else frame.repeat(2, 0) for t, frame in enumerate(frames))

    store = EpisodeStore(tmp_path)
    for change, message in (
        (lambda frames: itertools.islice(frames, 7), "ends after 7 of 25"),
        (lambda frames: iter(()), "no frames"),
        (grown, "frame 4 is 64x64"),
    ):
        report = import_recordings(store, [shorter(recording(), change)])
        assert message in report.broken[0][1] and not len(store)


def test_another_recording_of_the_same_name_is_not_taken_for_it(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    import_recordings(store, [recording("a")])
    report = import_recordings(EpisodeStore(tmp_path), [recording("a", seed=5)])
    assert "another recording" in report.broken[0][1] and len(store) == 1
    report = import_recordings(EpisodeStore(tmp_path), [recording("a", seed=5)], ImportOptions(prefix="second-"))
    assert store.names() == ["a", "second-a"] and not report.broken


def test_a_store_that_cannot_be_written_stops_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: EpisodeStore, *_: Any) -> None:
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(EpisodeStore, "append", full)
    with pytest.raises(OSError, match="No space left"):
        import_recordings(EpisodeStore(tmp_path), [recording("a"), recording("b")])


def test_provenance_that_is_given_wins(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    options = ImportOptions(about={"licence": "MIT", "consent": "signed", "source": "mine"}, split="test")
    report = import_recordings(store, [recording("a")], options)
    about = store.read("a").provenance
    assert (about["licence"], about["consent"], about["source"], about["split"]) == ("MIT", "signed", "mine", "test")
    assert {"created", "software", "keys", "fps"} <= about.keys() and not report.unlicensed
    assert import_recordings(store, [recording("b")]).unlicensed == 1
    assert "licence" not in store.read("b").provenance


def test_splits_follow_from_names_with_the_usual_shares():
    splits = Counter(recording(f"recording-{i}").split for i in range(1200))
    assert 70 < splits["validation"] < 130 and 70 < splits["test"] < 130
    assert recording("x", group="g").split == recording("y", group="g").split


@pytest.mark.parametrize("options", [{"split": "some"}, {"episode_frames": 1}, {"size": (0, 9)}, {"fps": -1.0}])
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(UserError):
        ImportOptions(**options)


# Surrogates too: JSON can spell them.
@given(st.lists(st.text(st.characters(), min_size=1, max_size=12), unique=True, min_size=2, max_size=6))
def test_names_stay_different_and_are_allowed(texts: list[str]):
    names = [episode_name(text) for text in texts]
    assert len(set(names)) == len(names)
    assert all(name[0].isalnum() and set(name) <= set(map(chr, range(45, 123))) for name in names)


def test_names_keep_the_suffix_only_where_it_tells_files_apart():
    root = Path("/r")
    paths = [root / "a.mp4", root / "a.mkv", root / "b/c.mp4"]
    assert names_of(paths, root) == ["a.mp4", "a.mkv", "b.c"] or names_of(paths, root)[2].startswith("b.c")


def test_formats_are_recognised(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such"):
        detect_format(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nothing that can be imported"):
        detect_format(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/1.PNG").touch()
    assert detect_format(tmp_path / "p") == "images"
    write_film(tmp_path / "v/a.mp4", random_actions(3))
    assert detect_format(tmp_path / "v") == detect_format(tmp_path / "v/a.mp4") == "video"
    (tmp_path / "v/a.csv").write_text("left\n1\n0\n0\n")
    assert detect_format(tmp_path / "v") == detect_format(tmp_path / "v/a.mp4") == "table"
    (tmp_path / "v/b.mp4").touch()
    (tmp_path / "v/b.jsonl").write_text('{"mouse": {}, "keyboard": {}}\n')
    assert detect_format(tmp_path / "v") == "vpt"
    for kind in ("minari", "lerobot", "minerl", "images"):
        with pytest.raises(UserError):
            find_recordings(tmp_path / "v", kind)
    with pytest.raises(UserError, match="unknown format 'x'"):
        find_recordings(tmp_path / "v", "x")
