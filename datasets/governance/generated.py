"""What a generated film says of itself: a JSON file beside it, which names the weights, the words and the sources."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldsim.asides import write_whole
from worldsim.datasets.governance.provenance import stores_of
from worldsim.errors import UserError
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

FORMAT = "worldsim-generated-1"
# What every film says, beside its weights, sources and what they were trained on.
TOLD = ("operation", "world", "seed", "frames", "prompt", "file")
# What films are written as; a file of such a name has its sidecar beside it.
SUFFIXES = (".mp4", ".gif", ".png")


def sidecar_of(path: Path) -> Path:
    """The sidecar of a film, a file or a folder of pictures; or the one that is named itself."""
    return path if path.suffix == ".json" else path.with_suffix(".json")


def write_sidecar(path: Path, about: Mapping[str, Any]) -> None:
    """Write a sidecar whole or not at all."""
    write_whole(path, json.dumps({"format": FORMAT, **about}, indent=1, allow_nan=False) + "\n")


def read_sidecar(path: Path) -> dict[str, Any]:
    """What a film says of itself.

    Args:
        path: of the film, or of its sidecar.

    Raises:
        FileNotFoundError: there is no sidecar.
        UserError: it is damaged, or no sidecar.
    """
    file = sidecar_of(path)
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no sidecar {file.name}: where it is from is not known")
    with reading(file, "the sidecar of a generated film", UserError):
        about = dict(read_json(file))
        if about["format"] != FORMAT or not isinstance(about["trained_on"], dict):
            raise ValueError(f"it is not of the format {FORMAT}")
        for record in about["trained_on"].values():
            stores_of(record)
        if not (isinstance(about["weights"], dict) and all(isinstance(one, dict) for one in about["sources"])):
            raise ValueError("weights or sources are missing")
        if missing := [name for name in TOLD if name not in about]:
            raise ValueError(f"{missing[0]} is missing")
    return about
