"""kill -9 at random moments: 20 times in collection, 20 in training, 10 in import and repair (``make kills``).

What was committed stays and is whole, nothing torn is shown, and what goes on ends as if it had never been stopped:
the same files to the byte. Each job runs in a fork of this process, which has imported everything already.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import torch
from gymnasium import spaces

from tests.datasets.store.test_store import make_episode
from tests.fake_gym import Counting
from tests.import_film import random_actions, write_film
from tests.tiny_world import tiny_dit
from tests.training.test_training import latents
from worldsim import cli
from worldsim.datasets.checks.repair import repair
from worldsim.datasets.store.store import CorruptEpisodeError, EpisodeStore
from worldsim.diffusion.settings import DynamicsTraining, OptimizerSettings
from worldsim.training.dynamics import train_dynamics

GAME = "Kills/Counting-v0"
# Episodes to collect, steps to train, videos to import, episodes to repair (``KILLS``: a share of them).
EPISODES, STEPS, VIDEOS, DAMAGED = (round(n * float(os.environ.get("KILLS", 1))) for n in (150, 200, 80, 160))


def killed(job: Callable[[], object], after: float) -> bool:
    """Run a job in a process of its own and kill it after so many seconds; whether it was still running."""
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = 1
        try:
            code = int(job() or 0)  # pyright: ignore[reportArgumentType]
        finally:
            os._exit(code)
    end = time.monotonic() + after
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"the job ended with {status}"
            return False
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def whole(job: Callable[[], object]) -> float:
    """Let a job end; the seconds it took."""
    begun = time.monotonic()
    assert not killed(job, 3600)
    return time.monotonic() - begun


def interrupt(
    job: Callable[[], object],
    kills: int,
    seconds: float,
    progress: Callable[[], int],
    rng: random.Random,
    look: Callable[[], None],
) -> int:
    """Kill a job so many times and let it go on each time, ``look`` after each; then let it end. Returns the kills.

    ``seconds``: that it takes as a whole, which decides how long it may go on between two kills.
    """
    done, longest = 0, seconds / kills
    while done < kills:
        before = progress()
        if not killed(job, rng.uniform(0.02, max(0.05, longest))):
            break
        done += 1
        look()
        # Long enough for something to be committed between two kills, short enough to come to so many.
        longest = longest * 1.5 if progress() == before else seconds / kills
    assert done == kills, f"the job ended after {done} of {kills} kills"
    assert not killed(job, 3600)
    return done


def files_of(store: EpisodeStore) -> dict[str, dict[str, object]]:
    """Checksums of all arrays of each episode; the manifest itself says when it was made."""
    return {name: store.manifest(name)["files"] for name in store.names()}


def check_store(path: Path, committed: set[str]) -> None:
    """Every episode that was there is there, and each one that is shown is whole."""
    if not path.is_dir():
        assert not committed
        return
    store = EpisodeStore(path)
    assert committed <= set(store.names()), sorted(committed - set(store.names()))
    committed |= set(store.names())
    for name in store.names():
        store.verify(name)


def count(path: Path) -> int:
    return len(EpisodeStore(path).names()) if path.is_dir() else 0


def collection(folder: Path, kills: int, rng: random.Random) -> str:
    gymnasium.register(GAME, Counting, kwargs={"actions": spaces.Discrete(4)})  # pyright: ignore[reportArgumentType]

    def collect(out: Path) -> int:
        words = ["collect", "source=gym", f"env={GAME}", f"episodes={EPISODES}", "episode_frames=40", "workers=0"]
        return cli.main([*words, "licence=CC0-1.0", "policy=random", f"out={out}", f"folder={folder}/run"])

    seconds = whole(lambda: collect(folder / "whole"))
    committed: set[str] = set()
    out = folder / "killed"
    done = interrupt(
        lambda: collect(out),
        kills,
        seconds,
        lambda: count(out),
        rng,
        lambda: check_store(out, committed),
    )
    check_store(out, committed)
    assert files_of(EpisodeStore(out)) == files_of(EpisodeStore(folder / "whole")), "episodes differ"
    left = [path.name for path in (out / "unfinished").iterdir()] if (out / "unfinished").is_dir() else []
    assert not left, f"left behind: {left}"
    return f"collection: {done} kills, {len(committed)} episodes, the same to the byte as uninterrupted"


def training(folder: Path, kills: int, rng: random.Random) -> str:
    torch.set_num_threads(1)
    config = tiny_dit().config
    # A state is saved after every step, so that a kill meets a write as often as a step.
    settings = DynamicsTraining(
        steps=STEPS, optimizer=OptimizerSettings(warmup=2), compile=False, validate_every=10, save_minutes=1e-9
    )

    def train(run: Path) -> int:
        for _ in train_dynamics(config, settings, latents, latents(-7), run):
            pass
        return 0

    def written(run: Path) -> int:
        state = run / "state.safetensors"
        return state.stat().st_mtime_ns if state.is_file() else 0

    def look() -> None:
        leftovers = [
            path.name for path in (folder / "killed").glob("*") if ".part" in path.name or "aside" in path.name
        ]
        assert len(leftovers) <= 1, leftovers

    seconds = whole(lambda: train(folder / "whole"))
    done = interrupt(
        lambda: train(folder / "killed"), kills, seconds, lambda: written(folder / "killed"), rng, look,
    )  # fmt: skip
    names = [sorted(path.name for path in (folder / run).glob("*.safetensors")) for run in ("whole", "killed")]
    assert names[0] == names[1] != [], names
    for name in names[0]:
        one, two = ((folder / run / name).read_bytes() for run in ("whole", "killed"))
        assert one == two, f"{name} differs"
    return f"training: {done} kills, {', '.join(names[0])} the same to the byte as uninterrupted"


def importing(folder: Path, kills: int, rng: random.Random) -> str:
    for number in range(VIDEOS):
        write_film(folder / f"in/{number:03d}.mp4", random_actions(20, seed=number))

    def take(out: Path) -> int:
        return cli.main(["data", "import", str(folder / "in"), f"out={out}", "split=train"])

    seconds = whole(lambda: take(folder / "whole"))
    out, committed = folder / "killed", set[str]()
    done = interrupt(lambda: take(out), kills, seconds, lambda: count(out), rng, lambda: check_store(out, committed))
    check_store(out, committed)
    assert files_of(EpisodeStore(out)) == files_of(EpisodeStore(folder / "whole")), "episodes differ"
    return f"import: {done} kills, {len(committed)} recordings, the same to the byte as uninterrupted"


def repairing(folder: Path, kills: int, rng: random.Random) -> str:
    store = EpisodeStore(folder / "whole")
    for number in range(DAMAGED):
        store.append(make_episode(70, seed=number), f"e{number:03d}")
    hurt = [f"e{number:03d}" for number in range(0, DAMAGED, 2)]
    for name in hurt:
        path = next(path for path in (store.path / "episodes" / name).rglob("c/*/*/*/*") if "frames" in str(path))
        content = bytearray(path.read_bytes())
        content[len(content) // 4] ^= 1
        path.write_bytes(content)
    shutil.copytree(store.path, folder / "killed")
    seconds = whole(lambda: repair(EpisodeStore(folder / "whole")) and 0)
    sound = {f"e{number:03d}" for number in range(DAMAGED)} - set(hurt)

    def look() -> None:
        now = EpisodeStore(folder / "killed")
        assert sound <= set(now.names())
        for name in now.names():
            try:
                now.verify(name)
            except CorruptEpisodeError:
                assert name in hurt, name
        aside = folder / "killed/damaged"
        kept = set(now.names()) | ({path.name for path in aside.iterdir()} if aside.is_dir() else set())
        assert set(hurt) <= kept, "a damaged episode is gone"

    def moved() -> int:
        return len(list((folder / "killed/damaged").glob("*")))

    done = interrupt(lambda: repair(EpisodeStore(folder / "killed")) and 0, kills, seconds, moved, rng, look)
    look()
    one, two = (files_of(EpisodeStore(folder / run)) for run in ("whole", "killed"))
    assert one == two, "parts differ"
    return f"repair: {done} kills, {len(hurt)} damaged episodes, {len(two)} after it, as uninterrupted"


JOBS: dict[str, tuple[Callable[[Path, int, random.Random], str], int]] = {
    "collection": (collection, 20),
    "training": (training, 20),
    "import": (importing, 5),
    "repair": (repairing, 5),
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make kills")
    # Python 3.11 checks a default as if it were one word.
    parser.add_argument("jobs", nargs="*", default="all", choices=["all", *JOBS])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    for name in [*JOBS] if "all" in chosen.jobs else chosen.jobs:
        job, kills = JOBS[name]
        with tempfile.TemporaryDirectory() as folder:
            print(job(Path(folder), kills, random.Random(chosen.seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
