"""``worldsim make-world``: one command from recordings to a playable world."""

from pathlib import Path

from worldsim.cli.making.settings import FIXED, MakeWorld
from worldsim.cli.runs import existing_path, picture_size, run_folder, use_threads


def make_world(config: MakeWorld) -> None:
    """``worldsim make-world``."""
    from worldsim.cli.making.conductor import conduct, prepare
    from worldsim.cli.making.state import Making
    from worldsim.cli.making.verdict import as_text
    from worldsim.training.store_checks import check_size

    source = existing_path(config.recordings)
    size = picture_size(config.size, "size")
    if size is not None:
        check_size(*size, "say size={}")
    name = source.resolve().name
    config.recordings = str(source.resolve())
    config.out = str(Path(config.out or Path("worlds") / name).absolute())
    folder = Path(config.folder or Path("runs") / f"make-{name}")
    use_threads(config.threads)
    # Settings that do not fit are refused before those of the making are written over.
    making = Making.open(folder.absolute(), {key: getattr(config, key) for key in FIXED})
    config.folder = str(folder)
    run_folder("make-world", config)
    stages = prepare(config, making)
    if config.plan:
        print("nothing was trained: leave out plan=true to begin")
        return
    lines = conduct(config, making, stages)
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
