"""Caption a store by each maker, train a captioner, expand prompts: from the command line."""

import json
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.test_train import record
from tests.datasets.captions.test_endpoint import Stub, says
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.captions.files import CaptionFile
from worldsim.datasets.governance.provenance import read_training_record
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.store import EpisodeStore, split_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store"
    for split in ("train", "validation", "test"):
        record(EpisodeStore(path), next(seed for seed in range(99) if split_of(seed) == split), 50)
    return path


def test_captions_by_rules(store: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["data", "caption", f"data={store}", "frames=20", "name=first"]) == 0
    assert "6 captions made, 0 were there" in capsys.readouterr().out
    assert cli.main(["data", "caption", f"data={store}", "frames=20", "name=first"]) == 0
    assert "0 captions made, 6 were there" in capsys.readouterr().out
    captions = CaptionFile(EpisodeStore(store), "first")
    assert captions.about["maker"] == "rules" and captions.about["software"].startswith("worldsim ")
    batch = ClipSampler(EpisodeStore(store), None, frames=10, batch=4, caption=captions)[0]
    assert all("right" in text for text in batch["text"])


def test_captions_by_a_captioner_trained_here(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    world = save_tiny_world(tmp_path / "world")
    words = [
        f"data={store}",
        f"world={world}",
        "clips=8",
        "held_out=4",
        "training.epochs=2",
        "training.frames=12",
        "folder=run",
    ]
    assert cli.main(["train", "captioner", *words]) == 0
    results = json.loads((tmp_path / "run" / "captioner.json").read_text())
    assert (
        set(results["attributes"]["camera"]) >= {"accuracy", "majority"}
        and "never trained on" in capsys.readouterr().out
    )
    record = read_training_record(tmp_path / "run")["captioner.safetensors"]
    assert list(record["stores"][0]["episodes"]) == EpisodeStore(store).names("train")
    words = [f"data={store}", "maker=learned", "captioner=run/captioner.safetensors", f"world={world}", "frames=25"]
    assert cli.main(["data", "caption", *words]) == 0
    assert len(CaptionFile(EpisodeStore(store), "learned")) == 6


def test_captions_and_prompts_by_an_endpoint(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MY_KEY", "secret")
    Stub.requests, Stub.answers = [], [says(f"caption {i}") for i in range(3)] + [says("a long prompt")]
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = [
            f"url=http://127.0.0.1:{server.server_address[1]}/v1",
            "model_name=m",
            "key_variable=MY_KEY",
            "maker=endpoint",
        ]
        assert cli.main(["data", "caption", f"data={store}", "frames=50", "pictures=2", *where]) == 0
        assert cli.main(["expand", "dig here", *where]) == 0
        server.shutdown()
    assert "a long prompt" in capsys.readouterr().out
    captions = CaptionFile(EpisodeStore(store), "endpoint")
    assert (
        len(captions) == 3 and captions.about["settings"]["model"] == "m" and "secret" not in json.dumps(captions.about)
    )
    assert captions.find(EpisodeStore(store).names()[0], 0, 50) == "caption 0"
    assert [headers["Authorization"] for _, headers, _ in Stub.requests] == ["Bearer secret"] * 4


def test_prompts_by_rules(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["expand", "swim at night", "count=3", "--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == 3 and all("at night" in line.lower() for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "caption", "data=missing"], "no such store"),
        (["data", "caption", "data=STORE", "maker=magic"], "maker must be rules, learned or endpoint, got 'magic'"),
        (["data", "caption", "data=STORE", "maker=learned"], "captioner is missing"),
        (["data", "caption", "data=STORE", "maker=endpoint"], "url is missing"),
        (["data", "caption", "data=STORE", "frames=1"], "frames must be at least 2"),
        (["data", "caption", "data=STORE", "split=dev"], "split must be train, validation or test, got 'dev'"),
        (["expand"], "prompt is missing"),
        (["expand", "x", "maker=learned"], "maker must be rules or endpoint, got 'learned'"),
        (["train", "captioner", "data=STORE", "clips=0"], "clips must be at least 1, got 0"),
    ],
)
def test_mistakes_are_one_line(store: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main([word.replace("STORE", str(store)) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_a_store_of_one_split_trains_no_captioner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    record(EpisodeStore(tmp_path / "store"), 0, 20)
    words = [
        "data=store",
        f"world={save_tiny_world(tmp_path / 'world')}",
        "clips=2",
        "held_out=2",
        "training.frames=12",
    ]
    assert cli.main(["train", "captioner", *words]) == 2
    assert "no validation episode" in capsys.readouterr().err
