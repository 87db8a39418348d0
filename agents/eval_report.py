"""The report of an evaluation: an HTML page with curves, pictures and videos beside it, and the same as JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from worldsim.agents.eval_parts import recorded_and_predicted
from worldsim.agents.eval_run import Evaluation, clips_of, films_of
from worldsim.agents.eval_starts import without_starts
from worldsim.agents.eval_statistics import quantile_members
from worldsim.agents.eval_summary import failures, line, number, skipped, summary, verdict
from worldsim.datasets.store.video import write_video
from worldsim.plotting.charts import lines
from worldsim.plotting.pictures import picture_uri, sheet
from worldsim.plotting.style import STYLE

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evaluation of {{ world }}</title><style>{{ style }}</style>
<h1>Evaluation of {{ world }}</h1>
<p>{{ about }}</p>
<p class="soft">Intervals: 95 %, maps resampled with replacement (the map is the unit, not the clip). Galleries and
videos are the 0, 25, 50, 75 and 100 % quantiles of their severity; nobody picked them.</p>
<h2>Numbers</h2>
<table><tr><th>measure<th class="n">value<th>interval<th>wanted<th><th>beside</tr>
{% for row, word in rows %}<tr><td>{{ row.name }}<td class="n">{{ row.shown }}<td class="soft">{{ row.interval }}
<td>{{ row.wanted }}<td class="{{ {'met': 'good', 'missed': 'failure'}.get(word, 'soft') }}">{{ word }}
<td class="soft">{{ row.beside }}</tr>{% endfor %}</table>
{% if missing %}<p>Not measured: {% for name, why in missing %}<br><b>{{ name }}</b>: {{ why }}{% endfor %}</p>
{% endif %}
<h2>Curves</h2>
<div class="charts">{% for title, chart in charts %}<div><h3>{{ title }}</h3>{{ chart }}</div>{% endfor %}</div>
{% if videos %}<h2>Rollouts</h2>
<p class="soft">Left: recorded. Right: dreamed from the same past under the same actions. By PSNR of the last chunk.</p>
<div class="charts">{% for words, file in videos %}<figure><video src="{{ file }}" controls loop muted autoplay
playsinline></video><figcaption>{{ words }}</figcaption></figure>{% endfor %}</div>{% endif %}
<h2>Failures</h2>
{% for kind, entry, pictures in kinds %}<h3>{{ kind }}: {{ entry.shown }} <span class="soft">({{ entry.interval }},
{{ entry.count }} rollouts)</span></h3><p class="soft">{{ entry.definition }}</p>
{% for words, uri in pictures %}<figure><img src="{{ uri }}" alt="{{ kind }}, {{ words }}"><figcaption>{{ words }}
</figcaption></figure>{% endfor %}{% else %}<p>Not measured.</p>{% endfor %}
{% if counterfactual %}<h2>Counterfactual branches</h2>
<p class="soft">Above: where the engine gets to from one past. Below: where the world gets to. {{ names }}</p>
{% for uri in counterfactual %}<figure><img src="{{ uri }}" alt="branches"></figure>{% endfor %}{% endif %}
{% if captioned %}<h2>Captions</h2>
<p class="soft">Recorded; dreamt from its caption alone; dreamt from another clip's caption with the same noise.</p>
{% for words, uri in captioned %}<figure><img src="{{ uri }}" alt="{{ words }}"><figcaption>{{ words }}</figcaption>
</figure>{% endfor %}{% endif %}
{% for kind, values, pictures in told %}<h3>The same caption with another {{ kind }}: {{ values }}</h3>
<p class="soft">Dreamt from the caption alone with the same noise, at quantiles of how little it obeys.</p>
{% for words, uri in pictures %}<figure><img src="{{ uri }}" alt="{{ words }}"><figcaption>{{ words }}</figcaption>
</figure>{% endfor %}{% endfor %}
{% if trust %}<h2>The measures themselves</h2>
<p class="soft">Share of recorded windows of known action that the sign measures judge right: as recorded, and as dreams
look. "still expands" should be near a half, "lean" near 0.</p>
<table><tr><th>seen{% for kind in trust_kinds %}<th class="n">{{ kind }}{% endfor %}</tr>
{% for name, row in trust.items() %}<tr><td>{{ name }}{% for kind in trust_kinds %}<td class="n">
{{ number(row.get(kind), "" if kind == "lean" else "%") }}{% endfor %}</tr>{% endfor %}</table>{% endif %}
<h2>Settings</h2><p class="soft">{{ settings }}</p>
</html>
"""


def write_report(e: Evaluation, results: dict[str, Any], world: str, seconds: float) -> Path:
    """Write ``eval.json``, ``report.html`` and ``videos/`` to the run's folder; returns the page."""
    rows = [(row, verdict(row)) for row in summary(results, e.thresholds.goals)]
    about = {"world": world, **e.about(), "seconds": round(seconds, 1)}
    listed = [asdict(row) | {"verdict": word} for row, word in rows]
    # Values of single starts stand with their measures alone.
    whole = {"about": about, "summary": listed, **without_starts(results)}
    (e.folder / "eval.json").write_text(json.dumps(whole, indent=1) + "\n")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    trust = results.get("measures", {}).get("right", {})
    page = environment.from_string(PAGE).render(
        style=Markup(STYLE),
        world=world,
        about=_about(e, results),
        rows=rows,
        missing=list(skipped(results)),
        charts=[(title, Markup(chart)) for title, chart in charts(results, e.world.chunk / e.world.config.fps)],
        videos=list(_videos(e, results)) if "horizons" in results else [],
        kinds=list(_kinds(e, results)),
        counterfactual=[picture_uri(sheet(list(row), len(row) // 2)) for row in _films(e, "branches", "branches")],
        names=", ".join(results.get("branches", {}).get("branches", ())),
        captioned=list(_captioned(e, results)),
        told=list(_told(e, results)),
        trust=trust,
        trust_kinds=list(next(iter(trust.values()), ())),
        number=number,
        settings=json.dumps(about),
    )
    path = e.folder / "report.html"
    path.write_text(page)
    return path


def charts(results: Mapping[str, Any], chunk_seconds: float) -> Iterator[tuple[str, str]]:
    """Titles and curves (SVG) of all parts that have some."""
    h = results.get("horizons")
    if h:
        ends = (1, h["chunks"])
        for name, title in (("psnr", "PSNR, dB, by chunk"), ("ssim", "SSIM by chunk")):
            yield title, lines({row: band(h[name][row]) for row in h[name]}, title, ends)
        yield "Gain over repeating the last frame, dB", lines({"gain": band(h["gain_over_repeat"])}, "gain", ends)
        yield "Delta PSNR, dB", lines({"true - shuffled": band(h["actions"]["delta_psnr"])}, "Delta PSNR", ends)
        survival = h["failure"]["survival"]
        yield (
            "Share of dreams still better than a standing picture",
            lines(
                {"survival (Kaplan-Meier)": (survival, None, None)}, "survival", (0, len(survival) - 1), fixed=(0, 1)
            ),
        )
    b = results.get("branches", {})
    if "retrieval_by_chunk" in b:
        ends = (1, len(b["retrieval_by_chunk"]))
        curves = {
            "retrieval": (b["retrieval_by_chunk"], None, None),
            "effect ratio": (b["effect_ratio_by_chunk"], None, None),
        }
        yield "Counterfactual retrieval and effect ratio by chunk", lines(curves, "branches", ends)
    d = results.get("long", {})
    if "sharpness" in d:
        ends = (0, d["seconds"])
        least, most = ([v] * (d["seconds"] + 1) for v in d["sharpness_bounds"])
        curves = {"dream": band(d["sharpness"]), "recorded": band(d["sharpness_recorded"])}
        curves |= {"least recorded": (least, None, None), "most recorded": (most, None, None)}
        yield "Sharpness over a minute", lines(curves, "sharpness", ends)
        colour = {"dream": band(d["colour_change"]), "recorded play's bound": (d["colour_bound"], None, None)}
        yield "Change of colours over a minute", lines(colour, "colours", ends)
        yield "Norm of the latents over a minute", lines({"dream": band(d["latent_norm"])}, "norm", (1, d["seconds"]))
    m = results.get("memory", {}).get("gaps", {})
    if m:
        gaps = [float(g) for g in m]
        curves = {
            n: band({k: [m[g][n][k] for g in m] for k in ("value", "low", "high")}) for n in ("return", "stay", "away")
        }
        title = f"Likeness after looking away, gaps of {', '.join(m)} chunks"
        yield title, lines(curves, title, (gaps[0] * chunk_seconds, gaps[-1] * chunk_seconds))


def band(c: Mapping[str, Any]) -> tuple[list, list, list]:
    """A curve as charts take it: its values, and the lower and upper bounds of their interval."""
    return c["value"], c["low"], c["high"]


def _about(e: Evaluation, results: Mapping[str, Any]) -> str:
    h = results.get("horizons", {})
    clips = f"{h['clips']} clips of {h['maps']} maps" if h else "clips"
    return (
        f"{clips} of the {e.split} split of {e.store.url}, maps never trained on; {e.preset.prefix} frames of past; "
        f"seed {e.seed}; {e.world.config.sampling.steps} sampling steps."
    )


def _films(e: Evaluation, part: str, name: str) -> NDArray[np.uint8]:
    return films_of(e.folder, part).get(name, np.zeros((0, 1, 1, 1, 3), np.uint8))


def _kinds(e: Evaluation, results: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[tuple[str, str]]]]:
    """Per kind of failure: its rate in words, and a strip of pictures per quantile."""
    where = {kind: part for part, found in results.items() for kind in found.get("failures", {})}
    for kind, entry in failures(dict(results)).items():
        rate = line(kind, entry["rate"], "%")
        strips = []
        for place, film in enumerate(_films(e, where[kind], kind)):
            row = entry["gallery"][place]
            words = f"{25 * place} % quantile: severity {number(entry['severity'][row])}"
            strips.append((words, picture_uri(sheet(list(film), len(film) // 2 if len(film) > 11 else len(film)))))
        shown = {"shown": rate.shown, "interval": rate.interval, "count": entry["rate"]["count"]}
        yield kind, shown | {"definition": entry["definition"]}, strips


def _captioned(e: Evaluation, results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    captions = results.get("text", {}).get("pictures", {}).get("captions", [])
    for (own, swapped), row in zip(captions, _films(e, "text", "text"), strict=False):
        yield f"{own} | {swapped}", picture_uri(sheet(list(row), len(row)))


def _told(e: Evaluation, results: Mapping[str, Any]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Per attribute of captions: its values, and a strip of pictures per quantile, below what was recorded of each."""
    for kind, found in results.get("text", {}).get("attributes", {}).items():
        if "skipped" in found:
            continue
        words = ["recorded", *(f"{25 * i} % quantile: {caption}" for i, caption in enumerate(found["gallery"]))]
        strips = [picture_uri(sheet(list(row), len(row))) for row in _films(e, "text", kind)]
        yield kind, "; ".join(found["values"]), list(zip(words, strips, strict=False))


def _videos(e: Evaluation, results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Recorded and dreamed side by side, for the clips at the quantiles of the last chunk's PSNR."""
    last = results["horizons"]["per_clip"]["last_psnr"]
    clips = clips_of(e)
    for place, row in enumerate(quantile_members(last)):
        both = np.concatenate(recorded_and_predicted(e, clips, row, e.preset.chunks), 3)
        file = f"videos/quantile-{25 * place}.mp4"
        film = both.reshape(-1, *both.shape[2:]).repeat(2, 1).repeat(2, 2)
        write_video(e.folder / file, film, e.world.config.fps)
        name, start = clips.places[row]
        yield f"{25 * place} % quantile: {name}, frame {start}, {last[row]:.1f} dB at the end", file
