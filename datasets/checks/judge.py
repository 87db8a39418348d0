"""Judge what was counted: thresholds, findings, and the lag of every source."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from worldsim.datasets.checks.actions import ActionCount, add_counts
from worldsim.datasets.checks.episode import Look
from worldsim.datasets.checks.maps import EpisodeHashes, SharedMap, shared_pictures, shared_seeds
from worldsim.datasets.checks.motion import Lag, find_lag
from worldsim.datasets.checks.pictures import PAIRS, PictureCount
from worldsim.datasets.checks.stillness import FROZEN_DIFFERENCE
from worldsim.datasets.governance.map_seeds import seed_key
from worldsim.datasets.governance.provenance import missing_fields

Severity = Literal["failure", "warning", "note"]
# Names of episodes in a message.
NAMED = 5
# A lag that is found in fewer of the resampled recordings than this is none to speak of.
EVEN = 0.5


@dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """Thresholds; each share is of what was looked at.

    Attributes:
        confidence: from which on a lag other than 0 is a failure.
        correlation: of picture and mouse, below which nothing is said about their lag.
        frozen_difference: of two frames, mean absolute, of 255, below which the second counts as frozen.
        repeated_share: of the frames during a turn that may equal the one before.
        frozen_share: of frames that may be frozen before a warning.
        frozen_seconds: of one stretch before a warning.
        idle_share: of frames without any action before a warning.
        jitter: of the frame rate, as a share of a frame.
        most_degrees: that the mouse can turn in one frame.
        shared_views: clearly different views that two splits may not share.
    """

    confidence: float = 0.95
    correlation: float = 0.2
    frozen_difference: float = FROZEN_DIFFERENCE
    repeated_share: float = 0.05
    frozen_share: float = 0.5
    frozen_seconds: float = 10.0
    idle_share: float = 0.6
    jitter: float = 0.2
    most_degrees: float = 180.0
    shared_views: int = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: in a word, for programs.
        severity: a failure makes the check fail.
        message: in a sentence.
        episodes: those concerned.
    """

    kind: str
    severity: Severity
    message: str
    episodes: tuple[str, ...] = ()


@dataclass
class Alignment:
    """The lag of one source, by pictures (yaw, pitch) and by the recorded pose.

    Attributes:
        group: what was recorded in one way.
        episodes: how many.
        lags: by pair of axes, and ``pose``; None where nothing can be told.
    """

    group: str
    episodes: int
    lags: dict[str, Lag | None] = field(default_factory=dict)


def find_alignments(looks: Sequence[Look], seed: int) -> list[Alignment]:
    """Lags by source."""
    groups: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        groups[look.group].append(look)
    out = []
    for group, members in sorted(groups.items()):
        alignment = Alignment(group, len(members))
        for pair in PAIRS:
            windows = [w for look in members if look.pictures for w in look.pictures.windows.get(pair, [])]
            alignment.lags[pair] = find_lag(windows, seed) if windows else None
        poses = [look.pose for look in members if look.pose is not None]
        alignment.lags["pose"] = find_lag(poses, seed) if poses else None
        out.append(alignment)
    return out


def judge_alignment(alignment: Alignment, limits: CheckLimits) -> list[Finding]:
    """Findings about one source's alignment."""
    reliable = {
        k: lag for k, lag in alignment.lags.items() if lag is not None and lag.correlation >= limits.correlation
    }
    straight = [pair for pair in ("yaw", "pitch", "pose") if pair in reliable]
    if "yaw as pitch" in reliable and "pitch as yaw" in reliable and "yaw" not in reliable:
        text = "the mouse's two axes are swapped (an action ends in pitch, then yaw)"
        return [Finding("swapped axes", "failure", f"{alignment.group}: {text}")]
    if not straight:
        if any(lag is not None for lag in alignment.lags.values()):
            text = f"{alignment.group}: the pictures do not answer to the mouse at any lag"
            return [Finding("alignment", "warning", text)]
        return []
    found = []
    for pair in straight:
        lag = reliable[pair]
        what = "recorded yaw" if pair == "pose" else f"picture ({pair})"
        found += _judge_lag(lag, pair, what, alignment.group, limits)
    return found


def _judge_lag(lag: Lag, pair: str, what: str, group: str, limits: CheckLimits) -> list[Finding]:
    """Findings about one motion that answers to the mouse: whether it does so in time, and the right way round."""
    if lag.frames and lag.confidence >= limits.confidence:
        way = "after" if lag.frames > 0 else "before"
        text = (
            f"{group}: the {what} moves {abs(lag.frames)} frame{'s' * (abs(lag.frames) > 1)} {way} the mouse "
            f"(lag {lag.frames:+d}, confidence {lag.confidence:.2f})"
        )
        return [Finding("alignment", "failure", text)]
    if lag.frames and lag.confidence < EVEN:
        text = f"{group}: too little is told of the {what} to say whether it lags"
        return [Finding("alignment", "note", text)]
    if lag.frames:
        text = f"{group}: the {what} may lag by {lag.frames:+d} (confidence {lag.confidence:.2f})"
        return [Finding("alignment", "warning", text)]
    if (lag.gain > 0) != (pair == "pose"):
        sign = {"pitch": "positive pitch looks down"}.get(pair, "positive yaw turns right")
        return [Finding("sign", "failure", f"{group}: the {what} moves the wrong way: {sign}")]
    return []


def late_episodes(looks: Sequence[Look], limits: CheckLimits, seed: int) -> list[Finding]:
    """Single episodes whose own pictures clearly answer at another lag than 0, however right the rest is."""
    late = {}
    for look in looks:
        windows = look.pictures.windows.get("yaw", []) if look.pictures else []
        lag = find_lag(windows, seed) if len(windows) >= 4 else None
        if lag is None or lag.frames == 0 or lag.confidence < max(0.99, limits.confidence):
            continue
        # One episode is little evidence: it has to be plain, not a matter of the third digit.
        if lag.correlation > 2 * limits.correlation and abs(lag.gain) > 3 * abs(lag.response[len(lag.response) // 2]):
            late[look.name] = lag.frames
    if not late:
        return []
    text = f"{len(late)} episodes are misaligned by themselves: " + _some([f"{n} by {k:+d}" for n, k in late.items()])
    return [Finding("alignment", "failure", text, tuple(late))]


def judge_damage(looks: Iterable[Look]) -> list[Finding]:
    """Findings about bytes and impossible values, one for each episode concerned."""
    found = []
    for look in looks:
        if look.damage:
            found.append(Finding("damage", "failure", f"{look.name}: {_some(look.damage)}", (look.name,)))
        if look.impossible:
            found.append(
                Finding("impossible values", "failure", f"{look.name}: {_some(look.impossible)}", (look.name,))
            )
    return found


def judge_pictures(looks: Sequence[Look], limits: CheckLimits, *, aligned: bool) -> list[Finding]:
    """Findings about repeated and frozen frames; where actions are late, pictures seem to stand still in turns."""
    seen = [(look, look.pictures) for look in looks if look.pictures is not None]
    turning, repeated = sum(p.turning for _, p in seen), sum(p.repeated for _, p in seen)
    pairs, frozen = sum(p.pairs for _, p in seen), sum(p.frozen for _, p in seen)
    found = []
    if aligned and repeated > limits.repeated_share * turning:
        worst = [look.name for look, p in seen if p.repeated > limits.repeated_share * p.turning]
        text = f"{repeated / turning:.1%} of the frames during a turn repeat the one before: {_some(worst)}"
        found.append(Finding("repeated frames", "failure", text, tuple(worst)))
    if frozen > limits.frozen_share * pairs:
        found.append(Finding("frozen frames", "warning", f"{frozen / pairs:.0%} of the frames stand still"))
    return found + _long_freezes(seen, limits)


def _long_freezes(seen: Sequence[tuple[Look, PictureCount]], limits: CheckLimits) -> list[Finding]:
    long = {}
    for look, p in seen:
        seconds = p.longest[0] / float(look.manifest["provenance"].get("fps") or 20)
        if seconds > limits.frozen_seconds:
            long[look.name] = f"{look.name} {seconds:.1f} s from frame {p.longest[1]}"
    if not long:
        return []
    return [Finding("frozen frames", "warning", f"pictures stand still: {_some(long.values())}", tuple(long))]


def judge_clocks(looks: Sequence[Look], limits: CheckLimits) -> list[Finding]:
    """Findings about the times of frames, where they were recorded."""
    found = []
    for look in looks:
        clock = look.clock
        if clock is None:
            continue
        promised = float(look.manifest["provenance"].get("fps") or clock.rate)
        wrong = []
        if clock.backwards:
            wrong.append(f"the clock stands still or runs back {clock.backwards} times (first at frame {clock.first})")
        if clock.jitter > limits.jitter:
            wrong.append(f"the rate jitters by {clock.jitter:.0%} of a frame")
        if abs(clock.rate / promised - 1) > limits.jitter:
            wrong.append(f"{clock.rate:.2f} frames a second instead of {promised:g}")
        if wrong:
            found.append(Finding("clock", "failure", f"{look.name}: {_some(wrong)}", (look.name,)))
        if clock.gaps:
            text = (
                f"{look.name}: {clock.gaps} gaps in time, the longest of {clock.worst:.2f} s (first at {clock.first})"
            )
            found.append(Finding("clock", "warning", text, (look.name,)))
    return found


def judge_actions(looks: Sequence[Look], limits: CheckLimits) -> tuple[list[ActionCount], list[Finding]]:
    """Sums of actions by set of keys, and findings about them."""
    sums, found = add_counts(look.actions for look in looks if look.actions is not None), []
    for count in sums:
        if count.idle_share > limits.idle_share:
            found.append(Finding("idle", "warning", f"{count.idle_share:.0%} of the frames have no action at all"))
        if count.never:
            found.append(Finding("keys", "warning", f"keys never pressed: {', '.join(count.never)}"))
    return sums, found


def judge_splits(looks: Sequence[Look], limits: CheckLimits) -> tuple[list[SharedMap], list[Finding]]:
    """Maps and recordings that are in more than one place."""
    keys = {look.name: (look.split, seed_key(look.manifest["provenance"])) for look in looks}
    hashes = [
        EpisodeHashes(look.name, look.split, look.pictures.hashes, look.pictures.hashed)
        for look in looks
        if look.pictures is not None
    ]
    shared = shared_seeds(keys) + shared_pictures(hashes, matches=limits.shared_views)
    found = [
        Finding(
            "shared map",
            "failure",
            f"{s.first} ({s.splits[0]}) and {s.second} ({s.splits[1]}) show one map: {s.reason}",
            (s.first, s.second),
        )
        for s in shared
    ]
    copies: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        if look.content:
            copies[look.content].append(look)
    for same in copies.values():
        if len(same) > 1:
            severity: Severity = "failure" if len({look.split for look in same}) > 1 else "warning"
            names = tuple(look.name for look in same)
            found.append(Finding("copies", severity, f"the same frames: {_some(names)}", names))
    if looks and {look.split for look in looks} == {"train"}:
        found.append(Finding("splits", "warning", "there is no validation or test episode"))
    return shared, found


def judge_provenance(looks: Sequence[Look]) -> list[Finding]:
    """What episodes do not say of themselves."""
    lacking: dict[str, list[str]] = defaultdict(list)
    for look in looks:
        for name in missing_fields(look.manifest):
            lacking[name].append(look.name)
    return [
        Finding("provenance", "warning", f"{len(names)} of {len(looks)} episodes do not say their {name}", tuple(names))
        for name, names in lacking.items()
    ]


def _some(lines: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    lines = list(lines)
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return "; ".join(lines[:NAMED]) + more
