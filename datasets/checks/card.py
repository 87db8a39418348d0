"""The dataset card: what a store holds, where it comes from, who may use it, and what is missing in it."""

import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.asides import write_whole
from worldsim.datasets.captions.templates import time_phrase
from worldsim.datasets.checks.actions import ActionCount, mouse_edges
from worldsim.datasets.checks.run import Report
from worldsim.datasets.governance.map_seeds import seed_key
from worldsim.datasets.governance.provenance import licence_of, source_of, training_record
from worldsim.datasets.governance.withdrawal import withdrawals
from worldsim.datasets.store.store import SPLITS, EpisodeStore
from worldsim.plotting.pictures import jpeg, sheet

PICTURES = 48
# A kind (a biome, a time of day, a key) of a smaller share than this is called a gap.
RARE = 0.01
OTHER_LICENCE = "other"


def write_card(store: EpisodeStore, report: Report, folder: Path) -> Path:
    """Write ``README.md`` and ``frames.jpg`` into a folder; returns the path of the first.

    Args:
        store: that the card is about.
        report: of a check of it.
        folder: made if it is not there; an earlier card in it is replaced.

    Raises:
        ValueError: the store has no readable episode.
    """
    if not report.looks:
        raise ValueError(f"there is no readable episode in {store.path}")
    folder.mkdir(parents=True, exist_ok=True)
    thumbs = [p.thumbs for look in report.looks if (p := look.pictures) and p.thumbs]
    if thumbs:
        chosen = np.unique(np.linspace(0, len(thumbs) - 1, min(PICTURES, len(thumbs))).astype(int))
        (folder / "frames.jpg").write_bytes(jpeg(sheet([thumbs[i][i % len(thumbs[i])][1] for i in chosen])))
    return write_whole(folder / "README.md", "\n".join(_card(store, report, pictures=bool(thumbs))) + "\n")


def _card(store: EpisodeStore, report: Report, *, pictures: bool) -> Iterator[str]:
    manifests = [look.manifest for look in report.looks]
    record = training_record(store, [str(m["name"]) for m in manifests])["stores"][0]
    yield from _front_matter(store.path.name, manifests)
    yield f"# {_quoted(store.path.name)}"
    yield ""
    yield f"{len(manifests):,} episodes of play: {record['frames']:,} frames with the action between each two of them,"
    yield f"{record['hours']:.2f} hours, for training world models. Digest of all episodes: `{record['digest'][:16]}`."
    yield ""
    if pictures:
        yield "![frames of many episodes](frames.jpg)"
        yield ""
    yield from _section("Splits", _split_table(manifests))
    yield from _section("Sources and licences", _origin_table(manifests))
    yield from _section("What was recorded", _recorded(manifests))
    yield from _section("Places", _shares("biome", (m["provenance"].get("biome") for m in manifests)))
    yield from _section("Times of day", _shares("time", map(_time, manifests)))
    yield from _section("Actions", (line for count in report.actions for line in _action_table(count)))
    yield from _section("Known gaps", _gaps(store, report))
    yield from _section("How it was checked", _checked(report))
    yield from _section("Reading it", _reading(store.path.name))


def _front_matter(name: str, manifests: list[Mapping[str, Any]]) -> Iterator[str]:
    licences = sorted({licence_of(m) for m in manifests})
    # Identifiers of the SPDX licence list are letters, digits, dots, pluses and hyphens.
    known = all(re.fullmatch(r"[A-Za-z0-9.+-]+", licence) and licence != "unknown" for licence in licences)
    yield "---"
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9 ._-]*", name)
    yield f"pretty_name: {name if plain else json.dumps(name, ensure_ascii=False)}"
    yield f"license: [{', '.join(licences).lower()}]" if known else f"license: {OTHER_LICENCE}"
    yield "tags: [video, world-model, actions, gameplay]"
    yield "---"
    yield ""


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield f"## {title}"
        yield ""
        yield from lines
        yield ""


def _table(head: list[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell if isinstance(cell, _Markdown) else _quoted(cell) for cell in row) + " |"


class _Markdown(str):
    """Text of the card's own, in which what people wrote is escaped."""


# Characters of what people wrote to which Markdown would give a meaning; underscores within words have none.
_ACTIVE = re.compile(r"[\\`*\[\]~$]|(?<!\w)_|_(?!\w)")


def _quoted(text: object) -> _Markdown:
    """What people wrote, shown as it is: no HTML, link, picture, emphasis or end of a table's cell comes of it."""
    plain = html.escape(" ".join(str(text).split()), quote=False)
    return _Markdown(_ACTIVE.sub(lambda found: f"&#{ord(found[0])};", plain).replace("|", "\\|"))


def _key(name: str) -> _Markdown:
    """A key's name as code; within backticks nothing could be escaped."""
    return _Markdown(f"`{name}`" if re.fullmatch(r"[\w.+-]+", name) else f"<code>{_quoted(name)}</code>")


def _hours(manifests: Iterable[Mapping[str, Any]]) -> float:
    return sum(int(m["frames"]) / float(m["provenance"].get("fps") or 20) for m in manifests) / 3600


def _grouped(manifests: list[Mapping[str, Any]], key: Any) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for manifest in manifests:
        groups[key(manifest)].append(manifest)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def _split_table(manifests: list[Mapping[str, Any]]) -> Iterator[str]:
    rows = []
    groups = dict(_grouped(manifests, lambda m: str(m["provenance"].get("split") or "none")))
    for split in (*SPLITS, "none"):
        members = groups.get(split, [])
        if members:
            maps = {key for m in members if (key := seed_key(m["provenance"]))}
            frames = sum(int(m["frames"]) for m in members)
            rows.append((split, len(members), f"{frames:,}", f"{_hours(members):.2f}", len(maps) or "unknown"))
    yield from _table(["split", "episodes", "frames", "hours", "maps"], rows)


def _origin_table(manifests: list[Mapping[str, Any]]) -> Iterator[str]:
    def origin(manifest: Mapping[str, Any]) -> str:
        consent = manifest["provenance"].get("consent") or "not recorded"
        return "\0".join((source_of(manifest), licence_of(manifest), str(consent)))

    rows = [(*key.split("\0"), len(members), f"{_hours(members):.2f}") for key, members in _grouped(manifests, origin)]
    yield from _table(["source", "licence", "consent", "episodes", "hours"], rows)


def _recorded(manifests: list[Mapping[str, Any]]) -> Iterator[str]:
    def about(*names: str) -> Any:
        return lambda m: " ".join(str(m["provenance"].get(n) or "") for n in names).strip() or "not recorded"

    kinds = {
        "engine": about("engine", "engine_version"),
        "game": about("game"),
        "policy": about("policy", "policy_version"),
        "map generator": about("mapgen"),
        "size and rate": lambda m: f"{m['size'][0]}x{m['size'][1]} at {m['provenance'].get('fps', '?')} Hz",
        "recorded with": about("software"),
    }
    rows = [
        (title, "; ".join(f"{value} ({len(members)})" for value, members in _grouped(manifests, key)[:12]))
        for title, key in kinds.items()
    ]
    created = sorted(str(m["provenance"]["created"]) for m in manifests if m["provenance"].get("created"))
    if created:
        rows.append(("recorded from, to", f"{created[0]}, {created[-1]}"))
    yield from _table(["", "episodes in brackets"], rows)


def _time(manifest: Mapping[str, Any]) -> str | None:
    start = manifest["provenance"].get("start")
    time = start.get("time_of_day") if isinstance(start, Mapping) else None
    return time_phrase(float(time)) if isinstance(time, int | float) else None


def _shares(title: str, values: Iterable[Any]) -> Iterator[str]:
    counts = Counter(str(value).replace("_", " ") for value in values if value)
    total = sum(counts.values())
    if total:
        yield from _table([title, "episodes", "share"], ((k, n, f"{n / total:.1%}") for k, n in counts.most_common()))


def _action_table(count: ActionCount) -> Iterator[str]:
    yield f"{count.rows:,} frames with known actions, {count.unknown:,} without; {count.idle_share:.1%} idle."
    yield ""
    rows = (
        (_key(key), f"{down / max(1, count.rows):.2%}", f"{pushes:,}")
        for key, down, pushes in zip(count.keys, count.pressed, count.pushes, strict=True)
    )
    yield from _table(["key", "frames down", "times pressed"], rows)
    yield ""
    if count.mouse.any():
        edges = mouse_edges()
        middle = len(edges) // 2
        folded = count.mouse[:, middle:].copy()
        folded[:, 1:] += count.mouse[:, :middle][:, ::-1]
        names = [f"under {edges[middle]:g}", *(f"to {e:g}" for e in edges[middle + 1 :]), f"over {edges[-1]:g}"]
        shares = folded / np.maximum(1, folded.sum(1, keepdims=True))
        rows = zip(names, *([f"{s:.1%}" for s in row] for row in shares), strict=True)
        yield from _table(["mouse, degrees a frame", "pitch", "yaw"], rows)
        yield ""


def _gaps(store: EpisodeStore, report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield f"- {_quoted(finding.message)}."
    for count in report.actions:
        rare = [k for k, n in zip(count.keys, count.pressed, strict=True) if 0 < n < RARE * count.rows]
        if rare:
            yield f"- keys down in less than {RARE:.0%} of the frames: {', '.join(map(_key, rare))}."
    unknown = sum(count.unknown for count in report.actions)
    if unknown:
        yield f"- {unknown:,} frames have no known action."
    out = withdrawals(store.path)
    if out:
        yield f"- {len(out)} episodes were withdrawn: {', '.join(_quoted(w.name) for w in out)}."


def _checked(report: Report) -> Iterator[str]:
    yield "`worldsim data check` looked at the manifests and actions of all episodes"
    yield f"and at {report.frames_seen:,} frames, and compared every byte of {report.hashed:,} episodes."
    yield ""
    for alignment in report.alignments:
        for pair in ("yaw", "pitch", "pose"):
            lag = alignment.lags.get(pair)
            if lag is not None:
                what = "recorded yaw" if pair == "pose" else f"picture, {pair}"
                yield (
                    f"- {_quoted(alignment.group)}: lag of the {what} behind the mouse {lag.frames:+d} frames "
                    f"(confidence {lag.confidence:.2f}, correlation {lag.correlation:.2f})."
                )


def _reading(name: str) -> Iterator[str]:
    yield "```python"
    yield "from worldsim.datasets.store.store import EpisodeStore"
    yield ""
    yield f"store = EpisodeStore({json.dumps(name)})"
    yield 'episode = store.read(store.names("train")[0])'
    yield "```"
    yield ""
    yield "The arrays are zarr v3: any reader of that format opens `episodes/NAME/arrays`."
