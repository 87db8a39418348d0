"""Settings: texts stand as they are, numbers are checked by type and range, every one is described."""

import string
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim import cli
from worldsim.cli.command import SettingsCommand
from worldsim.cli.compose import compose
from worldsim.cli.runs import plain, run_folder
from worldsim.cli.schema import meanings, schema_of
from worldsim.cli.settings import folder_setting, group, setting
from worldsim.cli.table import COMMANDS
from worldsim.cli.train.worlds import TrainDynamics
from worldsim.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How to learn.

    Attributes:
        rate: learning rate.
        warmup, cooldown: steps at the beginning
            and at the end.
    """

    rate: float = 1e-3
    warmup: int = 10
    cooldown: int = 20

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be above 0, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    Attributes:
        steps: of the run.
        share: of the clips.
        sizes: of pictures.
    """

    steps: int = 100
    share: float = 0.5
    sizes: tuple[int, ...] = (1, 2)
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share}")


@dataclass(kw_only=True)
class Example:
    """Settings of a command that is not there."""

    data: str = setting(help="folder", example="data=data/luanti", word="STORE")
    note: str | None = setting(None, help="text")
    also: list[str] = setting([], help="folders")
    in_: str = setting("dream", help="where", choices=("dream", "engine"))
    batch: int = setting(8, help="clips", minimum=1)
    seconds: float | None = setting(None, help="length", unit="seconds", above=0)
    headless: bool = setting(False, help="no window")
    kwargs: dict[str, Any] | None = setting(None, help="options")
    compute: list[float | None] = setting([], help="TFLOP")
    folder: str | None = folder_setting("example")
    training: Training = group(Training, renamed={"rate": "optimizer.rate"})
    model: dict[str, Any] = group(Optimizer, option="small", filled=("cooldown",))
    amount: Training = group(Training, option="quick", options={"quick": {"steps": 5}, "full": {"steps": 50}})


TEXTS = [
    "jürgen", "x,y", "it's", "run (1)", "run[1]", "lr=3", "{a}", "~x", "a b", "$HOME", "${oc.env:HOME}", "%s", '"q"',
    "'q'", " x ", "null.", "true", "1e5", "a: b", "#x", "\\", "a\\'b", "[", "]", "x]", "???", "*", "@", "a\nb", "",
    "key: [1,2]",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_texts_stand_as_they_are(text: str):
    made = compose(Example, [f"{key}={text}" for key in ("data", "note", "also", "folder")])
    assert (made.data, made.note, made.also, made.folder) == (text, text, [text], text)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.text(string.printable, max_size=12))
def test_any_text_stands_as_it_is(text: str):
    if text != "null":
        assert compose(Example, [f"data={text}", f"note={text}"]).note == text


def test_null_is_none_only_where_a_setting_may_be_none():
    made = compose(Example, ["data=null", "note=null", "seconds=null"])
    assert (made.data, made.note, made.seconds) == ("null", None, None)
    with pytest.raises(UserError, match="batch must be a whole number, got null"):
        compose(Example, ["data=x", "batch=null"])


def test_lists_are_one_text_or_in_brackets():
    made = compose(Example, ["data=x", """also=[a, b c,"d,e",'f]']""", "compute=[1,null,2.5]", "training.sizes=[3,4]"])
    assert made.also == ["a", "b c", "d,e", "f]"] and made.compute == [1.0, None, 2.5]
    assert made.training.sizes == (3, 4) and compose(Example, ["data=x", "also=[]"]).also == []
    assert compose(Example, ["data=x"], {"also": ["a,b", "[c]"]}).also == ["a,b", "[c]"]


def test_numbers_and_groups():
    words = [
        "data=x",
        "+seconds=2",
        "batch=1e1",
        "headless=yes",
        "kwargs={cut:5,name:a}",
        "training.optimizer.rate=2e-4",
    ]
    made = compose(Example, [*words, "in=engine", "model.rate=3"])
    assert made.seconds == 2.0 and made.batch == 10 and type(made.batch) is int and made.headless is True
    assert made.kwargs == {"cut": 5, "name": "a"} and made.training.optimizer == Optimizer(rate=2e-4)
    assert made.in_ == "engine" and made.model["rate"] == 3.0 and made.model["width"] == 384


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("batch=0", "batch must be at least 1, got 0"),
        ("batch=2.5", "batch must be a whole number, got '2.5'"),
        ("batch=many", "batch must be a whole number, got 'many'"),
        ("seconds=0", "seconds must be above 0, got 0"),
        ("seconds=nan", "seconds must be a number, got 'nan'"),
        ("headless=maybe", "headless must be true or false, got 'maybe'"),
        ("kwargs=3", "kwargs must be names and values"),
        ("compute=[1,much]", "compute must be a list of numbers, got 'much'"),
        ("in=enginee", "in must be dream or engine, got 'enginee'; did you mean engine?"),
        ("model=smal", "model must be one of atari, base, large, small, tiny, got 'smal'; did you mean small?"),
        ("training.steps=0", "training.steps must be at least 1, got 0"),
        ("training.optimizer.rate=0", r"training.optimizer.rate must be above 0, got 0"),
        ("training.optimizer.rat=1", "unknown setting 'training.optimizer.rat'; did you mean training.optimizer.rate"),
        ("training.warmup=1", "unknown setting 'training.warmup'; did you mean training.optimizer.warmup"),
        ("bacth=8", "unknown setting 'bacth'; did you mean batch?"),
        ("batch", "settings are given as KEY=VALUE"),
    ],
)  # fmt: skip
def test_mistakes_say_what_is_wanted(word: str, says: str):
    with pytest.raises(UserError, match=says) as error:
        compose(Example, ["data=x", word])
    assert "\n" not in str(error.value)


def test_a_group_has_choices_of_files_or_of_values():
    assert compose(Example, ["data=x"]).amount.steps == 5
    made = compose(Example, ["data=x", "amount=full", "amount.share=0.25", "model=tiny"])
    assert made.amount == Training(steps=50, share=0.25) and made.model["width"] == 64
    assert schema_of(Example).settings["amount.steps"].default == 5
    with pytest.raises(UserError, match="amount must be one of quick, full, got 'ful'; did you mean full"):
        compose(Example, ["data=x", "amount=ful"])


def test_a_missing_setting_is_named_with_an_example():
    with pytest.raises(UserError, match=r"^data is missing: give, for example, data=data/luanti$"):
        compose(Example)


def test_a_former_key_is_taken_with_one_warning(capsys: pytest.CaptureFixture[str]):
    assert compose(Example, ["data=x", "training.rate=0.5"]).training.optimizer.rate == 0.5
    warning = capsys.readouterr().err
    assert "training.rate is called training.optimizer.rate now" in warning and warning.count("\n") == 1


def test_flat_keys_of_earlier_versions_are_taken(capsys: pytest.CaptureFixture[str]):
    words = ["tokenizer=x", "training.play_steps=4", "training.rate=1e-4", "training.halved_share=0.5"]
    made = compose(TrainDynamics, words).training
    assert (made.noise.sampler_steps, made.optimizer.rate, made.half_clip_fraction) == (4, 1e-4, 0.5)
    assert capsys.readouterr().err.count("the old name goes with the next release\n") == 3
    with pytest.raises(UserError, match=r"^training\.optimizer\.ema must be at least 0 and at most 1, got 2$"):
        compose(TrainDynamics, ["tokenizer=x", "training.ema=2"])


def test_types_ranges_and_meanings_come_from_the_dataclasses():
    schema = schema_of(Example)
    assert meanings(Optimizer)["cooldown"] == meanings(Optimizer)["warmup"] == "steps at the beginning and at the end"
    rate, share = schema.settings["training.optimizer.rate"], schema.settings["training.share"]
    assert rate.about.help == "learning rate" and rate.range_name == "above 0" and rate.default == 1e-3
    assert share.range_name == "0 to 1" and schema.settings["training.steps"].range_name == "at least 1"
    assert "model.cooldown" not in schema.settings and schema.settings["in"].path == "in_"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_of_every_command_is_described(name: str):
    schema = SettingsCommand(name.split()[-1], COMMANDS[name]).schema
    silent = [key for key, one in schema.settings.items() if not one.about.help]
    assert not silent and all(one.title for one in schema.groups.values())
    assert all(one.about.example for one in schema.settings.values() if one.required)


# Commands that compute with no network, or for a moment only.
WITHOUT_THREADS = {
    "train export", "compare", "study result", "data summary", "data list", "data verify", "data import", "data export",
    "data check", "data repair", "data card", "data audit", "data withdraw", "data index", "data pack", "data unpack",
    "data sheet", "expand", "bench packs", "bench plan", "doctor",
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_computes_with_networks_takes_threads(name: str):
    assert ("threads" in SettingsCommand(name, COMMANDS[name]).schema.settings) == (name not in WITHOUT_THREADS)


def test_the_run_folder_keeps_the_settings_and_gives_them_back(tmp_path):
    folder = tmp_path / "it's $x {y}"
    made = compose(
        Example, ["data=${x}", f"folder={folder}", "also=[a,b]", "training.optimizer.rate=0.25", "in=engine"]
    )
    assert run_folder("example", made) == folder
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert kept == plain(made) and kept["data"] == "${x}" and kept["in"] == "engine"
    words = [f"{key}={kept[key]}" for key in ("data", "in", "batch")]
    assert compose(Example, words).batch == made.batch and kept["training"]["optimizer"]["rate"] == 0.25


def test_commands_are_light_to_list(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name.split()[0] in listed for name in COMMANDS)
