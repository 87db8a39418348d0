"""ST-LPIPS, a learned distance of pictures that forgives small shifts, from the package ``stlpips-pytorch``.

Source: Ghildyal and Liu 2022, "Shift-tolerant Perceptual Similarity Metric". Its numbers are not LPIPS's. The package
asks for torchvision, torchsummary and IPython, none of which its AlexNet needs: stand-ins answer for them while it is
imported. Its networks are licensed for non-commercial use: it measures, nothing of it is part of a world.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PACKAGE = "stlpips_pytorch"
HOW_TO_GET = "pip install --no-deps stlpips-pytorch==0.0.2"
STANDINS = ("torchvision", "torchvision.models", "torchsummary", "IPython")


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


@lru_cache(maxsize=1)
def network() -> nn.Module:
    """The distance with its AlexNet and trained weights.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    with _standins():
        package = importlib.import_module(f"{PACKAGE}.stlpips")
    model = package.LPIPS(net="alex", variant="shift_tolerant", pretrained=False, verbose=False)
    weights = Path(str(package.__file__)).parent / "weights" / "vST0.0" / "alex_shift_tolerant.pth"
    # Tensors only: nothing of the file is executed.
    found = model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=False)
    # ``lins`` names the layers ``lin0``, ``lin1``, ... a second time.
    if missing := [name for name in found.missing_keys if not name.startswith("lins.")]:
        raise ModuleNotFoundError(f"{weights} lacks {missing[0]}: {HOW_TO_GET}")
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def stlpips(predicted: NDArray[np.uint8], target: NDArray[np.uint8], rows: int = 8) -> NDArray[np.float64]:
    """Distance (N,) of pictures uint8 (N, H, W, 3): 0 for equal ones, larger for less alike ones."""
    out = []
    for at in range(0, len(predicted), rows):
        pair = (torch.from_numpy(np.ascontiguousarray(p[at : at + rows])) for p in (predicted, target))
        scaled = (p.permute(0, 3, 1, 2).float() / 127.5 - 1 for p in pair)
        out.append(network()(*scaled).flatten().double().numpy())
    return np.concatenate(out)


class _Anything(ModuleType):
    """A module of which any name may be imported; none of them is ever called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


@contextmanager
def _standins() -> Iterator[None]:
    lent = {name: _Anything(name) for name in STANDINS if name not in sys.modules and not _found(name)}
    sys.modules.update(lent)
    try:
        yield
    finally:
        for name in lent:
            sys.modules.pop(name, None)


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
