"""How far the measures of turning and walking can be trusted: on recorded play whose actions are known.

Each window is also shown blurred, ghosted and through a world's tokenizer, as dreams are, and with time turned round:
a measure that leans to one side under any of these would judge a dream's blur and not its motion.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.evaluation.measures.clips import draw_evenly, map_of
from worldsim.evaluation.measures.metrics import WALK, turn_evidence, walk_evidence
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT

Frames = NDArray[np.uint8]
Distort = Callable[[Frames], Frames]
# Windows of each kind on which the measures are tried.
WINDOWS = 30
SIGN = {"right": -1, "left": 1, "forward": 1, "back": -1, "still": 0}
# Frames of a window, of which one a chunk is looked at; frames before it for the tokenizer to warm up.
WINDOW, BEFORE = 9, 8


def blurred(frames: Frames, first: float, last: float) -> Frames:
    """Frames (F, H, W, 3) under a Gaussian blur that grows from ``first`` to ``last`` pixels."""
    widths = np.linspace(first, last, len(frames))
    soft = [gaussian_filter(f.astype(np.float32), (s, s, 0)) if s else f for f, s in zip(frames, widths, strict=True)]
    return np.stack(soft).round().clip(0, 255).astype(np.uint8)


def ghosted(frames: Frames, share: float) -> Frames:
    """Frames (F, H, W, 3) mixed with their own mean over time."""
    return ((1 - share) * frames + share * frames.mean(0, dtype=np.float32)).round().astype(np.uint8)


DISTORTIONS: Mapping[str, Distort] = {
    "as recorded": lambda x: x,
    "blurred by 1 pixel": lambda x: blurred(x, 1, 1),
    "blur growing to 1 pixel": lambda x: blurred(x, 0, 1),
    "blur growing to 2 pixels": lambda x: blurred(x, 0, 2),
    "30 % of its own mean": lambda x: ghosted(x, 0.3),
    "60 % of its own mean": lambda x: ghosted(x, 0.6),
}


def recorded_windows(
    store: EpisodeStore, splits: Sequence[Split], most: int = 100, seed: int = 0
) -> dict[str, list[Any]]:
    """Windows (frames, pitch) of recorded play by what was done in them: ``most`` of each kind, drawn with the seed.

    Windows of 8 frames: turning steadily by 1 to 5 degrees a frame; only forward or only back held on level ground,
    with the camera nearly still and the player really moving; or nothing done.
    """
    found: dict[str, dict[int, list[tuple[str, int]]]] = {kind: defaultdict(list) for kind in SIGN}
    for name in (name for split in splits for name in store.names(split) if _posed(store.manifest(name))):
        episode = store.read(name, depth=False)
        for t in range(20, len(episode) - 20, 8):
            if kind := window_kind(episode, t):
                found[kind][map_of(store, name)].append((name, t))

    def window(name: str, t: int) -> tuple[Frames, float]:
        part = store.read(name, t - BEFORE, t + WINDOW)
        return part.frames, float(part.state["pitch"][BEFORE])

    return {kind: [window(*place) for place in draw_evenly(by_map, most, seed)] for kind, by_map in found.items()}


def recorded_turn(
    store: EpisodeStore, splits: Sequence[Split], chunk: int, most: int = 100, seed: int = 0
) -> float | None:
    """Mean evidence of recorded turns without its sign, from pictures a chunk apart; None where nobody turned."""
    windows = recorded_windows(store, splits, most, seed)
    seen = [abs(turn_evidence(list(x[BEFORE::chunk]))) for kind in ("right", "left") for x, _ in windows[kind]]
    return float(np.mean(seen)) if seen else None


def _posed(manifest: Mapping[str, Any]) -> bool:
    """Whether an episode has the camera's pose, and has the first-person keys."""
    keys = manifest["provenance"].get("keys", MINECRAFT.keys)
    return {"state/position", "state/pitch"} <= set(manifest["arrays"]) and tuple(keys) == MINECRAFT.keys


def measure_reliability(
    store: EpisodeStore, splits: Sequence[Split], world: WorldModel, most: int = 100, seed: int = 0
) -> dict[str, Any]:
    """Share of windows judged right, by distortion and kind, and how far walking leans to one side.

    Pictures are as far apart as the ends of the world's chunks, as they are where dreams are judged.

    Returns:
        Per distortion: ``right``, ``left``, ``forward``, ``back`` and, with time turned round, ``forward reversed`` and
        ``back reversed``; ``still expands`` (a half is fair); ``lean``: mean evidence of windows and their reversals
        together, in units of the mean evidence of a walk (0 is fair); ``windows`` of each kind.
    """
    windows, r = recorded_windows(store, splits, most, seed), world.chunk
    views: dict[str, Callable[[Frames], Frames]] = {
        name: lambda x, distort=distort: distort(x[BEFORE::r]) for name, distort in DISTORTIONS.items()
    }
    views["through the tokenizer"] = lambda x: world.decode(world.encode(x[None]))[0][0, -(WINDOW // r + 1) :, -1]
    return {"windows": {kind: len(v) for kind, v in windows.items()}, "right": _judge(windows, views, WALK * r)}


def _judge(
    windows: dict[str, list[Any]], views: dict[str, Callable[[Frames], Frames]], metres: float
) -> dict[str, Any]:
    out = {}
    for name, view in views.items():
        row: dict[str, Any] = {}
        sums: list[float] = []
        sizes: list[float] = []
        for kind, members in windows.items():
            shown = [(view(frames), pitch) for frames, pitch in members]
            if kind in ("right", "left"):
                evidence = np.array([turn_evidence(list(x)) for x, _ in shown])
            else:
                evidence = np.array([walk_evidence(list(x), pitch, metres=metres) for x, pitch in shown])
            if kind in ("forward", "back") and members:
                # Turned round before it is distorted: a dream blurs as its own time goes on.
                turned = [view_reversed(view, frames) for frames, _ in members]
                pairs = zip(turned, members, strict=True)
                reverse = np.array([walk_evidence(list(x), pitch, metres=metres) for x, (_, pitch) in pairs])
                row[f"{kind} reversed"] = float((reverse * SIGN[kind] < 0).mean())
                sums += list(evidence + reverse)
                sizes += list(np.abs(evidence))
            right = evidence > 0 if kind == "still" else evidence * SIGN[kind] > 0
            row["still expands" if kind == "still" else kind] = float(right.mean()) if members else None
        row["lean"] = float(np.mean(sums) / 2 / np.mean(sizes)) if sums else None
        out[name] = {key: None if v is None else round(v, 4) for key, v in row.items()}
    return out


def view_reversed(view: Callable[[Frames], Frames], frames: Frames) -> Frames:
    """A window with time turned round, then seen through a view: its frames before are those after the last one."""
    after = np.repeat(frames[-1:], BEFORE, 0)
    return view(np.concatenate([after, frames[BEFORE:][::-1]]))


def window_kind(episode: Episode, t: int) -> str | None:
    """What was done in the 8 frames from ``t`` on, if it was one clear thing."""
    keys, mouse = episode.actions[t : t + 8, :5] > 0.5, episode.actions[t : t + 8, -2:]
    position = episode.state["position"][t : t + 9]
    yaw = mouse[:, 1]
    if (np.abs(yaw) > 1).all() and (np.abs(yaw) < 5).all() and np.ptp(np.sign(yaw)) == 0:
        return "right" if yaw[0] > 0 else "left"
    moved = np.linalg.norm((position[-1] - position[0])[[0, 2]])
    if not keys.any() and np.abs(mouse).max() < 0.1 and moved < 0.01:
        return "still"
    if keys[:, 2:].any() or np.abs(mouse).max() > 1 or moved < 1.0 or np.ptp(position[:, 1]) > 0.15:
        return None
    forward, back = keys[:, 0], keys[:, 1]
    if forward.all() and not back.any():
        return "forward"
    return "back" if back.all() and not forward.any() else None
