"""``worldsim generate``: films from text, pictures and videos; extended, looped, joined, edited."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from worldsim.cli.runs import picture_size, run_folder, use_threads
from worldsim.cli.settings import device_setting, folder_setting, seed_setting, setting, threads_setting, world_setting
from worldsim.progress import display
from worldsim.simulation.devices import device_of

if TYPE_CHECKING:
    from worldsim.generation.films import Kind

SOURCE = "picture, video.mp4, STORE:EPISODE[@FRAME] or a start clip's number"


@dataclass(kw_only=True)
class Films:
    """Settings of all commands that generate films."""

    world: str = world_setting()
    seed: int = seed_setting("of the noise of the first film")
    films: int = setting(1, help="films, by as many seeds from seed on; all are kept side by side", minimum=1)
    size: str | None = setting(
        None, help="WIDTHxHEIGHT in pixels, multiples of 16; default: the world's own", check=picture_size
    )
    source_frames: int = setting(
        2000, help="how much of a source to take: the last frames of a film, the first ones of an episode", minimum=1
    )
    format: str = setting(
        "mp4", help="of the files; png is without loss, and a folder of pictures", choices=("mp4", "gif", "png")
    )
    exact: bool = setting(False, help="mp4 without loss; not every player shows such files")
    scale: int = setting(1, help="the files' pixels per world pixel", minimum=1)
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("generate", "of the films; one that was interrupted goes on")


@dataclass(kw_only=True)
class Generate(Films):
    """Settings of ``worldsim generate``."""

    source: str | None = setting(
        None, help=f"what to go on from: {SOURCE}; default: nothing, text alone", word="SOURCE"
    )
    prompt: str = setting("", help="text, where the world takes one; default: none")
    seconds: float = setting(2.0, help="length of what is generated; 0 makes one picture", unit="seconds", minimum=0)
    actions: str | None = setting(
        None, help="what is done meanwhile: a CSV, a .script file or a script; default: nothing"
    )


@dataclass(kw_only=True)
class Extend(Films):
    """Settings of ``worldsim generate extend``."""

    source: str = setting(help=SOURCE, example="worldsim generate extend film.mp4 after=4", word="SOURCE")
    prompt: str = setting("", help="text, where the world takes one; default: none")
    after: float = setting(0.0, help="how much to put behind it", unit="seconds", minimum=0)
    before: float = setting(
        0.0, help="how much to put before it, by a world that was trained to fill in", unit="seconds", minimum=0
    )
    actions: str | None = setting(
        None, help="what is done after it: a CSV, a .script file or a script; default: nothing"
    )


@dataclass(kw_only=True)
class Loop(Films):
    """Settings of ``worldsim generate loop``."""

    source: str = setting(help=SOURCE, example="worldsim generate loop film.mp4", word="SOURCE")
    prompt: str = setting("", help="text, where the world takes one; default: none")
    seconds: float = setting(1.0, help="length of what leads from its end to its beginning", unit="seconds", above=0)
    actions: str | None = setting(
        None, help="what is done meanwhile: a CSV, a .script file or a script; default: whatever leads there"
    )


@dataclass(kw_only=True)
class Join(Films):
    """Settings of ``worldsim generate join``."""

    source: str = setting(help=f"the first film: {SOURCE}", example="worldsim generate join a.mp4 b.mp4", word="A")
    to: str = setting(help="the second film, likewise", example="worldsim generate join a.mp4 b.mp4", word="B")
    prompt: str = setting("", help="text, where the world takes one; default: none")
    seconds: float = setting(1.0, help="length of what leads from one to the other", unit="seconds", above=0)
    actions: str | None = setting(
        None, help="what is done meanwhile: a CSV, a .script file or a script; default: whatever leads there"
    )


@dataclass(kw_only=True)
class Edit(Films):
    """Settings of ``worldsim generate edit``."""

    source: str = setting(
        help=SOURCE, example="worldsim generate edit film.mp4 prompt='a desert at night'", word="SOURCE"
    )
    prompt: str = setting(help="what the film is to become", example="prompt='a desert at night'")
    strength: float = setting(
        0.5, help="share of noise that each frame begins with: 1 keeps the actions alone", above=0, maximum=1
    )
    actions: str | None = setting(
        None, help="a CSV, a .script file or a script; default: those recorded, unknown where there are none"
    )


def generate(config: Generate) -> None:
    """``worldsim generate``."""
    _run(config, "new", seconds=config.seconds)


def extend(config: Extend) -> None:
    """``worldsim generate extend``."""
    _run(config, "extend", seconds=config.after, before=config.before)


def loop(config: Loop) -> None:
    """``worldsim generate loop``."""
    _run(config, "loop", seconds=config.seconds)


def join(config: Join) -> None:
    """``worldsim generate join``."""
    _run(config, "join", seconds=config.seconds, to=config.to)


def edit(config: Edit) -> None:
    """``worldsim generate edit``."""
    _run(config, "edit", strength=config.strength)


def _run(config: Generate | Extend | Loop | Join | Edit, operation: str, **particular: Any) -> None:
    """Make the films of one command."""
    from worldsim.generation.request import Request
    from worldsim.generation.run import generate_into, studio

    request = Request(
        operation=cast(Any, operation), source=config.source, prompt=config.prompt, actions=config.actions,
        size=picture_size(config.size, "size"), source_frames=config.source_frames, **particular,
    )  # fmt: skip
    use_threads(config.threads)
    made = studio(request, config.world, device=device_of(config.device))
    folder = Path(run_folder("generate", config))
    seeds = range(config.seed, config.seed + config.films)
    with display() as show:
        paths = generate_into(
            folder, made, seeds, kind=cast("Kind", config.format), scale=config.scale, exact=config.exact,
            progress=lambda stage, done, total: show(f"seed {stage}", done, total),
        )  # fmt: skip
    for path in paths:
        print(path)
