"""Settings of commands: every command has one dataclass, and its fields say type, default, meaning, unit and range.

A field is declared with ``setting``, a part whose dataclass lives in the library (``training``, say) with ``group``.
The meanings of a library dataclass's fields are read from the ``Attributes`` section of its docstring.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field
from pathlib import Path
from typing import Any

import worldsim
from worldsim.errors import UserError
from worldsim.simulation.devices import device_of

DEFAULT_WORLD = "minecraft"
_KEY = "worldsim"


@dataclass(frozen=True, kw_only=True)
class About:
    """What a field says of itself beside its type and default.

    Attributes:
        help: the meaning, in a few words.
        unit: of a number, say "frames" or "seconds".
        minimum: the smallest number allowed.
        above: a number has to be larger than this.
        maximum: the largest number allowed.
        choices: the texts allowed; empty for any.
        check: raises for a text that will not do, before the command begins and imports anything heavy.
        example: how to give a setting that has no default.
        word: name in ``--help`` of a setting that can be given as a word of its own.
        option: of a group that has several choices of defaults, the usual one.
        options: the values of each choice; without them they are files, ``configs/GROUP/NAME.yaml``.
        owner: the dataclass of a group.
        filled: fields of ``owner`` that the command fills in itself.
        renamed: former keys inside of a group, and what they are called now.
    """

    help: str = ""
    unit: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], object] | None = None
    example: str = ""
    word: str = ""
    option: str = ""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    owner: type | None = None
    filled: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def setting(
    default: Any = MISSING,
    *,
    help: str,
    unit: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    check: Callable[[str], object] | None = None,
    example: str = "",
    word: str = "",
) -> Any:
    """Declare a setting; one without a default must be given, as ``example`` shows. See ``About``."""
    about = About(
        help=help, unit=unit, minimum=minimum, above=above, maximum=maximum, choices=tuple(choices), check=check,
        example=example, word=word,
    )  # fmt: skip
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={_KEY: about})
    return field(default=default, metadata={_KEY: about})


def group(
    owner: type,
    *,
    option: str = "",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    filled: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> Any:
    """Declare a part whose fields and defaults are those of the library's dataclass ``owner``. See ``About``.

    With ``option`` the defaults are those of one of several ``options``, and ``GROUP=NAME`` chooses another one.
    """
    about = About(option=option, options=options or {}, owner=owner, filled=tuple(filled), renamed=renamed or {})
    if option:
        return field(metadata={_KEY: about})
    return field(default_factory=owner, metadata={_KEY: about})


def about_of(one: "Field[Any]") -> About | None:
    """What a field was declared with, or None for a field of a library dataclass."""
    return one.metadata.get(_KEY)


def world_setting(help: str = "a shipped world's name, or a checkpoint folder") -> Any:
    """The world that a command is about."""
    return setting(DEFAULT_WORLD, help=help, check=worldsim.world_folder)


def video_setting(help: str) -> Any:
    """A video to write."""
    return setting(None, help=help, check=_check_video)


def _check_video(path: str) -> None:
    if Path(path).suffix != ".mp4":
        raise UserError(f"videos are written as .mp4, got {Path(path).name!r}")


def seed_setting(help: str) -> Any:
    """What decides everything that is drawn."""
    return setting(0, help=help, minimum=0)


def threads_setting() -> Any:
    """How many CPU threads PyTorch takes."""
    return setting(None, help="CPU threads of PyTorch; default: all cores", minimum=1)


def device_setting() -> Any:
    """Where networks compute."""
    return setting(None, help="cpu or cuda; default: a GPU if there is one", check=device_of)


def folder_setting(name: str, help: str = "of this run") -> Any:
    """The folder of a run."""
    return setting(None, help=f"{help}; default: runs/{name}-TIME")


def store_setting(help: str = "folder of the episode store", *, word: str = "") -> Any:
    """The episode store that a command needs."""
    return setting(help=help, example="data=data/luanti", word=word)


def licence_setting() -> Any:
    """Which licences the episodes may have."""
    return setting(None, help="only episodes of such a licence: 'CC-BY-*|CC0-1.0', '-unknown'; default: all")


def source_setting() -> Any:
    """Which sources the episodes may have."""
    return setting(None, help="only episodes of such a source: 'luanti|vpt*'; default: all")


def split_setting(help: str, default: str | None = None) -> Any:
    """One of the splits of a store."""
    return setting(default, help=help, choices=("train", "validation", "test"))
