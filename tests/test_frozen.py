"""Files made before the code moved into subpackages load, and what is computed is what was computed then.

``tests/frozen/README.md`` says what the files are. On a machine of the kind that made them, pictures are compared bit
for bit.
"""

import json
import math
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.frozen_measures import EVAL, EXACT, FRAMES, NUMBERS, call, results_of, sha256
from worldsim.datasets.store.store import EpisodeStore
from worldsim.imports import load_object
from worldsim.models.precision import fast_bf16

FROZEN = Path(__file__).with_name("frozen")
KINDS = ("world", "store", "moments", "dynamics", "policy", "eval", "trees")
# Where matrices are multiplied in bf16, losses and the keys of an evaluation's parts are others.
in_fp32 = pytest.mark.skipif(fast_bf16(), reason="made where CPUs have no fast bf16")
# What is computed in single precision from rounded pictures, and counted, is compared less tightly.
LOOSER = {"tiny evaluation": 2e-3, "toy evaluation": 2e-3, "resumed policy": 1e-3}
# Trainings part where kernels of other instructions round otherwise (measured on AVX512: .4 % of a ratio of sharpness).
if torch.backends.cpu.get_cpu_capability() != "AVX2":
    LOOSER["tokenizer losses"] = 1e-2


def machine() -> str:
    """Kind of machine and software on which the same code computes the same bits."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else '?'}, torch {torch.__version__}, numpy {np.__version__}"


def unpacked(source: Path, home: Path) -> Path:
    """All frozen artifacts, each kind in a folder of its name."""
    for kind in KINDS:
        with tarfile.open(source / f"{kind}.tar.xz") as file:
            file.extractall(home / kind, filter="data")
    return home


def pooled(frames: np.ndarray) -> np.ndarray:
    """Means of 8x8 pixels, rounded: uint8 (n, H/8, W/8, 3)."""
    n, h, w, c = frames.shape
    cells = frames[:, : h // 8 * 8, : w // 8 * 8].reshape(n, h // 8, 8, w // 8, 8, c)
    return cells.mean((2, 4)).round().astype(np.uint8)


def alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether 99.9 % of pixels are at most two levels apart."""
    if found.shape != expected.shape:
        return False
    return bool((np.abs(found.astype(int) - expected).max(-1) <= 2).mean() >= 0.999)


def assert_close(found: Any, expected: Any, rel: float, where: str) -> None:
    """Compare plain JSON; numbers by a relative tolerance."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), where
        for name, value in expected.items():
            assert_close(found[name], value, rel, f"{where}/{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list | tuple) and len(found) == len(expected), where
        for number, value in enumerate(expected):
            assert_close(found[number], value, rel, f"{where}/{number}")
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found), where
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=rel, abs=rel / 10), where
    else:
        assert found == expected, where


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((FROZEN / "expected.json").read_text())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield unpacked(FROZEN, tmp_path)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMES)
def test_pictures_are_those_of_before(name: str, home: Path, expected: dict[str, Any]):
    found = FRAMES[name](home)
    with np.load(FROZEN / "frames.npz", allow_pickle=False) as kept:
        assert alike(pooled(found), kept[f"{name}/pooled"]) and alike(found[-1], kept[f"{name}/last"])
    # One name stands for processors with fast bf16 and without.
    if expected["machine"] == machine() and not fast_bf16():
        assert sha256(found) == expected["frames"][name]


@pytest.mark.parametrize("name", EXACT)
def test_what_needs_no_rounding_is_the_same_to_the_bit(name: str, home: Path, expected: dict[str, Any]):
    assert json.loads(json.dumps(EXACT[name](home))) == expected["exact"][name]


@pytest.mark.slow
@in_fp32
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_before(name: str, home: Path, expected: dict[str, Any]):
    found = json.loads(json.dumps(NUMBERS[name](home)))
    if "horizons" in found:
        # A measure that there was not when the others were frozen.
        assert found["horizons"].pop("gain_where_it_moves").keys() <= {"1", "3", "5", "8"}
    assert_close(found, expected["numbers"][name], LOOSER.get(name, 1e-4), name)


@in_fp32
def test_kept_parts_of_an_evaluation_are_taken_over(home: Path, expected: dict[str, Any]):
    parts = home / "eval/run/parts"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in parts.iterdir()}
    frozen = results_of(home / "eval/run/eval.json")
    assert call(home / "eval", [*EVAL, "folder=run"]) == 0
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in parts.iterdir()} == before
    assert results_of(home / "eval/run/eval.json") == frozen
    assert_close(frozen, expected["numbers"]["tiny evaluation"], 1e-6, "eval.json")


def test_old_module_names_resolve(home: Path, expected: dict[str, Any]):
    """For one release, what users wrote as ``module:Class`` goes on working, and says what to write instead."""
    store = EpisodeStore(home / "store/store")
    recorded = {str(store.read(name).provenance["policy"]) for name in store.names()}
    assert recorded <= set(expected["old_names"])
    for name in expected["old_names"]:
        with pytest.warns(FutureWarning, match="worldsim"):
            found = load_object(name, "policy")
        old_module, _, attribute = name.partition(":")
        assert found.__name__ == attribute and found.__module__ != old_module
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_object(f"{found.__module__}:{attribute}", "policy") is found
