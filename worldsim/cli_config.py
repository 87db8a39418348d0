"""Configurations of the commands: hydra composes them, a run folder keeps what came out."""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from worldsim.errors import UserError

T = TypeVar("T")
# Settings that are lists or have names of their own.
MIXED = (
    "actions", "policy", "against", "also", "env_kwargs", "parts", "reports", "names", "compute", "measures",
)  # fmt: skip
# Settings whose default is null and that are numbers.
NUMBERS: dict[str, type] = {
    "threads": int,
    "sampling_steps": int,
    "episodes": int,
    "seconds": float,
    "fps": float,
    "min_trust": float,
}


def compose_config(
    name: str, overrides: Sequence[str], flags: Mapping[str, Any], groups: Mapping[str, type] | None = None
) -> DictConfig:
    """Compose ``worldsim.configs/NAME.yaml`` with hydra overrides; flags that were given win over both.

    Args:
        name: of the configuration.
        overrides: hydra's ``key=value``.
        flags: values of command-line flags; None for those not given.
        groups: parts whose fields and defaults are a dataclass's own.

    Raises:
        UserError: an override does not fit.
    """
    store = ConfigStore.instance()
    for part, owner in (groups or {}).items():
        schema = OmegaConf.structured(owner)
        # The dataclasses are frozen; overrides have to reach their fields all the same.
        for node in (schema, *(value for value in schema.values() if isinstance(value, DictConfig))):
            OmegaConf.set_readonly(node, False)
        store.store(group=part, name=name, node=schema, package=part)
    try:
        with initialize_config_module("worldsim.configs", version_base="1.3"):
            usual, config = compose(name), compose(name, overrides=list(overrides))
        for key, value in flags.items():
            if value is not None:
                OmegaConf.update(config, key, value)
        OmegaConf.resolve(config)
        _check_types(usual, config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from error
    return config


def settings(name: str) -> str:
    """The text of a configuration, for ``--help``."""
    lines = resources.files("worldsim.configs").joinpath(f"{name}.yaml").read_text().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("# ---")), -1)
    return "\n".join(f"  {line}" for line in lines[start + 1 :])


def build(owner: type[T], part: DictConfig) -> T:
    """Make a component's own dataclass from its part of the configuration."""
    values = cast(dict[str, Any], OmegaConf.to_container(part))
    return owner(**values)


def plain(part: DictConfig) -> dict[str, Any]:
    """A part of the configuration as plain values."""
    return cast(dict[str, Any], OmegaConf.to_container(part))


def several(value: Any) -> list[str]:
    """A setting that may be one name, a list of them, or null."""
    if value is None:
        return []
    return [str(name) for name in value] if isinstance(value, ListConfig) else [str(value)]


def picture_size(text: str | None) -> tuple[int, int] | None:
    """Width and height in pixels of ``"144x80"``.

    Raises:
        UserError: it is no size.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise UserError(f"resize must be WIDTHxHEIGHT in pixels, say 144x80, got {text!r}")
    return int(found[1]), int(found[2])


def run_folder(command: str, config: DictConfig) -> Path:
    """Make the folder of this run, ``config.folder`` or ``runs/COMMAND-TIME``, and keep the configuration in it."""
    folder = Path(config.folder) if config.folder else Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    config.folder = str(folder)
    text = f"# worldsim {' '.join(sys.argv[1:])}\n{OmegaConf.to_yaml(config)}"
    (folder / "config.yaml").write_text(text)
    return folder


def required(config: DictConfig, key: str, example: str) -> Any:
    """A setting that has no default.

    Raises:
        UserError: it was not given.
    """
    value = OmegaConf.select(config, key)
    if value is None:
        raise UserError(f"{key} is missing: give, for example, {example}")
    return value


def _check_types(usual: DictConfig, config: DictConfig) -> None:
    """A setting has the type of its default; those without one are numbers if ``NUMBERS`` says so, else text."""
    for key, default in usual.items():
        value = config[key]
        if isinstance(default, DictConfig) or value is None or key in MIXED:
            continue
        wanted = NUMBERS.get(str(key), str) if default is None else type(default)
        if wanted is str and isinstance(value, int | float):
            config[key] = str(value)
        elif wanted is float and type(value) is int:
            config[key] = float(value)
        elif type(value) is not wanted:
            names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
            raise UserError(f"{key} must be {names[wanted]}, got {value!r}")


def _one_line(error: BaseException) -> str:
    """Hydra's messages run over several lines and name its insides."""
    inner = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "See http"))]
    return " ".join(kept).split(" Config search path")[0] or type(error).__name__
