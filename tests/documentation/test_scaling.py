"""docs/guides/scaling.md: every command is run, on a small store, by ranks, behind S3 and on a Ray cluster."""

import json
import os
from pathlib import Path

import pytest

from tests.buckets import bucket  # noqa: F401
from tests.cli.test_train import record
from tests.documentation.pages import DOCS
from tests.documentation.tutorial import run
from worldsim.cluster import connected
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.models.checkpoint import read_metadata
from worldsim.optim.distributed.checkpoints import newest_step
from worldsim.simulation.world_model import WorldModel


@pytest.mark.alone
def test_the_page_goes_from_data_to_a_judged_world(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bucket: dict[str, bytes],
):
    for package in ("ray", "stable_baselines3"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    store = EpisodeStore("data/luanti")
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            record(store, seed)
    with connected("local", os.cpu_count() or 1):
        run((DOCS / "guides" / "scaling.md").read_text())
    assert sorted(bucket)[-1] == "/worlds/luanti-latents/validation/packs.json"
    runs = {name: read_metadata(Path("runs", name, "dit.safetensors")) for name in ("dynamics", "large", "shared")}
    # What ranks read from S3 is what one process encoded.
    assert runs["dynamics"]["trained_on"] == runs["large"]["trained_on"] == runs["shared"]["trained_on"]
    assert [newest_step(Path("runs", name, "state")) for name in runs] == [-1, 1, 1]
    assert WorldModel.load("runs/shared/world").chunk == 2
    [judged], [played] = Path("runs").glob("eval-*/eval.json"), Path("runs").glob("agent-eval-*/agent.json")
    assert "horizons" in json.loads(judged.read_text())
    assert json.loads(played.read_text())["places"]["dream"]["episodes"] == 2
    assert len(EpisodeStore("data/dreams")) == 1
