"""``worldsim eval`` and ``worldsim train inverse`` on a tiny store: all parts, going on, mistakes."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.toy_part import GivenText, only
from tests.tiny_world import save_tiny_world, tiny_world
from worldsim import cli
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.errors import UserError
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.measures import recorded as eval_recorded
from worldsim.evaluation.measures.clips import draw_clips, stands_after
from worldsim.evaluation.measures.dug_blocks import find_dig_events
from worldsim.evaluation.measures.recorded import recorded_turn, recorded_windows
from worldsim.evaluation.measures.returns.looks import recorded_revisits
from worldsim.evaluation.runner import films_of, part_digest, run_parts, weights_digest
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT
from worldsim.training.inverse_dynamics import InverseDynamics, load_inverse, save_inverse, targets, triples

PRESET = (
    "clips=3 prefix=9 chunks=3 forced=1 forced_samples=2 perceptual=0 long_starts=2 long_seconds=4 "
    "memory_starts=2 memory_seconds=[1] full_turn_seconds=1 still_starts=2 still_seconds=0.4 "
    "rest_starts=2 rest_seconds=1 return_cases=2 change_cases=2 "
    "digs=2 branch_starts=1 branch_chunks=2 inverse_clips=2 walks=2 walk_seconds=0.4"
)


def record(store: EpisodeStore, seed: int, frames: int = 120, name: str = "", text: str = "turning") -> None:
    """A picture that moves left when the player turns right; between turns the player stands, once a block vanishes."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 255, (6, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    turn = np.repeat(rng.uniform(0, 4, frames // 20) * np.arange(frames // 20).__mod__(2), 20)
    yaw = np.concatenate([[0], np.cumsum(turn)[:-1]])
    pictures = np.stack([np.roll(wide, -int(y), 1)[:, :80] for y in yaw])
    pictures[50:, 8:24, 24:40] //= 4
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:-1, -1] = np.diff(yaw)
    actions[:-1, 0] = actions[:-1, -1] > 0
    zeros = np.zeros((frames, 3))
    state = {"position": zeros, "velocity": zeros, "yaw": yaw, "pitch": np.zeros(frames)}
    about = {"seed": seed, "split": split_of(seed), "fps": 20, "keys": list(MINECRAFT.keys)}
    store.append(
        Episode(
            frames=pictures, actions=actions, rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, bool),
            state=state, text=text, provenance=about, events=[{"frame": 50, "kind": "dig"}],
        ),
        name or f"map{seed}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    store = EpisodeStore(folder / "store")
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            record(store, seed)
    save_tiny_world(folder / "world")
    return folder


def words(road: Path, *more: str) -> list[str]:
    numbers = [f"preset.{word}" for word in PRESET.split()]
    numbers.append("thresholds.collapse_seconds=2")
    return ["eval", f"data={road / 'store'}", f"world={road / 'world'}", f"folder={road / 'run'}", *numbers, *more]


@pytest.fixture
def settings_reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Which of its settings each part reads while it is measured."""
    reads: dict[str, set[str]] = {}
    running: list[str] = []
    usual = vars(Checked)["of"].__func__

    def noted(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_noted(part: EvaluationPart, e: Evaluation) -> Any:
            reads[part.name] = set()
            running.append(part.name)
            try:
                return run(part, e)
            finally:
                running.pop()

        return run_noted

    def watched(cls: type[Checked], whole: Any) -> Any:
        made = usual(cls, whole)
        return Watched(made, reads[running[-1]]) if running and cls is PARTS[running[-1]].settings else made

    for part in PARTS.values():
        monkeypatch.setattr(type(part), "run", noted(type(part).run))
    monkeypatch.setattr(Checked, "of", classmethod(watched))
    return reads


class Watched:
    """Settings that note what is read of them."""

    def __init__(self, made: Any, read: set[str]):
        self._made, self._read = made, read

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._made, name)


@pytest.mark.slow
def test_everything_is_measured_once_and_a_second_call_goes_on(
    road: Path, settings_reads: dict[str, set[str]], capsys: pytest.CaptureFixture[str]
):
    train = ["train", "inverse", f"data={road / 'store'}", "steps=3", "batch=16", f"folder={road / 'inverse'}"]
    assert cli.main(train) == 0
    inverse = f"inverse={road / 'inverse' / 'inverse.safetensors'}"
    assert cli.main(words(road, inverse)) == 0
    out = capsys.readouterr().out
    # A part is measured anew where one of its settings changes: it reads them all.
    own = {name: {one.name for one in fields(part.settings)} for name, part in PARTS.items()}
    skipped = {"perceptual": {"perceptual"}, "branches": {"branch_starts", "prefix"}, "camera": set()}
    assert settings_reads == own | skipped
    assert "camera sign test" in out and "not measured: branches" in out and "not measured: perceptual" in out
    assert "not measured: camera" in out
    first = json.loads((road / "run" / "eval.json").read_text())
    page = (road / "run" / "report.html").read_text()
    for kind in (
        "disappearance",
        "spontaneous object",
        "identity drift",
        "motion discontinuity",
        "action ignored",
        "collapse",
    ):
        assert kind in page
    assert page.count("<svg") >= 6 and page.count("<video") == 5 and "https://" not in page
    assert len(list((road / "run" / "videos").glob("*.mp4"))) == 5
    assert films_of(road / "run", "long")["collapse"].shape[0] == 5
    assert len(first["horizons"]["psnr"]["model"]["value"]) == 3 and first["horizons"]["maps"] == 2
    lost = road / "run" / "parts" / "actions.json"
    before = {path: path.stat().st_mtime_ns for path in (road / "run" / "parts").glob("*.json")}
    lost.unlink()
    # One part is asked for; the report has the others all the same.
    assert cli.main(words(road, inverse, "parts=actions")) == 0
    again = json.loads((road / "run" / "eval.json").read_text())
    changed = [path.stem for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == ["actions"]
    for name in ("actions", "horizons", "long"):
        assert {k: v for k, v in again[name].items() if k != "took_seconds"} == {
            k: v for k, v in first[name].items() if k != "took_seconds"
        }


@pytest.mark.slow
def test_another_seed_is_another_evaluation(road: Path):
    run = ["parts=horizons", f"folder={road / 'seeds'}"]
    assert cli.main(words(road, *run)) == 0
    first = json.loads((road / "seeds" / "parts" / "horizons.json").read_text())
    assert cli.main(words(road, *run, "seed=5")) == 0
    second = json.loads((road / "seeds" / "parts" / "horizons.json").read_text())
    assert first["key"] != second["key"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("split=train", "split must be test or validation"),
        ("parts=horizon", "unknown part 'horizon'; known: horizons"),
        ("preset.chunks=0", "must be at least 1"),
        ("preset=slow", "slow"),
        ("inverse=nowhere.safetensors", "no such file or folder"),
    ],
)
def test_mistakes_are_one_line(road: Path, more: str, says: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(words(road, more)) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1


def test_clips_are_drawn_evenly_over_maps_and_repeat(road: Path):
    store = EpisodeStore(road / "store")
    clips = draw_clips(store, "test", 6, 9, seed=3)
    assert np.bincount(np.unique(clips.maps, return_inverse=True)[1]).tolist() == [3, 3]
    assert clips.places == draw_clips(store, "test", 6, 9, seed=3).places
    other = clips.maps[clips.foreign()]
    assert (other != clips.maps).all()
    still = draw_clips(store, "test", 4, 9, seed=0, suits=stands_after(9, rest=4))
    assert not still.actions[:, -3:].any()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    """Four episodes of one held-out map, then one of another."""
    store = EpisodeStore(tmp_path_factory.mktemp("uneven") / "store")
    many, one = [seed for seed in range(200) if split_of(seed) == "test"][:2]
    for number in range(4):
        record(store, many, name=f"a{number}")
    record(store, one, name="b")
    return store


def test_recorded_digs_are_drawn_with_the_seed_and_evenly_over_maps(uneven: EpisodeStore):
    drawn = {seed: find_dig_events(uneven, ("test",), 9, 2, seed) for seed in range(5)}
    places = [digs.clips.places for digs in drawn.values() if digs is not None]
    assert all(len({name[0] for name, _ in pair}) == 2 for pair in places)
    assert len({pair[0] for pair in places}) > 1
    digs = drawn[0]
    assert digs is not None and digs.clips.frames.shape[1] == 9
    # The last picture of the past is of the fourth frame after the dig's; the one before it is of the third before.
    name, start = digs.clips.places[0]
    assert start + 8 == 53 and (digs.before[0] == uneven.read(name).frames[47]).all()


def test_recorded_windows_are_drawn_with_the_seed_and_evenly_over_maps(uneven: EpisodeStore):
    first = recorded_windows(uneven, ("test",), 4, seed=0)
    pictures = {kind: {x.tobytes() for x, _ in recorded_windows(uneven, ("test",), 4, seed=1)[kind]} for kind in first}
    assert {x.tobytes() for x, _ in first["still"]} != pictures["still"]
    assert len(first["still"]) == 4 and first["still"][0][0].shape[0] == 17
    alone = {uneven.read("b", t - 8, t + 9).frames.tobytes() for t in range(20, 100, 8)}
    assert sum(x.tobytes() in alone for x, _ in first["still"]) == 2


def test_recorded_revisits_count_all_maps(uneven: EpisodeStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "worldsim.evaluation.measures.returns.looks.revisits", lambda e: {"revisit": [(0, 30)] * 9, "other": []}
    )
    found = recorded_revisits(uneven, ("test",), most=4)
    assert found["revisit"]["count"] == 4 and found["revisit"]["maps"] == 2 and found["other"]["count"] == 0


@pytest.mark.parametrize(("chunk", "pictures"), [(2, 5), (4, 3)])
def test_recorded_turns_are_seen_as_far_apart_as_the_ends_of_chunks(
    uneven: EpisodeStore, chunk: int, pictures: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(eval_recorded, "turn_evidence", len)
    assert recorded_turn(uneven, ("test",), chunk) == pictures


def evaluation(road: Path, world: WorldModel, folder: Path) -> Evaluation:
    numbers = {word.split("=")[0]: word.split("=")[1] for word in PRESET.split()}
    preset = replace(PRESETS["quick"], **{name: json.loads(number) for name, number in numbers.items()})
    return Evaluation(
        world=world, store=EpisodeStore(road / "store"), split="test", preset=preset, thresholds=EvalThresholds(),
        seed=0, folder=folder, branches=folder,
    )  # fmt: skip


def test_a_part_that_was_skipped_is_tried_again(road: Path, tmp_path: Path):
    run = evaluation(road, tiny_world(), tmp_path)
    assert run_parts(run, only(GivenText({"skipped": "not installed"})), ["text"])["text"]["skipped"]
    assert not run_parts(run, only(GivenText({})), [])
    found = run_parts(run, only(GivenText({"captions": 3})), ["text"])["text"]
    assert found["captions"] == 3 and run_parts(run, only(GivenText({})), ["text"])["text"] == found


def test_other_captions_are_another_world_and_other_goals_are_not(road: Path, tmp_path: Path):
    world = tiny_world()
    shipped = WorldModel(
        world.config, world.tokenizer, world.dit, prompt_embeddings=1 + world.prompt_embeddings, bf16=False
    )
    run = evaluation(road, world, tmp_path)
    key = part_digest(run, PARTS["text"], weights_digest(run.world))
    other = replace(run, world=shipped)
    assert part_digest(other, PARTS["text"], weights_digest(other.world)) != key
    limits = run.thresholds
    easier = replace(run, thresholds=replace(limits, goals=replace(limits.goals, camera=0.5)))
    assert part_digest(easier, PARTS["text"], weights_digest(run.world)) == key
    stricter = replace(run, thresholds=replace(limits, failure_run=2))
    assert part_digest(stricter, PARTS["text"], weights_digest(run.world)) != key


def test_inverse_dynamics_reads_the_chunks_it_was_trained_on(tmp_path: Path):
    path = tmp_path / "inverse.safetensors"
    model = InverseDynamics(("forward",))
    model.read(np.zeros((1, 3, 48, 80, 3), np.uint8))
    save_inverse(path, model, {"chunk": 2})
    assert load_inverse(path, 2).keys == ("forward",)
    with pytest.raises(UserError, match=r"chunks of 2 frames, the world's have 4: .* train inverse chunk=4"):
        load_inverse(path, 4)


def test_inverse_dynamics_targets_belong_to_the_last_chunk(road: Path):
    clip = EpisodeStore(road / "store").read("map0" if "map0" in EpisodeStore(road / "store") else "map3", 20, 29)
    shown = triples(clip.frames[None], 2)
    assert shown.shape[:3] == (1, 3, 3) and (shown[0, 0, 2] == clip.frames[4]).all()
    down, turned = targets(clip.actions[None, 2:8].reshape(1, 3, 2, -1), MINECRAFT.keys, ("forward", "jump"))
    assert turned[0, 0, 1] == pytest.approx(clip.actions[2:4, -1].sum()) and down[0, :, 1].sum() == 0
    with pytest.raises(ValueError, match="worldsim train inverse"):
        load_inverse(road / "world" / "dit.safetensors", 2)
