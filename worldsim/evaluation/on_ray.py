"""Parts of an evaluation as tasks of a Ray cluster: each is measured where there is room, and kept in the run's folder.

What decides a part's result is the same there as here, and names it: the evaluation then takes the results over as if
it had been interrupted. The world and the store are opened by each worker: at paths or URLs that all machines share.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from worldsim.asides import scratch_folder, write_whole
from worldsim.cluster import connected, results_of
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.runner import kept_parts, run_parts

# Makes the evaluation, given the folder for its results; sent to workers.
Open = Callable[[Path], Evaluation]


def measure_on_ray(
    opens: Open,
    evaluation: Evaluation,
    parts: Mapping[str, EvaluationPart],
    names: Sequence[str],
    *,
    address: str,
    gpus: int = 0,
) -> None:
    """Measure the parts that the run's folder does not hold yet; what was skipped there is left to ``run_parts``.

    Args:
        opens: makes the same evaluation on a worker.
        evaluation: of this run.
        parts: all parts.
        names: of those to measure.
        address: ``local`` starts a cluster on this machine, ``auto`` takes the one this machine is part of, else the
            address of one.
        gpus: that a part takes for itself.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    there = kept_parts(evaluation, parts)
    missing = [name for name in names if name not in there]
    if not missing:
        return
    with connected(address, os.cpu_count() or 1) as ray:
        tell = partial(evaluation.progress, "parts on Ray")
        for _, files in results_of(ray, _measure, [(opens, name) for name in missing], tell, gpus):
            _take(evaluation.folder, files)


def _measure(opens: Open, name: str) -> dict[str, bytes]:
    """On a worker: the files that a part leaves, by their place in the run's folder."""
    with scratch_folder() as folder:
        run_parts(opens(folder), PARTS, [name])
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _take(folder: Path, files: Mapping[str, bytes]) -> None:
    # Results last: a part counts as done when they are there.
    for name in sorted(files, key=lambda name: (name.endswith(".json"), name)):
        write_whole(folder / name, files[name])
