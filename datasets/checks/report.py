"""The report of a check as one self-contained HTML file: findings, charts, and pictures of what is meant."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from worldsim.datasets.checks.actions import AXES, ActionCount, mouse_edges
from worldsim.datasets.checks.chunks import ArrayChunks, DamagedArrayError, arrays_folder
from worldsim.datasets.checks.judge import Alignment
from worldsim.datasets.checks.pictures import thumbnail
from worldsim.datasets.checks.run import Report
from worldsim.plotting.charts import bars, columns
from worldsim.plotting.pages import render_page
from worldsim.plotting.pictures import picture_uri, sheet

# Pictures of the contact sheet, and of each kind of finding.
SHEET, EXAMPLES = 48, 6
PAIR_TITLES = {
    "yaw": "yaw against motion to the side",
    "pitch": "pitch against motion up and down",
    "pose": "yaw against the recorded pose",
}
PAIR_UNITS = {"yaw": "pixels per degree", "pitch": "pixels per degree", "pose": "degrees per degree"}


def as_html(report: Report) -> str:
    """The report as an HTML page with nothing outside it."""
    thumbs = _contact(report)
    return render_page(
        "check.html",
        package="worldsim.datasets.checks",
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
            rows = [(name, float(n)) for name, n in zip(names, row, strict=True)]
            title = f"{axis}, degrees per frame"
            yield title, Markup(columns(rows, title, x_label=title, y_label="frames", log=True))


def _lag_charts(alignment: Alignment) -> Iterator[tuple[str, Markup, str]]:
    for pair, title in PAIR_TITLES.items():
        lag = alignment.lags.get(pair)
        if lag is not None:
            reach = len(lag.response) // 2
            rows = [(f"{k:+d}" if k else "0", abs(value)) for k, value in enumerate(lag.response, -reach)]
            yield (
                title,
                Markup(columns(rows, title, marked=reach, x_label="lag, frames", y_label=PAIR_UNITS[pair])),
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
