"""A text to begin with: typed on the page of starts, where the world knows texts."""

from collections.abc import Sequence
from typing import Any

import pygame

from worldsim.plotting.window import Window

WHITE, LONGEST, MOST_ROWS = (255, 255, 255), 120, 16


class PromptField:
    """A line that is typed, and below it the world's texts that hold its words.

    Args:
        prompts: texts that the world knows.
    """

    def __init__(self, prompts: Sequence[str] = ()):
        self.prompts, self.text, self._chosen = tuple(prompts), "", 0

    def takes(self, event: Any) -> bool:
        """Whether a key belongs to the text: all do while there is one, else letters that begin it."""
        if not self.prompts or event.type != pygame.KEYDOWN:
            return False
        return bool(self.text or _letter(event).strip())

    def feed(self, event: Any) -> str | None:
        """Take in a key; returns the text to begin with once it is chosen."""
        offers = self.offers()
        if event.key == pygame.K_ESCAPE:
            self.text = ""
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER):
            chosen, self.text = offers[self._chosen], ""
            return chosen
        elif event.key in (pygame.K_UP, pygame.K_DOWN):
            self._chosen = (self._chosen + (1 if event.key == pygame.K_DOWN else -1)) % len(offers)
        elif event.key == pygame.K_BACKSPACE:
            self.text, self._chosen = self.text[:-1], 0
        elif letter := _letter(event):
            self.text, self._chosen = (self.text + letter)[:LONGEST], 0
        return None

    def offers(self) -> list[str]:
        """The known texts that hold every word; last what was typed, which takes a text encoder."""
        words, typed = self.text.lower().split(), self.text.strip()
        known = [prompt for prompt in self.prompts if all(word in prompt.lower() for word in words)]
        return known if typed in known else [*known, typed]

    def draw(self, window: Window) -> None:
        """Draw it in the middle, with as many texts as fit."""
        offers = self.offers()
        rows = max(3, min(MOST_ROWS, window.screen.get_height() // 24))
        top = max(0, min(self._chosen - rows // 2, len(offers) - rows))
        lines = [f"Begin with the text: {self.text}_ ", *(f"  {offer} " for offer in offers[top : top + rows])]
        # A text of the player's own words is marked as such: not every machine can read it.
        if top + rows >= len(offers) and offers[-1] not in self.prompts:
            lines[-1] = f"  {offers[-1]}   (in your own words) "
        lines.append("Enter: begin with the marked one   Esc: no text ")
        window.text(lines, size=22, colour=WHITE, middle=True, chosen=1 + self._chosen - top)


def _letter(event: Any) -> str:
    letter = getattr(event, "unicode", "")
    return letter if letter.isprintable() else ""
