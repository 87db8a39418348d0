"""A Ray cluster: how it is reached, and tasks on it whose results come back as they are ready."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from worldsim.errors import UserError
from worldsim.extras import require

LOCAL = "local"
STARTS = 4
# How often a task is begun again whose worker died.
RETRIES = 3


def results_of(
    ray: Any,
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    progress: Callable[[int, int], None] = lambda done, total: None,
    gpus: int = 0,
) -> Iterator[tuple[int, Any]]:
    """Call a function with each job's arguments on the workers of a cluster; (number of the job, result), any order.

    A job whose worker dies is begun again by another. Those that are left when the caller stops are given up. Each has
    a CPU and so many ``gpus`` of its machine for itself.

    Raises:
        Exception: what the function raises.
    """
    wanted = {"num_cpus": 1, "num_gpus": gpus} if gpus else {"num_cpus": 1}
    task = ray.remote(**wanted, max_retries=RETRIES)(function)
    running = {task.remote(*job): number for number, job in enumerate(jobs)}
    try:
        while running:
            progress(len(jobs) - len(running), len(jobs))
            done, _ = ray.wait(list(running), timeout=1.0)
            for one in done:
                number = running.pop(one)
                try:
                    result = ray.get(one)
                except Exception as error:
                    # Ray's own has the worker's traceback in its message.
                    cause = getattr(error, "cause", None)
                    raise cause if isinstance(cause, Exception) else error  # noqa: B904
                yield number, result
        progress(len(jobs), len(jobs))
    finally:
        for one in running:
            ray.cancel(one, force=True)


@contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """The ``ray`` module, connected to a cluster; what was connected before stays so.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    ray: Any = require("ray", "work on many machines")
    if ray.is_initialized():
        yield ray
        return
    local = {"num_cpus": max(1, workers), "include_dashboard": False}
    options: dict[str, Any] = local if address == LOCAL else {"address": address}
    # A busy machine may need longer than the half minute that Ray gives itself to start.
    for attempt in range(STARTS):
        try:
            ray.init(log_to_driver=False, **options)
            break
        except Exception as error:
            # Ray raises plain exceptions here.
            ray.shutdown()
            if address != LOCAL or attempt + 1 == STARTS:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise UserError(f"no Ray cluster at {address}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
