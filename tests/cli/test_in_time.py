"""Playing in real time: a world whose own sampling steps are too slow for the machine is played with one."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_memory import remembering_world
from tests.tiny_world import save_tiny_world, tiny_starts
from worldsim import cli
from worldsim.envs.learned.initial_context import resolve
from worldsim.envs.play.games import in_time


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "world"
    save_tiny_world(path)
    return path


def test_a_machine_that_keeps_up_plays_the_world_as_it_is(folder: Path):
    world, starts = resolve(folder, None)
    assert in_time(world, starts, share=1000.0) is world


def test_a_slow_machine_plays_the_same_weights_in_one_step(folder: Path):
    world, starts = resolve(folder, None)
    quick = in_time(world, starts, share=0.0)
    assert quick.config.sampling.steps == 1 and world.config.sampling.steps == 2
    assert quick.dit is world.dit and quick.tokenizer is world.tokenizer
    # There is nothing quicker than one step.
    assert in_time(quick, starts, share=0.0) is quick


def test_what_fits_the_new_to_the_drawing_is_left_out_first(monkeypatch: pytest.MonkeyPatch):
    world, starts, paces = remembering_world(), tiny_starts(), [1.2, 0.5]
    monkeypatch.setattr("worldsim.envs.play.games._pace", lambda world, starts: paces.pop(0))
    quick = in_time(world, starts, share=1.0)
    assert not paces and quick.config.sampling == replace(world.config.sampling, inpaint_level=0.0)
    paces[:] = [1.2, 1.1]
    slowest = in_time(world, starts, share=1.0)
    assert slowest.config.sampling == replace(world.config.sampling, inpaint_level=0.0, steps=1)


def test_a_number_of_steps_that_was_asked_for_stays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("worldsim.envs.play.games.in_time.__defaults__", (0.0,))
    words = ["play", "--headless", f"world={folder}", "seconds=0.4", "scale=1"]
    assert cli.main([*words, "sampling_steps=2"]) == 0
    assert "too slow" not in capsys.readouterr().out
    assert cli.main(words) == 0
    assert "playing with one" in capsys.readouterr().out
