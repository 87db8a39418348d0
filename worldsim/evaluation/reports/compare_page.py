"""Evaluation reports side by side as files: an HTML page, the numbers as JSON, and the scaling charts as SVG."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup

from worldsim.asides import write_whole
from worldsim.evaluation.interface.lines import number
from worldsim.evaluation.reports.compare_curves import overlaid
from worldsim.evaluation.reports.compare_differences import Row, settings_that_differ
from worldsim.evaluation.reports.compare_reports import Report
from worldsim.evaluation.reports.compare_scaling import AXIS, mean_line
from worldsim.plotting.pages import render_page
from worldsim.plotting.scatter import Chart, standing_alone

SCALING = (
    f"Level: {AXIS}, logarithmic. Each point is a report with its interval; the line joins the means of equally long "
    "trainings."
)


def write_comparison(folder: Path, reports: Sequence[Report], rows: Sequence[Row], scaling: Sequence[Chart]) -> Path:
    """Write ``compare.html``, ``compare.json`` and, where there are charts, ``scaling.svg``; returns the page.

    Everything is made before anything is written; each file replaces an older one as a whole.
    """
    title = " | ".join(report.name for report in reports)
    caveats = settings_that_differ(reports)
    sections = [
        ("Curves", "", [(name, Markup(chart)) for name, chart in overlaid(reports)]),
        ("By training compute", SCALING, [(chart.title, Markup(chart.svg())) for chart in scaling]),
    ]
    page = render_page(
        "compare.html",
        package="worldsim.evaluation.reports",
        title=title,
        reports=reports,
        caveats=caveats,
        rows=rows,
        number=number,
        sections=[section for section in sections if section[2]],
    )
    files = {"compare.json": as_json(reports, rows, caveats), "compare.html": page}
    if scaling:
        files["scaling.svg"] = standing_alone(scaling, f"By {AXIS} (logarithmic)")
    else:
        # Of an earlier comparison in the same folder.
        (folder / "scaling.svg").unlink(missing_ok=True)
    for name, text in files.items():
        write_whole(folder / name, text)
    return folder / "compare.html"


def as_json(reports: Sequence[Report], rows: Sequence[Row], caveats: Sequence[str]) -> str:
    """The comparison's numbers: shares stay shares of 1, compute is in TFLOP."""
    measures = []
    for row in rows:
        values = [None if m is None else {"value": m.value, "low": m.low, "high": m.high} for m in row.measures]
        pairs = zip(reports, row.measures, strict=True)
        known = [(r.tflop, m.value) for r, m in pairs if r.tflop is not None and m is not None and m.value is not None]
        measures.append(
            {
                "name": row.name,
                "unit": row.unit,
                "values": values,
                "difference": None if row.difference is None else asdict(row.difference),
                "by_compute": mean_line(known),
            }
        )
    described = [
        {"name": r.name, "path": str(r.path), "tflop": r.tflop, "by_hand": r.by_hand, "about": r.about} for r in reports
    ]
    return json.dumps({"reports": described, "not_the_same": list(caveats), "measures": measures}, indent=1) + "\n"
