"""Stores with damage in any file: every episode reads as it was written or is an error that names it; never zeros."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.datasets.store.test_store import assert_equal, make_episode
from tests.fuzz.bounds import fuzzed, outcome
from tests.fuzz.damage import altered, damaged
from worldsim.datasets.checks.repair import repair
from worldsim.datasets.store.manifest import json_sha256
from worldsim.datasets.store.store import EpisodeStore

FRAMES = 12


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "sound"
    store = EpisodeStore(folder)
    for seed in range(2):
        store.append(make_episode(FRAMES, seed=seed), f"e{seed}")
    store.index()
    return folder


def copied(sound: Path) -> Path:
    folder = sound.with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    return folder


@fuzzed(st.tuples(st.integers(0, 10**6), st.sampled_from(("whole", "parts")), st.data()), 1500)
def test_what_is_read_is_what_was_written_or_an_error(drawn: Any, sound: Path):
    number, verify, data = drawn
    folder = copied(sound)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[number % len(files)]
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    store = outcome(lambda: EpisodeStore(folder, verify=verify))
    if isinstance(store, Exception):
        return
    names = outcome(store.names)
    outcome(lambda: store.index().frames.sum())
    assert isinstance(names, Exception) or set(names) <= {"e0", "e1"}
    hurt = path.relative_to(folder).parts[1] if path.relative_to(folder).parts[0] == "episodes" else ""
    for seed in range(2):
        for read in (lambda seed=seed: store.read(f"e{seed}"), lambda seed=seed: store.read(f"e{seed}", 3, 7)):
            result = outcome(read)
            if isinstance(result, Exception):
                assert hurt == f"e{seed}" and hurt in str(result), result
            elif len(result) == FRAMES:
                assert_equal(result, make_episode(FRAMES, seed=seed))
            else:
                np.testing.assert_array_equal(result.frames, make_episode(FRAMES, seed=seed).frames[3:7])


@fuzzed(st.tuples(st.sampled_from(("whole", "parts")), st.data()), 800)
def test_a_manifest_that_somebody_made_is_an_error_or_reads(drawn: Any, sound: Path):
    verify, data = drawn
    folder = copied(sound)
    path = folder / "episodes/e1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("sha256")
    changed = data.draw(altered(manifest))
    if isinstance(changed, dict):
        changed = changed | {"sha256": json_sha256(changed)}
    path.write_text(json.dumps(changed))
    store = EpisodeStore(folder, verify=verify)
    asked: tuple[Callable[[], Any], ...] = (
        store.names, store.index, lambda: store.read("e1"), lambda: store.verify("e1"), lambda: store.read("e0"),
    )  # fmt: skip
    for ask in asked:
        result = outcome(ask)
        if isinstance(result, Exception):
            assert "e1" in str(result), result


@fuzzed(st.tuples(st.integers(0, 10**6), st.data()), 400)
def test_a_repair_keeps_what_is_sound_and_makes_nothing_up(drawn: Any, sound: Path):
    number, data = drawn
    folder = copied(sound)
    files = sorted(path for path in (folder / "episodes/e1").rglob("*") if path.is_file())
    path = files[number % len(files)]
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    result = outcome(lambda: repair(EpisodeStore(folder)))
    assert not isinstance(result, Exception), result
    store, whole = EpisodeStore(folder), make_episode(FRAMES, seed=1)
    assert_equal(store.read("e0"), make_episode(FRAMES, seed=0))
    for name in set(store.names()) - {"e0"}:
        store.verify(name)
        part = store.read(name)
        first = int(part.provenance.get("recovered", {}).get("first_frame", 0)) if name != "e1" else 0
        np.testing.assert_array_equal(part.frames, whole.frames[first : first + len(part)])
        np.testing.assert_array_equal(part.actions[:-1], whole.actions[first : first + len(part) - 1])
