"""Rest, on worlds that stand, dissolve and live a little, beside recorded play that lives a little less."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.toy_world import HEIGHT, WIDTH, panorama, view
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.lines import verdict
from worldsim.evaluation.interface.part import Evaluation
from worldsim.evaluation.measures.judged import judged_in_recordings, judged_pixels, judged_psnr
from worldsim.evaluation.parts.rest import (
    DISSOLVES,
    Rest,
    Stillness,
    recorded_rests,
    rest_report,
    rests,
    shown_seconds,
    stillness_of,
)
from worldsim.spec.actions import MINECRAFT, ActionSpec

FPS, PAST = 4, 9
PART, LIMITS = Rest(), EvalThresholds()


class StandingWorld:
    """Shows its last picture under noise of standard deviation ``grain``, and ``growing`` more each chunk."""

    chunk, spec, memory = 2, MINECRAFT, None

    def __init__(self, grain: float = 0.0, growing: float = 0.0):
        self.grain, self.growing = grain, growing
        self.config = SimpleNamespace(fps=FPS)
        self.asked: set[bytes] = set()

    def prefill(self, frames: Any, actions: Any, seeds: Any, **known: Any) -> Any:
        return SimpleNamespace(last=frames[:, -1].astype(np.float32), age=0)

    def step(self, state: Any, actions: Any, inplace: bool = False) -> Any:
        self.asked.add(np.unique(actions.reshape(-1, actions.shape[-1]), axis=0).tobytes())
        age, rng = state.age + 1, np.random.default_rng(state.age)
        clean = np.repeat(state.last[:, None], self.chunk, 1)
        noisy = clean + (self.grain + self.growing * age) * rng.normal(size=clean.shape)
        frames = noisy.clip(0, 255).round().astype(np.uint8)
        return SimpleNamespace(last=state.last, age=age), SimpleNamespace(
            frames=frames, latents=torch.ones(len(frames), 1, 1, 1)
        )


def episode(seed: int, rest: int, grain: float = 2.0, velocity: bool = True) -> Episode:
    """Turns for 12 frames, then rests in a picture that flickers a little, then turns again for 3."""
    frames = 12 + rest + 3
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:12, -1] = actions[12 + rest :, -1] = 2
    yaw = np.concatenate([[0], np.cumsum(actions[:-1, -1])])
    rng = np.random.default_rng(seed)
    shown = np.stack([view(panorama(0), float(y)) for y in yaw]) + grain * rng.normal(size=(frames, HEIGHT, WIDTH, 3))
    return Episode(
        frames=shown.clip(0, 255).round().astype(np.uint8), actions=actions, rewards=np.zeros(frames, np.float32),
        terminated=np.zeros(frames, bool),
        state={"velocity": np.zeros((frames, 3), np.float32)} if velocity else {},
        provenance={"seed": seed, "split": split_of(seed), "fps": FPS, "keys": list(MINECRAFT.keys)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    made = EpisodeStore(tmp_path_factory.mktemp("rest") / "store")
    for seed in [seed for seed in range(200) if split_of(seed) == "test"][:3]:
        made.append(episode(seed, rest=40), f"map{seed}")
    return made


def measure(world: Any, store: EpisodeStore) -> tuple[dict[str, Any], Any]:
    preset = replace(PRESETS["quick"], prefix=PAST, rest_starts=3, rest_seconds=12)
    run = Evaluation(
        world=world, store=store, split="test", preset=preset,
        thresholds=LIMITS, seed=0, folder=Path("x"), branches=Path("x"), rows=2,
    )  # fmt: skip
    return PART.run(run)  # pyright: ignore[reportReturnType]


def lines(found: dict[str, Any]) -> dict[str, str]:
    return {entry.name: verdict(entry) for entry in PART.summary(found, LIMITS.goals)}


def test_a_world_that_stands_is_perfect_and_recorded_play_beside_it_is_not(store: EpisodeStore):
    world = StandingWorld()
    found, films = measure(world, store)
    assert found["psnr"]["value"] == [60.0] * 12 and found["sharpness"]["value"] == [1.0] * 12
    assert found["change_mean"]["value"] == 0 and found["failures"][DISSOLVES]["rate"]["value"] == 0
    assert [found["held"][after]["value"] for after in ("10", "12")] == [1, 1]
    assert lines(found)["pictures that stand (24 dB to the start) for 12 s at rest"] == "met"
    assert world.asked == {MINECRAFT.noop().tobytes()} and found["stood"]
    # Two pictures of noise 2 lie a noise of 2.83 apart: 39.1 dB; absolute differences have a mean of 2.26.
    real = found["recorded"]
    assert real["psnr"]["value"][:9] == pytest.approx([39.1] * 9, abs=0.15)
    assert real["psnr"]["value"][9:] == [None] * 3 and real["held"]["10"]["value"] is None
    assert real["change_mean"]["value"] == pytest.approx(2.26, abs=0.1)
    assert films[DISSOLVES].shape[1:] == (6, HEIGHT, WIDTH, 3) and shown_seconds(12) == [1, 2, 5, 10, 12]


def test_a_world_that_dissolves_fails_and_recorded_play_is_between(store: EpisodeStore):
    found, films = measure(StandingWorld(growing=2.0), store)
    psnr, real = found["psnr"]["value"], found["recorded"]
    assert all(a > b for a, b in zip(psnr, psnr[1:], strict=False)) and psnr[-1] < 20
    assert found["failures"][DISSOLVES]["rate"]["value"] == 1 and found["held"]["12"]["value"] == 0
    assert lines(found)["pictures that stand (24 dB to the start) for 12 s at rest"] == "missed"
    assert psnr[8] < real["psnr"]["value"][8] < 60 and 0 < real["change_mean"]["value"] < found["change_mean"]["value"]
    assert found["sharpness"]["value"][-1] > 1.5
    strip = films[DISSOLVES][0].astype(float)
    assert np.all(np.diff([np.abs(frame - strip[0]).mean() for frame in strip]) > 0)


def test_charts_have_seconds_and_units(store: EpisodeStore):
    found, _ = measure(StandingWorld(grain=1.0), store)
    charts = list(PART.charts(found, 0.5))
    assert [(c.across, bool(c.unit), c.ends, set(c.curves)) for c in charts] == [
        ("second", True, (1, 12), {"dream", "recorded"})
    ] * 3


def test_where_nobody_rests_any_start_is_taken_and_the_report_says_so(tmp_path: Path):
    store = EpisodeStore(tmp_path / "store")
    seed = next(seed for seed in range(200) if split_of(seed) == "test")
    store.append(episode(seed, rest=3, velocity=False), "map")
    found, _ = measure(StandingWorld(), store)
    assert not found["stood"] and found["recorded"] == {"skipped": "nobody rests in the recordings"}
    assert found["held"]["12"]["value"] == 1 and list(PART.charts(found, 0.5)) and lines(found)


def test_recorded_rests_are_the_longest_and_no_longer_than_asked(store: EpisodeStore):
    places = recorded_rests(store, ["test"], MINECRAFT, FPS, 12)
    assert len(places) == 3 and {place[1:] for place in places} == {(12, 40)}
    assert {place[1:] for place in recorded_rests(store, ["test"], MINECRAFT, FPS, 5)} == {(12, 21)}
    assert recorded_rests(store, ["validation"], MINECRAFT, FPS, 5) == []


def test_rest_is_the_idle_key_of_games_that_have_one():
    keys = ActionSpec(keys=("noop", "up"), camera=False)
    made = episode(0, 10, velocity=False)
    moves = np.zeros((len(made), 2), np.float32)
    moves[:5, 0] = moves[5:, 1] = 1
    pong = Episode(frames=made.frames, actions=moves, rewards=made.rewards, terminated=made.terminated)
    assert rests(pong, keys).tolist() == [True] * 5 + [False] * (len(made) - 5)


def test_depth_tells_the_sky_and_snow_is_no_water():
    """White clouds above, bluish snow below, a pond of deep blue, the hotbar: what is far is sky, in any colour."""
    first = np.full((1, 100, 20, 3), (200, 205, 225), np.uint8)
    first[0, :30] = 250
    first[0, 60:70] = (60, 120, 200)
    depth = np.full((1, 100, 20), 900, np.uint16)
    depth[0, :30] = 0
    judged = judged_pixels(first, world_rows=True, sky=True, depth=depth)[0]
    assert not judged[:30].any() and judged[30:60].all() and not judged[60:70].any() and judged[70:78].all()
    # By colour alone, clouds count and snow does not.
    guessed = judged_pixels(first, world_rows=True, sky=True)[0]
    assert guessed[:30].all() and not guessed[30:].any()
    # PSNR goes over what is judged alone: a difference of 16 in half of it.
    shown = first.copy()
    shown[0, :30], shown[0, 30:54] = 0, shown[0, 30:54] - 16
    mean = 16**2 * 24 / (30 + 8)
    assert judged_psnr(shown, first, judged[None])[0] == pytest.approx(10 * np.log10(255**2 / mean))


def test_a_picture_that_is_lost_and_found_again_did_not_stand():
    psnr = np.array([[30.0, 20.0, 30.0], [30.0, 25.0, 24.0], [30.0, np.nan, np.nan]])
    report = rest_report(Stillness(psnr=psnr, sharpness=psnr, change=psnr), np.arange(3), 24.0)
    assert report["held"]["3"]["value"] == 0.5 and report["held"]["3"]["count"] == 2


def test_recorded_depth_is_used_where_there_is_some(tmp_path: Path):
    store = EpisodeStore(tmp_path / "store")
    made, depth = episode(0, 10), np.full((25, HEIGHT, WIDTH), 4096, np.uint16)
    depth[3, :20], depth[3:, 40] = 0, 0
    told = {**made.provenance, "engine": "luanti"}
    store.append(replace(made, state={"depth": depth}, provenance=told), "deep")
    store.append(replace(made, state={"depth": depth}), "other")
    seen = {name: judged_in_recordings(store, [(name, 3)], made.frames[3:4])[0] for name in ("deep", "other")}
    blue = made.frames[3].astype(int)
    water = (blue[..., 2] > blue[..., 0] + 50) & (blue[..., 2] >= blue[..., 1])
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[20:62] = True
    wanted[40] = False
    assert (seen["deep"] == (wanted & ~water)).all()
    # Of another engine nobody knows how its sky looks.
    assert seen["other"][:62].all() and not seen["other"][62:].any()


def test_hotbar_and_sky_do_not_count():
    first = np.full((1, 100, 20, 3), 90, np.uint8)
    first[0, :30] = (80, 120, 220)
    judged = judged_pixels(first, world_rows=True, sky=True)[0]
    assert not judged[:30].any() and judged[30:78].all() and not judged[78:].any()
    assert judged_pixels(first, world_rows=False, sky=False).all()
    # Of a picture that is all sky, all is judged.
    first[0, :] = (80, 120, 220)
    assert judged_pixels(first, world_rows=True, sky=True)[0, :78].all()
    later = np.repeat(first, 5, 0)
    later[1:, :30] = 0
    psnr, _, change = stillness_of(later, judged, 4)
    assert psnr.tolist() == [60.0] and change.tolist() == [0.0]
