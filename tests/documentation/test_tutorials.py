"""The tutorials do what they say: every block of their text is run, with fewer steps."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation.tutorial import blocks, commands, run
from worldsim.datasets.store.store import EpisodeStore

PAGES = Path(__file__).parents[2] / "docs" / "tutorials"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to follow a tutorial in, without a display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield tmp_path
    pygame = sys.modules.get("pygame")
    if pygame is not None:
        pygame.display.quit()
    sys.modules.pop("mytask", None)


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


@pytest.mark.slow
def test_play(folder: Path):
    run(text("play"))
    assert (folder / "first.mp4").stat().st_size and (folder / "futures" / "rollout.mp4").stat().st_size
    assert len(list(folder.glob("runs/play-*/play.mp4"))) == 1


@pytest.mark.slow
def test_train_an_agent(folder: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("ale_py")
    run(text("train-an-agent"))
    assert (folder / "runs" / "follow" / "policy.safetensors").exists() and list(folder.glob("runs/agent-watch*/*.mp4"))
    out = capsys.readouterr().out
    assert "dream" in out and "engine" in out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_world_of_your_own_game_and_how_good_it_is(folder: Path, capsys: pytest.CaptureFixture[str]):
    run(text("your-own-game"))
    made = EpisodeStore("runs/catch/recordings")
    assert {made.frame_size(name) for name in made.names()} == {(64, 48)}
    assert list(folder.glob("runs/play-*/play.mp4")) and list(folder.glob("runs/rollout-*/*.mp4"))
    assert "catch (" in capsys.readouterr().out
    run(text("judge-a-world"))
    assert (folder / "runs" / "compare" / "compare.html").exists()
    assert "Gain over repeating the last frame" in (folder / "runs" / "eval-after" / "report.html").read_text()


def test_every_tutorial_is_run():
    tested = {"play", "train-an-agent", "your-own-game", "judge-a-world"}
    assert {page.stem for page in PAGES.glob("*.md")} == tested


PAGE = """
<!-- test: steps=100 => steps=2 -->
```bash
worldsim doctor \\
    steps=100   # a comment
```

```python title="made.py"
x = 1
```

<!-- test: skip, needs a network -->
```bash
pip install something
```

```python
import made
seen = made.x
```
"""


def test_the_runner_changes_saves_skips_and_runs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    found = list(blocks(PAGE))
    assert [(block.language, block.file) for block in found] == [("bash", ""), ("python", "made.py"), ("python", "")]
    assert commands(found[0].text) == [["worldsim", "doctor", "steps=2"]]
    monkeypatch.syspath_prepend(os.fspath(folder))
    importlib.invalidate_caches()
    assert run(PAGE.replace("worldsim doctor", "worldsim help #"))["seen"] == 1
    sys.modules.pop("made", None)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (PAGE.replace("test: steps=100", "test: steps=99"), "changes nothing"),
        (PAGE.replace("skip, needs a network", "skip"), "say why"),
        (PAGE + "<!-- test: skip, it is the end -->\n", "stands before no block"),
        ("<!-- test: a => b -->\n```text\na\n```\n", "is not run"),
    ],
)
def test_the_runner_refuses_comments_that_change_nothing(page: str, error: str):
    with pytest.raises(ValueError, match=error):
        list(blocks(page))


@pytest.mark.parametrize("line", ["worldsim data summary nowhere", "ls"])
def test_a_command_that_fails_fails_the_tutorial(folder: Path, line: str):
    with pytest.raises(AssertionError):
        run(f"```bash\n{line}\n```\n")
