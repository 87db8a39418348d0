"""``worldsim bench packs``: the simulated set is one that clips can be drawn from."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldsim import cli
from worldsim.cli.bench.packs import PACKED, ROW_BYTES


def test_a_set_is_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["episodes=3000", "shortest=40", "longest=40", "frames=32", "megabytes=5", "shuffle_mb=200", "parts=3"]
    assert cli.main(["bench", "packs", *words, "batches=50", f"folder={tmp_path}"]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    index, order = found["index"], found["order"]
    # 40 latent frames of two video frames at 20 a second; a clip of 32 begins at 0, 4 and 8.
    assert index["hours"] == pytest.approx(3000 * 4 / 3600) and order["places"] == 3 * 3000
    size = 3000 * 40 * sum(ROW_BYTES.values()) * PACKED
    assert index["packs"] == pytest.approx(size / 5e6, abs=1)
    # A block holds as many packs as go into memory.
    each = (
        3000 / index["packs"] * (40 * sum(v for n, v in ROW_BYTES.items() if n != "stills") + 10 * ROW_BYTES["stills"])
    )
    assert order["block_mb"] <= 200 * 2**20 / 1e6 < order["block_mb"] + 1.5 * each / 1e6
    assert order["block_packs"] == pytest.approx(np.floor(200 * 2**20 / each), abs=1.5)
    assert order["block_batches"] == pytest.approx(order["block_episodes"] * 3 / 64, rel=0.1, abs=1)
    assert "3,000 episodes, 3 hours" in capsys.readouterr().out
