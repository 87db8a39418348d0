"""Record play into an episode store: several engines side by side, resumable, safe to kill at any moment.

The unit of work is a *world*: one map seed with a few episodes from different starting points. Everything about a world
is a function of (seed, world number), so an interrupted collection continues where it stopped. Each world runs in its
own process: an engine that crashes or hangs costs one attempt, nothing more.
"""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from worldsim.agents.collection.job import make_luanti, plan_worlds, record_world
from worldsim.agents.collection.report import CollectionReport, Display, Message
from worldsim.agents.collection.types import MakeEnv, MapJob
from worldsim.datasets.store.folder import absolute
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.processes import interrupts_stay_here

# A world that says nothing for this long is stopped and tried again.
SILENCE_SECONDS = 240.0


def collect(
    *,
    out: str | os.PathLike[str],
    hours: float | None = None,
    episodes: int | None = None,
    seed: int = 0,
    workers: int = 2,
    episode_frames: int = 1000,
    episodes_per_world: int = 6,
    fps: float = 20,
    policy: str = "mixture",
    frozen_limit: float = 0.25,
    attempts: int = 3,
    make_env: MakeEnv = make_luanti,
    script: str = "",
    prefix: str = "",
    maps: Split | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> CollectionReport:
    """Record episodes into the store at ``out``; what is there already, or was withdrawn from it, is skipped.

    Args:
        out: folder of the episode store.
        hours: game time to collect in all (this or ``episodes``).
        episodes: number of episodes to collect in all.
        seed: of the whole collection: map seeds, starting points, times of day, policies.
        workers: engines side by side; 0 records in this very process.
        episode_frames: frames of an episode.
        episodes_per_world: episodes from each map seed, each with its own starting point.
        fps: frames a second of game time.
        policy: ``mixture``, the name of one of the scripted players, ``random``, ``noop`` or ``script``.
        frozen_limit: share of unchanged frames above which an episode is rejected and played again, differently.
        attempts: tries at a world whose engine crashes or hangs.
        make_env: a source, or a function that makes an engine; called in the worker process with a ``MapJob`` and
            ``fps``.
        script: text of the action script, for ``policy="script"``.
        prefix: of the episodes' names: collections that share a store need different ones.
        maps: only maps of that split.
        ray: record on a Ray cluster: ``local``, ``auto`` or an address; see ``worldsim.agents.collection.ray``.
        progress: show a progress bar.

    Raises:
        ValueError: an option makes no sense.
    """
    total = _number_of_episodes(hours, episodes, fps, episode_frames, episodes_per_world, workers, attempts)
    place = absolute(out)
    store = EpisodeStore(out)
    store.discard_unfinished()
    worlds = plan_worlds(
        seed=seed, episodes=total, episodes_per_world=episodes_per_world, episode_frames=episode_frames, policy=policy,
        frozen_limit=frozen_limit, script=script, prefix=prefix, maps=maps,
    )  # fmt: skip
    report, todo = _left_to_record(store, worlds)
    start = time.monotonic()
    with Display(total, report, start, enabled=progress) as display:
        _record(place, store, todo, make_env, fps, attempts, workers, ray, report, display)
    report.seconds = time.monotonic() - start
    report.missing = sum(not store.taken(name) for world in todo for name in world.names)
    return report


def _number_of_episodes(
    hours: float | None,
    episodes: int | None,
    fps: float,
    episode_frames: int,
    episodes_per_world: int,
    workers: int,
    attempts: int,
) -> int:
    if (hours is None) == (episodes is None):
        raise ValueError("give either hours or episodes")
    total = episodes if episodes is not None else round((hours or 0) * 3600 * fps / episode_frames)
    if total < 1 or episode_frames < 2 or episodes_per_world < 1 or workers < 0 or attempts < 1:
        raise ValueError(
            f"nothing to collect: episodes {total}, episode_frames {episode_frames}, "
            f"episodes_per_world {episodes_per_world}, workers {workers}, attempts {attempts}"
        )
    return total


def _left_to_record(store: EpisodeStore, worlds: list[MapJob]) -> tuple[CollectionReport, list[MapJob]]:
    """A report that counts the episodes that are there or were withdrawn, and the worlds that lack some."""
    names = [name for world in worlds for name in world.names]
    there = {name for name in names if name in store}
    gone = {name for name in names if name not in there and store.withdrawn(name)}
    todo = [world for world in worlds if not (there | gone).issuperset(world.names)]
    return CollectionReport(skipped=len(there), withdrawn=len(gone)), todo


def _record(
    out: str,
    store: EpisodeStore,
    worlds: list[MapJob],
    make_env: MakeEnv,
    fps: float,
    attempts: int,
    workers: int,
    ray: str | None,
    report: CollectionReport,
    display: Display,
) -> None:
    """Record worlds on a Ray cluster, in this process, or in processes beside it."""
    if ray is not None:
        from worldsim.agents.collection.ray import collect_ray

        def fail(world: MapJob, attempt: int, reason: str) -> bool:
            return _fail(report, display, world, attempt, reason, attempts)

        try:
            collect_ray(
                out, worlds, address=ray, workers=workers, make_env=make_env, fps=fps, silence=SILENCE_SECONDS,
                fail=fail, display=display,
            )  # fmt: skip
        except KeyboardInterrupt:
            report.interrupted = True
    elif workers == 0:
        _collect_here(store, worlds, make_env, fps, attempts, report, display)
    else:
        _collect_beside(out, worlds, make_env, fps, attempts, workers, report, display)


def _collect_here(
    store: EpisodeStore,
    worlds: list[MapJob],
    make_env: MakeEnv,
    fps: float,
    attempts: int,
    report: CollectionReport,
    display: Display,
) -> None:
    for world in worlds:
        for attempt in range(attempts):
            try:
                record_world(store, world, make_env=make_env, fps=fps, report=display.take)
                break
            except KeyboardInterrupt:
                report.interrupted = True
                return
            except Exception as error:
                _fail(report, display, world, attempt, f"{type(error).__name__}: {error}", attempts)


@dataclass
class _Running:
    world: MapJob
    attempt: int
    worker: Any
    pipe: Connection
    last_message: float
    error: str = ""


def _collect_beside(
    out: str,
    worlds: list[MapJob],
    make_env: MakeEnv,
    fps: float,
    attempts: int,
    workers: int,
    report: CollectionReport,
    display: Display,
) -> None:
    context = multiprocessing.get_context("spawn")
    queue = [(world, 0) for world in reversed(worlds)]
    running: list[_Running] = []
    looked = time.monotonic()
    try:
        while queue or running:
            while queue and len(running) < workers:
                world, attempt = queue.pop()
                running.append(_launch(context, out, world, attempt, make_env, fps))
            wait([r.pipe for r in running], timeout=1.0)
            # One look at the clock a round: wherever the collector is suspended, the next look tells.
            before, looked = looked, time.monotonic()
            _forgive(running, looked - before, looked)
            for one in list(running):
                _listen(one, display)
                silent = looked - one.last_message > SILENCE_SECONDS
                if silent and one.worker.is_alive():
                    one.error = f"silent for {SILENCE_SECONDS:.0f} s"
                    _stop(one)
                if one.worker.is_alive():
                    continue
                running.remove(one)
                reason = _reap(one, display)
                if reason and _fail(report, display, one.world, one.attempt, reason, attempts):
                    queue.insert(0, (one.world, one.attempt + 1))
            display.refresh()
    except KeyboardInterrupt:
        report.interrupted = True
        display.note("stopping: committed episodes are safe, unfinished ones are dropped")
    finally:
        for one in running:
            _stop(one)


def _launch(context: Any, out: str, world: MapJob, attempt: int, make_env: MakeEnv, fps: float) -> _Running:
    mine, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(out, world, make_env, fps, theirs), name=world.name)
    with interrupts_stay_here():
        worker.start()
    theirs.close()
    return _Running(world, attempt, worker, mine, time.monotonic())


def _listen(one: _Running, display: Display) -> None:
    try:
        while one.pipe.poll():
            message = one.pipe.recv()
            one.last_message = time.monotonic()
            if message[0] == "error":
                one.error = message[1]
            display.take(message)
    except (EOFError, OSError):
        one.worker.join(timeout=5)


def _reap(one: _Running, display: Display) -> str:
    """Take the last messages of a worker that ended; returns why it failed, "" if it did not."""
    _listen(one, display)
    one.worker.join()
    one.pipe.close()
    return "" if one.worker.exitcode == 0 else one.error or f"worker ended with {one.worker.exitcode}"


def _forgive(running: list[_Running], passed: float, now: float) -> None:
    """A collector that was itself suspended (Ctrl-Z, a sleeping laptop) cannot blame its workers for silence."""
    for one in running if passed > 5.0 else ():
        one.last_message = now


def _stop(one: _Running) -> None:
    if one.worker.is_alive():
        one.worker.terminate()
        one.worker.join(timeout=10)
    if one.worker.is_alive():
        one.worker.kill()
        one.worker.join()


def _fail(report: CollectionReport, display: Display, world: MapJob, attempt: int, reason: str, attempts: int) -> bool:
    """Note a failed attempt; returns whether another one is due."""
    reason = reason.splitlines()[0] if reason else "unknown"
    report.failures.append(f"{world.name} attempt {attempt + 1}: {reason}")
    display.note(report.failures[-1])
    if attempt + 1 >= attempts:
        report.abandoned.append(world.name)
    return attempt + 1 < attempts


def _work(out: str, world: MapJob, make_env: MakeEnv, fps: float, pipe: Connection) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGTERM, _leave)
    parent = multiprocessing.parent_process()

    def report(message: Message) -> None:
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)
        pipe.send(message)

    try:
        record_world(EpisodeStore(out), world, make_env=make_env, fps=fps, report=report)
    except Exception as error:
        report(("error", f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from None


def _leave(*_: object) -> None:
    raise SystemExit(1)
