"""``worldsim make-world`` as a whole, on a tiny game: made, killed and gone on with, given more time."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.making.recordings import record, record_store
from worldsim import cli
from worldsim.cli.making import conductor, plan, stages
from worldsim.cli.making.recipes import FEW_STEPS
from worldsim.cli.making.rounds import ROUNDS
from worldsim.datasets.store.store import SPLITS, Split
from worldsim.models.checkpoint import read_metadata
from worldsim.simulation.world_model import WorldModel

TINY = ",".join(f"model.{name}=8" for name in ("channels", "encoder_width", "decoder_width", "detail_width"))
WORDS = [
    f"tokenizer=[{TINY},batch=2,chunks=4,training.fit_batches=2,training.steps=3]",
    "dynamics=[model=tiny,batch=2,frames=8]",
    "out=worlds/block",
    "folder=made",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_store(tmp_path_factory.mktemp("recordings") / "block")


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty folder, a machine whose speed the test decides; the commands that ran."""
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []

    def make_plan(*args: Any, **options: Any) -> plan.Plan:
        return plan.make_plan(*args, time_tokenizer=lambda *_: 0.5, time_dynamics=lambda *_: 0.5, **options)

    def run_stage(name: str, words: Sequence[str]) -> None:
        ran.append(f"{name} {' '.join(words)}")
        stages.run_stage(name, words)

    monkeypatch.setattr(conductor, "make_plan", make_plan)
    monkeypatch.setattr(conductor, "run_stage", run_stage)
    # However slow this machine is: steps take what the plan says.
    monkeypatch.setattr(conductor, "_step_seconds", lambda making, plan: plan.dynamics_step)
    monkeypatch.setattr(stages, "JUDGED_CLIPS", 2)
    monkeypatch.setattr(stages, "JUDGED_SECONDS", 0.3)
    return ran


def make(store: Path, *words: str) -> int:
    return cli.main(["make-world", str(store), *WORDS, *words])


@pytest.mark.slow
def test_a_world_is_made_of_recordings(store: Path, quick: list[str], capsys: pytest.CaptureFixture[str]):
    assert make(store, "hours=0.008") == 0
    out = capsys.readouterr().out
    before, after = out.split("$ worldsim data check", 1)
    # Before it starts: what it found, what it will do and how long that takes.
    assert "180 frames of 32x32 to learn from, 10 a second" in before
    assert "small things on a still ground (kind=still)" in before and "train tokenizer" in before
    assert "2 s   3 steps" in before and "at most" in before and "eval" in before
    # On the way: whether keys matter, and whether it is better than the last frame.
    assert after.count("wrong keys make the error") == sum(line.startswith("train dynamics") for line in quick)
    assert "repeating the last one" in after and "the learning rate falls now" in after
    # At the end: a verdict, and what to type.
    assert "few recordings: 180 frames" in after and "worldsim play --world" in after
    assert "--actions 'left 20' --actions 'right 20'" in after
    verdict = Path("made/verdict.txt").read_text()
    assert verdict.strip() in after
    names = [" ".join(line.split()[:2]) for line in quick]
    assert list(dict.fromkeys(names))[:2] == ["data check", "train tokenizer"] and quick[-1].startswith("eval ")
    world = WorldModel.load(Path("worlds/block"))
    assert world.spec.keys == ("left", "right") and world.chunk == 1
    # Finished: the same command has nothing left to train.
    done = len(quick)
    assert make(store, "hours=0.008") == 0 and len(quick) == done


@pytest.mark.slow
def test_more_time_and_more_recordings_go_on_where_the_training_ended(tmp_path: Path, quick: list[str]):
    store = record_store(tmp_path / "own")
    assert make(store, "hours=0.004") == 0
    first = json.loads(Path("made/make-world.json").read_text())["rounds"]
    tokenizer = Path("made/tokenizer/tokenizer.safetensors").stat().st_mtime_ns
    record(store, "train", "added", seed=99)
    assert make(store, "hours=0.008") == 0
    state = json.loads(Path("made/make-world.json").read_text())
    rounds = state["rounds"]
    assert rounds[: len(first)] == first and rounds[len(first)]["steps"] > first[-1]["steps"]
    assert Path("made/tokenizer/tokenizer.safetensors").stat().st_mtime_ns == tokenizer
    assert sum(line.startswith("eval ") for line in quick) == sum(line.startswith("data check ") for line in quick) == 2
    assert state["plan"]["frames"] == 240
    trained_on = read_metadata(Path("worlds/block/dit.safetensors"))["trained_on"]["stores"]
    assert any(name.startswith("added") for one in trained_on for name in one["episodes"])


class Killed(BaseException):
    """Nothing that the code could catch, as a process that is gone."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["tokenizer", "dynamics"])
def test_a_making_that_was_killed_goes_on(store: Path, quick: list[str], stage: str, monkeypatch: pytest.MonkeyPatch):
    import worldsim.training.dynamics as dynamics
    import worldsim.training.tokenizer as tokenizer

    module = {"tokenizer": tokenizer, "dynamics": dynamics}[stage]
    whole, taken = module.training_step, []

    def step(*args: Any, **options: Any) -> dict[str, float]:
        taken.append(args)
        if len(taken) == 3:
            raise Killed
        return whole(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "training_step", step)
        with pytest.raises(Killed):
            make(store, "hours=0.008", "check=false")
    killed = quick[-1]
    assert killed.startswith(f"train {stage}") and not Path("worlds/block").exists()
    before = len(quick)
    assert make(store, "hours=0.008", "check=false") == 0
    # The same command with the same goal first; stages that were done are not done again.
    assert quick[before] == killed
    assert sum(line.startswith("train tokenizer") for line in quick) == 1 + (stage == "tokenizer")
    assert (Path("worlds/block") / "starts").exists() and "The keys" in Path("made/verdict.txt").read_text()


@pytest.mark.slow
def test_a_validation_that_was_lost_is_made_again(store: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch):
    from worldsim.training.logging import RunLog

    write, lost = RunLog.write, []

    def forgetful(self: RunLog, step: int, metrics: dict[str, float]) -> None:
        if "validation/x0" in metrics and not lost:
            lost.append(step)
            return
        write(self, step, metrics)

    monkeypatch.setattr(RunLog, "write", forgetful)
    assert make(store, "hours=0.004", "check=false") == 0
    rounds = json.loads(Path("made/make-world.json").read_text())["rounds"]
    assert rounds[0]["steps"] == lost[0] + 1 and len(rounds) <= ROUNDS + 2


@pytest.mark.slow
def test_the_plan_alone_trains_nothing(store: Path, quick: list[str], capsys: pytest.CaptureFixture[str]):
    assert make(store, "plan=true", "hours=0.5", "kind=scrolling") == 0
    out = capsys.readouterr().out
    assert "a scrolling picture (kind=scrolling), because you said so" in out and "nothing was trained" in out
    assert not quick and not Path("worlds").exists()


def test_recordings_that_fail_the_check_stop_it(tmp_path: Path, quick: list[str], capsys: pytest.CaptureFixture[str]):
    store = tmp_path / "damaged"
    record_store(store)
    file = next(path for path in sorted(store.rglob("*")) if path.is_file() and "frames" in str(path))
    file.write_bytes(file.read_bytes()[:-9])
    assert make(store, "hours=0.004") == 2
    assert not Path("worlds").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recordings=nowhere"], "no such file or folder: nowhere"),
        (["kind=chess"], "kind must be auto, still, scrolling or first_person"),
        (["hours=0"], "hours must be"),
        (["size=9x"], "size must be WIDTHxHEIGHT"),
        (["size=144x90"], "pictures of 144x90 cannot be trained on: sides are multiples of 16 pixels; say size=144x96"),
        (["size=0x16"], "say size=16x16"),
        (["tokenizer=[folder=here]"], "folder is decided by make-world"),
        (["dynamics=[training.steps=9]"], "training.steps is decided by make-world"),
        (["dynamics=[modle=small]"], "unknown setting 'modle'; did you mean model"),
        (["evaluate=[preset.clips=0]"], "preset.clips must be"),
        (["memory=true"], "memory=true wants recordings with a camera and depth; these have no camera and no depth"),
    ],
)
def test_bad_input_is_one_line(store: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    given = words if words[0].startswith("recordings=") else [str(store), *words]
    assert cli.main(["make-world", *given, "out=worlds/x", "folder=made"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not Path("worlds").exists()


def test_a_size_that_cannot_be_trained_on_is_refused_before_recordings_are_read(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def gather(*words: Any, **options: Any) -> None:
        raise AssertionError("recordings were read")

    monkeypatch.setattr(conductor, "gather", gather)
    assert make(store, "size=40x48") == 2 and "say size=32x48" in capsys.readouterr().err
    assert not Path("made").exists()
    with pytest.raises(AssertionError, match="recordings were read"):
        make(store, "size=32x48")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["still", "first_person"])
@pytest.mark.parametrize("hours", [0.01, 0.15])
def test_a_plan_of_few_steps_is_warned_of_and_the_hours_it_names_are_enough(
    store: Path, quick: list[str], kind: str, hours: float, capsys: pytest.CaptureFixture[str]
):
    def steps_and_warnings(hours: str) -> tuple[int, list[str]]:
        assert make(store, "plan=true", f"hours={hours}", f"kind={kind}") == 0
        out = capsys.readouterr().out
        steps = int(re.findall(r"at most ([\d,]+) steps", out)[0].replace(",", ""))
        return steps, [line for line in out.splitlines() if line.startswith("warning")]

    # A step of either network takes half of a second here.
    steps, [warned] = steps_and_warnings(str(hours))
    assert 0 < steps < FEW_STEPS and "ignores keys" in warned
    steps, warnings = steps_and_warnings(re.findall(r"hours=([\d.]+)", warned)[0])
    assert steps >= FEW_STEPS and not warnings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "frames", "needed"), [("train", 15, 16), ("validation", 15, 16), ("test", 32, 33), (None, 16, 16)]
)
def test_recordings_that_are_too_short_are_refused_before_anything_is_trained(
    tmp_path: Path, quick: list[str], split: Split | None, frames: int, needed: int, capsys: pytest.CaptureFixture[str]
):
    store = tmp_path / "short"
    for number, each in enumerate(SPLITS):
        long = 16 if each != "test" else 33
        record(store, each, each, frames=frames if each == split else long, seed=number)
    words = ["make-world", str(store), "plan=true", "folder=made", "dynamics=[model=tiny,frames=16]", "kind=still"]
    code, said = cli.main(words), capsys.readouterr()
    if split is None:
        assert code == 0 and not said.err
    else:
        assert code == 2 and f"the longest {split} recording has {frames} frames" in said.err
        assert f"needs {needed} in a row" in said.err and not quick


@pytest.mark.slow
def test_empty_folders_and_one_recording_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    assert cli.main(["make-world", "empty", "folder=made"]) == 2
    assert "holds nothing that can be imported" in capsys.readouterr().err
    record(tmp_path / "one", "train", "only")
    assert cli.main(["make-world", "one", "folder=made2"]) == 2
    assert "at least two are needed" in capsys.readouterr().err


def test_a_making_goes_on_with_the_settings_that_it_was_begun_with(store: Path, capsys: pytest.CaptureFixture[str]):
    assert make(store, "plan=true") == 0
    capsys.readouterr()
    assert make(store, "plan=true", "kind=scrolling") == 2
    assert "was begun with kind=auto, and this command says scrolling" in capsys.readouterr().err
    Path("made/make-world.json").write_text("{}")
    assert make(store, "plan=true") == 2
    assert "make-world.json is damaged" in capsys.readouterr().err
