"""Sources of every format with damage: a recording comes in sound or is left out with a reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.datasets.importers import test_lerobot as lerobot
from tests.datasets.importers import test_minari as minari_sets
from tests.datasets.importers import test_minerl as minerl
from tests.datasets.importers import test_vpt as vpt
from tests.datasets.store.test_store import make_episode
from tests.fuzz.bounds import check_message, fuzzed, outcome
from tests.fuzz.damage import altered, damaged
from tests.import_film import random_actions, write_film
from worldsim.datasets.importers.formats import detect_format, find_recordings
from worldsim.datasets.importers.importer import ImportOptions, import_recordings
from worldsim.datasets.store.store import EpisodeStore
from worldsim.plotting.pictures import write_picture

KINDS = ("video", "images", "table", "vpt", "minerl", "minari", "lerobot", "lerobot3", "store")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small source of each kind."""
    root, actions = tmp_path_factory.mktemp("sources"), random_actions(6)
    write_film(root / "video/a.mp4", actions)
    (root / "images").mkdir()
    for name in ("a.png", "b.jpg", "c.webp"):
        write_picture(root / "images" / name, np.full((16, 24, 3), 90, np.uint8))
    write_film(root / "table/a.mp4", actions)
    rows = "".join(f"{t},{t % 2},0.5,-1,{t}\n" for t in range(6))
    (root / "table/a.csv").write_text("frame,forward,pitch,reward,state.x\n" + rows)
    (root / "table/a.txt").write_text("a caption")
    vpt.write_recording(root / "vpt", actions)
    minerl.write_recording(root / "minerl/task/rec", minerl.actions_of(5), waiting=1)
    lerobot.write_v2(root / "lerobot")
    lerobot.write_v3(root / "lerobot3")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(minari_sets.write(patch, root / "sets"), root / "minari")
    EpisodeStore(root / "store").append(make_episode(6), "e0")
    return root


def imported(source: Path, kind: str) -> None:
    """What comes in is sound, what does not has a reason."""
    out = source.with_name("out")
    shutil.rmtree(out, ignore_errors=True)

    def run() -> None:
        found = find_recordings(source, kind)
        report = import_recordings(EpisodeStore(out), found, ImportOptions(split="train"))
        assert report.imported + report.there + len(report.broken) == len(found)
        for _, reason in report.broken:
            check_message(ValueError(reason))

    result = outcome(run)
    if isinstance(result, Exception):
        return
    store = EpisodeStore(out)
    for name in store.names():
        store.verify(name)
        episode = store.read(name)
        assert np.isfinite(episode.actions).all() and np.isfinite(episode.rewards).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@fuzzed(st.tuples(st.integers(0, 10**6), st.data()), 300)
def test_damage_leaves_recordings_out_or_lets_them_in_sound(drawn: Any, kind: str, sources: Path):
    number, data = drawn
    source = sources / kind
    files = sorted(path for path in source.rglob("*") if path.is_file())
    path = files[number % len(files)]
    whole = path.read_bytes()
    try:
        if path.suffix in (".json", ".jsonl") and number % 2:
            lines = whole.decode().splitlines() if path.suffix == ".jsonl" else [whole.decode()]
            place = number % len(lines)
            lines[place] = json.dumps(data.draw(altered(json.loads(lines[place]))))
            path.write_text("\n".join(lines))
        else:
            path.write_bytes(data.draw(damaged(whole)))
        outcome(lambda: detect_format(source))
        imported(source, kind.rstrip("3"))
    finally:
        path.write_bytes(whole)
