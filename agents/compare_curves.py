"""Curves of several evaluation reports, one chart a measure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.agents.compare_reports import Report
from worldsim.agents.eval_report import band
from worldsim.plotting.charts import lines

Numbers = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Overlaid:
    """A curve that reports may have: the chart's title, where it is in a report's results, and what its values are at.

    ``at``: the number of the first value, the others follow one by one; or where their places stand.
    ``across`` and ``unit`` are what the axes say.
    """

    title: str
    where: tuple[str, ...]
    at: int | tuple[str, ...] = 1
    across: str = "chunk"
    unit: str = ""


CURVES = (
    Overlaid(title="PSNR, dB, by chunk", where=("horizons", "psnr", "model"), unit="PSNR, dB"),
    Overlaid(title="SSIM by chunk", where=("horizons", "ssim", "model"), unit="SSIM"),
    Overlaid(
        title="ST-LPIPS by chunk",
        where=("perceptual", "stlpips", "model"),
        at=("perceptual", "at_chunks"),
        unit="ST-LPIPS",
    ),
    Overlaid(title="Gain over repeating the last frame, dB", where=("horizons", "gain_over_repeat"), unit="gain, dB"),
    Overlaid(title="Delta PSNR, dB", where=("horizons", "actions", "delta_psnr"), unit="dB"),
    Overlaid(
        title="Share of dreams still better than a standing picture",
        where=("horizons", "failure", "survival"),
        at=0,
        unit="share",
    ),
    Overlaid(title="Counterfactual retrieval by chunk", where=("branches", "retrieval_by_chunk"), unit="share"),
    Overlaid(title="Effect ratio of branches by chunk", where=("branches", "effect_ratio_by_chunk"), unit="ratio"),
    Overlaid(title="Sharpness over a minute", where=("long", "sharpness"), at=0, across="second", unit="sharpness"),
    Overlaid(
        title="Change of colours over a minute", where=("long", "colour_change"), at=0, across="second", unit="change"
    ),
    Overlaid(title="Norm of the latents over a minute", where=("long", "latent_norm"), across="second", unit="norm"),
)


def overlaid(reports: Sequence[Report]) -> Iterator[tuple[str, str]]:
    """Titles and charts (SVG) of the curves that two reports have, or more: one curve a report, with its interval."""
    for curve in CURVES:
        found = {report.name: taken for report in reports if (taken := _taken(curve, report)) is not None}
        if len(found) < 2:
            continue
        places = [place for at, _ in found.values() for place in at]
        grid = range(min(places), max(places) + 1)
        drawn = {name: _on(grid, at, parts) for name, (at, parts) in found.items()}
        yield curve.title, lines(drawn, curve.title, (grid[0], grid[-1]), x_label=curve.across, y_label=curve.unit)


def _taken(curve: Overlaid, report: Report) -> tuple[list[int], tuple[Numbers, Numbers | None, Numbers | None]] | None:
    """Places and values, lower and upper bounds of a report's curve; None where it has none."""
    found = _at(report.results, curve.where)
    if isinstance(found, Mapping) and {"value", "low", "high"} <= set(found):
        values, low, high = band(found)
    else:
        values, low, high = found, None, None
    at = _at(report.results, curve.at) if isinstance(curve.at, tuple) else None
    if not isinstance(values, list) or not values:
        return None
    if isinstance(curve.at, int):
        at = list(range(curve.at, curve.at + len(values)))
    parts = [part for part in (at, values, low, high) if part is not None]
    if at is None or any(not isinstance(part, list) or len(part) != len(values) for part in parts):
        return None
    return [int(place) for place in at], (values, low, high)


def _at(results: Any, where: tuple[str, ...]) -> Any:
    for key in where:
        results = results.get(key) if isinstance(results, Mapping) else None
    return results


def _on(
    grid: range, at: Sequence[int], parts: tuple[Numbers, Numbers | None, Numbers | None]
) -> tuple[Numbers, Numbers | None, Numbers | None]:
    """The same curve with a value for every place of a grid, None where it has none: charts space them evenly."""
    values, low, high = (None if part is None else dict(zip(at, part, strict=True)) for part in parts)
    assert values is not None
    bounds = (None if part is None else [part.get(place) for place in grid] for part in (low, high))
    return ([values.get(place) for place in grid], *bounds)  # pyright: ignore[reportReturnType]
