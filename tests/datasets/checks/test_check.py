"""The checks find what is wrong in stores that are wrong in one way each, and nothing in a sound one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim import cli
from worldsim.datasets.checks.pictures import WINDOW, choose_windows
from worldsim.datasets.checks.run import CheckLimits, Report, as_json, check_store, plan_looks
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.spec.actions import MINECRAFT

HEIGHT, WIDTH, FRAMES = 40, 64, 192
PIXELS_PER_DEGREE = 1.5
ABOUT = {"source": "test", "licence": "CC0-1.0", "consent": "no person recorded", "engine": "panorama",
         "engine_version": "1", "policy": "random", "policy_version": "1", "keys": list(MINECRAFT.keys), "fps": 20,
         "created": "2026-01-01T00:00:00Z", "software": "test"}  # fmt: skip


def panorama(seed: int) -> NDArray[np.float32]:
    """A random world to turn in: smooth texture (rows, columns), cyclic to the sides."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (40, 200)).astype(np.float32)
    return coarse.repeat(4, 0).repeat(4, 1)


def turning_episode(seed: int, *, frames: int = FRAMES, lag: int = 0, sign: int = 1, **about: Any) -> Episode:
    """Someone looks around by jerks; ``lag``: frames by which the picture follows the mouse late."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:-1, -2:] = rng.normal(0, (1.0, 3.0), (frames - 1, 2)) * (rng.random((frames - 1, 1)) < 0.7)
    actions[:-1, :-2] = rng.random((frames - 1, len(MINECRAFT.keys))) < 0.2
    turns = sign * np.roll(actions[:, -2:], lag, 0)
    yaw = np.concatenate([[0], np.cumsum(turns[:-1, 1])])
    pitch = np.concatenate([[0], np.cumsum(turns[:-1, 0])])
    world = panorama(seed)
    columns = (np.arange(WIDTH)[None] + yaw[:, None] * PIXELS_PER_DEGREE).round().astype(int) % world.shape[1]
    rows = (np.arange(HEIGHT)[None] + 60 + pitch[:, None] * PIXELS_PER_DEGREE).round().astype(int) % world.shape[0]
    picture = world[rows[:, :, None], columns[:, None, :]]
    return Episode(
        frames=picture[..., None].repeat(3, -1).astype(np.uint8),
        actions=actions,
        rewards=np.zeros(frames, np.float32),
        terminated=np.zeros(frames, bool),
        state={"yaw": ((yaw + 180) % 360 - 180).astype(np.float32)},
        provenance={**ABOUT, "seed": seed, "split": split_of(seed), **about},
    )


def fill(
    path: Path, change: Callable[[int, Episode], Episode] = lambda _, e: e, episodes: int = 6, **how: Any
) -> EpisodeStore:
    store = EpisodeStore(path)
    for seed in range(episodes):
        store.append(change(seed, turning_episode(seed, **how)), f"e{seed}")
    return store


def changed(episode: Episode, **parts: Any) -> Episode:
    return Episode(**{name: parts.get(name, getattr(episode, name)) for name in Episode.__dataclass_fields__})


def check(store: EpisodeStore, full: bool = True, **limits: Any) -> Report:
    return check_store(store, limits=CheckLimits(**limits), frames=4096, gigabytes=1, full=full, workers=1)


def kinds(report: Report, severity: str = "failure") -> set[str]:
    return {finding.kind for finding in report.findings if finding.severity == severity}


def test_a_sound_store_has_nothing_to_complain_about(tmp_path: Path):
    report = check(fill(tmp_path))
    assert not report.findings and not report.failed(strict=True)
    lags = report.alignments[0].lags
    for pair in ("yaw", "pitch", "pose"):
        assert (lag := lags[pair]) is not None and lag.frames == 0 and lag.confidence > 0.99, pair
    assert lags["yaw"] is not None and lags["yaw"].gain == pytest.approx(-PIXELS_PER_DEGREE, rel=0.1)


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
def test_a_shifted_store_fails_with_its_lag(tmp_path: Path, lag: int):
    report = check(fill(tmp_path, episodes=4, lag=lag))
    assert kinds(report) >= {"alignment"}
    for pair in ("yaw", "pitch", "pose"):
        found = report.alignments[0].lags[pair]
        assert found is not None and found.frames == lag and found.confidence > 0.95, pair


def test_one_shifted_episode_among_sound_ones_is_named(tmp_path: Path):
    store = fill(tmp_path, episodes=4)
    store.append(turning_episode(12, frames=640, lag=1), "late")
    found = [f for f in check(store).findings if f.kind == "alignment"]
    assert found and all(f.episodes == ("late",) for f in found)


def test_sources_are_aligned_one_by_one(tmp_path: Path):
    store = fill(tmp_path, episodes=4)
    for seed in range(12, 14):
        store.append(turning_episode(seed, lag=1, source="another"), f"x{seed}")
    messages = [f.message for f in check(store).findings if f.kind == "alignment" and not f.episodes]
    assert messages and all(m.startswith("another") for m in messages)


def test_a_mouse_that_turns_the_wrong_way_or_has_its_axes_swapped_fails(tmp_path: Path):
    assert "sign" in kinds(check(fill(tmp_path / "wrong", episodes=3, sign=-1)))

    def swap(_: int, e: Episode) -> Episode:
        order = [*range(len(MINECRAFT.keys)), len(MINECRAFT.keys) + 1, len(MINECRAFT.keys)]
        return changed(e, actions=e.actions[:, order], state={})

    assert "swapped axes" in kinds(check(fill(tmp_path / "swapped", swap, episodes=3)))


def test_pictures_that_do_not_follow_the_mouse_are_told(tmp_path: Path):
    def shuffle(seed: int, e: Episode) -> Episode:
        return changed(e, actions=np.roll(e.actions, 60, 0), state={})

    assert "alignment" in kinds(check(fill(tmp_path, shuffle, episodes=3)), "warning")


def test_impossible_values_are_named_with_their_frame(tmp_path: Path):
    def spoil(seed: int, e: Episode) -> Episode:
        actions, rewards = e.actions.copy(), e.rewards.copy()
        if seed == 0:
            actions[7, 0] = np.nan
        if seed == 1:
            actions[8, 3] = 0.5
        if seed == 3:
            actions[9, -1] = 300
        if seed == 4:
            rewards[10] = np.inf
        return changed(e, actions=actions, rewards=rewards)

    report = check(fill(tmp_path, spoil))
    messages = {f.episodes[0]: f.message for f in report.findings if f.kind == "impossible values"}
    assert set(messages) == {"e0", "e1", "e3", "e4"}
    assert "frame 7" in messages["e0"] and "frame 8" in messages["e1"]
    assert "180 degrees (first at frame 9)" in messages["e3"] and "rewards" in messages["e4"]


def test_repeated_and_frozen_frames(tmp_path: Path):
    def drop_every_second(_: int, e: Episode) -> Episode:
        return changed(e, frames=e.frames[np.arange(len(e)) // 2 * 2], state={})

    assert "repeated frames" in kinds(check(fill(tmp_path / "dropped", drop_every_second, episodes=3)))

    def stand_still(_: int, e: Episode) -> Episode:
        still = np.minimum(np.arange(len(e)), 40)
        return changed(e, frames=e.frames[still], actions=e.actions * (still < 40)[:, None], state={})

    report = check(fill(tmp_path / "still", stand_still, episodes=3), frozen_seconds=5)
    assert kinds(report) == set() and {"frozen frames", "idle"} <= kinds(report, "warning")
    assert {look.pictures.longest for look in report.looks if look.pictures} == {(FRAMES - 41, 40)}


def test_keys_never_pressed_and_idleness_are_counted_exactly(tmp_path: Path):
    def press(_: int, e: Episode) -> Episode:
        actions = np.zeros_like(e.actions)
        actions[10:20, 0] = 1
        actions[15:18, 2] = 1
        actions[30:33, -1] = 4
        return changed(e, actions=actions, state={})

    report = check(fill(tmp_path, press, episodes=2))
    (count,) = report.actions
    assert count.rows == 2 * (FRAMES - 1) and count.idle == 2 * (FRAMES - 1 - 13)
    assert (count.pressed[0], count.pushes[0], count.pressed[2]) == (20, 2, 6)
    assert set(count.never) == set(MINECRAFT.keys) - {"forward", "left"}
    assert count.mouse[1].sum() == count.rows and count.mouse[1, 11] == 6
    assert {"keys", "idle"} <= kinds(report, "warning")


def test_clocks(tmp_path: Path):
    def times(seed: int, e: Episode) -> Episode:
        time = np.arange(len(e)) / 20
        if seed == 1:
            time[100:] -= 7.0
        if seed == 2:
            time[50:] += 3.0
        if seed == 3:
            time = time + np.random.default_rng(0).uniform(-0.012, 0.012, len(e))
        if seed == 4:
            time = time * 1.5
        return changed(e, state={"time": time})

    findings = [f for f in check(fill(tmp_path, times)).findings if f.kind == "clock"]
    found = {f.episodes[0]: (f.severity, f.message) for f in findings}
    assert set(found) == {"e1", "e2", "e3", "e4"}
    assert found["e1"][0] == "failure" and "runs back 1 times (first at frame 100)" in found["e1"][1]
    assert found["e2"][0] == "warning" and "1 gaps" in found["e2"][1]
    assert "jitters" in found["e3"][1] and "13.33 frames a second instead of 20" in found["e4"][1]


def test_maps_in_two_splits_are_found_by_seed_and_by_picture(tmp_path: Path):
    store = fill(tmp_path, episodes=3)
    # The same seed as text, in a split of its own choosing.
    store.append(changed(turning_episode(24), provenance={**ABOUT, "map_seed": "1", "split": "train"}), "twin")
    # The same recording, brighter, of another size, under another seed, and cut at the beginning.
    copy = turning_episode(2)
    bright = np.clip(copy.frames[1:, ::1, :-4].astype(int) + 20, 0, 255).astype(np.uint8)
    provenance = {**copy.provenance, "seed": 12, "split": "train"}
    store.append(
        changed(copy, frames=bright, actions=copy.actions[1:], rewards=copy.rewards[1:],
                terminated=copy.terminated[1:], state={}, provenance=provenance),
        "copy",
    )  # fmt: skip
    shared = {(s.first, s.second): s.reason for s in check(store).shared}
    assert set(shared) == {("e1", "twin"), ("copy", "e2")}
    assert "seed" in shared["e1", "twin"] and "views" in shared["copy", "e2"]


def test_equal_recordings_are_named(tmp_path: Path):
    store = fill(tmp_path, episodes=2)
    store.append(turning_episode(0), "again")
    assert {f.episodes for f in check(store).findings if f.kind == "copies"} == {("again", "e0")}


def test_missing_provenance_and_missing_splits_are_warned_of(tmp_path: Path):
    def forget(_: int, e: Episode) -> Episode:
        left = {k: v for k, v in e.provenance.items() if k not in ("consent", "licence")}
        return changed(e, provenance=left | {"split": "train", "seed": None})

    report = check(fill(tmp_path, forget, episodes=2))
    messages = " ".join(f.message for f in report.findings if f.severity == "warning")
    assert "consent" in messages and "licence" in messages and "no validation" in messages
    assert not report.failed() and report.failed(strict=True)


def test_unknown_actions_and_discrete_games_are_no_failure(tmp_path: Path):
    def discrete(seed: int, e: Episode) -> Episode:
        actions = np.zeros((len(e), 3), np.float32)
        actions[np.arange(len(e) - 1), np.random.default_rng(seed).integers(3, size=len(e) - 1)] = 1
        return changed(e, actions=actions, state={}, provenance={**e.provenance, "keys": ["noop", "left", "right"]})

    assert not check(fill(tmp_path / "discrete", discrete, episodes=3)).findings

    def unknown(_: int, e: Episode) -> Episode:
        return changed(e, actions=e.actions * 0, state={}, provenance={**e.provenance, "actions": "unknown"})

    report = check(fill(tmp_path / "unknown", unknown, episodes=3))
    assert not report.failed() and report.actions[0].unknown == 3 * (FRAMES - 1) and report.actions[0].rows == 0


def test_an_image_is_an_episode_of_one_frame(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(turning_episode(0, frames=1), "picture")
    report = check(store)
    assert not report.failed() and report.frames_seen == 1


def test_samples_are_nested_even_and_within_the_budget(tmp_path: Path):
    for frames in (1, 64, 65, 1000, 5000):
        everything = choose_windows(frames, None)
        assert everything == list(range(0, max(frames, 1), WINDOW))
        for count in range(1, len(everything)):
            assert set(choose_windows(frames, count)) < set(choose_windows(frames, count + 1))
    manifests = {
        f"e{i:03d}": {"frames": 1000, "provenance": {"split": split_of(i)}, "files": {"a": {"size": 10**7}}}
        for i in range(240)
    }
    plans = plan_looks(manifests, CheckLimits(), frames=12_800, gigabytes=0.24, full=False)
    windows = {name: plan.windows or 0 for name, plan in plans.items()}
    assert sum(windows.values()) == pytest.approx(200, abs=2)
    assert sum(n for name, n in windows.items() if split_of(int(name[1:])) != "train") == pytest.approx(100, abs=1)
    assert sum(plan.hash_files for plan in plans.values()) == 24
    everything = plan_looks(manifests, CheckLimits(), frames=64, gigabytes=0, full=True)
    assert all(plan.windows is None and plan.hash_files for plan in everything.values())


@pytest.mark.slow
def test_the_command_writes_a_report_that_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    fill(tmp_path / "good", episodes=3)
    fill(tmp_path / "late", episodes=3, lag=1, source="<script>alert(1)</script>")
    out = tmp_path / "run"
    assert cli.main(["data", "check", f"data={tmp_path}/good", f"folder={out}", "full=true"]) == 0
    page, about = (out / "report.html").read_text(), json.loads((out / "report.json").read_text())
    assert "data:image/jpeg;base64," in page and page.count("<svg") >= 6
    assert "http" not in page and not about["failed"] and about["frames"] == 3 * FRAMES
    assert cli.main(["data", "check", f"data={tmp_path}/late", f"folder={out}", "seed=1"]) == 1
    assert "lag +1" in capsys.readouterr().out and json.loads((out / "report.json").read_text())["failed"]
    assert "<script>alert" not in (out / "report.html").read_text()
    # Thresholds are settings.
    assert cli.main(["data", "check", f"data={tmp_path}/late", f"folder={out}", "limits.confidence=1.1"]) == 0
    assert (
        cli.main(["data", "check", f"data={tmp_path}/good", f"folder={out}", "limits.idle_share=0", "strict=true"]) == 1
    )


@pytest.mark.parametrize("wrong", [[], ["data=nowhere"], ["data=.", "frames=1"], ["limits.confidnce=1"]])
def test_mistakes_are_one_line(
    wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "check", *wrong]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_the_json_is_plain(tmp_path: Path):
    json.dumps(as_json(check(fill(tmp_path, episodes=2))), allow_nan=False)
