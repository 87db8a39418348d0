"""``worldsim make-world``: one command from recordings to a playable world."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.cli.making.game_kind import KINDS
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import licence_setting, seed_setting, setting, source_setting, threads_setting
from worldsim.cli.stores import filter_of


@dataclass(kw_only=True)
class MakeWorld:
    """Settings of ``worldsim make-world``."""

    recordings: str = setting(
        help="folder of recordings: an episode store, videos with tables of keys, or what else data import reads",
        example="worldsim make-world recordings",
        word="RECORDINGS",
    )
    hours: float = setting(
        1.0, help="time for all of it; a larger number goes on with a finished world", unit="hours", above=0
    )
    out: str | None = setting(None, help="folder of the finished world; default: worlds/NAME, named as the recordings")
    folder: str | None = setting(
        None, help="of this making; the same command goes on where it stopped; default: runs/make-NAME"
    )
    kind: str = setting("auto", help="of game; auto measures it on the pictures", choices=("auto", *KINDS))
    size: str | None = setting(
        None, help="WIDTHxHEIGHT in pixels to scale pictures to, multiples of 16; default: what suits the kind of game"
    )
    fps: float | None = setting(
        None, help="rate to lower to; default: at most 30, a whole part of the native rate", unit="frames a second",
        above=0,
    )  # fmt: skip
    keys: str | None = setting(None, help="names of the keys of tables, as in data import; default: as the tables say")
    memory: bool | None = setting(
        None, help="train a spatial memory; default: where recordings have depth and a camera"
    )
    check: bool = setting(True, help="run data check first, and stop when it fails")
    tokenizer: list[str] = setting(
        [], help="settings of train tokenizer that count more than what is chosen: tokenizer=[model.channels=64]"
    )
    dynamics: list[str] = setting(
        [], help="settings of train dynamics that count more than what is chosen: dynamics=[model=small,batch=8]"
    )
    evaluate: list[str] = setting([], help="settings of eval that count more: evaluate=[preset.clips=32]")
    plan: bool = setting(False, help="say what would be done and how long it would take, and stop")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    seed: int = seed_setting("of weights, noise and clips")
    threads: int | None = threads_setting()


# Settings that decide what is made: a making that goes on has the same.
FIXED = (
    "recordings", "out", "kind", "size", "fps", "keys", "memory", "tokenizer", "dynamics", "licence", "source", "seed",
)  # fmt: skip


def make_world(config: MakeWorld) -> None:
    """``worldsim make-world``."""
    from worldsim.cli.making.conductor import Wishes, conduct, prepare
    from worldsim.cli.making.state import Making
    from worldsim.cli.making.verdict import as_text

    source = Path(config.recordings)
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    name = source.resolve().name
    config.recordings = str(source.resolve())
    config.out = str(Path(config.out or Path("worlds") / name).absolute())
    folder = Path(config.folder or Path("runs") / f"make-{name}")
    use_threads(config.threads)
    # Settings that do not fit are refused before those of the making are written over.
    making = Making.open(folder.absolute(), {key: getattr(config, key) for key in FIXED})
    config.folder = str(folder)
    run_folder("make-world", config)
    wishes = Wishes(
        recordings=Path(config.recordings),
        out=Path(config.out),
        hours=config.hours,
        kind=None if config.kind == "auto" else config.kind,
        size=config.size,
        fps=config.fps,
        keys=config.keys,
        memory=config.memory,
        tokenizer=config.tokenizer,
        dynamics=config.dynamics,
        judging=config.evaluate,
        only=filter_of(config),
        common=[f"{key}={value}" for key in ("licence", "source") if (value := getattr(config, key)) is not None],
        check=config.check,
        seed=config.seed,
        threads=[] if config.threads is None else [f"threads={config.threads}"],
    )
    stages = prepare(wishes, making)
    if config.plan:
        print("nothing was trained: leave out plan=true to begin")
        return
    lines = conduct(wishes, making, stages)
    text = as_text(lines)
    (making.folder / "verdict.txt").write_text(text + "\n")
    print(f"\nthe world is in {config.out}\n{text}\n")
    print(f"play it:      worldsim play --world {config.out}")
    print(f"keys apart:   worldsim rollout --world {config.out} --prefix 0 {_branches(stages.plan.store)}")
    print(f"measure more: worldsim eval world={config.out} data={stages.plan.store} split={stages.plan.split}")
    print(f"pictures:     {making.folder / 'dynamics' / 'samples'}, {making.folder / 'eval' / 'report.html'}")


def _branches(store: str) -> str:
    """Two branches of ``worldsim rollout``: the first two keys of the game, held."""
    from worldsim.datasets.store.recording_format import recording_format
    from worldsim.datasets.store.store import EpisodeStore

    keys = recording_format(EpisodeStore(store)).spec.keys[:2]
    return " ".join(f"--actions '{key} 20'" for key in keys) or "--actions 'yaw +90 x 10'"
