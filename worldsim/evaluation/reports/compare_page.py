"""Evaluation reports side by side as files: an HTML page, the numbers as JSON, and the scaling charts as SVG."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import jinja2
from markupsafe import Markup

from worldsim.evaluation.reports.compare_curves import overlaid
from worldsim.evaluation.reports.compare_differences import Row, settings_that_differ
from worldsim.evaluation.reports.compare_reports import Report
from worldsim.evaluation.reports.compare_scaling import AXIS, mean_line
from worldsim.evaluation.reports.summary import number
from worldsim.plotting.scatter import Chart, standing_alone
from worldsim.plotting.style import STYLE

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>{{ style }}</style>
<h1>{{ title }}</h1>
<table><tr><th>report<th>world<th>clips of<th class="n">training compute</tr>
{% for report in reports %}<tr><td>{{ report.name }}<td>{{ report.about.get("world", "") }}
<td>{{ report.about.get("data", "") }}<td class="n">{{ report.trained }}</tr>{% endfor %}</table>
{% if caveats %}<h2>What is not the same</h2>
<p class="warning">{% for line in caveats %}{{ line }}<br>{% endfor %}</p>{% endif %}
<h2>Numbers</h2>
<p class="soft">Difference: {{ reports[-1].name }} less {{ reports[0].name }}, of shares in percentage points, bold
where its interval leaves out 0. Its interval: 95 %, start by start on the same clips, maps resampled with replacement;
where reports were not measured on the same clips there is none.</p>
<table><tr><th>measure{% for report in reports %}<th class="n">{{ report.name }}{% endfor %}<th class="n">difference
<th>interval</tr>
{% for row in rows %}<tr><td>{{ row.name }}
{% for m in row.measures %}<td class="n">{% if m %}{{ number(m.value, row.unit) }}
{% if m.low is not none %}<br><span class="soft">{{ number(m.low, row.unit) }} to {{ number(m.high, row.unit) }}</span>
{% endif %}{% else %}-{% endif %}{% endfor %}
{% if row.difference %}<td class="n">{% if row.difference.clear %}<b>{{ row.difference.shown(row.unit) }}</b>
{% else %}{{ row.difference.shown(row.unit) }}{% endif %}<td class="soft">{{ row.difference.interval(row.unit) }}
{% else %}<td class="n">-<td>{% endif %}</tr>{% endfor %}</table>
{% for head, words, charts in sections %}<h2>{{ head }}</h2>{% if words %}<p class="soft">{{ words }}</p>{% endif %}
<div class="charts">{% for title, chart in charts %}<div><h3>{{ title }}</h3>{{ chart }}</div>{% endfor %}</div>
{% endfor %}
</html>
"""
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
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(PAGE).render(
        style=Markup(STYLE),
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
        aside = folder / f".{name}"
        aside.write_text(text)
        aside.replace(folder / name)
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
    told = [
        {"name": r.name, "path": str(r.path), "tflop": r.tflop, "by_hand": r.by_hand, "about": r.about} for r in reports
    ]
    return json.dumps({"reports": told, "not_the_same": list(caveats), "measures": measures}, indent=1) + "\n"
