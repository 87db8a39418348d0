"""``worldsim eval`` and ``worldsim train inverse`` on a tiny store: all parts, going on, mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.actions import MINECRAFT
from worldsim.agents.eval_clips import draw_clips, stands_after
from worldsim.agents.eval_run import films_of
from worldsim.agents.inverse_dynamics import load_inverse, targets, triples
from worldsim.datasets.episode import Episode
from worldsim.datasets.store import EpisodeStore, split_of

PRESET = (
    "clips=3 prefix=9 chunks=3 forced=1 perceptual=0 long_starts=2 long_seconds=4 memory_starts=2 memory_gaps=[2] "
    "still_starts=2 still_seconds=0.4 digs=2 branch_starts=1 branch_chunks=2 inverse_clips=2 walks=2 walk_seconds=0.4"
)


def record(store: EpisodeStore, seed: int, frames: int = 120) -> None:
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
            state=state, text="turning", provenance=about, events=[{"frame": 50, "kind": "dig"}],
        ),
        f"map{seed}",
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
    return ["eval", f"data={road / 'store'}", f"world={road / 'world'}", f"folder={road / 'run'}", *numbers, *more]


def test_everything_is_measured_once_and_a_second_call_goes_on(road: Path, capsys: pytest.CaptureFixture[str]):
    train = ["train", "inverse", f"data={road / 'store'}", "steps=3", "batch=16", f"folder={road / 'inverse'}"]
    assert cli.main(train) == 0
    inverse = f"inverse={road / 'inverse' / 'inverse.safetensors'}"
    assert cli.main(words(road, inverse)) == 0
    out = capsys.readouterr().out
    assert "camera sign test" in out and "not measured: branches" in out and "not measured: perceptual" in out
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


def test_inverse_dynamics_targets_belong_to_the_last_chunk(road: Path):
    clip = EpisodeStore(road / "store").read("map0" if "map0" in EpisodeStore(road / "store") else "map3", 20, 29)
    shown = triples(clip.frames[None], 2)
    assert shown.shape[:3] == (1, 3, 3) and (shown[0, 0, 2] == clip.frames[4]).all()
    down, turned = targets(clip.actions[None, 2:8].reshape(1, 3, 2, -1), MINECRAFT.keys, ("forward", "jump"))
    assert turned[0, 0, 1] == pytest.approx(clip.actions[2:4, -1].sum()) and down[0, :, 1].sum() == 0
    with pytest.raises(ValueError, match="worldsim train inverse"):
        load_inverse(road / "world" / "dit.safetensors")
