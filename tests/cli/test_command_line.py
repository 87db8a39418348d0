"""The command line itself: suggestions, forms of settings, help, completion, signals, and what it costs to start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_train import record
from tests.timing import PATIENCE
from worldsim import cli
from worldsim.cli.table import COMMANDS, FAMILIES, SECTIONS
from worldsim.datasets.store.store import EpisodeStore


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("trian", "train"),
        ("dynamics", "train dynamics"),
        ("train dynmics", "train dynamics"),
        ("bench dat", "bench data"),
        ("compare-emulater", "compare-emulator"),
        ("data chek", "data check"),
        ("train dynamics bacth=8", "batch"),
        ("data check limits.confidnce=1", "limits.confidence"),
        ("agent train training.rat=1e-3", "training.rate"),
        ("play --sed 3", "--seed"),
        ("play --headles", "--headless"),
        ("train dynamics model=smal", "small"),
        ("eval preset=ful", "full"),
        ("collect source=gymn", "gym"),
        ("data summary x split=tset", "test"),
        ("play engine", "engine"),
        ("data import in --out x format=vidoe", "video"),
    ],
)
def test_mistyped_words_get_a_suggestion(words: str, meant: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("worldsim: ") and error.count("\n") == 1
    assert "did you mean " in error and meant in error.split("did you mean ")[1]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lr=3, it's (1)[2] ü $x"
    record(EpisodeStore(path), 1, frames=4)
    return path


def test_a_store_is_given_in_any_form(store: Path, capsys: pytest.CaptureFixture[str]):
    shown = []
    for words in (
        [store.name],
        [f"data={store.name}"],
        ["--data", store.name],
        [f"--data={store.name}"],
        ["--licence", "*", store.name],
    ):
        assert cli.main(["data", "list", *words]) == 0
        shown.append(capsys.readouterr().out)
    assert "map1" in shown[0] and len(set(shown)) == 1


def test_words_fill_what_settings_leave(store: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["data", "withdraw", "map1", f"data={store.name}", "--reason", "asked", "checkpoints="]) == 0
    assert "map1 was moved" in capsys.readouterr().out
    assert cli.main(["data", "withdraw", store.name, "map9", "reason=again"]) == 2
    assert "map9" in capsys.readouterr().err


def test_flags_of_truth_values_have_both_forms(store: Path, capsys: pytest.CaptureFixture[str]):
    for flag in ("--keep-incomplete", "--keep_incomplete", "--no-keep-incomplete", "keep_incomplete=yes"):
        assert cli.main(["data", "repair", store.name, flag, "folder=run"]) == 0
        kept = (store.parent / "run" / "config.yaml").read_text()
        assert f"keep_incomplete: {'false' if flag.startswith('--no') else 'true'}" in kept


def test_repeated_flags_are_a_list_and_flags_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["expand", "digging", "count=3", "--count", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert cli.main(["compare", "--reports", "a,b", "--reports", "[c]", f"folder={tmp_path / 'x'}"]) == 2
    assert "a,b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("--help", FAMILIES),
        ("help", FAMILIES),
        ("-h", FAMILIES),
        ("data --help", ["check"]),
        ("help data", ["check"]),
        ("help bench", ["minutes", "bench env"]),
    ],
)
def test_help_of_groups(words: str, names: list[str], capsys: pytest.CaptureFixture[str]):
    assert cli.main(words.split()) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in names) and max(map(len, text.splitlines())) <= 120


def test_sections_name_every_command_once():
    names = [name for section in SECTIONS.values() for name in section]
    assert sorted(names) == sorted({*(name.split()[0] for name in COMMANDS), "help", "completion"})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_type_default_and_meaning(name: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["help", *name.split()]) == 0
    text = capsys.readouterr().out
    assert cli.main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out == text
    assert text.startswith(f"Usage: worldsim {name}") and ("default" in text or "required" in text or name == "doctor")


def test_help_wraps_to_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for width in (60, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli.main(["train", "dynamics", "--help"]) == 0
        text = capsys.readouterr().out
        assert width - 30 < max(map(len, text.splitlines())) <= width
    # One setting in full: meaning, type, range, default.
    assert "clips per step [whole number, at least 1; default 8]" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(shell: str, capfd: pytest.CaptureFixture[str]):
    assert cli.main(["completion", shell]) == 0
    assert "_WORLDSIM_COMPLETE" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("worldsim pl", ["play"]),
        ("worldsim data ch", ["check"]),
        ("worldsim bench en", ["env"]),
        ("worldsim play sam", ["sampling_steps="]),
        ("worldsim play engine=l", ["engine=luanti"]),
        ("worldsim play --sampling", ["--sampling_steps", "--sampling-steps"]),
        ("worldsim eval preset=", ["preset=full", "preset=quick"]),
    ],
)
def test_commands_and_settings_are_completed(
    line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    words = line.split()
    monkeypatch.setenv("_WORLDSIM_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", words[-1])
    assert cli.main([]) == 0
    found = [row.split(",")[1].split("\t")[0] for row in capfd.readouterr().out.splitlines()]
    assert sorted(found) == sorted(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("data che", "check"),
        ("play sampl", "sampling_steps="),
        ("play engine=l", "luanti"),
        ("eval preset=", "quick full"),
        ("bench e", "env"),
    ],
)
def test_bash_completes_with_the_script(line: str, expected: str, tmp_path: Path):
    """The script in a real bash, which makes three words of KEY=VALUE."""
    words = " ".join(line.replace("=", " = ").split())
    (tmp_path / "worldsim").write_text(f'#!/bin/sh\nexec {sys.executable} -m worldsim "$@"\n')
    (tmp_path / "worldsim").chmod(0o755)
    script = f"compopt() {{ :; }}; source <(worldsim completion bash); COMP_WORDS=(worldsim {words})\n"
    script += "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _worldsim_completion worldsim; echo ${COMPREPLY[*]}"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | path)
    assert run.stdout.split() == expected.split(), run.stderr


def test_a_former_command_warns_and_works(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["truth", "games=0"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "worldsim: warning: truth is called compare-emulator now; the old name goes with the next release"
    assert second == "worldsim: games must be at least 1, got 0"


def test_traceback_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]):
    for words in (["--traceback", "data", "list", "nowhere"], ["data", "list", "nowhere", "--traceback"]):
        with pytest.raises(FileNotFoundError):
            cli.main(words)
    assert cli.main(["data", "list", "nowhere"]) == 2
    assert capsys.readouterr().err == "worldsim: no such store: nowhere\n"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r", "\ud800", "\x1b[2J"])
@pytest.mark.parametrize("words", [["play", "--seed{}"], ["data", "list", "no{}where"], ["play", "world=no{}where"]])
def test_words_cannot_end_the_line_that_quotes_them(words: list[str], end: str, capfd: pytest.CaptureFixture[str]):
    assert cli.main([word.format(end) for word in words]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("worldsim: ") and (ascii(end)[1:-1] in line or end == "\r"), line


def test_a_reader_that_goes_away_is_no_error(store: Path):
    listing = f"{sys.executable} -m worldsim help | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", listing], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.stdout.splitlines()[-1] == "0" and run.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_command_with_130(number: int, tmp_path: Path):
    waiting = "import sys, time\nfrom worldsim.cli import app, doctor\n"
    waiting += "def wait(config: doctor.Doctor):\n    print('here', flush=True)\n    time.sleep(60)\n"
    waiting += "doctor.doctor = wait\nsys.exit(app.run(['doctor']))\n"
    run = subprocess.Popen(
        [sys.executable, "-c", waiting],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert run.stdout is not None and run.stdout.readline() == "here\n"
    time.sleep(0.1)
    os.kill(run.pid, number)
    _, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130 and errors.strip() == "interrupted"


def test_the_command_line_starts_without_torch_and_the_heavy_libraries():
    heavy = {"torch", "numpy", "hydra", "omegaconf", "gymnasium", "rich", "zarr"}
    code = f"import sys\nfrom worldsim.cli import main\nmain(['--help'])\nprint(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["play --headless out=p1", "play load=missing.play", "play prefix=missing.mp4", "rollout actions=[forward]"],
        ["play world=nowhere", "rollout world=nowhere", "agent watch policy=noop out=film.gif"],
        ["data list nowhere", "data summary nowhere", "data export nowhere out=x", "rollout"],
        ["data repair nowhere", "agent eval policy=noop world=nowhere", "rollout prefix=0 tree=missing.tree"],
    ],
    ids=lambda words: words[0],
)
def test_mistakes_are_told_before_pytorch_is_imported(words: list[str], tmp_path: Path):
    code = "import sys\nfrom worldsim.cli import main\nfor words in sys.argv[1:]:\n"
    code += "    assert main(words.split()) == 2 and 'torch' not in sys.modules, words"
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and len(run.stderr.splitlines()) == len(words), run.stderr
