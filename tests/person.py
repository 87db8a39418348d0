"""Somebody at a window, who counts frames instead of seconds."""

from typing import Any

import pygame
import pytest

from worldsim.plotting.window import Window

FRAMES_BETWEEN = 8


def sit_down(monkeypatch: pytest.MonkeyPatch, *events: tuple[int, dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Have events happen at the next window, one after another, each when the last one has shown in some frames.

    Args:
        monkeypatch: of the test; the hands leave with it.
        *events: kind and members of pygame's events.

    Returns:
        What is still to come: empty once everything happened.
    """
    left, drawn = list(events), 0
    draw, look = Window.draw, Window.events

    def counted(window: Window, frame: Any) -> None:
        nonlocal drawn
        drawn += 1
        draw(window, frame)

    def with_hands(window: Window) -> list[Any]:
        nonlocal drawn
        happened = look(window)
        if left and drawn >= FRAMES_BETWEEN:
            drawn = 0
            kind, members = left.pop(0)
            happened.append(pygame.event.Event(kind, members))
        return happened

    monkeypatch.setattr(Window, "draw", counted)
    monkeypatch.setattr(Window, "events", with_hands)
    return left
