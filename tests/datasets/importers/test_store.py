"""Another episode store as a source: scaled, slowed down, put together; splits and provenance stay."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets.store.test_store import data_files
from tests.import_film import assert_aligned, film, random_actions
from worldsim import cli
from worldsim.datasets.governance.provenance import training_record
from worldsim.datasets.importers.formats import detect_format
from worldsim.datasets.importers.importer import ImportOptions, import_recordings
from worldsim.datasets.importers.store import find_store
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.models.checkpoint import save_tensors
from worldsim.spec.actions import MINECRAFT


def shown(frames: int, seed: int, **about: object) -> Episode:
    actions = random_actions(frames, seed)
    return Episode(
        frames=film(actions), actions=actions, rewards=np.arange(frames, dtype=np.float32),
        terminated=np.arange(frames) == frames - 1, state={"x": np.arange(frames)},
        events=[{"kind": "hit", "frame": 3}], text="a walk",
        provenance={"seed": seed, "split": split_of(seed), "fps": 20, "created": "2026-01-01T00:00:00Z",
                    "licence": "CC0-1.0", "keys": list(MINECRAFT.keys), **about},
    )  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "source")
    for seed in (0, 1, 2):
        store.append(shown(20, seed), f"map{seed}")
    return store


def test_episodes_come_over_as_they_were_and_say_from_where(source: EpisodeStore, tmp_path: Path):
    assert detect_format(source.path) == "store"
    store = EpisodeStore(tmp_path / "out")
    report = import_recordings(store, find_store(source.path))
    assert report.imported == 3 and store.names() == source.names()
    for name in store:
        one, was = store.read(name), source.read(name)
        np.testing.assert_array_equal(one.frames, was.frames)
        np.testing.assert_array_equal(one.actions, was.actions)
        np.testing.assert_array_equal(one.state["x"], was.state["x"])
        assert one.terminated[-1] and one.events == was.events and one.text == was.text
        for kept in ("seed", "split", "licence", "keys", "fps"):
            assert one.provenance[kept] == was.provenance[kept]
        copied = one.provenance["copied"]
        assert copied["episode"] == name and copied["created"] == "2026-01-01T00:00:00Z"
        assert [source.digest(name)[:16]] == copied["identities"]
    assert import_recordings(EpisodeStore(store.path), find_store(source.path)).there == 3


def test_scaling_and_slowing_keep_the_alignment(source: EpisodeStore, tmp_path: Path):
    words = ["data", "import", str(source.path), "--out", str(tmp_path / "out"), "resize=128x64", "prefix=large-"]
    assert cli.main(words) == 0
    store = EpisodeStore(tmp_path / "out")
    assert store.names() == ["large-map0", "large-map1", "large-map2"]
    for name in store:
        assert store.frame_size(name) == (128, 64)
        assert_aligned(store.read(name))
    slow = EpisodeStore(tmp_path / "slow")
    import_recordings(slow, find_store(source.path), ImportOptions(fps=10))
    episode, was = slow.read("map0"), source.read("map0")
    np.testing.assert_array_equal(episode.frames, was.frames[::2])
    np.testing.assert_allclose(episode.actions[:-1, -1], was.actions[:18, -1].reshape(-1, 2).sum(1), atol=1e-5)


def test_withdrawing_an_episode_names_checkpoints_trained_on_copies_of_it(
    source: EpisodeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    first, second = EpisodeStore(tmp_path / "first"), EpisodeStore(tmp_path / "second")
    import_recordings(first, find_store(source.path), ImportOptions(size=(32, 16)))
    import_recordings(second, find_store(first.path))
    for number, store in enumerate((first, second)):
        about = {"trained_on": training_record(store, store.names("train"))}
        save_tensors(tmp_path / "runs" / f"{number}.safetensors", {"x": torch.zeros(1)}, about)
    about = {"trained_on": training_record(second, ["map1"])}
    save_tensors(tmp_path / "runs" / "other.safetensors", {"x": torch.zeros(1)}, about)
    words = ["data", "withdraw", f"data={source.path}", "map0", "reason=asked for", f"checkpoints={tmp_path}/runs"]
    assert cli.main(words) == 0
    said = capfd.readouterr().out
    assert "0.safetensors was trained on map0" in said and "1.safetensors was trained on map0" in said
    assert "2 checkpoint files" in said
    assert cli.main(["data", "audit", f"{tmp_path}/runs/1.safetensors", f"data={source.path}"]) == 1
    assert "WITHDRAWN" in capfd.readouterr().out


def test_parts_of_a_cut_recording_are_found_again(source: EpisodeStore, tmp_path: Path):
    cut = EpisodeStore(tmp_path / "cut")
    import_recordings(cut, find_store(source.path), ImportOptions(episode_frames=10))
    assert len(cut) == 9 and cut.names()[0] == "map0.part-0000-of-3"
    out = EpisodeStore(tmp_path / "out")
    assert import_recordings(out, find_store(cut.path)).imported == 9
    assert import_recordings(EpisodeStore(out.path), find_store(cut.path)).there == 9


def test_damage_is_named_and_a_store_is_not_imported_into_itself(
    source: EpisodeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    file = next(f for f in data_files(source, "map1") if "frames/c" in str(f))
    content = bytearray(file.read_bytes())
    content[50] ^= 1
    file.write_bytes(content)
    odd = shown(20, 12, keys=["a", "b"])
    source.append(replace(odd, actions=odd.actions[:, :5]), "odd")
    words = ["data", "import", str(source.path)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 1
    printed = capfd.readouterr().err
    assert "map1" in printed and "names 2 keys for 5 action values" in printed
    assert EpisodeStore(tmp_path / "out").names() == ["map0", "map2"]
    assert cli.main([*words, "--out", f"{source.path}/../source"]) == 2
    assert "into itself" in capfd.readouterr().err
