"""The command's first second: what is drawn before anything heavy is imported."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Runs the command until it draws for the first time, then tells which of the heavy packages are imported.
FIRST_DRAW = """
import os, sys
import pygame
from worldsim.cli import main

def flip():
    heavy = [name for name in ("torch", "av", "PIL", "scipy", "gymnasium") if name in sys.modules]
    drawn = bool(pygame.surfarray.array3d(pygame.display.get_surface()).any())
    print(f"drawn {drawn}, imported {heavy}", flush=True)
    os._exit(0)

pygame.display.flip = flip
main(["play"])
"""


def test_loading_is_drawn_before_anything_heavy_is_imported(tmp_path: Path):
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy", "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_DRAW], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1:] == ["drawn True, imported []"], done.stderr


# Runs the command and closes the window (or presses Ctrl-C) at a moment of loading; says so, to be timed from there.
CLOSING = """
import os, sys, time
from worldsim.cli import main
import pygame
from worldsim.envs.play.play import PlayWindow

moment, way = sys.argv[1:3]
draw = PlayWindow._draw

def drawn(window):
    draw(window)
    what, share = window.session.loading
    if moment == what or moment in sys.modules:
        print("closed", flush=True)
        if way == "Ctrl-C":
            raise KeyboardInterrupt
        pygame.event.post(pygame.event.Event(pygame.QUIT))

PlayWindow._draw = drawn
if way == "hangs":
    import worldsim.cli.worlds.play_window as play_window

    def hang(config, tell, saved):
        import torch

        # A product at a time, for ever: without the interpreter, but asking for it again and again.
        one = torch.zeros(600, 600)
        tell("hanging", None)
        while True:
            one = one @ one

    play_window.open_game = hang
sys.argv = ["worldsim", "play"]
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["cross", "Ctrl-C"])
@pytest.mark.parametrize(
    "moment", ["loading", "torch", "torch.nn", "loading the world", "measuring how fast this machine is"]
)
def test_a_window_that_is_closed_while_it_loads_ends_the_command(moment: str, way: str, tmp_path: Path):
    ended = close_at(moment, way, tmp_path)
    assert ended.returncode == (130 if way == "Ctrl-C" else 0), ended.stderr
    assert ended.stderr.strip() == ("interrupted" if way == "Ctrl-C" else "")
    assert "closed" in ended.stdout.splitlines()


@pytest.mark.slow
def test_a_world_that_never_comes_is_left_behind(tmp_path: Path):
    begun = time.monotonic()
    ended = close_at("hanging", "hangs", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "") and "closed" in ended.stdout
    # Of which most is the import of PyTorch.
    assert time.monotonic() - begun < 60


def close_at(moment: str, way: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy", "XDG_CONFIG_HOME": str(folder)}
    words = [sys.executable, "-c", CLOSING, moment, way]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
