"""Each measure on a world that is the engine itself and on worlds broken on purpose: it must tell them apart."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.toy_world import ToyWorld, panorama, standing_clips, toy_clips, view
from worldsim.evaluation.config import EvalThresholds
from worldsim.evaluation.interface.failures import Failures, failure_entry
from worldsim.evaluation.interface.lines import verdict
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures.drift import (
    LongRun,
    collapsed,
    out_of_spread,
    recorded_collapses,
    slope_per_minute,
    spread_of,
)
from worldsim.evaluation.measures.dug_blocks import dug_patch, persistence
from worldsim.evaluation.measures.gains import gain_where_it_moves
from worldsim.evaluation.measures.metrics import colours, sharpness
from worldsim.evaluation.measures.recorded import blurred
from worldsim.evaluation.measures.returns.looks import FULL_TURN, memory_report, memory_scores, recall
from worldsim.evaluation.measures.rollouts import begin, future_of, kept_frames, rollout
from worldsim.evaluation.measures.statistics import estimate
from worldsim.evaluation.parts import actions as eval_actions
from worldsim.evaluation.parts.actions import ignored, sign_evidence, sign_report
from worldsim.evaluation.parts.branches import Branches, branch_report
from worldsim.evaluation.parts.forced import forced_report
from worldsim.evaluation.parts.horizons import (
    delta_report,
    discontinuities,
    free_running,
    horizon_report,
    time_to_failure,
)
from worldsim.evaluation.parts.inverse import chance_f1, f1, inverse_report
from worldsim.evaluation.parts.memory import forgotten
from worldsim.evaluation.parts.objects import object_counts, windowed_counts
from worldsim.evaluation.parts.perceptual import fewer_steps
from worldsim.evaluation.parts.text import others, text_report
from worldsim.evaluation.reports.summary import summary
from worldsim.spec.actions import MINECRAFT

LIMITS: Any = EvalThresholds()


@pytest.fixture(scope="module")
def quality() -> dict[str, dict[str, Any]]:
    clips, worlds = (
        toy_clips(frames=33),
        {"engine": ToyWorld(), "frozen": ToyWorld(obey=0), "blurs": ToyWorld(blur=0.5)},
    )
    found = {name: free_running(world, clips, 9, 12) for name, world in worlds.items()}  # pyright: ignore[reportArgumentType]
    return {name: {"raw": raw, "report": horizon_report(raw, clips.maps, 3)} for name, raw in found.items()}


@pytest.mark.slow
def test_horizons_tell_the_engine_from_a_frozen_picture_and_from_blur(quality: dict[str, dict[str, Any]]):
    engine, frozen, blurs = (quality[name]["report"] for name in ("engine", "frozen", "blurs"))
    assert min(engine["psnr"]["model"]["value"]) == 60 and min(engine["ssim"]["model"]["value"]) > 0.999
    assert engine["psnr"]["tokenizer"]["value"] == engine["psnr"]["model"]["value"]
    assert frozen["psnr"]["model"]["value"] == frozen["psnr"]["repeat"]["value"]
    assert frozen["chunks_above_repeat"] == 0 and frozen["failure"]["restricted_mean"]["value"] == 0
    assert engine["failure"]["restricted_mean"]["value"] > 7 and engine["failure"]["horizon"] == 10
    assert np.all(np.diff(blurs["psnr"]["model"]["value"][:6]) < 0)
    assert engine["clips"] == 6 and engine["maps"] == 3


def test_gains_where_it_moves_leave_standing_clips_out():
    maps, repeat = np.array([1, 1, 2, 3]), np.full((4, 12), 20.0)
    gain = np.array([[2.0], [4.0], [-15.0], [6.0]]) * np.ones(12)
    # The third clip stands, at chunk 5 the last one, too.
    repeat[2], repeat[3, 4] = 58.0, 31.0
    found = gain_where_it_moves(gain, repeat, maps, 0)
    values = {chunk: (each["value"], each["count"]) for chunk, each in found.items()}
    assert values == {"1": (4, 3), "5": (3, 2), "10": (4, 3), "12": (4, 3)}
    assert gain_where_it_moves(gain, np.full((4, 12), 50.0), maps, 0) == {}


@pytest.mark.slow
def test_delta_psnr_is_nothing_where_actions_are_ignored(quality: dict[str, dict[str, Any]]):
    maps = toy_clips().maps
    assert delta_report(quality["engine"]["raw"], maps)["at_frame_4"]["value"] > 5
    assert delta_report(quality["frozen"]["raw"], maps)["at_frame_4"]["value"] == 0


def test_teacher_forcing_starts_from_the_truth_each_time():
    clips = toy_clips()
    exact = forced_report(ToyWorld(), clips, 9, 20, 3)  # pyright: ignore[reportArgumentType]
    assert exact["at_chunks"] == [1, 10, 20] and exact["below_tokenizer_db"]["value"] == 0
    soft = forced_report(ToyWorld(blur=0.7), clips, 9, 20, 3)  # pyright: ignore[reportArgumentType]
    # It blurs by its own age, and each of these dreams is one chunk old.
    assert soft["below_tokenizer_db"]["value"] > 5 and np.ptp(soft["model"]["value"]) < 2
    assert soft["mean"] == soft["model"] and soft["samples"] == 1


@pytest.mark.parametrize("samples", [2, 8])
def test_the_mean_of_samples_misses_the_truth_by_what_all_of_them_miss(samples: int):
    """Of noise alone, the mean of N samples has the N-th part: 10 log10 N dB."""
    grainy: Any = ToyWorld(grain=6.0)
    report = forced_report(grainy, toy_clips(), 9, 20, 2, samples=samples)
    assert report["samples"] == samples
    one, mean = (np.array(report[name]["value"]) for name in ("model", "mean"))
    # The rounding of pixels counts too.
    assert mean - one == pytest.approx(10 * np.log10(samples), abs=0.3)
    gaps = (report[f"{name}below_tokenizer_db"]["value"] for name in ("", "mean_"))
    assert next(gaps) - next(gaps) == pytest.approx((mean - one).mean(), abs=1e-2)


@pytest.mark.slow
def test_sign_tests_tell_obedience_from_its_opposite():
    clips = toy_clips(frames=9)
    for obey, right in ((1.0, 1.0), (-1.0, 0.0), (0.0, 0.0)):
        world: Any = ToyWorld(obey=obey)
        evidence = sign_evidence(world, clips, 9, turn_chunks=3, walk_chunks=4)
        report = sign_report(evidence, clips.maps)
        assert report["camera_opposite_and_correct"]["value"] == right
        # A camera that only turns does not walk: no evidence, whatever it is told.
        assert report["forward_expands_beyond_nothing"]["value"] == 0
        _, failed = ignored(evidence["right"], evidence["left"], 0.5, LIMITS)
        assert failed.mean() == 1 - right


@pytest.mark.parametrize("chunk", [2, 4])
def test_a_walk_is_looked_for_at_the_length_of_a_chunk(chunk: int, monkeypatch: pytest.MonkeyPatch):
    world, steps = ToyWorld(), []
    world.chunk = chunk
    monkeypatch.setattr(eval_actions, "walk_evidence", lambda *_, metres: steps.append(metres) or 0.0)
    sign_evidence(world, toy_clips(2, 9), 9, turn_chunks=1, walk_chunks=2)  # pyright: ignore[reportArgumentType]
    assert steps == pytest.approx([0.2 * chunk] * 6)


def test_memory_is_all_or_nothing():
    clips = standing_clips()
    for world, wanted in ((ToyWorld(), 1.0), (ToyWorld(forget=True), 0.0)):
        scores, films = memory_scores(world, clips, 9, [10])  # pyright: ignore[reportArgumentType]
        assert recall(scores[10]) == pytest.approx(wanted, abs=0.15) and films[10].shape[:2] == (4, 8)
        assert memory_report(scores, {}, clips.maps)["gaps"]["10"]["recall"]["value"] == pytest.approx(wanted, abs=0.1)
        assert forgotten(recall(scores[10]), LIMITS.memory_recall)[1].all() == (wanted == 0)


def test_a_full_turn_is_a_look_away_too():
    clips = standing_clips(2)
    for world, wanted in ((ToyWorld(), 1.0), (ToyWorld(forget=True), 0.0), (ToyWorld(obey=0), np.nan)):
        scores, films = memory_scores(world, clips, 9, [10], degrees=120, turn=10)  # pyright: ignore[reportArgumentType]
        assert list(scores) == [10, FULL_TURN]
        for found in scores.values():
            # A picture that stands still never looked away: it is no memory.
            assert recall(found) == pytest.approx(wanted, abs=0.2, nan_ok=True)
        if wanted == 1:
            assert (films[FULL_TURN][:, -1] == films[FULL_TURN][:, 0]).all()
            # After 4 chunks of 12 degrees a frame.
            assert (films[10][:, 3] == np.stack([view(panorama(0), 10.0 * i + 96) for i in range(2)])).all()


def test_frames_that_are_kept_are_those_of_the_rollout():
    clips, world = toy_clips(5, 33), ToyWorld(grain=4.0)
    whole = rollout(world, begin(world, clips, 9), future_of(clips, 9, 12, 2)).reshape(5, 24, 80, 144, 3)  # pyright: ignore[reportArgumentType]
    kept = np.array([[1, 2, 24], [0, 3, 7], [24, 23, 1], [5, 5, 6], [8, 10, 12]])
    told = []
    found = kept_frames(world, clips, 9, clips.actions[:, 8:], kept, 2, lambda *at: told.append(at), "here")  # pyright: ignore[reportArgumentType]
    for row in range(5):
        for column, number in enumerate(kept[row]):
            wanted = clips.frames[row, 8] if number == 0 else whole[row, number - 1]
            assert (found[row, column] == wanted).all()
    # Rows side by side go on until the longest of them is there.
    assert told[-1] == ("here", 24 + 24 + 12, 24 + 24 + 12) and len(told) == 30
    # Where no action is given, nothing is done.
    idle = kept_frames(world, clips, 9, clips.actions[:, 8:10], np.full((5, 1), 9), 5)  # pyright: ignore[reportArgumentType]
    short = np.concatenate([clips.actions[:, 8:10], np.zeros((5, 8, MINECRAFT.size), np.float32)], 1)
    assert (idle == kept_frames(world, clips, 9, short, np.full((5, 1), 9), 5)).all()  # pyright: ignore[reportArgumentType]


def test_no_memory_is_a_recall_of_nothing_on_average():
    """Likeness to another view is above or below 0 by chance: neither may count for more."""
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(0, 0.15, 400) for name in ("return", "away")} | {"stay": rng.normal(0.8, 0.1, 400)}
    found = memory_report({10: scores}, {}, np.arange(400) // 10)["gaps"]["10"]["recall"]
    assert abs(found["value"]) < 0.02 and found["low"] < 0 < found["high"]
    assert recall(scores).min() < -0.1


def test_where_even_staying_forgets_identity_is_lost():
    scores = {"return": np.array([0.8, 0.1]), "away": np.zeros(2), "stay": np.array([0.8, 0.05])}
    severity, failed = forgotten(recall(scores), LIMITS.memory_recall)
    assert failed.tolist() == [False, True] and severity.tolist() == [0, 1]


def test_branches_are_found_by_the_engine_and_not_by_a_frozen_picture():
    turns = [-8.0, -5.0, -2.0, 0.0, 3.0, 6.0, 9.0, 12.0]
    starts, made = [], {"engine": [], "frozen": [], "half": []}
    for m in range(3):
        ends = {g: np.stack([[view(panorama(m), g * t * f) for f in (1, 2, 3, 4)] for t in turns]) for g in (1, 0, 0.5)}
        past = np.stack([view(panorama(m), 0.0)] * 9)
        starts.append(
            Branches(past=past, actions=np.zeros((8, 22), np.float32), engine=ends[1], again=ends[1][:2], map=m)
        )
        made["engine"].append(ends[1])
        made["frozen"].append(ends[0])
        made["half"].append(ends[0.5])
    reports = {name: branch_report(starts, frames, 2) for name, frames in made.items()}
    assert reports["engine"]["retrieval"]["value"] == 1 and reports["engine"]["effect_ratio"]["value"] == pytest.approx(
        1
    )
    assert reports["engine"]["retrieval_engine"]["value"] == 1 and reports["engine"]["rank_agreement"]["value"] > 0.99
    assert reports["frozen"]["retrieval"]["value"] <= 0.125 and reports["frozen"]["effect_ratio"]["value"] == 0
    assert reports["half"]["retrieval"]["value"] < 1


class ColourWorld:
    """Pictures of one colour each; a caption's embedding is that colour, which the world heeds or not."""

    chunk, spec = 2, MINECRAFT
    dit = SimpleNamespace(config=SimpleNamespace(window=4))
    tokenizer = SimpleNamespace(config=SimpleNamespace(channels=3), latent_grid=lambda h, w: (h // 8, w // 8))

    def __init__(self, heeds: bool):
        self.heeds = heeds
        self.sampler = self

    def encode(self, frames):
        return torch.as_tensor(frames[:, ::2, ::8, ::8]).permute(0, 1, 4, 2, 3) / 255.0

    def decode(self, latents):
        pixels = (latents * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
        pixels = pixels.repeat_interleave(8, 2).repeat_interleave(8, 3)
        return pixels[:, :, None].expand(-1, -1, 2, -1, -1, -1).numpy(), ()

    def predict(self, noisy, previous, tau, actions, present, text=None):
        out = torch.where(present[..., None, None, None], previous + 0.01, torch.full_like(previous, 0.5))
        if self.heeds and text is not None:
            out[:, 0] = text[:, :, None, None]
        return out


def test_text_tells_of_what_no_past_shows_and_a_deaf_world_hears_nothing():
    colour = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]).repeat_interleave(2, 0)
    clips = toy_clips(6, 9)
    flat = (colour * 255).round().byte().numpy()[:, None, None, None]
    clips = replace(clips, frames=np.broadcast_to(flat, clips.frames.shape).copy())
    texts = [f"map {m}" for m in clips.maps]
    assert all(texts[i] != text for i, text in zip(others(texts), texts, strict=True))
    heeds, _ = text_report(ColourWorld(heeds=True), clips, texts, colour)  # pyright: ignore[reportArgumentType]
    deaf, pictures = text_report(ColourWorld(heeds=False), clips, texts, colour)  # pyright: ignore[reportArgumentType]
    assert heeds["first"]["swapped_ratio"]["value"] > 100 and heeds["first"]["none_ratio"]["value"] > 100
    assert heeds["pictures"]["own_nearer"]["value"] == 1 and heeds["captions"] == 3
    assert deaf["first"]["swapped_ratio"]["value"] == 1 and deaf["pictures"]["own_nearer"]["value"] == 0
    # What the past shows, no caption has to tell.
    assert heeds["next"]["swapped"]["value"] == pytest.approx(heeds["next"]["own"]["value"])
    assert (pictures[:, 1] == pictures[:, 2]).all()


def measured(frames: np.ndarray) -> LongRun:
    return LongRun(
        sharpness=sharpness(frames), colours=colours(frames), norm=np.ones((len(frames), frames.shape[1] - 1))
    )


def test_collapse_is_blur_or_other_colours_and_not_standing_still():
    real = np.stack([[view(panorama(m), 5.0 * s) for s in range(12)] for m in range(4)])
    spread = spread_of(measured(real), 0.0, 3)
    # A little more than four futures show.
    spread = replace(spread, low=spread.low * 0.98, high=spread.high * 1.02, colour=spread.colour * 1.2 + 0.002)

    def broken(frames: np.ndarray) -> float:
        return collapsed(out_of_spread(measured(frames), spread)).mean()

    assert broken(real) == 0 and broken(np.repeat(real[:, :1], 12, 1)) == 0
    assert broken(np.stack([blurred(x, 0, 3) for x in real])) == 1
    assert broken((real * np.linspace(1, 0.3, 12)[:, None, None, None]).astype(np.uint8)) == 1
    # One picture that is a little soft is none.
    glance = real.copy()
    glance[:, 6] = blurred(glance[:, 6], 0.3, 0.3)
    assert broken(glance) == 0
    assert slope_per_minute(np.exp(-np.arange(60) / 60)[None])[0] == pytest.approx(-1)


def wandering(futures: int, seconds: int, seed: int = 0) -> LongRun:
    """Sharpness and colours that wander about, each future by itself."""
    rng = np.random.default_rng(seed)
    sharp = 6 * np.exp(0.1 * rng.normal(size=(futures, seconds + 1)).cumsum(1) / np.sqrt(seconds))
    colour = rng.normal(size=(futures, seconds + 1, 3, 16)).cumsum(1)
    return LongRun(sharpness=sharp, colours=colour, norm=np.ones((futures, seconds)))


def test_recorded_play_itself_collapses_as_often_as_the_bounds_are_meant_to_allow():
    """However many windows a minute has, in sharpness and in colours together."""
    run, maps = wandering(400, 60), np.arange(400) // 20
    spread = spread_of(run, 0.05, 20)
    assert collapsed(out_of_spread(run, spread)).mean() == pytest.approx(0.05, abs=0.003)
    assert recorded_collapses(run, maps, 0.05, 20).mean() == pytest.approx(0.05, abs=0.02)
    fresh = wandering(400, 60, seed=1)
    assert collapsed(out_of_spread(fresh, spread)).mean() == pytest.approx(0.05, abs=0.03)
    assert np.isnan(recorded_collapses(run, np.zeros(400), 0.05, 20)).all()


def test_a_future_shorter_than_a_window_is_not_judged():
    run = wandering(40, 60)
    run.sharpness[:2, 20:], run.colours[:2, 20:] = np.nan, np.nan
    run.sharpness[2, 21:], run.colours[2, 21:] = np.nan, np.nan
    spread = spread_of(run.part(np.arange(3, 40)), 0.05, 20)
    outside = out_of_spread(run, spread)
    assert np.isnan(collapsed(outside)).tolist() == [True] * 2 + [False] * 38
    assert np.isnan(outside[2]).sum() == 40 and estimate(collapsed(outside), np.arange(40))["count"] == 38
    assert np.isnan(collapsed(out_of_spread(wandering(3, 19), spread))).all()


def test_objects_come_and_go_and_a_blur_is_neither():
    plain = np.full((80, 144, 3), 120, np.uint8)
    plain[:, ::9] = 80  # something everywhere on the left ...
    plain[:, 96:] = 120  # ... and nothing on the right
    box = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    appeared, vanished = plain.copy(), plain.copy()
    appeared[16:32, 112:128] = box
    vanished[16:40, 16:48] = 116
    later = np.stack([np.stack([x] * 6) for x in (plain, appeared, vanished, blurred(plain[None], 1.2, 1.2)[0])])
    counts = object_counts(np.stack([plain] * 4), later, LIMITS)
    assert counts.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    # What flickers for a moment does not count.
    flicker = np.stack([plain, appeared, plain, plain, plain, plain])[None]
    assert object_counts(plain[None], flicker, LIMITS).sum() == 0
    # One that comes and goes again is neither in the end, but both on the way.
    passing = np.stack([plain, plain, appeared, appeared, plain, plain, plain])[None]
    assert object_counts(plain[None], passing, LIMITS).sum() == 0
    assert windowed_counts(plain[None], passing, 2, LIMITS)[0, 0] == 1


def test_a_dug_block_stays_or_comes_back():
    before = np.full((80, 144, 3), 120, np.uint8)
    after = before.copy()
    after[20:40, 60:80] = 40
    assert dug_patch(before, after).sum() > 300 and dug_patch(before, before).sum() == 0
    assert persistence(after, before, after) == pytest.approx((1, 0))
    assert persistence(before, before, after) == pytest.approx((0, 0))
    # Another view altogether says nothing of the block.
    other = np.random.default_rng(0).integers(0, 255, before.shape).astype(np.uint8)
    assert persistence(other, before, after)[1] > 0.9


def test_time_to_failure_needs_three_in_a_row():
    gain = np.array([[1, -1, -1, 1, -1, -1, -1, 2], [1] * 8, [-1] * 8], float)
    times, failed, horizon = time_to_failure(gain, 3)
    assert times.tolist() == [4, 6, 0] and failed.tolist() == [True, False, True] and horizon == 6
    # The last two chunks begin no run of three: whoever has 6 good ones was watched to the end.
    late = np.array([[1] * 5 + [-1] * 3, [1] * 6 + [-1] * 2], float)
    assert [part.tolist() for part in time_to_failure(late, 3)[:2]] == [[5, 6], [True, False]]
    assert time_to_failure(gain[:, :2], 3)[2] == 0


def test_a_jump_is_a_discontinuity_and_a_fast_turn_is_not():
    real = np.full((3, 6), 10.0)
    made = real.copy()
    made[1, 3] = 45
    real[2, 2:4] = 40
    made[2, 2:4] = 45
    severity, failed = discontinuities(made, real, LIMITS)
    assert failed.tolist() == [False, True, False] and severity.argmax() == 1


def test_f1_is_one_for_the_truth_and_chance_for_yes():
    true = np.random.default_rng(0).random((4, 10, 3)) < 0.3
    assert f1(true, true) == 1 and f1(np.zeros_like(true), true) == 0
    assert f1(np.ones_like(true), true) == pytest.approx(chance_f1(true))
    turns = np.random.default_rng(1).normal(size=(4, 10, 2))
    found: Any = {name: (true, turns) for name in ("true", "recorded", "tokenizer", "model")}
    found["shuffled"] = np.roll(true, 1, 0), np.roll(turns, 1, 0)
    report = inverse_report(found, np.array([1, 1, 2, 2]), ("a", "b", "c"), 2)
    assert report["f1_between_chance_and_engine"]["value"] == 1 and report["rows"]["model"]["f1"]["value"] == 1
    assert report["rows"]["shuffled"]["f1"]["value"] < 0.6
    assert report["rows"]["shuffled"]["camera_error_degrees"]["value"] > 0.3
    # A reader that never says yes compares nothing.
    found |= {name: (np.zeros_like(true), turns) for name in ("recorded", "model")}
    mute = inverse_report(found, np.array([1, 1, 2, 2]), ("a", "b", "c"), 2)
    assert mute["f1_share_of_engine"]["value"] is None and mute["f1_between_chance_and_engine"]["value"] is None


def test_fewer_steps_are_judged_at_their_worst_horizon():
    four = np.array([[0.1, 0.2], [0.12, 0.22]])
    scores = {"model": four * [1.01, 1.2], "4 steps": four, "32 steps": four * 1.1, "repeat": four, "tokenizer": four}
    ratios = fewer_steps(scores, 2, np.array([1, 2]))
    assert [r["value"] for r in ratios["2 of 4"]] == pytest.approx([1.01, 1.2])
    curves = {name: {"value": [1, 1], "low": [1, 1], "high": [1, 1]} for name in scores}
    part = {"at_chunks": [1, 5], "steps": 2, "stlpips": curves, "fewer_steps": ratios}
    lines = [row for row in summary({"perceptual": part}, LIMITS.goals) if "times" in row.name]
    assert [verdict(row) for row in lines] == ["missed", "met"] and lines[0].value == pytest.approx(1.2)


@pytest.mark.slow
def test_a_run_shorter_than_the_goal_is_not_judged(quality: dict[str, dict[str, Any]]):
    report = quality["engine"]["report"]
    report["actions"] = delta_report(quality["engine"]["raw"], toy_clips().maps)
    for goal, wanted in ((60, "not judged"), (10, "met")):
        rows = summary({"horizons": report}, replace(LIMITS.goals, above_last_frame_chunks=goal))
        above = next(row for row in rows if row.name.startswith("chunks above"))
        assert verdict(above) == wanted


def test_every_failure_says_what_it_is_and_picks_its_gallery_by_severity():
    found = Failures(
        severity=np.array([0.1, 0.9, 0.5]), failed=np.array([False, True, False]), maps=np.array([1, 2, 3])
    )
    kinds = [(part, kind) for part in PARTS.values() for kind in part.failures]
    assert len(kinds) >= 8
    for part, kind in kinds:
        definition = part.definition(kind, LIMITS)
        assert "{" not in definition
        entry = failure_entry(definition, found)
        assert entry["definition"] == definition
        assert entry["gallery"][0] == 0 and entry["gallery"][2] == 2 and entry["gallery"][-1] == 1
        assert entry["rate"]["value"] == pytest.approx(1 / 3, abs=1e-4)
