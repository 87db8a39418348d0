"""A game whose frames have a place for everything, and the comparison of a screenshot with them."""

import numpy as np
from numpy.typing import NDArray

from tests.envs.play.fake_game import CHUNK, HEIGHT, WIDTH, FakeGame

Picture = NDArray[np.uint8]


class PicturedGame(FakeGame):
    """Shades across, shades down, and a square whose place and colour the state decides: no two moments look alike."""

    def _frames(self) -> Picture:
        out = np.empty((CHUNK, HEIGHT, WIDTH, 3), np.uint8)
        for at, frame in enumerate(out):
            told = [int(self._state[0] >> np.uint64(7 * at + 5 * i)) for i in range(5)]
            frame[..., 0] = np.linspace(60, 60 + told[0] % 160, WIDTH, dtype=np.uint8)
            frame[..., 1] = np.linspace(40, 40 + told[1] % 160, HEIGHT, dtype=np.uint8)[:, None]
            frame[..., 2] = 80 + told[2] % 120
            top, left = 2 + told[3] % (HEIGHT - 14), 2 + told[4] % (WIDTH - 14)
            frame[top : top + 10, left : left + 10] = (told[4] % 250, 240, told[3] % 250)
        return out


def enlarged(frame: Picture, factor: int) -> Picture:
    """Each pixel as a square."""
    return frame.repeat(factor, 0).repeat(factor, 1)


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and lower edge of what is set; all 0 for nothing."""
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def psnr(one: Picture, other: Picture, where: NDArray[np.bool_]) -> float:
    """Of two pictures (H, W, 3) in some pixels (H, W), in dB."""
    apart = (one.astype(np.float64) - other)[where]
    return float(10 * np.log10(255**2 / max(1e-12, np.mean(apart**2))))
