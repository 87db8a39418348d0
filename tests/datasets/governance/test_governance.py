"""Who may use what: identities, filters, training records, audits, withdrawals and the dataset card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.datasets.checks.test_check import ABOUT, changed, turning_episode
from tests.datasets.store.test_store import data_files, make_episode
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.checks.repair import repair
from worldsim.datasets.governance.map_seeds import map_name
from worldsim.datasets.governance.provenance import (
    REQUIRED,
    TRAINED_ON,
    identity,
    missing_fields,
    read_training_record,
    select,
    training_record,
)
from worldsim.datasets.governance.withdrawal import checkpoints_that_saw, withdraw, withdrawals
from worldsim.datasets.store.store import EpisodeStore, WithdrawnEpisodeError
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors
from worldsim.simulation.world_model import WorldModel

LICENCES = ("CC0-1.0", "CC-BY-SA-3.0", "all rights reserved, by permission of the player", None)


def filled(path: Path) -> EpisodeStore:
    """Episodes e0 to e3: of three licences and one of none, from two sources."""
    store = EpisodeStore(path)
    for seed, licence in enumerate(LICENCES):
        about: dict[str, Any] = {**ABOUT, "licence": licence, "source": "human" if seed == 2 else "luanti"}
        store.append(make_episode(20, seed=seed, **about), f"e{seed}")
    return store


def trained(folder: Path, record: dict[str, Any]) -> Path:
    """A tiny world's folder whose network carries a training record."""
    file = save_tiny_world(folder) / "dit.safetensors"
    tensors, about = load_tensors(file)
    save_tensors(file, tensors, about | {TRAINED_ON: record})
    return folder


def test_an_identity_is_the_sha256_that_the_manifest_carries_and_changes_with_every_file(tmp_path: Path):
    store = filled(tmp_path)
    written = json.loads((tmp_path / "episodes" / "e0" / "manifest.json").read_text())
    assert identity(store.manifest("e0")) == identity(written) == written["sha256"]
    assert len({identity(store.manifest(name)) for name in store}) == 4
    for path in store.manifest("e0")["files"]:
        changed = json.loads(json.dumps(store.manifest("e0")))
        changed["files"][path]["sha256"] = "0" * 64
        assert identity(changed) != identity(store.manifest("e0"))


def test_what_an_episode_does_not_say_is_named(tmp_path: Path):
    store = filled(tmp_path)
    assert missing_fields(store.manifest("e0")) == [] and missing_fields(store.manifest("e3")) == ["licence"]
    assert set(missing_fields({"provenance": {}})) == set(REQUIRED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["e0", "e1", "e2", "e3"]),
        ({"licence": "CC0-1.0"}, ["e0"]),
        ({"licence": "cc*"}, ["e0", "e1"]),
        ({"licence": "cc0-1.0 | *permission*"}, ["e0", "e2"]),
        ({"licence": "-*reserved*|-unknown"}, ["e0", "e1"]),
        ({"licence": "cc*|-cc0*"}, ["e1"]),
        ({"licence": "unknown"}, ["e3"]),
        ({"source": "human"}, ["e2"]),
        ({"source": "luanti", "licence": "cc*"}, ["e0", "e1"]),
    ],
)
def test_filters(tmp_path: Path, filters: dict[str, str], names: list[str]):
    assert select(filled(tmp_path), licence=filters.get("licence"), source=filters.get("source")) == names


def test_a_filter_that_nothing_fits_names_what_there_is(tmp_path: Path):
    store = filled(tmp_path)
    assert select(store, "train", licence="cc*") == ["e0"]
    with pytest.raises(UserError, match=r"licence=GPL.*licences: CC-BY-SA-3\.0; CC0-1\.0.*sources: human; luanti"):
        select(store, licence="GPL*")
    assert select(EpisodeStore(tmp_path / "empty"), licence="GPL*") == []


def test_commands_filter(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    store = filled(tmp_path)
    store.append(changed(make_episode(20), provenance={**ABOUT, "split": None}), "e4")
    assert cli.main(["data", "list", f"data={tmp_path}", "licence=CC*", "source=luanti|test"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == ["e0", "e1", "e4"]
    assert cli.main(["data", "summary", f"data={tmp_path}", "source=-human"]) == 0
    totals = {
        words[0]: words[1]
        for line in capfd.readouterr().out.splitlines()
        if (words := line.split())[2:3] == ["episodes"]
    }
    assert totals == {"train": "2", "validation": "1", "test": "0", "none": "1"}
    assert cli.main(["data", "list", f"data={tmp_path}", "licence=GPL"]) == 2


def test_a_training_record_is_small_plain_and_depends_on_the_episodes_alone(tmp_path: Path):
    store = filled(tmp_path)
    record = training_record(store, ["e1", "e0"])
    assert record == training_record(EpisodeStore(tmp_path), ["e0", "e1", "e1"])
    (one,) = record["stores"]
    assert one["licences"] == {"CC0-1.0": 1, "CC-BY-SA-3.0": 1} and one["sources"] == {"luanti": 2}
    assert one["frames"] == 40 and set(one["episodes"]) == {"e0", "e1"}
    assert one["episodes"]["e0"] == identity(store.manifest("e0"))[:16]
    assert one["digest"] != training_record(store, ["e0"])["stores"][0]["digest"]
    assert len(json.dumps(record, allow_nan=False)) < 600
    with pytest.raises(ValueError, match="at least one"):
        training_record(store, [])


def test_what_earlier_weights_saw_stays_on_record(tmp_path: Path):
    store, other = filled(tmp_path / "a"), EpisodeStore(tmp_path / "b")
    other.append(make_episode(20, seed=12, **ABOUT), "x")
    first = training_record(store, ["e0"])
    both = training_record(other, ["x"], before=first)
    assert [set(s["episodes"]) for s in both["stores"]] == [{"e0"}, {"x"}]
    assert training_record(other, ["x"], before=both) == both
    with pytest.raises(ValueError, match="format"):
        training_record(other, ["x"], before={"format": 2})


def test_a_record_is_read_from_a_checkpoint_and_does_no_harm_to_it(tmp_path: Path):
    store = filled(tmp_path / "store")
    record = training_record(store, store.names())
    folder = trained(tmp_path / "world", record)
    assert read_training_record(folder) == {"dit.safetensors": record}
    assert read_training_record(folder / "dit.safetensors") == {"dit.safetensors": record}
    WorldModel.load(folder)
    with pytest.raises(UserError, match="does not say"):
        read_training_record(folder / "tokenizer.safetensors")
    with pytest.raises(FileNotFoundError):
        read_training_record(tmp_path / "nowhere")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged"):
        read_training_record(tmp_path / "bad.safetensors")


def test_a_withdrawn_episode_is_gone_from_the_store_and_kept_aside(tmp_path: Path):
    store = filled(tmp_path)
    before = [p.read_bytes() for p in data_files(store, "e1")]
    done = withdraw(store, "e1", "the player asked for it")
    assert "e1" not in store and EpisodeStore(tmp_path).names() == ["e0", "e2", "e3"]
    assert done.folder == tmp_path / "withdrawn" / "e1" and done.reason == "the player asked for it"
    kept = sorted(p for p in done.folder.rglob("*") if p.is_file() and p.name != "withdrawn.json")
    assert [p.read_bytes() for p in kept] == before
    assert withdrawals(tmp_path) == [done] and done.identity
    # Once more is no harm, deletes if asked, and keeps the first reason.
    again = withdraw(store, "e1", "another reason", delete=True)
    assert again == done and not (done.folder / "arrays").exists() and (done.folder / "manifest.json").is_file()


def test_a_withdrawn_name_is_not_used_again(tmp_path: Path):
    store = filled(tmp_path / "store")
    withdraw(store, "e1", "asked for", delete=True)
    for opened in (store, EpisodeStore(store.path)):
        assert opened.withdrawn("e1") and opened.taken("e1") and not opened.withdrawn("e0") and not opened.taken("e9")
        with pytest.raises(WithdrawnEpisodeError, match="'e1' was withdrawn"):
            opened.append(make_episode(20, seed=13, **ABOUT), "e1")
    # Killed between the move and the note, it is withdrawn all the same.
    (store.path / "withdrawn" / "e1" / "withdrawn.json").unlink()
    assert store.withdrawn("e1") and not any((store.path / "unfinished").glob("*"))


def test_an_episode_that_came_back_under_a_withdrawn_name_is_another_one(tmp_path: Path):
    store = filled(tmp_path / "store")
    old = training_record(store, ["e1"])
    first = withdraw(store, "e1", "asked for")
    # As stores of older versions may be, which recorded it anew.
    other = EpisodeStore(tmp_path / "other")
    other.append(make_episode(20, seed=13, **ABOUT), "e1")
    (other.path / "episodes" / "e1").rename(store.path / "episodes" / "e1")
    store = EpisodeStore(store.path)
    trained(tmp_path / "runs" / "new", training_record(store, ["e1"]))
    trained(tmp_path / "runs" / "old", old)
    assert [p.parent.name for p, _ in checkpoints_that_saw([tmp_path / "runs"], [first])] == ["old"]
    second = withdraw(store, "e1", "again")
    assert second.folder.name == "e1.2" and len(withdrawals(store.path)) == 2


@pytest.mark.parametrize("name", ["nothing", "../e0", ".."])
def test_what_is_not_there_cannot_be_withdrawn(tmp_path: Path, name: str):
    store = filled(tmp_path / "store")
    with pytest.raises((FileNotFoundError, ValueError)):
        withdraw(store, name, "because")
    with pytest.raises(ValueError, match="reason"):
        withdraw(store, "e0", " ")
    assert len(EpisodeStore(store.path)) == 4


def test_withdraw_names_every_checkpoint_that_saw_it_and_audit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    store = filled(Path("store"))
    trained(Path("runs/a/world"), training_record(store, ["e0", "e1"]))
    trained(Path("runs/b/world"), training_record(store, ["e0"]))
    save_tensors(Path("runs/c/other.safetensors"), {"x": torch.zeros(1)})
    Path("runs/c/broken.safetensors").write_bytes(b"?")
    assert cli.main(["data", "audit", "runs/a"]) == 0
    listed = capfd.readouterr().out
    assert "world/dit.safetensors" in listed and "2 episodes, 40 frames" in listed
    assert "CC0-1.0 (1); CC-BY-SA-3.0 (1)" in listed and "sources: luanti (2)" in listed
    assert cli.main(["data", "withdraw", "data=store", "e1", "reason=the player asked"]) == 0
    said = capfd.readouterr().out
    assert "runs/a/world/dit.safetensors was trained on e1" in said and "runs/b" not in said
    assert "1 checkpoint files" in said
    assert cli.main(["data", "audit", "runs/a/world"]) == 1
    line = next(line for line in capfd.readouterr().out.splitlines() if line.strip().startswith("e1"))
    assert "WITHDRAWN" in line and "the player asked" in line
    assert cli.main(["data", "audit", "runs/b/world"]) == 0
    Path("store").rename("moved")
    assert cli.main(["data", "audit", "runs/a/world"]) == 0
    assert "is unknown" in capfd.readouterr().out
    assert cli.main(["data", "audit", "runs/a/world", "data=moved"]) == 1


def test_an_audit_names_the_maps_of_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    store = EpisodeStore("store")
    for seed in (12, 3, 1, 25, 2):
        store.append(make_episode(20, seed=seed, **ABOUT), f"e{seed}")
    game = map_name(store.manifest("e3")["provenance"])
    assert game and game.startswith("3 of ")
    game = game.removeprefix("3 of ")
    trained(Path("good"), training_record(store, ["e3", "e12"]))
    trained(Path("bad"), training_record(store, ["e3", "e25"]))

    def audited(*words: str) -> list[str]:
        assert cli.main(["data", "audit", *words]) == 0
        return [line.strip() for line in capfd.readouterr().out.splitlines() if "map" in line]

    held_out = [f"maps held out for validation: 1, 25 of {game} (2)", f"maps held out for test: 2 of {game} (1)"]
    assert audited("good") == [
        f"maps trained on: 3, 12 of {game} (2)", *held_out, "no map is both trained on and held out"
    ]  # fmt: skip
    assert audited("bad")[1:] == [*held_out, f"maps trained on AND held out: 25 of {game} (1)"]
    Path("store").rename("moved")
    assert audited("good") == [f"maps trained on: 3, 12 of {game} (2)"]
    # Records of older versions name no maps; the store tells them.
    older = training_record(EpisodeStore("moved"), ["e3"])
    del older["stores"][0]["maps"]
    trained(Path("older"), older | {"stores": [older["stores"][0] | {"store": "store"}]})
    assert audited("older") == ["maps trained on: no seeds are told"]
    assert audited("older", "data=moved")[0] == f"maps trained on: 3 of {game} (1)"


def test_parts_that_a_repair_made_of_an_episode_are_withdrawn_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    filled(Path("store"))
    Path("store/episodes/e1/manifest.json").write_text("{")
    repair(EpisodeStore("store"))
    assert "e1.f000000-000020" in EpisodeStore("store")
    assert cli.main(["data", "withdraw", "data=store", "e1", "reason=x", "checkpoints="]) == 0
    assert (
        EpisodeStore("store").names() == ["e0", "e2", "e3"] and "e1.f000000-000020 was moved" in capfd.readouterr().out
    )
    assert not Path("store/damaged/e1").exists() and Path("store/withdrawn/e1").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["audit"],
        ["audit", "nowhere"],
        ["audit", "a", "b"],
        ["withdraw", "e0", "reason=x"],
        ["withdraw", "data=store", "reason=x"],
        ["withdraw", "data=store", "e0"],
        ["withdraw", "data=store", "nothing", "reason=x"],
        ["withdraw", "data=store", "e0", "reason=x", "checkpoints=nowhere"],
        ["card", "data=nowhere"],
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    store = filled(Path("store"))
    assert cli.main(["data", *words]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert len(EpisodeStore(store.path)) == 4


def test_the_card_tells_what_is_there_and_what_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    store = EpisodeStore(tmp_path / "parkour")
    for seed in range(4):
        about: dict[str, Any] = {"biome": "snowy_grassland" if seed else "desert", "start": {"time_of_day": 0.5}}
        if seed == 3:
            about["licence"] = "a | b"
        store.append(turning_episode(seed, **about), f"e{seed}")
    withdraw(store, "e0", "asked for")
    assert cli.main(["data", "card", f"data={store.path}", f"out={tmp_path}/card"]) == 0
    card = (tmp_path / "card" / "README.md").read_text()
    assert (tmp_path / "card" / "frames.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "# parkour" in card and "3 episodes of play: 576 frames" in card
    assert "| train | 1 | 192 |" in card and "| validation | 1 | 192 |" in card
    assert "| test | a \\| b | no person recorded | 1 |" in card and "license: other" in card
    assert "| snowy grassland | 3 | 100.0% |" in card and "| at noon | 3 |" in card
    assert "e0" in card and "withdrawn" in card and "lag of the picture, yaw behind the mouse +0 frames" in card
    rows = [line for line in card.splitlines() if line.startswith("| `forward`")]
    down = sum(int((store.read(name).actions[:-1, 0] > 0.5).sum()) for name in store)
    assert rows and f"{down / (3 * 191):.2%}" in rows[0]
    tables = [line for line in card.splitlines() if line.startswith("|---")]
    assert len(tables) >= 7 and np.all([line.count("|") > 2 for line in tables])
