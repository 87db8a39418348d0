"""The numbers that matter, one a line: what was measured, its interval, what it is compared with, what is wanted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from worldsim.evaluation.config import EvalGoals
from worldsim.evaluation.starts import KEY, told_chunks


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measured number.

    Attributes:
        name: what it is.
        value, low, high: the number and its 95 % interval over maps (None: too few maps).
        unit: behind the number; "%" multiplies by 100.
        wanted: the goal in words, "" for none.
        met: whether the value reaches it; None without a goal, or where the run cannot tell.
        beside: reference rows in words.
        bare: a number that never has an interval.
        part: of the evaluation that measured it.
        by_start: what it is made of, start by start (``eval_starts``).
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    wanted: str = ""
    met: bool | None = None
    beside: str = ""
    bare: bool = False
    part: str = ""
    by_start: Mapping[str, Any] | None = None

    @property
    def shown(self) -> str:
        """The number as text."""
        return number(self.value, self.unit)

    @property
    def interval(self) -> str:
        """The interval as text."""
        if self.low is None or self.high is None:
            return "" if self.bare or self.value is None else "one map only"
        return f"{number(self.low, self.unit)} to {number(self.high, self.unit)}"


def number(value: float | None, unit: str = "") -> str:
    """A number for people; shares become percentages."""
    if value is None:
        return "-"
    if unit == "%":
        return f"{100 * value:.1f} %"
    digits = 0 if value == int(value) and abs(value) >= 1 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f}{f' {unit}' if unit else ''}"


Goal = tuple[str, Callable[[float], bool]]


def at_least(goal: float, unit: str = "") -> Goal:
    """A goal that is met from a number upwards."""
    return f"{number(goal, unit)} or more", lambda v: v >= goal


def at_most(goal: float, unit: str = "") -> Goal:
    """A goal that is met up to a number."""
    return f"{number(goal, unit)} or less", lambda v: v <= goal


def between(low: float, high: float) -> Goal:
    """A goal that is met in a range."""
    return f"{number(low)} to {number(high)}", lambda v: low <= v <= high


def line(name: str, found: dict[str, Any] | float | int | None, unit: str = "", goal: Goal | None = None,
         beside: str = "") -> Line:  # fmt: skip
    """A line from an estimate (or a bare number)."""
    entry = found if isinstance(found, dict) else {"value": found, "low": None, "high": None}
    value = entry["value"]
    met = None if goal is None or value is None else goal[1](value)
    return Line(
        name=name,
        value=value,
        low=entry["low"],
        high=entry["high"],
        unit=unit,
        wanted=goal[0] if goal else "",
        met=met,
        beside=beside,
        bare=not isinstance(found, dict),
        by_start=entry.get(KEY),
    )


def summary(results: dict[str, Any], goals: EvalGoals) -> list[Line]:
    """The lines of all parts that were measured, judged by ``goals``."""
    makers = {
        "horizons": _horizons, "forced": _forced, "perceptual": _perceptual, "actions": _actions, "inverse": _inverse,
        "branches": _branches, "memory": _memory, "objects": _objects,
        "obstacles": _obstacles, "text": _text, "long": _long,
    }  # fmt: skip
    out: list[Line] = []
    for part, make in makers.items():
        found = results.get(part)
        if found is not None and "skipped" not in found:
            out += [replace(one, part=part) for one in make(found, goals)]
    for part, found in results.items():
        for kind, entry in found.get("failures", {}).items():
            out.append(replace(line(f"failure: {kind}", entry["rate"], "%"), part=part))
    return out


def failures(results: dict[str, Any]) -> dict[str, Any]:
    """The taxonomy's entries of all parts, by kind."""
    return {kind: entry for part in results.values() for kind, entry in part.get("failures", {}).items()}


def skipped(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Parts that could not be measured, and why."""
    for name, found in results.items():
        if "skipped" in found:
            yield name, found["skipped"]
    if "skipped" in results.get("memory", {}).get("digs", {}):
        yield "digs", results["memory"]["digs"]["skipped"]
    for kind, found in results.get("text", {}).get("attributes", {}).items():
        if "skipped" in found:
            yield f"{kind} in captions", found["skipped"]


def _horizons(h: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    yield line("tokenizer's own reconstruction, PSNR", h["tokenizer_ceiling"], "dB", at_least(goals.tokenizer_db, "dB"))
    for chunk in told_chunks(h["chunks"]):
        rows = {row: _point(h["psnr"][row], chunk - 1) for row in ("model", "repeat", "shuffled", "tokenizer")}
        beside = ", ".join(f"{row} {number(rows[row]['value'])}" for row in ("repeat", "shuffled", "tokenizer"))
        yield line(f"PSNR at chunk {chunk}", rows["model"], "dB", beside=beside)
        rows = {row: _point(h["ssim"][row], chunk - 1) for row in ("model", "repeat", "tokenizer")}
        beside = ", ".join(f"{row} {number(rows[row]['value'])}" for row in ("repeat", "tokenizer"))
        yield line(f"SSIM at chunk {chunk}", rows["model"], beside=beside)
    above = line("chunks above repeating the last frame", h["chunks_above_repeat"],
                 goal=at_least(goals.above_last_frame_chunks), beside=f"of {h['chunks']}")  # fmt: skip
    # A run of fewer chunks than the goal could not have reached it.
    yield above if h["chunks"] >= goals.above_last_frame_chunks else replace(above, met=None)
    f = h["failure"]
    median = "beyond the horizon" if f["median"] is None else f"{f['median']}"
    yield line("chunks to failure, mean up to the horizon", f["restricted_mean"],
               beside=f"median {median}; {f['censored']} of {h['clips']} not failed at {f['horizon']}")  # fmt: skip
    yield line("Delta PSNR of the true actions, frame 4", h["actions"]["at_frame_4"], "dB")


def _forced(t: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    yield line(
        "next chunk (teacher-forced) below the tokenizer",
        t["below_tokenizer_db"],
        "dB",
        at_most(goals.forced_below_tokenizer_db, "dB"),
    )
    yield line(f"the mean of {t['samples']} such chunks, below the tokenizer", t["mean_below_tokenizer_db"], "dB")


def _perceptual(t: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    for i, chunk in enumerate(t["at_chunks"]):
        others = [name for name in t["stlpips"] if name != "model"]
        beside = ", ".join(f"{name} {number(t['stlpips'][name]['value'][i])}" for name in others)
        yield line(f"ST-LPIPS at chunk {chunk} ({t['steps']} steps)", _point(t["stlpips"]["model"], i), beside=beside)
    for pair, ratios in t["fewer_steps"].items():
        few, many = pair.split(" of ")
        at = ", ".join(f"chunk {k}: {number(r['value'])}" for k, r in zip(t["at_chunks"], ratios, strict=True))
        # The goal holds at every horizon: the worst one is judged.
        worst = max(ratios, key=lambda ratio: ratio["value"] or 0.0)
        name = f"ST-LPIPS of {few} steps, times that of {many}, worst horizon"
        yield line(name, worst, goal=at_most(1 + goals.fewer_steps), beside=at)


def _actions(report: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    yield line("loss under shuffled actions, ratio", report["use"]["ratio"], "", at_least(goals.shuffled))
    if (a := report.get("signs")) is None:
        return
    yield line("camera sign test", a["camera_opposite_and_correct"], "%", at_least(goals.camera, "%"))
    words = {
        "forward_expands": "forward expands",
        "back_contracts": "back contracts",
        "nothing_expands": "nothing expands",
    }
    beside = ", ".join(f"{said} {number(a[name]['value'], '%')}" for name, said in words.items())
    yield line("movement sign test", a["movement_correct"], "%", at_least(goals.movement, "%"), beside)
    for name in ("forward_expands_beyond_nothing", "back_contracts_beyond_nothing"):
        yield line(name.replace("_", " "), a[name], "%")


def _inverse(i: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    rows = i["rows"]
    f1 = ", ".join(f"{name} {number(rows[name]['f1']['value'])}" for name in ("recorded", "tokenizer", "shuffled"))
    chance = f"chance {number(i['chance_f1'])}"
    yield line("inverse-dynamics F1", rows["model"]["f1"], beside=f"{f1}, {chance}")
    goal = at_least(goals.inverse_f1)
    yield line("inverse-dynamics F1, share of the engine's own", i["f1_share_of_engine"], "", goal, chance)
    place = i["f1_between_chance_and_engine"]
    yield line("inverse-dynamics F1, between chance (0) and the engine (1)", place, "", goal, chance)
    camera = ", ".join(
        f"{name} {number(rows[name]['camera_error_degrees']['value'])}"
        for name in ("recorded", "tokenizer", "shuffled")
    )
    beside = f"{camera}, of saying no turn {number(i['camera_error_of_no_turn']['value'])}"
    goal = at_most(goals.camera_error, "degrees")
    yield line("camera error a frame", rows["model"]["camera_error_degrees"], "degrees", goal, beside)


def _branches(b: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    beside = f"chance {number(b['chance'], '%')}, engine {number(b['retrieval_engine']['value'], '%')}"
    yield line(
        f"counterfactual retrieval of {len(b['branches'])}", b["retrieval"], "%", at_least(goals.retrieval, "%"), beside
    )
    yield line("effect ratio", b["effect_ratio"], "", between(*goals.effect))
    yield line("rank agreement of branches", b["rank_agreement"])


def _memory(m: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    recorded = number(m["recorded"]["revisit"]["value"]), number(m["recorded"]["other"]["value"])
    for gap, found in m["gaps"].items():
        beside = ", ".join(f"{name} {number(found[name]['value'])}" for name in ("return", "stay", "away"))
        beside = f"likeness: {beside}; recorded revisit {recorded[0]}, other view {recorded[1]}"
        yield line(f"recall after looking away for {gap} chunks", found["recall"], "%", beside=beside)
    digs = m["digs"]
    if "skipped" not in digs:
        shares = {k: number(digs[k]["value"], "%") for k in ("return_view_lost", "stay_stays_dug", "stay_view_lost")}
        beside = f"{digs['digs']} digs, view lost {shares['return_view_lost']}; without looking away "
        beside += f"{shares['stay_stays_dug']}, view lost {shares['stay_view_lost']}"
        yield line("dug blocks that stay dug", digs["return_stays_dug"], "%", beside=beside)


def _objects(o: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    real = o["recorded"]
    for word in ("appeared", "disappeared"):
        beside = "" if "skipped" in real else f"recorded {number(real[f'{word}_per_100_frames']['value'])}"
        yield line(f"objects that {word} by themselves, per 100 frames", o[f"{word}_per_100_frames"], beside=beside)


def _obstacles(o: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    blocked, free = o["blocked"], o["free"]
    beside = f"dreamt {number(blocked['metres']['value'], 'm')} in {number(o['seconds'], 's')}; "
    beside += f"free walks {number(free['metres']['value'], 'm')}, and {number(free['stops']['value'], '%')} stop"
    yield line("walks stopped by what stops the recorded player", blocked["stops"], "%", beside=beside)


def _text(t: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    for name, said in (("next", "after a past"), ("first", "of a first frame")):
        beside = f"without a caption {number(t[name]['none_ratio']['value'])}"
        yield line(f"error {said} under a swapped caption, ratio", t[name]["swapped_ratio"], beside=beside)
    yield line("pictures nearer under their own caption", t["pictures"]["own_nearer"], "%", beside="chance 50 %")
    told = {kind: found for kind, found in t.get("attributes", {}).items() if "skipped" not in found}
    beside = {k: f"chance 50 %, recorded frames {number(v['recorded']['value'], '%')}" for k, v in told.items()}
    if (place := told.get("place")) is not None:
        yield line("pictures nearer to the place they are told", place["nearer"], "%", beside=beside["place"])
    if (light := told.get("light")) is not None:
        yield line("pictures darker when told a dark time", light["darker"], "%", beside=beside["light"])
        real = f"of 255; recorded frames {number(light['difference_recorded']['value'])}"
        yield line("brightness of day less that of dark times", light["difference"], beside=real)


def _long(d: dict[str, Any], goals: EvalGoals) -> Iterator[Line]:
    whole = {key: None if d["collapsed"][key] is None else 1 - d["collapsed"][key] for key in ("value", "low", "high")}
    whole["low"], whole["high"] = whole["high"], whole["low"]
    if (kept := d["collapsed"].get(KEY)) is not None:
        whole[KEY] = kept | {"values": [None if v is None else 1 - v for v in kept["values"]]}
    alarms = d["collapsed_recorded"]
    real = None if alarms["value"] is None else 1 - alarms["value"]
    beside = f"{d['starts']} starts; recorded {number(real, '%')} of {alarms['count']}"
    yield line(f"{d['seconds']} s of play without collapse", whole, "%", at_least(goals.minutes, "%"), beside)
    yield line(f"stretches of {d['window']} s outside the engine's spread", d["time_outside"], "%")
    beside = f"recorded {number(d['sharpness_slope_recorded']['value'])}"
    yield line("change of sharpness a minute (logarithm)", d["sharpness_slope_per_minute"], beside=beside)
    yield line("change of the latents' norm a minute (logarithm)", d["latent_norm_slope_per_minute"])


def _point(c: dict[str, Any], i: int) -> dict[str, Any]:
    return {key: c[key][i] for key in ("value", "low", "high")} | {KEY: c.get(KEY, {}).get(str(i))}


Kind = Literal["met", "missed", "not judged", ""]


def verdict(entry: Line) -> Kind:
    """Whether the goal is met, in words; nothing without a goal."""
    if not entry.wanted:
        return ""
    return "not judged" if entry.met is None else "met" if entry.met else "missed"
