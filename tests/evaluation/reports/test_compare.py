"""``worldsim compare``: reports side by side, paired differences, measures by training compute."""

import json
import xml.dom.minidom
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_eval import PRESET, record
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError
from worldsim.evaluation.config import EvalGoals
from worldsim.evaluation.interface.lines import line
from worldsim.evaluation.measures.returns.looks import memory_report
from worldsim.evaluation.measures.starts import KEY, Starts, by_start, error_ratio, paired
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.parts.actions import sign_report
from worldsim.evaluation.parts.horizons import ROWS, delta_report, horizon_report
from worldsim.evaluation.reports.compare_differences import (
    Difference,
    difference,
    measures_by_report,
    settings_that_differ,
    unpaired,
)
from worldsim.evaluation.reports.compare_reports import distinct_names, read_reports
from worldsim.evaluation.reports.compare_scaling import mean_line
from worldsim.evaluation.reports.summary import summary
from worldsim.plotting.scatter import Point, scatter
from worldsim.spec.compute import UNKNOWN, Compute

MAPS = np.repeat(np.arange(6), 4)
VALUES = np.random.default_rng(0).normal(20, 3, len(MAPS))
NAME = "PSNR at chunk 1"


def about(**more: Any) -> dict[str, Any]:
    """What a report says it is about."""
    return {
        "world": "toy", "data": "store", "version": 3, "revisions": {}, "episodes": "0" * 64, "split": "test",
        "seed": 0, "preset": {"clips": 24, "chunks": 5}, "inverse": None, "chunk": 2, "fps": 20,
        "thresholds": {"failure_run": 3, "goals": {"camera": 0.9}}, "sampling": {"steps": 1},
    } | more  # fmt: skip


def write(folder: Path, values: np.ndarray = VALUES, tflop: float | None = None, **more: Any) -> Path:
    """A toy report of one measure and one curve."""
    folder.mkdir(parents=True)
    said = about(**more)
    if tflop is not None:
        said["compute"] = Compute(steps=1, latent_frames=8, flop=tflop * 1e12).to_json()
    rows = [
        line(NAME, estimate(values, MAPS) | by_start(values, MAPS), "dB"),
        line("camera sign test", estimate(values > 20, MAPS) | by_start(values > 20, MAPS), "%"),
        line("ST-LPIPS at chunk 5 (4 steps)", 0.25),
    ]
    curve = {"value": [values.mean(), values.mean() - 1], "low": [None, 1.0], "high": [None, 2.0]}
    whole = {"about": said, "summary": [asdict(row) for row in rows], "horizons": {"psnr": {"model": curve}}}
    (folder / "eval.json").write_text(json.dumps(whole))
    return folder


def change(first: Path, last: Path, name: str = NAME) -> Difference:
    reports = read_reports([str(first), str(last)])
    found = difference(reports[0], reports[1], name)
    assert found is not None
    return found


def test_a_report_against_itself_differs_by_nothing(tmp_path: Path):
    a = write(tmp_path / "a")
    reports = read_reports([str(a), str(a)])
    for row in measures_by_report(reports):
        assert row.difference is not None and row.difference.value == 0 and not row.difference.clear
    assert (change(a, a).low, change(a, a).high) == (0, 0)
    assert settings_that_differ(reports) == []
    assert [report.name for report in reports] == ["a", "a (2)"]


@pytest.mark.parametrize("shift", [0.75, -2.0])
def test_a_shifted_copy_has_exactly_that_difference(tmp_path: Path, shift: float):
    found = change(write(tmp_path / "a"), write(tmp_path / "b", VALUES + shift))
    assert found.value == pytest.approx(shift, abs=1e-4) and found.clear
    assert found.low == pytest.approx(shift, abs=1e-4) and found.high == pytest.approx(shift, abs=1e-4)


def test_the_interval_of_noisy_pairs_holds_the_shift_and_is_narrower_than_unpaired(tmp_path: Path):
    noisy = VALUES + 0.5 + np.random.default_rng(1).normal(0, 0.2, len(VALUES))
    found = change(write(tmp_path / "a"), write(tmp_path / "b", noisy))
    assert found.low is not None and found.high is not None and found.low < 0.5 < found.high
    alone = estimate(VALUES, MAPS)
    assert found.high - found.low < 0.5 * (alone["high"] - alone["low"])


def test_pairing_is_antisymmetric_and_the_same_every_time():
    a, b = (Starts.of(by_start(x, MAPS)[KEY]) for x in (VALUES, VALUES**1.1))
    assert a is not None and b is not None
    there, back = paired(a, b), paired(b, a)
    assert there["value"] == -back["value"] and there["low"] == pytest.approx(-back["high"])
    assert paired(a, b) == there


def test_a_ratio_of_means_is_paired_as_one():
    over = np.random.default_rng(2).uniform(1, 2, len(MAPS))
    loss = {"a": over, "b": 3 * over}
    found = error_ratio(loss, "b", "a", MAPS)
    kept = Starts.of(found[KEY])
    assert kept is not None and kept.measure(np.arange(len(MAPS))) == pytest.approx(3)
    same = Starts.of(error_ratio(loss, "a", "a", MAPS)[KEY])
    assert same is not None and paired(same, kept)["low"] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    ("more", "why", "says"),
    [
        ({"episodes": "1" * 64}, "other clips", "held-out recordings: 00000000 in a; 11111111 in b"),
        ({"seed": 5}, "other clips", "seed: 0 in a; 5 in b"),
        ({"preset": {"clips": 24, "chunks": 80}}, "other clips", "preset: chunks: 5 in a; 80 in b"),
        ({"version": 4}, "judged otherwise", "version of the measures: 3 in a; 4 in b"),
        ({"thresholds": {"failure_run": 4}}, "judged otherwise", "thresholds: failure_run: 3 in a; 4 in b"),
        ({"episodes": None}, "clips not said", "held-out recordings: 00000000 in a; not said in b"),
    ],
)
def test_what_is_not_comparable_has_no_interval_and_a_line(tmp_path: Path, more: dict[str, Any], why: str, says: str):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", VALUES + 1, **more)
    found = change(a, b)
    assert found.value == pytest.approx(1, abs=1e-4) and found.low is None and found.why == why
    assert settings_that_differ(read_reports([str(a), str(b)])) == [says]


def test_how_much_else_was_measured_does_not_keep_a_part_from_being_paired(tmp_path: Path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", preset={"clips": 24, "chunks": 80})
    first, last = read_reports([str(a), str(b)])
    whys = {part: unpaired(first, last, part) for part in ("long", "branches", "horizons", "")}
    assert whys == {"long": "", "branches": "", "horizons": "other clips", "": "other clips"}


def test_thresholds_of_a_part_that_one_report_lacks_do_not_keep_others_from_being_paired(tmp_path: Path):
    a = write(tmp_path / "a")
    b = write(tmp_path / "b", thresholds=about()["thresholds"] | {"darkness": 5.0})
    c = write(tmp_path / "c", thresholds=about()["thresholds"] | {"failure_run": 4})
    first, new, other = read_reports([str(a), str(b), str(c)])
    assert unpaired(first, new, "horizons") == "" and unpaired(first, other, "horizons") == "judged otherwise"


def test_other_goals_and_sampling_are_still_pairs(tmp_path: Path):
    limits = {"failure_run": 3, "goals": {"camera": 0.5}}
    a, b = write(tmp_path / "a"), write(tmp_path / "b", thresholds=limits, sampling={"steps": 2})
    assert change(a, b).low == 0
    assert settings_that_differ(read_reports([str(a), str(b)])) == ["sampling: steps: 1 in a; 2 in b"]


def test_values_that_do_not_give_the_number_are_not_paired(tmp_path: Path):
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    whole = json.loads((b / "eval.json").read_text())
    whole["summary"][0]["value"] += 1
    (b / "eval.json").write_text(json.dumps(whole))
    assert change(a, b).why == "values start by start do not give the number"
    assert change(a, b, "ST-LPIPS at chunk 5").why == "no values start by start"


def test_values_start_by_start_give_the_numbers_of_the_summary():
    rng = np.random.default_rng(3)
    found: dict[str, np.ndarray] = {}
    for kind in ("psnr", "ssim"):
        found |= {f"{kind}/{row}": rng.normal(15, 2, (24, 6)) for row in ROWS}
    signs = {name: rng.normal(size=24) for name in ("right", "left", "forward", "back", "nothing")}
    scores = {
        4: {name: rng.uniform(low, low + 0.2, 24) for name, low in (("stay", 0.7), ("return", 0.4), ("away", 0.1))}
    }
    nothing = estimate([], [])
    results = {
        "horizons": horizon_report(found, MAPS, 3) | {"actions": delta_report(found, MAPS)},
        "actions": {
            "use": {"ratio": error_ratio({row: found[f"psnr/{row}"][:, 0] for row in ROWS}, "shuffled", "model", MAPS)},
            "signs": sign_report(signs, MAPS),
        },
        "memory": memory_report(scores, {"revisit": nothing, "other": nothing}, MAPS) | {"digs": {"skipped": "none"}},
    }  # fmt: skip
    lines = summary(results, EvalGoals())
    kept = {one.name: Starts.of(one.by_start) for one in lines if one.by_start is not None}
    assert {"PSNR at chunk 6", "chunks to failure, mean up to the horizon", "movement sign test"} <= set(kept)
    assert {"loss under shuffled actions, ratio", "recall after looking away for 4 chunks"} <= set(kept)
    for one in lines:
        if (starts := kept.get(one.name)) is not None:
            assert starts.measure(np.arange(24)) == pytest.approx(one.value, abs=2e-5), one.name
            assert one.part in results


def test_names_are_folders_with_as_many_parents_as_differ():
    assert distinct_names([Path("/r/a/eval.json"), Path("/r/b/eval.json")]) == ["a", "b"]
    assert distinct_names([Path("/x/a/eval.json"), Path("/y/a/eval.json")]) == ["x/a", "y/a"]


def test_equally_long_trainings_are_joined_as_their_mean():
    assert mean_line([(4.0, 3.0), (1.0, 1.0), (1.0005, 2.0)]) == [(1.0, 1.5), (4.0, 3.0)]
    chart = scatter([Point("a", 1, 2), Point("b", 1, 2, 1, 3), Point("<c>", 1, 2)], [(1, 2)], "flat")
    assert [point.name for point in chart.points] == ["a", "b", "<c>"]
    xml.dom.minidom.parseString(chart.svg())
    with pytest.raises(ValueError, match="above 0"):
        scatter([Point("a", 0, 2)], [], "none")


@pytest.mark.slow
def test_the_command_writes_page_numbers_and_scaling(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trained = {"s0": 1, "s1": 1, "big": 8}
    runs = [write(tmp_path / name, VALUES + i, tflop) for i, (name, tflop) in enumerate(trained.items())]
    words = ["compare", f"reports=[{','.join(map(str, runs))}]", f"folder={tmp_path / 'out'}"]
    assert cli.main([*words, 'names=[small,again,"<large>"]']) == 0
    out = capsys.readouterr().out
    assert "+2 dB" in out and "difference: <large> less small" in out and "8 TFLOP" in out
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "&lt;large&gt;" in page and "<large>" not in page and "https://" not in page and page.count("<svg") == 4
    whole = json.loads((tmp_path / "out" / "compare.json").read_text())
    [psnr] = [row for row in whole["measures"] if row["name"] == NAME]
    mean = float(VALUES.mean())
    assert psnr["difference"]["low"] == pytest.approx(2, abs=1e-4) and len(psnr["values"]) == 3
    np.testing.assert_allclose(psnr["by_compute"], [[1, mean + 0.5], [8, mean + 2]], atol=1e-4)
    svg = (tmp_path / "out" / "scaling.svg").read_text()
    assert (
        svg.count(">training compute, TFLOP</text>") == 3
        and svg.count(" at 1</title>") == 6
        and svg.count(" at 8</title>") == 3
    )
    xml.dom.minidom.parseString(svg)
    # By hand, and measures of one's own choice.
    assert cli.main([*words, "compute=[1,null,3]", "measures=[camera]"]) == 0
    again = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [report["tflop"] for report in again["reports"]] == [1, 1, 3]
    again = (tmp_path / "out" / "scaling.svg").read_text()
    assert again.count(" at 1</title>") == 2 and again.count(" at 3</title>") == 1


def test_without_compute_there_is_no_scaling(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    unknown = Compute(steps=5, latent_frames=9, flop=2e12, since=UNKNOWN).to_json()
    runs = [write(tmp_path / "a", tflop=1), write(tmp_path / "b", compute=unknown)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scaling.svg").write_text("of an earlier comparison")
    assert cli.main(["compare", f"reports=[{runs[0]},{runs[1]}]", f"folder={tmp_path / 'out'}"]) == 0
    assert "training compute of b: unknown (2 TFLOP since weights that do not say" in capsys.readouterr().out
    assert not (tmp_path / "out" / "scaling.svg").exists()


@pytest.mark.parametrize(
    ("reports", "more", "says"),
    [
        ("null", [], "reports has 1: give two or more, say reports=[runs/eval-a,runs/eval-b]"),
        ("[A]", [], "reports has 1: give two or more"),
        ("[A,nowhere]", [], "no evaluation report at nowhere"),
        ("[A,EMPTY]", [], "no evaluation report at"),
        ("[A,BROKEN]", [], "is broken:"),
        ("[A,OTHER]", [], "is not a report of worldsim eval"),
        ("[A,WORD]", [], "PSNR is 'high', which is no number"),
        ("[A,A]", ["names=[one]"], "names has 1 for 2 reports"),
        ("[A,A]", ["names=[one,one]"], "names must differ"),
        ("[A,A]", ["compute=[1]"], "compute has 1 for 2 reports"),
        ("[A,A]", ["compute=[1,much]"], "compute must be numbers in TFLOP"),
        ("[A,A]", ["compute=[1,0]"], "compute must be TFLOP above 0"),
        ("[A,A]", ["measures=[speed]"], "no measure begins with 'speed'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path, reports: str, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
):
    files: Mapping[str, str] = {
        "BROKEN": '{"about": {',
        "OTHER": "[1, 2]",
        "WORD": json.dumps({"about": {}, "summary": [{"name": "PSNR", "value": "high"}]}),
    }
    (tmp_path / "EMPTY").mkdir()
    write(tmp_path / "A")
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "eval.json").write_text(text)
    for name in ("EMPTY", "A", *files):
        reports = reports.replace(f"{name},", f"{tmp_path / name},").replace(f"{name}]", f"{tmp_path / name}]")
    assert cli.main(["compare", f"reports={reports}", f"folder={tmp_path / 'out'}", *more]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_real_report_pairs_with_itself_in_every_measure_it_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = EpisodeStore(tmp_path / "store")
    for split in ("validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            record(store, seed)
    save_tiny_world(tmp_path / "world")
    words = [f"data={tmp_path / 'store'}", f"world={tmp_path / 'world'}", f"folder={tmp_path / 'run'}"]
    words += [f"preset.{word}" for word in PRESET.split()] + ["thresholds.collapse_seconds=2"]
    assert cli.main(["eval", *words, "parts=[horizons,long,memory,objects]"]) == 0
    whole = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert whole["about"]["compute"]["since"] == UNKNOWN and KEY not in json.dumps(whole["horizons"])
    assert cli.main(["compare", f"reports=[{tmp_path / 'run'},{tmp_path / 'run'}]", f"folder={tmp_path / 'out'}"]) == 0
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert found["not_the_same"] == []
    by_name = {row["name"]: row["difference"] for row in found["measures"]}
    for name in ("PSNR at chunk 1", "4 s of play without collapse", "Delta PSNR of the true actions, frame 4"):
        assert (by_name[name]["value"], by_name[name]["low"]) == (0, 0)
    assert all(d["value"] == 0 and "do not give" not in d["why"] for d in by_name.values() if d is not None)
    with pytest.raises(UserError, match="two or more"):
        read_reports([str(tmp_path / "run")])
