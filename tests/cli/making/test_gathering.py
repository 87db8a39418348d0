"""Recordings become a store that can be trained on."""

from pathlib import Path

import pytest

from tests.cli.making.recordings import record, record_store, record_videos
from worldsim.cli.making.game_kind import STILL, GameLook
from worldsim.cli.making.gathering import gather, with_splits
from worldsim.datasets.governance.provenance import ALL
from worldsim.datasets.importers.recording import Footage, Recording
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError


def gathered(
    source: Path, folder: Path, size: str | None = None, fps: float | None = None
) -> tuple[EpisodeStore, GameLook]:
    return gather(source, folder, kind=None, size=size, fps=fps, keys=None, only=ALL)


def recordings(*names: str, split: str | None = None) -> list[Recording]:
    def open_() -> Footage:
        raise AssertionError("splits are told without opening recordings")

    return [Recording(name=name, origin=name, open=open_, fixed=split) for name in names]  # pyright: ignore[reportArgumentType]


def test_a_store_that_can_be_trained_on_is_taken_as_it_is(tmp_path: Path):
    source = record_store(tmp_path / "store")
    store, look = gathered(source, tmp_path / "copy")
    assert Path(store.url) == source and look.kind == STILL and not (tmp_path / "copy").exists()
    assert not look.camera and not look.depth and 0 < look.idle < 1


def test_another_size_or_rate_makes_a_copy(tmp_path: Path):
    source = record_store(tmp_path / "store")
    store, _ = gathered(source, tmp_path / "copy", size="16x16", fps=5)
    assert Path(store.url) == tmp_path / "copy"
    for name in store.names():
        assert store.frame_size(name) == (16, 16) and store.manifest(name)["provenance"]["fps"] == 5
    assert len(store.names("train")) == 3 and len(store.names("test")) == 1


@pytest.mark.slow
def test_videos_with_tables_are_scaled_and_some_are_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = record_videos(tmp_path / "videos", 4, size=(320, 176))
    store, _ = gathered(folder, tmp_path / "copy")
    assert {store.frame_size(name) for name in store.names()} == {(144, 80)}
    assert store.names("train") and store.names("validation")
    assert "pictures of 320x176 are scaled to 144x80: what is smaller than 2.2 pixels" in capsys.readouterr().out
    # Once more: nothing is imported twice.
    before = store.names()
    assert gathered(folder, tmp_path / "copy")[0].names() == before


def test_episodes_of_one_split_are_spread(tmp_path: Path):
    for number in range(3):
        record(tmp_path / "store", "train", f"one{number}", seed=number)
    store, _ = gathered(tmp_path / "store", tmp_path / "copy")
    assert [len(store.names(split)) for split in ("train", "validation", "test")] == [1, 1, 1]


@pytest.mark.parametrize(("count", "shares"), [(2, (1, 1, 0)), (3, (1, 1, 1)), (7, (5, 1, 1)), (24, (18, 3, 3))])
def test_an_eighth_is_held_out_where_nothing_is(count: int, shares: tuple[int, int, int]):
    made = with_splits(recordings(*(f"r{i}" for i in range(count)), split="train"))
    assert tuple(sum(one.split == split for one in made) for split in ("train", "validation", "test")) == shares
    assert [one.name for one in made] == [f"r{i}" for i in range(count)]


def test_splits_that_are_there_stay():
    made = recordings("a", split="train") + recordings("b", split="validation")
    assert with_splits(made) == made


def test_recordings_of_one_group_stay_together_unless_there_is_no_other():
    from dataclasses import replace

    groups = [replace(one, group=one.name[0]) for one in recordings("a1", "a2", "b1", "b2", split="train")]
    by_group = {one.name[0]: {o.split for o in with_splits(groups) if o.name[0] == one.name[0]} for one in groups}
    assert all(len(splits) == 1 for splits in by_group.values()) and by_group["a"] != by_group["b"]
    one_session = [replace(one, group="s") for one in recordings("a", "b", "c", split="train")]
    assert {one.split for one in with_splits(one_session)} == {"train", "validation", "test"}


def test_one_recording_is_not_enough():
    with pytest.raises(UserError, match="at least two are needed"):
        with_splits(recordings("alone", split="train"))


def test_videos_without_actions_are_refused(tmp_path: Path):
    folder = record_videos(tmp_path / "videos", 2, table=False)
    with pytest.raises(UserError, match="videos without a table of actions"):
        gathered(folder, tmp_path / "copy")


def test_seeds_of_maps_decide_splits(tmp_path: Path):
    seeds = [seed for seed in range(60) if split_of(seed) == "train"][:2]
    for seed in seeds:
        record(tmp_path / "store", None, f"map{seed}", seed=seed, map_seed=seed)
    with pytest.raises(UserError, match="none of the 2 recordings is for validation, and the seeds of their maps"):
        gathered(tmp_path / "store", tmp_path / "copy")
