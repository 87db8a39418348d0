"""``worldsim study``: people choose between films, and what they chose."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldsim.cli.runs import existing_path, run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    split_setting,
    store_setting,
    threads_setting,
)
from worldsim.cli.stores import filter_of, store_at
from worldsim.cli.worlds.unseen import check_world_unseen
from worldsim.errors import UserError
from worldsim.evaluation.study.design import QUESTION, SECONDS
from worldsim.progress import display

if TYPE_CHECKING:
    from worldsim.datasets.store.store import Split
    from worldsim.evaluation.measures.clips import Clips
    from worldsim.simulation.world_model import WorldModel

# Frames before a film begins.
PAST = 33
# What stands for the game among the competitors.
GAME = "recorded"


@dataclass(kw_only=True)
class MakeStudy:
    """Settings of ``worldsim study make``."""

    worlds: list[str] = setting(
        help="names or folders of worlds to compare; one alone is compared with the game",
        example="worlds=[minecraft]",
    )
    data: str = store_setting("folder of the episode store that pasts and actions are drawn from")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    split: str = split_setting("of the clips; test and validation are maps never trained on", "test")
    game: bool = setting(True, help="the recorded game is among the competitors")
    clips: int = setting(12, help="pasts, evenly over the maps; each pair of competitors is shown on all", minimum=1)
    seconds: list[float] = setting(list(SECONDS), help="lengths of the films", unit="s")
    question: str = setting(QUESTION, help="what raters answer")
    seed: int = seed_setting("decides clips, sides, order and noise")
    rows: int = setting(4, help="rollouts side by side", minimum=1)
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("study", "of this study; one that was interrupted goes on")


def make(config: MakeStudy) -> None:
    """``worldsim study make``."""
    data = store_at(config.data)
    if not config.worlds:
        raise UserError("worlds must name at least one world: worlds=[minecraft]")
    if any(not 0 < seconds <= 600 for seconds in config.seconds) or not config.seconds:
        raise UserError(f"seconds must be above 0 and at most 600, got {config.seconds}")
    use_threads(config.threads)
    import worldsim
    from worldsim.evaluation.measures.clips import ChosenStore, draw_clips
    from worldsim.evaluation.runner import weights_digest
    from worldsim.evaluation.study.design import design, write_key
    from worldsim.evaluation.study.films import PAGE, dreamt, recorded, write_films, write_page

    store = ChosenStore(data, filter_of(config))
    split = cast("Split", config.split)
    competitors = [*map(_name, config.worlds), *([GAME] if config.game else [])]
    worlds = [worldsim.load(name) for name in config.worlds]
    for name in config.worlds:
        check_world_unseen(name, store, split)
    fps = worlds[0].config.fps
    chunk = max(world.chunk for world in worlds)
    future = -(-round(max(config.seconds) * fps) // chunk) * chunk
    clips = draw_clips(store, split, config.clips, PAST + future, config.seed)
    for name, world in zip(config.worlds, worlds, strict=True):
        _check_fits(name, world, worlds[0], clips)
    study = design(competitors, clips.maps.tolist(), config.seconds, config.question, config.seed)
    folder = Path(run_folder("study", config))
    page = folder / PAGE
    page.mkdir(exist_ok=True)
    places = [f"{episode}:{frame}" for episode, frame in clips.places]
    digests = [weights_digest(world) for world in worlds]
    write_key(folder, study, {"data": str(store.url), "places": places, "weights": digests, "fps": fps, "past": PAST})
    makers = [dreamt(world, PAST) for world in worlds] + ([recorded(PAST)] if config.game else [])
    with display() as progress:
        for number, maker in enumerate(makers):
            write_films(page, study, number, clips, maker, fps, config.rows, progress)
    height, width = clips.frames.shape[2:4]
    shown = write_page(page, study, (width, height))
    print(f"{len(study.trials)} pairs of films; give raters the folder {page}, keep {folder / 'key.json'} to yourself")
    print(shown)


@dataclass(kw_only=True)
class StudyResult:
    """Settings of ``worldsim study result``."""

    study: str = setting(help="folder of worldsim study make", example="study=runs/study-1", word="STUDY")
    answers: list[str] = setting(help="files that raters saved", example="answers=[answers-ann.json]")


def result(config: StudyResult) -> None:
    """``worldsim study result``."""
    from worldsim.evaluation.study.design import read_key
    from worldsim.evaluation.study.ratings import read_answers
    from worldsim.evaluation.study.results import outcome, rows_of, write_outcome

    folder = existing_path(config.study)
    study = read_key(folder)
    answers = read_answers(study, [existing_path(file) for file in config.answers])
    if not answers:
        raise UserError("nobody answered anything yet")
    found = outcome(study, answers)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found.answers} answers of {found.raters} raters: {escape(study.question)}")
    table = Table("", "chosen / same / other", "share", "95 % interval", box=None, pad_edge=False)
    for name, *rest in rows_of(found):
        table.add_row(escape(name), *rest)
    console.print(table)
    table = Table("", "strength", "95 % interval", box=None, pad_edge=False)
    for name, (value, low, high) in found.strengths.items():
        table.add_row(escape(name), f"{value:.2f}", f"{low:.2f} to {high:.2f}")
    console.print(table)
    print(write_outcome(folder, found))


def _name(world: str) -> str:
    """A world's name as the results have it: of a folder, its own and that of the run that it is in."""
    path = Path(world)
    return f"{path.absolute().parent.name}/{path.absolute().name}" if path.is_dir() else world


def _check_fits(name: str, world: "WorldModel", first: "WorldModel", clips: "Clips") -> None:
    """Whether a world takes these clips, and can be shown beside the first.

    Raises:
        UserError: it does not.
    """
    size, actions = clips.frames.shape[2:4], clips.actions.shape[-1]
    if (world.config.height, world.config.width) != size:
        own = f"{world.config.width}x{world.config.height}"
        raise UserError(f"{name} has pictures of {own}, the recordings {size[1]}x{size[0]}")
    if world.spec.size != actions:
        raise UserError(f"{name} takes {world.spec.size} action values, the recordings have {actions}")
    if world.config.fps != first.config.fps or (PAST - 1) % world.chunk:
        raise UserError(
            f"{name} has {world.config.fps:g} frames a second in chunks of {world.chunk}: not to be shown beside"
        )
