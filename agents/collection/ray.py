"""Record worlds on many machines with Ray: one task a world, a killed worker's world is recorded again by another.

What is recorded does not depend on who records it. An episode exists once its commit is done, and commits of one name
are exclusive: a world that is recorded twice, because its worker only seemed dead, leaves each episode once.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worldsim.agents.collection.job import record_world
from worldsim.agents.collection.report import Display, Message
from worldsim.agents.collection.types import MakeEnv, MapJob
from worldsim.cluster import connected
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError

POLL_SECONDS = 0.5
# Tells whether another attempt at a world is due, after the given one failed for the given reason.
Fail = Callable[[MapJob, int, str], bool]


@dataclass
class _Running:
    world: MapJob
    attempt: int
    begun: bool = False
    last_message: float = field(default_factory=time.monotonic)
    stopped: str = ""


def collect_ray(
    out: str | os.PathLike[str],
    worlds: list[MapJob],
    *,
    address: str,
    workers: int,
    make_env: MakeEnv,
    fps: float,
    silence: float,
    fail: Fail,
    display: Display,
) -> None:
    """Record worlds as tasks of a Ray cluster.

    Args:
        out: the store: a folder that all machines share, or an fsspec URL.
        worlds: what to record.
        address: ``local`` starts a cluster on this machine, ``auto`` takes the one this machine is part of, else
            the address of one (``ray://host:10001``, ``host:6379``).
        workers: tasks at once on a local cluster; elsewhere the cluster's CPUs decide.
        make_env: makes the engine, on the worker.
        fps: frames a second of game time.
        silence: seconds after which a world that says nothing is stopped and tried again.
        fail: notes a failed attempt.
        display: shows progress and counts episodes.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or the workers write to a disk of their own.
    """
    shared = str(out) if "://" in str(out) else os.path.abspath(out)
    store = EpisodeStore(shared)
    with connected(address, workers) as ray:
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        mailbox = ray.remote(num_cpus=0, max_restarts=-1)(_Mailbox).remote()
        # A retry is counted and told, so Ray's own are off.
        record = ray.remote(num_cpus=1, max_retries=0)(_record)
        ledger = _Ledger(store, worlds, display)
        queue, running = [(world, 0) for world in reversed(worlds)], dict[Any, _Running]()
        try:
            while queue or running:
                while queue and len(running) < slots:
                    world, attempt = queue.pop()
                    task = record.remote(shared, world, make_env, fps, mailbox)
                    running[task] = _Running(world, attempt)
                done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                _hear(ray, mailbox, running, ledger)
                _stop_silent(ray, running, silence)
                for task in done:
                    one = running.pop(task)
                    reason = _outcome(ray, task, one, ledger)
                    if reason and fail(one.world, one.attempt, reason):
                        queue.insert(0, (one.world, one.attempt + 1))
                display.refresh()
        finally:
            for task in running:
                ray.cancel(task, force=True)
            ledger.reconcile()


class _Ledger:
    """Counts every episode once, whatever became of the messages of the worker that recorded it."""

    def __init__(self, store: EpisodeStore, worlds: list[MapJob], display: Display):
        self._store, self._display = store, display
        self._missing = {name for world in worlds for name in world.names if not store.taken(name)}

    def take(self, message: Message) -> None:
        """A worker's message."""
        kind, value = message
        if kind != "episode":
            self._display.take(message)
        elif value["name"] in self._missing:
            self._missing.discard(value["name"])
            self._display.take(message)

    def check(self, names: list[str]) -> None:
        """Make sure that what a worker says it committed is seen from here.

        Raises:
            UserError: it is not.
        """
        for name in names:
            if name not in self._store:
                raise UserError(
                    f"a worker committed {name}, but it is not in {self._store.url}: the store must be a folder that "
                    "all machines share, or a URL"
                )

    def reconcile(self) -> None:
        """Count what was committed by workers that could not tell any more."""
        for name in sorted(self._missing):
            if name in self._store:
                about = self._store.manifest(name)
                frozen = int(about["provenance"].get("frozen_frames", 0))
                self.take(("episode", {"name": name, "frames": int(about["frames"]), "frozen": frozen}))


class _Mailbox:
    """An actor that workers send what they do to."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, Message]] = []

    def put(self, world: int, message: Message) -> None:
        """A worker's message about a world."""
        self._messages.append((world, message))

    def take(self) -> list[tuple[int, Message]]:
        """All messages since the last call."""
        taken, self._messages = self._messages, []
        return taken


def _record(out: str, world: MapJob, make_env: MakeEnv, fps: float, mailbox: Any) -> list[str]:
    """Body of a task: returns the names of the world's episodes that are in the store."""

    def report(message: Message) -> None:
        mailbox.put.remote(world.number, message)

    report(("begun", os.getpid()))
    store = EpisodeStore(out)
    for _ in world.names:
        try:
            record_world(store, world, make_env=make_env, fps=fps, report=report)
            break
        except FileExistsError:
            # Another attempt at this world was not dead after all, and quicker; go on with what is missing.
            continue
    return [name for name in world.names if name in store]


def _hear(ray: Any, mailbox: Any, running: dict[Any, _Running], ledger: _Ledger) -> None:
    """Take what the workers sent; a mailbox that died with its machine is started again empty."""
    try:
        messages = ray.get(mailbox.take.remote(), timeout=30)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return
    by_world = {one.world.number: one for one in running.values()}
    for world, message in messages:
        if one := by_world.get(world):
            one.last_message, one.begun = time.monotonic(), True
        if message[0] != "begun":
            ledger.take(message)


def _stop_silent(ray: Any, running: dict[Any, _Running], silence: float) -> None:
    for task, one in running.items():
        if one.begun and not one.stopped and time.monotonic() - one.last_message > silence:
            one.stopped = f"silent for {silence:.0f} s"
            ray.cancel(task, force=True)


def _outcome(ray: Any, task: Any, one: _Running, ledger: _Ledger) -> str:
    """Why a task failed, "" if it did not."""
    try:
        ledger.check(ray.get(task))
        return ""
    except ray.exceptions.RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except ray.exceptions.RayError as error:
        return one.stopped or f"worker died: {type(error).__name__}"
