"""SDL without a screen, and settings of a player's own in an empty folder."""

from pathlib import Path

import pygame
import pytest


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    yield
    pygame.display.quit()
