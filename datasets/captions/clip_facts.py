"""What happens in a clip, from its actions, its state and its events: the facts that captions put into words.

Where an engine tells no state, the actions alone decide; where nothing is known, nothing is said.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.captions.templates import place_phrase, time_phrase
from worldsim.datasets.store.episode import Episode

# Frames over which an activity is decided, and the shortest one that is told.
WINDOW = 8
# Degrees of a whole clip from which the camera counts as turned.
TURNED = 15.0
# Degrees that count as looking one way in a sweep to and fro.
SWEPT = 8.0
# Shares of a window in which a key is held.
HELD = 0.4
# Light levels (0 to 15) up to which a place is dark or dim.
DARK, DIM = 5, 11
# Metres of height that count as climbing or descending.
CLIMBED = 1.5

MOVES = {
    "forward": ("forward", "back"),
    "back": ("back", "forward"),
    "left": ("left", "right"),
    "right": ("right", "left"),
}


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What is known of a clip; empty means unknown or nothing of the kind.

    Attributes:
        place: with its preposition, as ``place_phrase`` has it: `` in a desert``.
        time: of day: ``at noon``.
        light: ``dark``, ``dim`` or ``bright``.
        activities: what the player does, one after another: ``forward``, ``sprint``, ``back``, ``left``, ``right``,
            ``jump``, ``dig``, ``place``, ``swim``, ``still``.
        camera: ``left``, ``right``, ``up``, ``down``, ``sweep`` or ``still``.
        degrees: that the camera turned in all, 0 if unknown.
        climbed: metres that the player ended higher.
        dug: names of the blocks that were dug, with their number.
        placed: of those that were placed.
    """

    place: str = ""
    time: str = ""
    light: str = ""
    activities: tuple[str, ...] = ()
    camera: str = ""
    degrees: float = 0.0
    climbed: float = 0.0
    dug: tuple[tuple[str, int], ...] = ()
    placed: tuple[tuple[str, int], ...] = ()


def clip_facts(clip: Episode) -> ClipFacts:
    """The facts of a clip."""
    about, start = clip.provenance, clip.provenance.get("start")
    start = start if isinstance(start, dict) else {}
    has_time = "time_of_day" in start
    camera, degrees = _camera(clip)
    height = clip.state["position"][:, 1] if "position" in clip.state else np.zeros(1)
    return ClipFacts(
        place=place_phrase(str(about.get("biome") or "")),
        time=time_phrase(float(start["time_of_day"])) if has_time else "",
        light=_light(clip),
        activities=_activities(clip),
        camera=camera,
        degrees=degrees,
        climbed=round(float(height[-1] - height[0]), 1),
        dug=_blocks(clip, "dig"),
        placed=_blocks(clip, "place"),
    )


def block_name(node: str) -> str:
    """``dirt with grass`` for ``default:dirt_with_grass``."""
    return node.rsplit(":", 1)[-1].replace("_", " ").strip()


def _light(clip: Episode) -> str:
    if "light" not in clip.state:
        return ""
    level = float(np.median(clip.state["light"]))
    return "dark" if level <= DARK else "dim" if level <= DIM else "bright"


def _blocks(clip: Episode, kind: str) -> tuple[tuple[str, int], ...]:
    found = Counter(block_name(str(e.get("node") or "block")) for e in clip.events if e["kind"] == kind)
    return tuple(found.most_common(3))


def _turning(clip: Episode) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Degrees of yaw and pitch of each transition inside the clip; None if unknown."""
    if {"yaw", "pitch"} <= clip.state.keys():
        yaw, pitch = (clip.state[k].astype(np.float64) for k in ("yaw", "pitch"))
        return (np.diff(yaw) + 180) % 360 - 180, np.diff(pitch)
    keys = clip.provenance.get("keys")
    if keys is not None and clip.actions.shape[1] == len(keys) + 2 and _acted(clip):
        return clip.actions[:-1, -1].astype(np.float64), clip.actions[:-1, -2].astype(np.float64)
    return None


def _camera(clip: Episode) -> tuple[str, float]:
    turning = _turning(clip)
    if turning is None or len(clip) < 2:
        return "", 0.0
    yaw, pitch = (np.concatenate([[0.0], np.cumsum(t)]) for t in turning)
    around, tilt = float(yaw[-1]), float(pitch[-1])
    if max(abs(around), abs(tilt)) >= TURNED:
        if abs(around) >= abs(tilt):
            return ("right" if around > 0 else "left"), abs(around)
        return ("down" if tilt > 0 else "up"), abs(tilt)
    # To one side and back again.
    if max(np.ptp(yaw), np.ptp(pitch)) >= 2 * SWEPT:
        return "sweep", float(np.abs(turning[0]).sum())
    return "still", 0.0


def _acted(clip: Episode) -> bool:
    return clip.provenance.get("actions", "recorded") != "unknown"


def _held(clip: Episode) -> dict[str, NDArray[np.bool_]]:
    """Which keys are down in each transition inside the clip."""
    keys = clip.provenance.get("keys")
    if not keys or not _acted(clip) or clip.actions.shape[1] < len(keys):
        return {}
    return {str(key): clip.actions[:-1, i] > 0.5 for i, key in enumerate(keys)}


def _activities(clip: Episode) -> tuple[str, ...]:
    held, steps = _held(clip), len(clip) - 1
    if "forward" not in held or steps < 1:
        return ()
    events = {kind: [e["frame"] for e in clip.events if e["kind"] == kind] for kind in ("dig", "place")}
    water = clip.state.get("in_water")
    found: list[str] = []
    for first in range(0, steps, WINDOW):
        # A rest shorter than half a window belongs to the one before.
        if found and steps - first < WINDOW // 2:
            break
        last = min(first + WINDOW, steps)
        share = {key: float(down[first:last].mean()) for key, down in held.items()}
        happened = {kind: any(first <= frame <= last for frame in frames) for kind, frames in events.items()}
        wet = water is not None and float(water[first:last].mean()) > 0.5
        activity = _activity(share, happened, wet)
        if not found or found[-1] != activity:
            found.append(activity)
    return tuple(found)


def _activity(share: dict[str, float], happened: dict[str, bool], wet: bool) -> str:
    """The one activity of a window, given the share of it in which each key is held."""
    if happened["place"]:
        return "place"
    if happened["dig"] or share.get("attack", 0) >= HELD:
        return "dig"
    if wet:
        return "swim"
    net = {move: share.get(key, 0) - share.get(other, 0) for move, (key, other) in MOVES.items()}
    move = max(net, key=lambda name: net[name])
    if net[move] < HELD:
        return "jump" if share.get("jump", 0) >= HELD else "still"
    return "sprint" if move == "forward" and share.get("sprint", 0) >= HELD else move
