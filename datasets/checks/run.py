"""Check a store of episodes: what is damaged, misaligned, frozen, impossible, or shared between splits."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.datasets.checks.actions import ActionCount
from worldsim.datasets.checks.episode import Look, LookPlan, inspect_episode
from worldsim.datasets.checks.judge import (
    Alignment,
    CheckLimits,
    Finding,
    find_alignments,
    judge_actions,
    judge_alignment,
    judge_clocks,
    judge_damage,
    judge_pictures,
    judge_provenance,
    judge_splits,
    late_episodes,
)
from worldsim.datasets.checks.maps import SharedMap
from worldsim.datasets.checks.pictures import WINDOW
from worldsim.datasets.checks.reprojection import Reprojection
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore

# Perceptual hashes that either side of the comparison of splits gets, whatever the size of the store.
MOST_HASHES = 12_000


@dataclass
class Report:
    """Everything that a check found.

    Attributes:
        store: path of the store.
        findings: failures first.
        looks: one for each episode whose manifest can be read.
        alignments, actions, shared: what the findings rest on.
        hashed: episodes whose every byte was compared.
        full: whether everything was looked at.
        seconds: that the check took.
    """

    store: Path
    findings: list[Finding]
    looks: list[Look]
    alignments: list[Alignment]
    actions: list[ActionCount]
    shared: list[SharedMap]
    hashed: int
    full: bool
    seconds: float = 0.0

    def failed(self, strict: bool = False) -> bool:
        """Whether there is a failure; with ``strict``, a warning is one."""
        return any(f.severity == "failure" or (strict and f.severity == "warning") for f in self.findings)

    @property
    def frames(self) -> int:
        """Frames in all readable episodes."""
        return sum(int(look.manifest["frames"]) for look in self.looks)

    @property
    def frames_seen(self) -> int:
        """Frames whose pictures were looked at."""
        return sum(look.pictures.frames for look in self.looks if look.pictures is not None)


def check_store(
    store: EpisodeStore,
    *,
    limits: CheckLimits,
    frames: int,
    gigabytes: float,
    full: bool = False,
    workers: int = 2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every episode's manifest, file sizes and small arrays, and a sample of bytes and pictures.

    Args:
        store: to check; it is only read.
        limits: thresholds.
        frames: whose pictures are looked at, in all; half of them in validation and test.
        gigabytes: of files compared with their sha256, in all.
        full: every byte and every picture instead.
        workers: threads.
        seed: of the bootstrap behind confidences.
        progress: called with (episodes done, episodes in all).

    Raises:
        FileNotFoundError: there is no such store.
        ValueError: an option makes no sense.
    """
    if frames < WINDOW or workers < 1 or gigabytes < 0:
        raise ValueError(f"frames must be {WINDOW} or more and workers 1 or more, got {frames} and {workers}")
    folder = store.path / "episodes"
    if not folder.is_dir():
        raise FileNotFoundError(f"no episode store at {store.path}")
    start = time.monotonic()
    manifests, unreadable = _read_manifests(store)
    plans = plan_looks(manifests, limits, frames=frames, gigabytes=gigabytes, full=full)
    looks = []
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(inspect_episode, folder / name, manifests[name], plan) for name, plan in plans.items()]
        for done, job in enumerate(jobs, 1):
            looks.append(job.result())
            if progress is not None:
                progress(done, len(jobs))
    report = judge(store.path, looks, unreadable, limits, seed)
    report.hashed, report.full = sum(plan.hash_files for plan in plans.values()), full
    report.seconds = time.monotonic() - start
    return report


def judge(path: Path, looks: list[Look], unreadable: Sequence[Finding], limits: CheckLimits, seed: int) -> Report:
    """Make a report of what was looked at."""
    alignments = find_alignments(looks, seed)
    actions, action_findings = judge_actions(looks, limits)
    shared, split_findings = judge_splits(looks, limits)
    misaligned = [
        *(finding for alignment in alignments for finding in judge_alignment(alignment, limits)),
        *late_episodes(looks, limits, seed),
    ]
    findings = [
        *unreadable,
        *judge_damage(looks),
        *misaligned,
        *split_findings,
        *judge_depth(looks),
        *judge_clocks(looks, limits),
        *judge_pictures(looks, limits, aligned=not misaligned),
        *action_findings,
        *judge_provenance(looks),
    ]
    if not looks and not unreadable:
        findings.append(Finding("empty", "warning", "there is no episode"))
    findings.sort(key=lambda finding: ("failure", "warning", "note").index(finding.severity))
    return Report(path, findings, looks, alignments, actions, shared, 0, False)


def measured_depth(looks: Sequence[Look]) -> dict[str, Reprojection]:
    """Reprojection by source, where there is depth."""
    groups: dict[str, Reprojection] = {}
    for look in looks:
        if look.reprojection is not None:
            groups.setdefault(look.group, Reprojection()).add(look.reprojection)
    return groups


def judge_depth(looks: Sequence[Look]) -> list[Finding]:
    """A failure for each source whose depth does not belong to its pictures and poses; the numbers of the others."""
    found = []
    for group, measured in sorted(measured_depth(looks).items()):
        if mistake := measured.mistake():
            found.append(Finding("depth", "failure", f"{group}: {mistake}"))
        elif measured.pairs:
            gain = (
                f"reprojected by depth and pose, {measured.pairs} frames are {measured.gain:.1f} dB nearer to the next"
            )
            found.append(Finding("depth", "note", f"{group}: {gain} than repeated ones"))
    return found


def plan_looks(
    manifests: Mapping[str, Mapping[str, Any]], limits: CheckLimits, *, frames: int, gigabytes: float, full: bool
) -> dict[str, LookPlan]:
    """How closely to look at each episode so that the whole costs what was asked for, evenly over the store."""
    held_out = [n for n, m in manifests.items() if m["provenance"].get("split") in ("validation", "test")]
    others = [n for n in manifests if n not in set(held_out)]
    hashed = set(manifests) if full else _within(manifests, gigabytes * 1e9)
    plans = {}
    for group, budget in ((held_out, frames / 2 if others else frames), (others, frames / 2 if held_out else frames)):
        total = sum(int(manifests[name]["frames"]) for name in group)
        share = 1.0 if full else min(1.0, budget / max(total, 1))
        every = max(1 if group is held_out else 2, round(total * share / MOST_HASHES))
        before = 0.0
        for name in group:
            # Windows owed so far, rounded: episodes shorter than their share get one now and then.
            owed = before + share * int(manifests[name]["frames"]) / WINDOW
            plans[name] = LookPlan(
                windows=None if share == 1.0 else int(owed) - int(before),
                hash_files=name in hashed,
                hash_every=every,
                frozen_difference=limits.frozen_difference,
                most_degrees=limits.most_degrees,
            )
            before = owed
    return {name: plans[name] for name in manifests}


def _within(manifests: Mapping[str, Mapping[str, Any]], most: float) -> set[str]:
    """Episodes, evenly over the store, whose files are not larger than ``most`` bytes together."""
    sizes = {name: sum(int(f["size"]) for f in m["files"].values()) for name, m in manifests.items()}
    share = min(1.0, most / max(1, sum(sizes.values())))
    return {name for i, name in enumerate(sizes) if int((i + 1) * share) > int(i * share)}


def _read_manifests(store: EpisodeStore) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """Manifests by name, and a failure for each that cannot be read."""
    manifests, unreadable = {}, []
    for name in sorted(path.name for path in (store.path / "episodes").iterdir() if path.is_dir()):
        try:
            manifests[name] = store.manifest(name)
        except FileNotFoundError:
            unreadable.append(Finding("damage", "failure", f"{name}: its manifest is missing", (name,)))
        except (CorruptEpisodeError, ValueError) as error:
            unreadable.append(Finding("damage", "failure", str(error), (name,)))
    return manifests, unreadable


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain values, without pictures."""
    return {
        "store": str(report.store),
        "failed": report.failed(),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "episodes": len(report.looks),
        "frames": report.frames,
        "frames_looked_at": report.frames_seen,
        "episodes_with_every_byte_compared": report.hashed,
        "full": report.full,
        "seconds": round(report.seconds, 1),
        "alignment": [dataclasses.asdict(alignment) for alignment in report.alignments],
        "depth": {
            group: {"pairs": measured.pairs, "gain_db": round(measured.gain, 3)}
            for group, measured in measured_depth(report.looks).items()
        },
        "actions": [
            {
                "keys": {
                    key: {"share": round(int(down) / max(1, count.rows), 6), "pushes": int(pushes)}
                    for key, down, pushes in zip(count.keys, count.pressed, count.pushes, strict=True)
                },
                "frames": count.rows,
                "frames_with_unknown_action": count.unknown,
                "idle_share": round(count.idle_share, 6),
                "mouse": {axis: row.tolist() for axis, row in zip(("pitch", "yaw"), count.mouse, strict=True)},
            }
            for count in report.actions
        ],
        "shared_maps": [dataclasses.asdict(shared) for shared in report.shared],
    }
