"""What is sound is kept as it was, what is not is named, and nothing is destroyed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.store.test_store import assert_equal, make_episode
from worldsim import cli
from worldsim.datasets.checks.chunks import read_layout, shard_file
from worldsim.datasets.checks.repair import repair
from worldsim.datasets.checks.salvage import read_what_is_left
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore

KEYS = [f"key{i}" for i in range(20)]


def filled(path: Path, frames: int = 100) -> EpisodeStore:
    store = EpisodeStore(path)
    for seed in range(3):
        store.append(make_episode(frames, seed=seed, keys=KEYS), f"e{seed}")
    return store


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 8
    file.write_bytes(content)


def shard(store: EpisodeStore, name: str, array: str = "frames") -> Path:
    folder = store.path / "episodes" / name / "arrays" / array
    return shard_file(folder, read_layout(folder))


def damage_second_chunk(store: EpisodeStore, name: str) -> None:
    file = shard(store, name)
    places = np.frombuffer(file.read_bytes()[-4 * 16 - 4 : -4], "<u8").reshape(4, 2)
    flip(file, int(places[1, 0]) + 100)


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_sound_store_is_copied_byte_by_byte(tmp_path: Path):
    store = filled(tmp_path / "a")
    report = repair(store, EpisodeStore(tmp_path / "b"))
    assert report.whole == 3 and not report.parts and not report.losses
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    assert repair(store).whole == 3 and snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_a_damaged_chunk_costs_its_frames_and_no_others(tmp_path: Path):
    store = filled(tmp_path / "a")
    damage_second_chunk(store, "e1")
    before = snapshot(tmp_path / "a")
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert snapshot(tmp_path / "a") == before
    assert report.parts == {"e1": ["e1.f000000-000032", "e1.f000064-000100"]}
    assert [(loss.what, loss.why) for loss in report.losses] == [("frames 32 to 63", "damaged or missing")]
    whole = make_episode(100, seed=1, keys=KEYS)
    for name, first, last in (("e1.f000000-000032", 0, 32), ("e1.f000064-000100", 64, 100)):
        part = out.read(name)
        for array, values in part.arrays().items():
            ends = array in ("actions", "rewards")
            np.testing.assert_array_equal(values[: len(values) - ends], whole.arrays()[array][first : last - ends])
            assert not ends or not values[-1].any()
        assert part.provenance["recovered"]["episode"] == "e1" and part.provenance["split"] == "validation"
        assert part.provenance["recovered"]["first_frame"] == first
    assert out.read("e1.f000000-000032").events == [{"frame": 5, "kind": "dig", "node": "dirt"}]
    assert out.read("e1.f000064-000100").events == [{"frame": 35, "kind": "place"}]
    assert len(out) == 4


def test_the_old_store_is_only_read_even_while_the_new_one_is_empty(tmp_path: Path):
    store = filled(tmp_path / "a")
    for name in ("e0", "e1", "e2"):
        damage_second_chunk(store, name)
    before = snapshot(tmp_path / "a")
    repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert snapshot(tmp_path / "a") == before and len(out) == 6


def test_in_place_what_is_damaged_is_moved_aside_as_it_was(tmp_path: Path):
    store = filled(tmp_path)
    damage_second_chunk(store, "e1")
    before = snapshot(tmp_path / "episodes" / "e1")
    report = repair(EpisodeStore(tmp_path))
    assert report.aside == ["damaged/e1"] and snapshot(tmp_path / "damaged" / "e1") == before
    again = EpisodeStore(tmp_path)
    assert again.names() == ["e0", "e1.f000000-000032", "e1.f000064-000100", "e2"]
    for name in again:
        again.verify(name)
    assert repair(again).whole == 4


def test_an_interrupted_repair_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = filled(tmp_path)
    damage_second_chunk(store, "e1")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worldsim.datasets.checks.repair._move_aside", die)
        with pytest.raises(KeyboardInterrupt):
            repair(EpisodeStore(tmp_path))
    assert repair(EpisodeStore(tmp_path)).parts == {"e1": ["e1.f000000-000032", "e1.f000064-000100"]}
    assert len(EpisodeStore(tmp_path)) == 4 and (tmp_path / "damaged" / "e1").is_dir()


@pytest.mark.parametrize("how", ["cut early", "cut late", "gone", "altered"])
def test_a_damaged_manifest_is_rebuilt_from_the_arrays(tmp_path: Path, how: str):
    store = filled(tmp_path / "a")
    path = store.path / "episodes" / "e1" / "manifest.json"
    content = path.read_text()
    if how == "gone":
        path.unlink()
    elif how == "altered":
        path.write_text(content.replace("walking", "wandering"))
    else:
        path.write_text(content[: 20 if how == "cut early" else content.index('"files"')])
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert report.parts == {"e1": ["e1.f000000-000100"]}
    part, whole = out.read("e1.f000000-000100"), make_episode(100, seed=1, keys=KEYS)
    np.testing.assert_array_equal(part.frames, whole.frames)
    np.testing.assert_array_equal(part.actions[:-1], whole.actions[:-1])
    np.testing.assert_array_equal(part.state["inventory"], whole.state["inventory"])
    note = part.provenance["recovered"]
    assert note["episode"] == "e1" and note["manifest"] != "whole" and note["identity"] == ""
    if how in ("cut early", "gone"):
        # Where it belongs is lost: it must not slip into a split.
        assert "split" not in part.provenance and out.names("validation") == []
        assert part.provenance["keys"] == KEYS and any("taken from the other episodes" in n for n in note["lost"])
    else:
        assert part.provenance["seed"] == 1 and out.names("validation") == ["e1.f000000-000100"]
        assert part.text.startswith("wandering" if how == "altered" else "walking")


def test_a_manifest_that_claims_another_split_is_not_believed(tmp_path: Path):
    store = filled(tmp_path)
    path = store.path / "episodes" / "e1" / "manifest.json"
    path.write_text(path.read_text().replace('"validation"', '"train"'))
    report = repair(EpisodeStore(tmp_path))
    assert report.parts == {"e1": []} and "belongs to split 'validation'" in report.losses[-1].why
    assert (tmp_path / "damaged" / "e1").is_dir()


def test_lost_actions_cost_the_episode_unless_asked_otherwise(tmp_path: Path):
    store = filled(tmp_path / "a")
    flip(shard(store, "e1", "actions"), 30)
    shard(store, "e2", "rewards").unlink()
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert out.names() == ["e0"] and report.parts == {"e1": [], "e2": []}
    assert all("keep_incomplete" in loss.why for loss in report.losses if loss.what == "everything")
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "c"), keep_incomplete=True)
    without, poor = out.read("e1.f000000-000100"), out.read("e2.f000000-000100")
    assert without.provenance["actions"] == "unknown" and not without.actions.any()
    assert poor.provenance["rewards"] == "unknown" and poor.actions.any()
    np.testing.assert_array_equal(without.frames, make_episode(100, seed=1).frames)


def test_lost_state_costs_only_itself_and_foreign_files_only_themselves(tmp_path: Path):
    store = filled(tmp_path / "a")
    flip(shard(store, "e1", "state/inventory"), 30)
    (store.path / "episodes" / "e2" / "arrays" / "stray").write_text("x")
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert set(out.read("e1.f000000-000100").state) == {"position"}
    assert_equal_but_for_the_end(out, "e2.f000000-000100")
    assert [loss.what for loss in report.losses] == ["state/inventory"]


def assert_equal_but_for_the_end(out: EpisodeStore, name: str) -> None:
    part, whole = out.read(name), make_episode(100, seed=2, keys=KEYS)
    np.testing.assert_array_equal(part.actions[:-1], whole.actions[:-1])
    np.testing.assert_array_equal(part.frames, whole.frames)
    assert list(part.events) == list(whole.events) and part.state.keys() == whole.state.keys()


def test_lost_descriptions_and_a_lost_index_are_made_up_for(tmp_path: Path):
    store = filled(tmp_path / "a")
    (store.path / "episodes" / "e1" / "arrays" / "frames" / "zarr.json").unlink()
    file = shard(store, "e2")
    file.write_bytes(file.read_bytes()[:-30])
    repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    for seed in (1, 2):
        part = out.read(f"e{seed}.f000000-000100")
        np.testing.assert_array_equal(part.frames, make_episode(100, seed=seed).frames)
    assert "frames" not in out.read("e2.f000000-000100").provenance["recovered"]
    # Without the manifest's checksums nothing tells one chunk from another but their order.
    (store.path / "episodes" / "e2" / "manifest.json").unlink()
    repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "c"))
    assert "numbered in the order found" in out.read("e2.f000000-000100").provenance["recovered"]["frames"]


def test_with_the_manifests_checksums_a_lost_index_and_a_damaged_chunk_cost_that_chunk_alone(tmp_path: Path):
    store = filled(tmp_path / "a")
    damage_second_chunk(store, "e1")
    file = shard(store, "e1")
    file.write_bytes(file.read_bytes()[:-1])
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert report.parts == {"e1": ["e1.f000000-000032", "e1.f000064-000100"]}
    kept = out.read("e1.f000064-000100")
    np.testing.assert_array_equal(kept.frames, make_episode(100, seed=1).frames[64:])


def test_a_lost_shard_is_never_read_as_zeros(tmp_path: Path):
    store = filled(tmp_path / "a")
    for name in ("e1", "e2"):
        shard(store, name).unlink()
    # Without its manifest nothing tells that there was a shard at all.
    (store.path / "episodes" / "e2" / "manifest.json").unlink()
    report = repair(EpisodeStore(tmp_path / "a"), out := EpisodeStore(tmp_path / "b"))
    assert out.names() == ["e0"] and report.parts == {"e1": [], "e2": []}
    assert {loss.why for loss in report.losses if loss.what == "everything"} == {"frames is missing"}


def test_short_parts_are_dropped_and_named(tmp_path: Path):
    store = filled(tmp_path / "a")
    damage_second_chunk(store, "e1")
    report = repair(EpisodeStore(tmp_path / "a"), EpisodeStore(tmp_path / "b"), shortest=33)
    assert report.parts == {"e1": ["e1.f000064-000100"]}
    assert "fewer than 33" in next(loss.why for loss in report.losses if loss.what == "frames 0 to 31")


def test_a_manifest_that_does_not_parse_gives_what_it_can(tmp_path: Path):
    store = filled(tmp_path)
    path = store.path / "episodes" / "e0" / "manifest.json"
    content = path.read_text()
    assert read_what_is_left(path)[1] == "whole"
    known = set[str]()
    for cut in range(0, len(content), 40):
        path.write_text(content[:cut])
        left, trust = read_what_is_left(path)
        assert trust == "it is not whole" and set(left) >= known
        known = set(left)
        assert all(left[name] == json.loads(content)[name] for name in left)
    assert known == {"text", "events", "provenance"}


def test_the_command_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    damage_second_chunk(filled(tmp_path / "a"), "e1")
    assert cli.main(["data", "repair", "data=a", "out=b", "folder=run"]) == 0
    out = capfd.readouterr().out
    assert "e1: kept e1.f000000-000032, e1.f000064-000100" in out and "frames 32 to 63: damaged or missing" in out
    assert f"2 episodes are whole, 1 were damaged and left in {tmp_path / 'a'}" in out
    assert json.loads(Path("run/report.json").read_text())["whole"] == 2
    assert cli.main(["data", "repair", "data=a", "out=a"]) == 2 and cli.main(["data", "repair", "data=nowhere"]) == 2
    with pytest.raises(CorruptEpisodeError):
        EpisodeStore("a").read("e1")
    assert_equal(EpisodeStore("b").read("e0"), make_episode(100, seed=0, keys=KEYS))
