"""The command's first second: what is drawn before anything heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

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
