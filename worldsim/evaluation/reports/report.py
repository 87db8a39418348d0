"""The report of an evaluation: its numbers as JSON, and an HTML page with curves, pictures and videos.

Everything is read from results and from the pictures that the parts kept; no world is run.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from worldsim.evaluation.config import EvalGoals
from worldsim.evaluation.interface.figures import Chart, Picture
from worldsim.evaluation.interface.lines import line, number, verdict
from worldsim.evaluation.interface.part import Evaluation
from worldsim.evaluation.measures.starts import without_starts
from worldsim.evaluation.measures.types import Results
from worldsim.evaluation.reports.summary import measured, skipped, summary, taxonomy
from worldsim.evaluation.runner import about, films_of
from worldsim.plotting.charts import lines
from worldsim.plotting.pages import render_page
from worldsim.plotting.pictures import picture_uri, sheet
from worldsim.spec.damage import reading
from worldsim.spec.text_files import parse_json

# Strips of more frames than this are shown in two rows.
LONG_STRIP = 11


def write_report(e: Evaluation, results: Mapping[str, Results], world: str, seconds: float) -> Path:
    """Write ``eval.json`` and ``report.html`` to the run's folder; returns the page."""
    said = {"world": world, **about(e), "seconds": round(seconds, 1)}
    rows = [asdict(row) | {"verdict": verdict(row)} for row in summary(results, e.thresholds.goals)]
    # Values of single starts stand with their measures alone.
    whole = {"about": said, "summary": rows, **without_starts(results)}
    (e.folder / "eval.json").write_text(json.dumps(whole, indent=1) + "\n")
    return write_page(e.folder)


def write_page(folder: Path) -> Path:
    """Write ``report.html`` from the ``eval.json`` and the pictures of a run's folder; returns the page."""
    with reading(folder / "eval.json", "a report of worldsim eval"):
        whole = parse_json((folder / "eval.json").read_bytes())
        said = dict(whole["about"])
    results = {name: found for name, found in whole.items() if name not in ("about", "summary")}
    rows = summary(results, EvalGoals(**said["thresholds"]["goals"]))
    page = render_page(
        "evaluation.html",
        package="worldsim.evaluation.reports",
        about=said,
        scope=_scope(said, results),
        rows=[(row, verdict(row)) for row in rows],
        missing=list(skipped(results)),
        charts=[(chart.title, Markup(drawn(chart))) for chart in charts(results, said["chunk"] / said["fps"])],
        sections=list(_sections(folder, results)),
        kinds=list(_kinds(folder, results)),
        settings=json.dumps(said),
    )
    path = folder / "report.html"
    path.write_text(page)
    return path


def charts(results: Mapping[str, Results], chunk_seconds: float) -> Iterator[Chart]:
    """The curves of all parts that were measured."""
    for part, found in measured(results):
        yield from part.charts(found, chunk_seconds)


def drawn(chart: Chart) -> str:
    """A chart as SVG."""
    return lines(chart.curves, chart.title, chart.ends, fixed=chart.fixed, x_label=chart.across, y_label=chart.unit)


def _scope(said: Mapping[str, Any], results: Mapping[str, Results]) -> str:
    counts = ", ".join(scope for part, found in measured(results) if (scope := part.scope(found))) or "clips"
    return (
        f"{counts} of the {said['split']} split of {said['data']}, maps never trained on; {said['preset']['prefix']} "
        f"frames of past; seed {said['seed']}; {said['sampling']['steps']} sampling steps."
    )


def _sections(folder: Path, results: Mapping[str, Results]) -> Iterator[dict[str, Any]]:
    """The sections of all parts, with their pictures encoded; videos that are not in the folder are left out."""
    for part, found in measured(results):
        for section in part.sections(found, films_of(folder, part.name)):
            videos = [video for video in section.videos if (folder / video.file).is_file()]
            pictures = [(picture.caption, _encoded(picture)) for picture in section.pictures]
            if videos or pictures or section.table:
                yield vars(section) | {"videos": videos, "pictures": pictures}


def _kinds(folder: Path, results: Mapping[str, Results]) -> Iterator[tuple[str, Any, dict[str, Any], list[Any]]]:
    """Per kind of failure: its rate, its entry, and a strip of pictures per quantile."""
    for part, kind, entry in taxonomy(results):
        pictures = []
        for place, frames in enumerate(films_of(folder, part).get(kind, ())):
            severity = entry["severity"][entry["gallery"][place]]
            columns = len(frames) // 2 if len(frames) > LONG_STRIP else None
            caption = f"{25 * place} % quantile: severity {number(severity)}"
            pictures.append((caption, _encoded(Picture(frames=frames, columns=columns))))
        yield kind, line(kind, entry["rate"], "%"), entry, pictures


def _encoded(picture: Picture) -> str:
    return picture_uri(sheet(list(picture.frames), picture.columns or len(picture.frames)))
