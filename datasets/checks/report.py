"""The report of a check as one self-contained HTML file: findings, charts, and pictures of what is meant."""

from collections.abc import Iterable, Iterator
from itertools import islice

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from worldsim.datasets.check_charts import bars, columns, picture_uri, sheet
from worldsim.datasets.checks.actions import AXES, ActionCount, mouse_edges
from worldsim.datasets.checks.chunks import ArrayChunks, DamagedArrayError, arrays_folder
from worldsim.datasets.checks.judge import Alignment
from worldsim.datasets.checks.pictures import thumbnail
from worldsim.datasets.checks.run import Report
from worldsim.datasets.report_style import STYLE

# Pictures of the contact sheet, and of each kind of finding.
SHEET, EXAMPLES = 48, 6
PAIR_TITLES = {
    "yaw": "yaw against motion to the side",
    "pitch": "pitch against motion up and down",
    "pose": "yaw against the recorded pose",
}

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Check of {{ store }}</title>
<style>{{ style }}</style>
<h1>Check of {{ store }}</h1>
<p>{% if failures %}<span class="failure">{{ failures }} failure{{ "s" if failures > 1 }}</span>
{% else %}<span class="good">No failure</span>{% endif %}
in {{ report.looks|length }} episodes of {{ "{:,}".format(report.frames) }} frames; pictures of
{{ "{:,}".format(report.frames_seen) }} frames were looked at, every byte of {{ report.hashed }} episodes was compared,
in {{ "%.0f"|format(report.seconds) }} s.</p>
<h2>Findings</h2>
{% if report.findings %}<table><tr><th>kind<th>finding</tr>
{% for f in report.findings %}<tr><td class="{{ f.severity }}">{{ f.kind }}<td>{{ f.message }}</tr>
{% endfor %}</table>{% else %}<p>None.</p>{% endif %}
<h2>Episodes</h2>
<table><tr><th>split<th class="n">episodes<th class="n">frames</tr>
{% for split, episodes, frames in splits %}<tr><td>{{ split }}<td class="n">{{ episodes }}
<td class="n">{{ "{:,}".format(frames) }}</tr>{% endfor %}</table>
{% if contact %}<figure><img src="{{ contact }}" alt="Frames of {{ contact_names|length }} episodes">
<figcaption>{{ contact_names|join(", ") }}</figcaption></figure>{% endif %}
<h2>Alignment</h2>
<p class="soft">How far the picture (pixels) or the pose (degrees) answers to one degree of the mouse, at each lag in
frames. The longest column should be at 0.</p>
{% for group, charts in alignments %}<h3>{{ group }}</h3><div class="charts">
{% for title, chart, words in charts %}<div>{{ chart }}<p>{{ title }}: {{ words }}</p></div>{% endfor %}</div>
{% else %}<p>No camera in these recordings.</p>{% endfor %}
<h2>Actions</h2>
{% for count, keys, mouse in actions %}<p>{{ "{:,}".format(count.rows) }} frames with known actions
({{ "{:,}".format(count.unknown) }} unknown), {{ "%.1f"|format(100 * count.idle_share) }} % idle.</p>
<div class="charts"><div>{{ keys }}<p>share of frames in which each key is down (times pressed)</p></div>
{% for title, chart in mouse %}<div>{{ chart }}<p>{{ title }}</p></div>
{% endfor %}</div>{% else %}<p>None could be read.</p>{% endfor %}
{% if frozen %}<h2>Longest still stretches</h2>{% for words, uri in frozen %}
<figure><img src="{{ uri }}" alt="{{ words }}"><figcaption>{{ words }}</figcaption></figure>{% endfor %}{% endif %}
{% if shared %}<h2>Maps in two splits</h2>{% for words, uri in shared %}
<figure>{% if uri %}<img src="{{ uri }}" alt="{{ words }}">{% endif %}<figcaption>{{ words }}</figcaption></figure>
{% endfor %}{% endif %}
</html>
"""


def as_html(report: Report) -> str:
    """The report as an HTML page with nothing outside it."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    thumbs = _contact(report)
    return environment.from_string(PAGE).render(
        style=Markup(STYLE),
        store=report.store,
        report=report,
        failures=sum(f.severity == "failure" for f in report.findings),
        splits=list(_splits(report)),
        contact=picture_uri(sheet([picture for _, picture in thumbs])) if thumbs else "",
        contact_names=[name for name, _ in thumbs],
        alignments=[(a.group, charts) for a in report.alignments if (charts := list(_lag_charts(a)))],
        actions=[(count, Markup(key_chart(count)), list(_mouse_charts(count))) for count in report.actions],
        frozen=list(islice(_frozen(report), EXAMPLES)),
        shared=list(islice(_shared(report), EXAMPLES)),
    )


def key_chart(count: ActionCount) -> str:
    """Share of the frames in which each key was down, as SVG."""
    shares = [down / max(1, count.rows) for down in count.pressed]
    rows = [
        (key, share, f"{share:.2%} ({pushes})")
        for key, share, pushes in zip(count.keys, shares, count.pushes, strict=True)
    ]
    return bars(rows, "share of frames in which each key is down (times pressed)")


def _mouse_charts(count: ActionCount) -> Iterator[tuple[str, Markup]]:
    edges = mouse_edges()
    names = [f"<{edges[0]:g}", *(f"{edge:g}" for edge in (edges[:-1] + edges[1:]) / 2), f">{edges[-1]:g}"]
    for axis, row in zip(AXES, count.mouse, strict=True):
        if row.any():
            # Logarithmic: half of all frames stand still.
            rows = [(name, float(np.log10(1 + n))) for name, n in zip(names, row, strict=True)]
            yield f"{axis}, degrees a frame (columns: log10 of frames)", Markup(columns(rows, axis))


def _lag_charts(alignment: Alignment) -> Iterator[tuple[str, Markup, str]]:
    for pair, title in PAIR_TITLES.items():
        lag = alignment.lags.get(pair)
        if lag is not None:
            reach = len(lag.response) // 2
            rows = [(f"{k:+d}" if k else "0", abs(value)) for k, value in enumerate(lag.response, -reach)]
            yield (
                title,
                Markup(columns(rows, title, marked=reach)),
                f"lag {lag.frames:+d} frames, confidence {lag.confidence:.2f}, correlation {lag.correlation:.2f}, "
                f"{lag.transitions:,} frames",
            )


def _splits(report: Report) -> Iterator[tuple[str, int, int]]:
    for split in sorted({look.split for look in report.looks}):
        members = [look for look in report.looks if look.split == split]
        yield split or "none", len(members), sum(int(look.manifest["frames"]) for look in members)


def _contact(report: Report) -> list[tuple[str, NDArray[np.uint8]]]:
    """One small picture each of episodes evenly over the store."""
    looked = [(look.name, p.thumbs) for look in report.looks if (p := look.pictures) and p.thumbs]
    chosen = np.unique(np.linspace(0, len(looked) - 1, min(SHEET, len(looked))).astype(int)) if looked else []
    return [(looked[i][0], looked[i][1][i % len(looked[i][1])][1]) for i in chosen]


def _frozen(report: Report) -> Iterator[tuple[str, str]]:
    """First, middle and last frame of the longest still stretches."""
    looks = [(p.longest, look.name) for look in report.looks if (p := look.pictures) and p.longest[0] > 1]
    for (length, start), name in sorted(looks, reverse=True):
        pictures = _frames(report, name, [start, start + length // 2, start + length])
        if pictures:
            yield f"{name}: {length + 1} frames from frame {start}", picture_uri(sheet(pictures))


def _shared(report: Report) -> Iterator[tuple[str, str]]:
    """Views that two splits share, one above the other."""
    for shared in report.shared:
        words = f"{shared.first} ({shared.splits[0]}), {shared.second} ({shared.splits[1]}): {shared.reason}"
        if not shared.frames:
            yield words, ""
            continue
        views = [shared.frames[i] for i in np.unique(np.linspace(0, len(shared.frames) - 1, 4).astype(int))]
        above = _frames(report, shared.first, (a for a, _ in views))
        below = _frames(report, shared.second, (b for _, b in views))
        yield words, picture_uri(sheet([*above, *below], columns=max(1, len(above)))) if above else ""


def _frames(report: Report, name: str, numbers: Iterable[int]) -> list[NDArray[np.uint8]]:
    try:
        manifest = next(look.manifest for look in report.looks if look.name == name)
        frames = ArrayChunks(arrays_folder(report.store / "episodes" / name, manifest) / "frames")
        return [thumbnail(frames.read_rows(t, t + 1)[0]) for t in numbers if t < frames.layout.shape[0]]
    except DamagedArrayError:
        return []
