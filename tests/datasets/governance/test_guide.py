"""The guide "train on your own game" does what it says: its game and its commands are run as written, only shorter."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import gymnasium
import pygame
import pytest

from worldsim import cli
from worldsim.datasets.store.store import EpisodeStore

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "data.md"
LENGTHS = '{"train": 6000, "validation": 600, "test": 1200}'


def blocks(language: str) -> list[str]:
    section = GUIDE.read_text().split("\n## Train on your own game\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def shorter(command: str) -> list[str]:
    """A command's words, with few steps; what needs a display does without."""
    words = shlex.split(re.sub(r"(steps|validate_every)=\d+", r"\1=2", command))
    return words[1:] + (["--headless", "--seconds", "1"] if words[1] == "play" else [])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_from_recording_to_playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    [game] = blocks("python")
    assert LENGTHS in game
    Path("catch.py").write_text(game.replace(LENGTHS, '{"train": 120, "validation": 60, "test": 60}'))
    for block in blocks("bash"):
        for command in block.strip().splitlines():
            if command.startswith("python "):
                monkeypatch.setattr(sys, "argv", command.split()[1:])
                runpy.run_path("catch.py", run_name="__main__")
                pygame.display.quit()
            else:
                assert cli.main(shorter(command)) == 0, (command, capsys.readouterr().err)
    assert {EpisodeStore("data/small").frame_size(name) for name in EpisodeStore("data/small")} == {(64, 48)}
    assert list(Path("runs").glob("play-*/play.mp4")) and list(Path("runs").glob("rollout-*/*.mp4"))
    assert "catch (" in capsys.readouterr().out
    env = gymnasium.make("worldsim:WorldSim-Minecraft-v0", world="worlds/catch")
    obs, _ = env.reset(seed=0)
    assert obs.shape == (48, 64, 3) and env.step(env.action_space.sample())[0].shape == (48, 64, 3)
    env.close()
