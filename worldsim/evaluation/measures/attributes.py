"""Do pictures dreamt from a caption obey its place and its light, when nothing else of the caption changes?

B clips, V values of an attribute (places, times), R recorded frames, C colour statistic, H W pixels.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.datasets.captions.attributes import Attribute, Light, Place
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import map_of
from worldsim.evaluation.measures.metrics import colours, grey
from worldsim.evaluation.measures.statistics import estimate, quantile_members
from worldsim.evaluation.measures.types import Films, Progress

# At most so many places or times are told, those of most maps first: pairs grow with their square.
VALUES = 6
# Recorded frames of an episode that show what its words look like.
FRAMES = 8
Embed = Callable[[Sequence[str]], Tensor]
# Captions' embeddings (B, X) to pictures (B, H, W, 3), the same noise in a row whatever it is told.
Dream = Callable[[Tensor], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Recorded frames and the captions of their episodes.

    Attributes:
        frames: uint8 (R, H, W, 3).
        captions: of each.
        maps: of each (R,).
        biomes: names of all places that the recordings tell besides.
    """

    frames: NDArray[np.uint8]
    captions: Sequence[str]
    maps: NDArray[np.int64]
    biomes: frozenset[str] = frozenset()


def shown_by_recordings(store: EpisodeStore, splits: Sequence[Split], seed: int = 0, count: int = FRAMES) -> Shown:
    """``count`` frames of each captioned episode of some splits, drawn with the seed."""
    frames, captions, maps, biomes = [], [], [], set()
    for name in [name for split in splits for name in store.names(split)]:
        manifest = store.manifest(name)
        if not manifest["text"]:
            continue
        total = int(manifest["frames"])
        drawn = np.random.default_rng((seed, len(captions))).choice(total, min(count, total), replace=False)
        frames += [store.read(name, t, t + 1).frames[0] for t in sorted(drawn.tolist())]
        captions += [str(manifest["text"])] * len(drawn)
        maps += [map_of(store, name)] * len(drawn)
        biomes.add(str(manifest["provenance"].get("biome") or ""))
    pictures = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    return Shown(frames=pictures, captions=captions, maps=np.array(maps, np.int64), biomes=frozenset(biomes))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sentences: for each clip whose caption names the attribute, that caption under every value.

    Attributes:
        values: V of them, sorted.
        clips: numbers (B,) of the clips.
        sentences: of each clip, one for every value.
        recorded: rows of the recorded frames by value.
    """

    values: list[str]
    clips: NDArray[np.int64]
    sentences: list[list[str]]
    recorded: dict[str, NDArray[np.int64]]


def plan(attribute: Attribute, texts: Sequence[str], shown: Shown, most: int = VALUES) -> Plan | str:
    """Values that occur among the recordings and the clips that can be told them; or why nothing can be."""
    named = [attribute.of(caption) for caption in shown.captions]
    # A caption that tells the time alone cannot be told how light it is.
    forms = Counter(attribute.form(value) for value in named if value)
    form = min(forms, key=lambda f: (-forms[f], f), default="")
    rows: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(named):
        if value and attribute.form(value) == form:
            rows[value].append(row)
    often = sorted(rows, key=lambda v: (-len(set(shown.maps[rows[v]])), -len(rows[v]), v))
    values = sorted(often[:most])
    if len(values) < 2:
        return f"it takes two to swap, and captions of recorded play name {' and '.join(values) or 'none'}"
    suits = [bool(value := attribute.of(text)) and attribute.form(value) == form for text in texts]
    if not any(suits):
        return "no clip's caption names one"
    suited = [text for text, suit in zip(texts, suits, strict=True) if suit]
    return Plan(
        values=values,
        clips=np.flatnonzero(suits),
        sentences=[[attribute.with_value(text, value) for value in values] for text in suited],
        recorded={value: np.array(rows[value]) for value in values},
    )


def attributes_report(
    texts: Sequence[str],
    maps: NDArray[np.int64],
    shown: Shown,
    *,
    embed: Embed,
    dream: Dream,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, Any], Films]:
    """Place and light: shares of pairs of pictures, dreamt with the same noise, that obey the words they differ by.

    Args:
        texts: captions of the clips.
        maps: of the clips.
        shown: recorded frames and their captions.
        embed: sentences to embeddings; raises ValueError where it cannot.
        dream: embeddings to pictures.
        seed: of the intervals.
        progress: told the stage, how much is done, and of how much.

    Returns:
        ``place`` and ``light``, each a report or ``skipped`` with the reason; and their galleries (n, V, H, W, 3): a
        recorded frame of each value, then what some clips' captions make of each.
    """
    plans = {"place": plan(Place(shown.biomes), texts, shown), "light": plan(Light(), texts, shown)}
    if isinstance(light := plans["light"], Plan) and len({Light.dark(value) for value in light.values}) < 2:
        plans["light"] = f"nothing is darker or brighter by the captions of recorded play: {', '.join(light.values)}"
    report: dict[str, Any] = {kind: {"skipped": found} for kind, found in plans.items() if isinstance(found, str)}
    chosen = {kind: found for kind, found in plans.items() if isinstance(found, Plan)}
    sentences = sorted({text for found in chosen.values() for row in found.sentences for text in row})
    try:
        vectors = dict(zip(sentences, embed(sentences), strict=True)) if sentences else {}
    except ValueError as error:
        return {kind: {"skipped": str(error)} for kind in plans}, {}
    films: dict[str, NDArray[np.uint8]] = {}
    for kind, found in chosen.items():
        columns = []
        for column in zip(*found.sentences, strict=True):
            columns.append(dream(torch.stack([vectors[text] for text in column])))
            progress(f"pictures of each {kind}", len(columns), len(found.values))
        dreamt = np.stack(columns, 1)
        judge = place_report if kind == "place" else light_report
        judged, margin = judge(dreamt, found, maps[found.clips], shown, seed)
        gallery = quantile_members(-margin)
        report[kind] = {"values": found.values, **judged, "gallery": [texts[i] for i in found.clips[gallery]]}
        films[kind] = np.concatenate([typical(found, shown)[None], dreamt[gallery]])
    return report, films


def place_report(
    dreamt: NDArray[np.uint8], found: Plan, maps: NDArray[np.int64], shown: Shown, seed: int = 0
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Are two pictures, dreamt under two places, nearer to recorded frames of their own place than of each other's?

    By colours (``measures.colours``) and by the mean of each place's recorded frames, both distances added: what both
    pictures share, such as the light, cancels out. ``recorded`` judges two recorded frames alike, by means of other
    maps than theirs: how far places can be told by colours at all.

    Returns:
        The report, and per clip (B,) how much nearer on average.
    """
    seen_RC = colours(shown.frames).reshape(len(shown.frames), -1)
    made_BVC = colours(dreamt).reshape(*dreamt.shape[:2], -1)
    places = found.values
    # From each picture (second axis) to what each place looks like (third).
    looks = [seen_RC[found.recorded[v]].mean(0) for v in places]
    far_BVV = np.stack([np.abs(made_BVC - look).mean(-1) for look in looks], -1)
    own_BV = np.diagonal(far_BVV, axis1=1, axis2=2)
    # The same picture twice gains exactly nothing.
    lead_BVV = far_BVV.swapaxes(1, 2) - own_BV[:, :, None]
    gain_BVV = lead_BVV + lead_BVV.swapaxes(1, 2)
    right_BVV, (one, other) = _higher(gain_BVV), np.triu_indices(len(places), 1)
    rest = ~np.eye(len(places), dtype=bool)
    judged = leave_maps_out(seen_RC, shown.maps, found.recorded)
    return {
        "nearer": estimate(right_BVV[:, one, other].mean(1), maps, seed=seed),
        "recorded": estimate(judged, shown.maps, seed=seed),
        "by_value": {v: round(float(right_BVV[:, i][:, rest[i]].mean()), 4) for i, v in enumerate(places)},
        "recorded_by_value": {v: _mean(judged[found.recorded[v]]) for v in places},
        "maps_by_value": {v: len(set(shown.maps[found.recorded[v]].tolist())) for v in places},
    }, gain_BVV[:, one, other].mean(1)


def leave_maps_out(
    seen_RC: NDArray[np.float64], maps: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]]
) -> NDArray[np.float64]:
    """For each recorded frame, the share of frames of other places that it is told from as ``place_report`` does.

    What places look like is judged by other maps than either frame's; nan (R,) where no other map shows both places.
    """
    found: dict[tuple[int, str], list[NDArray[np.float64]]] = defaultdict(list)
    for a, b in combinations(rows, 2):
        for m, n in product(np.unique(maps[rows[a]]), np.unique(maps[rows[b]])):
            known = [rows[place][~np.isin(maps[rows[place]], (m, n))] for place in (a, b)]
            if not all(map(len, known)):
                continue
            looks = [seen_RC[members].mean(0) for members in known]
            first, second = rows[a][maps[rows[a]] == m], rows[b][maps[rows[b]] == n]
            # How much nearer each is to the first place than to the second.
            near = [np.subtract(*(np.abs(seen_RC[r] - look).mean(-1) for look in looks[::-1])) for r in (first, second)]
            right = _higher(near[0][:, None] - near[1])
            for row, scores in zip(first, right, strict=True):
                found[int(row), b].append(scores)
            for row, scores in zip(second, right.T, strict=True):
                found[int(row), a].append(scores)
    shares: dict[int, list[float]] = defaultdict(list)
    for (row, _), scores in found.items():
        shares[row].append(float(np.concatenate(scores).mean()))
    return np.array([np.mean(shares[row]) if row in shares else np.nan for row in range(len(maps))])


def light_report(
    dreamt: NDArray[np.uint8], found: Plan, maps: NDArray[np.int64], shown: Shown, seed: int = 0
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Is it darker under the words of a dark time than under those of day, with the same noise, and by how much?

    ``recorded``: of two recorded frames, one of a dark time and one of day, whether the first is darker.

    Returns:
        The report, and per clip (B,) the mean difference in brightness (of 255).
    """
    made_BV, seen_R = (grey(pictures).mean((-2, -1), dtype=np.float64) for pictures in (dreamt, shown.frames))
    dark = np.array([Light.dark(value) for value in found.values])
    gain = made_BV[:, None, ~dark] - made_BV[:, dark, None]
    margin = gain.mean((1, 2))
    number = np.full(len(seen_R), -1)
    for i, value in enumerate(found.values):
        number[found.recorded[value]] = i
    used = np.flatnonzero(number >= 0)
    by_night = dark[number[used]]
    pairs = _higher(seen_R[used][None, ~by_night] - seen_R[used][by_night, None])
    scores = np.empty(len(used))
    scores[by_night], scores[~by_night] = pairs.mean(1), pairs.mean(0)

    def difference(rows: NDArray[np.int64]) -> float:
        """Day less dark times, each time counted once, as in dreams; nan where one of both is missing."""
        bright, times = seen_R[used][rows], number[used][rows]
        by_time = {v: bright[times == v].mean() for v in np.unique(times)}
        sides = [[mean for v, mean in by_time.items() if dark[v] == side] for side in (False, True)]
        return float(np.mean(sides[0]) - np.mean(sides[1])) if all(sides) else float("nan")

    return {
        "darker": estimate(_higher(gain).mean((1, 2)), maps, seed=seed),
        "recorded": estimate(scores, shown.maps[used], seed=seed),
        "difference": estimate(margin, maps, seed=seed),
        "difference_recorded": estimate(scores, shown.maps[used], statistic=difference, seed=seed),
        "dark": [value for value, is_dark in zip(found.values, dark, strict=True) if is_dark],
        "brightness": {v: round(float(made_BV[:, i].mean()), 2) for i, v in enumerate(found.values)},
        "brightness_recorded": {v: round(float(seen_R[found.recorded[v]].mean()), 2) for v in found.values},
    }, margin


def typical(found: Plan, shown: Shown) -> NDArray[np.uint8]:
    """Of each value the recorded frame (V, H, W, 3) whose colours are nearest to the mean of all."""
    out = []
    for value in found.values:
        frames = shown.frames[found.recorded[value]]
        seen = colours(frames)
        out.append(frames[np.abs(seen - seen.mean(0)).mean((1, 2)).argmin()])
    return np.stack(out)


def _higher(gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where something is gained, 0 where it is lost; a half for equals, so that who hears nothing is at chance."""
    return (np.sign(gain) + 1) / 2


def _mean(values: NDArray[np.float64]) -> float | None:
    counted = values[~np.isnan(values)]
    return round(float(counted.mean()), 4) if len(counted) else None
