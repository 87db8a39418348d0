"""Pictures of the window for people: those of the documentation are made by the tests."""

import os

import numpy as np
import pygame
from numpy.typing import NDArray


def keep(picture: NDArray[np.uint8], name: str) -> None:
    """Write a picture (H, W, 3) of a run with ``WORLDSIM_SCREENSHOTS=FOLDER``."""
    if folder := os.environ.get("WORLDSIM_SCREENSHOTS"):
        pygame.image.save(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), f"{folder}/{name}.png")
