"""Reports are made from results alone: of any version that could be written, and without a world."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_eval import record
from tests.evaluation.toy_part import GivenText, only
from tests.tiny_world import tiny_world
from worldsim.datasets.store.store import EpisodeStore
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.figures import Chart, Section
from worldsim.evaluation.interface.lines import Line
from worldsim.evaluation.interface.part import Evaluation
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures.statistics import curve, estimate
from worldsim.evaluation.reports.report import write_page, write_report
from worldsim.evaluation.reports.summary import skipped, summary
from worldsim.evaluation.runner import films_of, run_parts
from worldsim.simulation.world_model import WorldModel


class Unplayable:
    """A world whose facts can be read and that cannot be played."""

    def __init__(self, world: WorldModel):
        self.config, self.chunk, self.compute = world.config, world.chunk, world.compute

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a report must not use the world's {name}")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, dict[str, Any]]:
    """Two parts of a tiny world."""
    folder = tmp_path_factory.mktemp("report")
    store = EpisodeStore(folder / "store")
    for seed in (1, 2, 13):
        record(store, seed, 60, text=f"map <{seed}>")
    preset = replace(PRESETS["quick"], clips=3, prefix=9, chunks=2, still_starts=2, still_seconds=0.4)
    e = Evaluation(
        world=tiny_world(), store=store, split="test", preset=preset, thresholds=EvalThresholds(), seed=0,
        folder=folder / "run", branches=folder,
    )  # fmt: skip
    return e, run_parts(e, PARTS, ["horizons", "objects"])


@pytest.mark.slow
def test_a_report_never_uses_the_world(measured: tuple[Evaluation, dict[str, Any]]):
    e, results = measured
    unplayable: Any = Unplayable(e.world)
    page = write_report(replace(e, world=unplayable), results, "<toy>", 1.0).read_text()
    assert page.count("<video") == 5 and "&lt;toy&gt;" in page and "<toy>" not in page
    assert page.count("<img") == 5 * 3 and "motion discontinuity" in page and "spontaneous object" in page
    # From the files of the folder alone, again and again.
    assert write_page(e.folder).read_text() == page
    whole = json.loads((e.folder / "eval.json").read_text())
    assert whole["about"]["world"] == "<toy>" and whole["summary"][0]["verdict"] in ("met", "missed")


@pytest.mark.slow
def test_videos_that_are_gone_are_left_out(measured: tuple[Evaluation, dict[str, Any]]):
    e, results = measured
    (e.folder / "videos" / "quantile-50.mp4").rename(e.folder / "gone.mp4")
    assert write_report(e, results, "toy", 1.0).read_text().count("<video") == 4
    (e.folder / "gone.mp4").rename(e.folder / "videos" / "quantile-50.mp4")


@pytest.mark.slow
def test_a_page_is_made_of_a_report_without_pictures(measured: tuple[Evaluation, dict[str, Any]], tmp_path: Path):
    e, results = measured
    write_report(e, results, "toy", 1.0)
    (tmp_path / "eval.json").write_text((e.folder / "eval.json").read_text())
    page = write_page(tmp_path).read_text()
    assert "<video" not in page and "<img" not in page and "PSNR at chunk 2" in page


def test_pictures_are_kept_with_their_part(measured: tuple[Evaluation, dict[str, Any]]):
    e, results = measured
    films = films_of(e.folder, "objects")
    assert set(films) == set(PARTS["objects"].failures) == set(results["objects"]["failures"])
    assert all(film.dtype == np.uint8 and film.ndim == 5 for film in films.values())


def test_what_is_skipped_has_a_reason_and_no_line():
    found = {"text": {"skipped": "no caption"}, "memory": {"digs": {"skipped": "none"}, "gaps": {}, "recorded": {}}}
    found["memory"]["recorded"] = {"revisit": estimate([], []), "other": estimate([], [])}
    assert list(skipped(found)) == [("text", "no caption"), ("digs", "none")]
    assert summary(found, EvalThresholds().goals) == []


def test_a_part_that_was_removed_does_not_keep_a_report_from_loading(measured: tuple[Evaluation, dict[str, Any]]):
    e, results = measured
    page = write_report(e, results | {"smell": {"strength": 1}}, "toy", 1.0)
    assert "smell" not in page.read_text()


def test_every_overlay_of_a_part_is_a_curve_of_its_results(measured: tuple[Evaluation, dict[str, Any]]):
    _, results = measured
    for overlay in PARTS["horizons"].overlays:
        found = results["horizons"]
        for key in overlay.where:
            found = found[key]
        assert len(found if isinstance(found, list) else found["value"]) >= 1
    names = [line.name for line in PARTS["horizons"].summary(results["horizons"], EvalThresholds().goals)]
    assert all(any(name.startswith(start) for name in names) for start in PARTS["horizons"].headlines)


def test_parts_show_themselves_by_values_alone(measured: tuple[Evaluation, dict[str, Any]]):
    e, results = measured
    for name in ("horizons", "objects"):
        part, found = PARTS[name], results[name]
        assert all(isinstance(line, Line) for line in part.summary(found, e.thresholds.goals))
        assert all(isinstance(chart, Chart) for chart in part.charts(found, 0.1))
        assert all(isinstance(section, Section) for section in part.sections(found, films_of(e.folder, name)))
    assert [chart.ends for chart in PARTS["horizons"].charts(results["horizons"], 0.1)][:4] == [(1, 2)] * 4


def test_likeness_is_drawn_over_seconds():
    names = ("return", "stay", "away")
    values = curve(np.ones((2, 1)), [1, 2])
    gap = {name: {key: values[key][0] for key in ("value", "low", "high")} for name in names}
    low = {name: {"value": 0.0, "low": None, "high": 0.5} for name in names}
    [chart] = PARTS["memory"].charts({"gaps": {"4": gap, "10": low, "full turn": gap}}, 0.1)
    # Evenly spaced, on straight lines between the looks; a full turn is no length of looking away.
    assert chart.ends == (pytest.approx(0.4), pytest.approx(1.0))
    assert chart.curves["stay"][0] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert chart.curves["stay"][1] == [1, None, None, None]


def test_results_of_a_part_are_kept_and_read_back(measured: tuple[Evaluation, dict[str, Any]], tmp_path: Path):
    e, _ = measured
    film = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    part, other = GivenText({"captions": 2, "nothing": float("nan")}, {"text": film}), GivenText({"captions": 9})
    here = replace(e, folder=tmp_path)
    first = run_parts(here, only(part), ["text"])
    assert first["text"]["captions"] == 2 and first["text"]["nothing"] is None
    assert run_parts(here, only(other), ["text"]) == first and (films_of(tmp_path, "text")["text"] == film).all()
