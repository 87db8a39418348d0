"""A Ray cluster that is none: tasks run in this process, when their results are asked for, the last one first."""

import pickle
from types import SimpleNamespace
from typing import Any

from worldsim.cluster import RETRIES


class Nearby:
    """Ray's calls that are used; arguments and results go through pickle, as between processes."""

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.given_up: list[Any] = []

    def remote(self, **options: Any) -> Any:
        assert options == {"num_cpus": 1, "max_retries": RETRIES}
        return lambda function: SimpleNamespace(remote=lambda *args: (function, pickle.dumps(args)))

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return tasks[-1:], tasks[:-1]

    def get(self, task: Any) -> Any:
        function, args = task
        return pickle.loads(pickle.dumps(function(*pickle.loads(args))))

    def cancel(self, task: Any, force: bool) -> None:
        self.given_up.append(task)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.workers)}
