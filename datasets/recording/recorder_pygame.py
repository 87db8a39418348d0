"""Record a pygame program, in three lines; keyboard, mouse and screen are read by the recorder itself:

recorder = PygameRecorder("data/my-game", {"left": "a", "right": "d", "fire": "space"}, fps=60, source="my-game")
while playing:
    ...  # events, game, drawing, pygame.display.flip()
    recorder.frame()
recorder.close()
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from worldsim.datasets.recording.recorder import Recorder
from worldsim.datasets.recording.session import RecordingSession
from worldsim.spec.actions import ActionSpec

BUTTONS = {"mouse left": 0, "mouse middle": 1, "mouse right": 2}


class PygameRecorder(RecordingSession):
    """Looks at the screen and at what is held, once per turn of the game's loop.

    What is held when ``frame`` is called is what the game saw *before* it drew this picture: it led here, so it is
    written beside the picture before. That keeps the alignment (action t leads from frame t to frame t + 1).

    Args:
        store: folder of the episode store.
        keys: for each name of the action vector the key (``pygame.K_a``, or a name as ``pygame.key.name`` gives it) or
            the mouse button ("mouse left", "mouse middle", "mouse right").
        mouse: degrees of camera per pixel of mouse movement; None: the mouse turns nothing.
        options: as for ``Recorder``: fps and source are needed.

    Raises:
        ValueError: there is no key of that name.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        keys: Mapping[str, int | str],
        *,
        mouse: float | None = None,
        **options: Any,
    ):
        self.spec = ActionSpec(keys=tuple(keys), camera=mouse is not None)
        if not pygame.display.get_init():
            pygame.display.init()
        self._codes = {name: key if isinstance(key, int) else _key_code(key) for name, key in keys.items()}
        self._degrees = mouse
        self.recorder = Recorder(store, self.spec, **options)
        self._before: NDArray[np.uint8] | None = None
        self._at: tuple[int, int] | None = None

    def frame(
        self,
        surface: pygame.Surface | None = None,
        *,
        reward: float = 0.0,
        terminated: bool = False,
        motion: tuple[float, float] | None = None,
    ) -> None:
        """Record the present picture; call it once per turn of the loop, after drawing.

        Args:
            surface: what is shown; default: the display.
            reward: what was earned in this turn.
            terminated: the game ended with this picture: the next one begins another episode.
            motion: how far the mouse went in this turn, (x, y) in pixels, for games that capture it; default: the
                difference of its positions.
        """
        shown = pygame.display.get_surface() if surface is None else surface
        if shown is None:
            raise ValueError("there is no display to record: call pygame.display.set_mode first, or give a surface")
        picture = np.ascontiguousarray(pygame.surfarray.array3d(shown).swapaxes(0, 1))
        vector = self._held(motion)
        if self._before is not None:
            self.recorder.add(self._before, vector, reward=reward)
        self._before = picture
        if terminated:
            self.recorder.add(picture, terminated=True)
            self._before = None

    def close(self) -> None:
        """Write the last episode, and wait until it is on disk."""
        if self._before is not None:
            self.recorder.add(self._before)
            self._before = None
        self.recorder.close()

    def discard(self) -> None:
        """Give the unfinished episode up and close."""
        self._before = None
        self.recorder.discard()

    def _held(self, motion: tuple[float, float] | None) -> NDArray[np.float32]:
        pressed, buttons = pygame.key.get_pressed(), pygame.mouse.get_pressed()
        held = {name: int(buttons[-code - 1] if code < 0 else pressed[code]) for name, code in self._codes.items()}
        vector = self.spec.vector(held)
        if self._degrees is not None:
            now = pygame.mouse.get_pos()
            across, down = motion or (now[0] - (self._at or now)[0], now[1] - (self._at or now)[1])
            vector[-2:] = down * self._degrees, across * self._degrees
            self._at = now
        return vector


def _key_code(name: str) -> int:
    """pygame's number of a key; mouse buttons are -1, -2, -3."""
    if name in BUTTONS:
        return -BUTTONS[name] - 1
    try:
        return pygame.key.key_code(name)
    except (ValueError, pygame.error) as error:
        raise ValueError(
            f"there is no key {name!r}: use pygame.K_... or a name such as 'a', 'space', 'left'"
        ) from error
