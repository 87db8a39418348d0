"""No world is judged on maps that it was trained on: refused, allowed, and warned of where nobody can tell."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_eval import record, words
from tests.datasets.governance.test_governance import trained
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.governance.map_seeds import map_name
from worldsim.datasets.governance.provenance import TRAINED_ON, identity, training_record
from worldsim.datasets.governance.seen_maps import check_unseen, seen_episodes
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors, save_tensors

# By the seed, of twelve: 0 is of train, 1 of validation, 2 of test (see ``split_of``).
TRAIN, TEST, OTHER = 0, 2, 14


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen")
    store = EpisodeStore(folder / "store")
    for seed in (TRAIN, 1, TEST, OTHER):
        record(store, seed)
    record(store, TEST, name="again")
    assert store.names("test") == ["again", f"map{OTHER}", f"map{TEST}"] and store.names("train") == [f"map{TRAIN}"]
    return folder


def old(record: dict[str, Any]) -> dict[str, Any]:
    """As records were before they named maps."""
    return record | {"stores": [{k: v for k, v in one.items() if k != "maps"} for one in record["stores"]]}


def seen(record: dict[str, Any], store: EpisodeStore, split: str = "test") -> dict[str, str]:
    return dict(seen_episodes(record, store, {name: store.manifest(name) for name in store.names(split)}))  # pyright: ignore[reportArgumentType]


def test_maps_are_named_by_game_and_seed():
    about = {"engine": "luanti", "game": "minetest_game", "seed": 17}
    assert map_name(about) == "17 of luanti minetest_game" and map_name({"engine": "luanti"}) is None
    assert map_name(about | {"game": "other"}) != map_name(about) == map_name(about | {"seed": "17"})


def test_records_name_the_maps_of_their_episodes(road: Path):
    store = EpisodeStore(road / "store")
    (one,) = training_record(store, [f"map{TRAIN}", f"map{TEST}", "again"])["stores"]
    assert one["maps"] == [f"{TRAIN} of ?", f"{TEST} of ?"]


def test_an_episode_that_was_trained_on_shows_its_map_to_the_others(road: Path):
    store = EpisodeStore(road / "store")
    record = training_record(store, [f"map{TEST}", f"map{TRAIN}"])
    wanted = {f"map{TEST}": "is one of its episodes", "again": f"shows its map {TEST} of ?"}
    # Records that name no maps are completed from the store.
    assert seen(record, store) == seen(old(record), store) == wanted
    assert not seen(training_record(store, [f"map{TRAIN}"]), store)
    assert not seen(record, store, "validation")


def test_maps_are_known_where_the_episodes_are_not(road: Path, tmp_path: Path):
    elsewhere = EpisodeStore(tmp_path)
    record(elsewhere, TEST, 60, name="walk")
    training = training_record(elsewhere, ["walk"])
    assert set(seen(training, EpisodeStore(road / "store"))) == {"again", f"map{TEST}"}
    # An old record of another store names nothing that is here.
    assert not seen(old(training), EpisodeStore(road / "store"))


def test_copies_are_their_originals(road: Path, tmp_path: Path):
    store, copies = EpisodeStore(road / "store"), EpisodeStore(tmp_path)
    original = store.read(f"map{OTHER}")
    about = {**original.provenance, "copied": {"identities": [identity(store.manifest(f"map{OTHER}"))]}}
    about["seed"] = TEST
    copies.append(type(original)(**{**vars(original), "provenance": about}), "copy")
    assert seen(training_record(store, [f"map{OTHER}"]), copies) == {"copy": "is one of its episodes"}
    assert seen(training_record(copies, ["copy"]), store)[f"map{OTHER}"] == "is one of its episodes"


def test_an_episode_recorded_anew_under_its_name_shows_the_same_map(road: Path, tmp_path: Path):
    store = EpisodeStore(tmp_path)
    record(store, TRAIN, 60)
    record(store, TEST, 60)
    training = old(training_record(EpisodeStore(road / "store"), [f"map{TRAIN}", f"map{TEST}"]))
    # Of a split that training reads; what bears the name of another split's is another recording.
    assert not seen(training, store)
    manifests = {f"map{TRAIN}": store.manifest(f"map{TRAIN}")}
    assert dict(seen_episodes(training, store, manifests)) == {f"map{TRAIN}": f"shows its map {TRAIN} of ?"}


def test_eval_refuses_allows_and_warns(road: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = EpisodeStore(road / "store")

    def run(world: Path) -> tuple[int, list[str]]:
        run = words(road, f"world={world}", f"folder={tmp_path / 'run'}", "parts=text")
        code = cli.main(run)
        return code, capsys.readouterr().err.splitlines()

    code, lines = run(save_tiny_world(tmp_path / "silent"))
    assert code == 0 and len(lines) == 1 and lines[0].startswith("warning: nobody can tell") and "dit" in lines[0]
    world = trained(tmp_path / "world", training_record(store, [f"map{TRAIN}"]))
    tensors, about = load_tensors(world / "tokenizer.safetensors")
    save_tensors(world / "tokenizer.safetensors", tensors, about | {TRAINED_ON: training_record(store, ["map0"])})
    assert run(world) == (0, [])
    code, lines = run(trained(tmp_path / "bad", training_record(store, [f"map{TEST}"])))
    assert code == 2 and len(lines) == 1
    assert "dit.safetensors was trained on what it would be judged on: again shows its map 2 of ?" in lines[0]
    assert "with 1 more of the 3 test episodes" in lines[0]


def test_any_file_of_a_checkpoint_counts(road: Path, tmp_path: Path):
    store = EpisodeStore(road / "store")
    record = training_record(store, [f"map{TEST}"])
    save_tensors(tmp_path / "tasks.safetensors", {}, {TRAINED_ON: record})
    with pytest.raises(UserError, match=r"tasks.safetensors was trained on .*data=, split="):
        check_unseen([tmp_path / "tasks.safetensors"], store, "test")
    assert check_unseen([tmp_path / "tasks.safetensors"], store, "validation") == []
