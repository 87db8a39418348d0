"""What a making keeps between calls."""

from pathlib import Path

from worldsim.cli.making.state import Making

ASKED = {"recordings": "/recordings", "kind": "auto"}


def test_a_plan_counts_only_once_training_goes_by_it(tmp_path: Path):
    making = Making.open(tmp_path, ASKED)
    assert not making.begun
    making.plan = {"frames": 1}
    making.save()
    assert not Making.open(tmp_path, ASKED).begun
    (tmp_path / "tokenizer").mkdir()
    assert Making.open(tmp_path, ASKED).begun
    (tmp_path / "tokenizer").rmdir()
    making.finish("check")
    assert Making.open(tmp_path, ASKED).begun
