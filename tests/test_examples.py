"""The examples run, with small settings, and leave what they say; their page lists all of them."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation.tutorial import run_command
from tests.real_game import needs_game
from worldsim.cli.making import stages
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import probe_video
from worldsim.envs.luanti import process

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = EXAMPLES.parent / "docs" / "examples.md"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, without a display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield tmp_path
    if (pygame := sys.modules.get("pygame")) is not None:
        pygame.display.quit()


def example(name: str, *words: str) -> None:
    run_command(["python", os.fspath(EXAMPLES / name), *words])


def frames(video: str) -> int:
    return probe_video(Path(video)).frames


@pytest.mark.slow
def test_counterfactuals(capsys: pytest.CaptureFixture[str]):
    example("counterfactuals.py", "4")
    apart = re.search(r"differ by (\d+) of 255", capsys.readouterr().out)
    assert apart and int(apart[1]) > 0 and Path("counterfactuals.png").stat().st_size > 1000


@pytest.mark.slow
def test_forks_and_a_planner(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("ale_py")
    example("forks_and_a_planner.py", "3", "4", "2")
    assert frames("planner.mp4") == 4 and "under random keys by" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ppo_in_the_dream(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("ale_py")
    pytest.importorskip("stable_baselines3")
    example("ppo_in_the_dream.py", "16", "2", "4")
    assert frames("ppo.mp4") == 5 and "after, in the console" in capsys.readouterr().out


@needs_game
def test_dream_beside_engine(capsys: pytest.CaptureFixture[str]):
    example("dream_beside_engine.py", "3")
    assert frames("beside.mp4") == 6 and "differ by" in capsys.readouterr().out


def test_dream_beside_engine_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def missing() -> None:
        raise FileNotFoundError("apt install minetest")

    monkeypatch.setattr(process, "find_programs", missing)
    with pytest.raises(SystemExit) as end:
        example("dream_beside_engine.py")
    assert not end.value.code and not Path("beside.mp4").exists()
    assert capsys.readouterr().out == "skipped, the game is not installed: apt install minetest\n"


@pytest.mark.slow
def test_atari_world(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ale_py")
    monkeypatch.setattr(stages, "JUDGED_CLIPS", 2)
    monkeypatch.setattr(stages, "JUDGED_SECONDS", 0.2)
    monkeypatch.setattr(stages, "WINDOWS", 2)
    tiny = ",".join(f"model.{name}=8" for name in ("channels", "encoder_width", "decoder_width", "detail_width"))
    tokenizer = f"tokenizer=[{tiny},batch=1,chunks=4,training.fit_batches=1,training.steps=1]"
    with pytest.raises(SystemExit) as end:
        example("atari_world.py", "ALE/Breakout-v5", "3", "0.0003", tokenizer, "dynamics=[model=tiny,batch=1,frames=8]")
    assert not end.value.code
    assert frames("atari.mp4") == 8 and Path("worlds/atari/starts").is_dir()


def test_car_game():
    for split in ("train", "validation"):
        example("car_game.py", "data/car", split, "40", "auto")
    store = EpisodeStore("data/car")
    assert {store.frame_size(name) for name in store.names()} == {(48, 48)}
    (name,) = store.names("train")
    episode = store.read(name)
    assert len(episode) == 40 and len(store.names("validation")) == 1
    # Gas brings the road nearer faster: more of the picture changes where it is held.
    assert episode.actions[:-1, 2].any() and not episode.actions[:-1, 2].all()


@pytest.mark.filterwarnings("ignore:no fast renderer")
def test_closing_the_car_games_window_ends_it_and_keeps_the_recording(monkeypatch: pytest.MonkeyPatch):
    import pygame

    polls: list[int] = []

    def closed_at_the_seventh() -> list[pygame.event.Event]:
        polls.append(len(polls))
        return [pygame.event.Event(pygame.QUIT)] if len(polls) == 7 else []

    monkeypatch.setattr(pygame.event, "get", closed_at_the_seventh)
    example("car_game.py", "data/car", "train", "40")
    store = EpisodeStore("data/car")
    (name,) = store.names("train")
    assert store.manifest(name)["frames"] == 6 and store.frame_size(name) == (48, 48)


def test_the_page_lists_every_example_and_each_says_what_one_sees():
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", PAGE.read_text(), re.MULTILINE))
    assert listed == {path.name for path in EXAMPLES.glob("*.py")}
    for name in listed:
        assert "What one sees" in (EXAMPLES / name).read_text().split('"""')[1], name
