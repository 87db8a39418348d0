"""What a run needs beside its settings: its folder, the machine's threads, files that must be there."""

import re
import shlex
import sys
import time
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import worldsim
from worldsim.cli.schema import key_of
from worldsim.cli.settings import DEFAULT_WORLD
from worldsim.errors import UserError
from worldsim.processes import started_first, started_ranks

if TYPE_CHECKING:
    from worldsim.envs.play.tree.playthrough import Playthrough

# Commands that torchrun may start; all others are one process.
RANKED = ("tokenizer", "dynamics")


def run_folder(command: str, config: Any) -> Path:
    """Make the folder of this run, ``config.folder`` or ``runs/COMMAND-TIME``, and keep the settings in it.

    Raises:
        UserError: torchrun started several processes, and the command is one, or no folder was given.
    """
    if started_ranks() > 1 and command not in RANKED:
        raise UserError(f"torchrun started {started_ranks()} processes, and this command is one: start it without")
    if started_ranks() > 1 and not config.folder:
        raise UserError("several ranks need folder=FOLDER: all of them, and those of a restart, are to find it")
    folder = Path(config.folder) if config.folder else Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config.folder = str(folder)
    if not started_first():
        return folder
    text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(f"# worldsim {shlex.join(sys.argv[1:])}\n{text}")
    return folder


def plain(value: Any) -> Any:
    """Settings as plain values, by key."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key_of(one.name): plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def existing_path(path: str) -> Path:
    """A path that must be there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return Path(path)


def playthrough_of(config: Any, path: str | None) -> "Playthrough | None":
    """A playthrough to go on with; its seed becomes the command's, and its world unless another one was said.

    Folders move between machines; that the weights are the same is checked when play begins.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is damaged, or its world is not here.
    """
    if path is None:
        return None
    from worldsim.envs.play.tree.playthrough import Playthrough

    saved = Playthrough.load(existing_path(path))
    if config.world == DEFAULT_WORLD:
        try:
            worldsim.world_folder(saved.origin.world)
        except FileNotFoundError as error:
            raise UserError(f"the playthrough's world is not here, say where it is (world=...): {error}") from error
        config.world = saved.origin.world
    config.seed = saved.seed
    return saved


def everywhere(name: str) -> str:
    """A file or folder as processes in other folders find it; the name of anything else stays as it is."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def wanted(value: str | None, key: str, example: str) -> str:
    """A setting that has no default and is needed after all.

    Raises:
        UserError: it was not given.
    """
    if value is None:
        raise UserError(f"{key} is missing: give, for example, {example}")
    return value


def picture_size(text: str | None, key: str = "resize") -> tuple[int, int] | None:
    """Width and height in pixels of ``"144x80"``, the value of the setting ``key``.

    Raises:
        UserError: it is no size.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise UserError(f"{key} must be WIDTHxHEIGHT in pixels, say 144x80, got {text!r}")
    return int(found[1]), int(found[2])


def use_threads(threads: int | None) -> None:
    """Limit PyTorch to so many CPU threads; None: all cores, of two as many as steps of worlds are faster with."""
    from worldsim.simulation.thread_choice import choose_threads, set_threads

    if threads is None:
        choose_threads()
    else:
        set_threads(threads)
