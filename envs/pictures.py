"""Pictures to look at: labels, panes side by side, PNG files."""

from pathlib import Path

import numpy as np
import pygame
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def write_picture(path: Path, picture: Picture) -> Path:
    """Write uint8 (H, W, 3) to a PNG (or what the suffix says); returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pygame.image.save(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), str(path))
    return path


def enlarge(frames: Picture, scale: int) -> Picture:
    """Repeat every pixel of (..., H, W, 3) ``scale`` times down and across."""
    return frames.repeat(scale, -3).repeat(scale, -2)


def label(text: str, width: int, height: int = 20) -> Picture:
    """A dark strip (height, width, 3) with white text."""
    pygame.font.init()
    surface = pygame.Surface((width, height))
    surface.fill((24, 24, 28))
    surface.blit(pygame.font.Font(None, height).render(text, True, (240, 240, 240)), (4, height // 6))
    return np.ascontiguousarray(pygame.surfarray.array3d(surface).swapaxes(0, 1))


def branches_in_grid(branches: Picture, names: list[str], scale: int, columns: int = 4) -> Picture:
    """Panes (B, F, H, W, 3) with their names above, as one video (F, H', W', 3)."""
    count, frames = branches.shape[:2]
    large = enlarge(branches, scale)
    strips = [np.broadcast_to(label(name, large.shape[3]), (frames, 20, large.shape[3], 3)) for name in names]
    panes = [np.concatenate([strip, pane], 1) for strip, pane in zip(strips, large, strict=True)]
    across = min(columns, count)
    panes += [np.zeros_like(panes[0])] * (-count % across)
    rows = [np.concatenate(panes[i : i + across], 2) for i in range(0, len(panes), across)]
    return np.concatenate(rows, 1)
