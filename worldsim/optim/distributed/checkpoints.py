"""States of trainings on several ranks: folders of safetensors files, by ``torch.distributed.checkpoint``.

``FOLDER/step-000001000/`` holds what each rank wrote of its shards and ``state.json``. Tensors are read back on any
number of ranks, sharded as those want them. A folder that is being written begins with a dot; it gets its name when all
ranks have written and flushed their files.
"""

import json
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from worldsim.optim.distributed.ranks import PATIENCE, Ranks
from worldsim.spec.damage import reading
from worldsim.spec.text_files import read_json

NAME = re.compile(r"step-(\d{9,})")
# Finished states that are kept: the newest, and the one before.
KEPT = 2


def newest_step(folder: Path) -> int:
    """Step of the newest finished state in a folder; -1 where there is none."""
    found = [int(name[1]) for path in folder.glob("step-*") if (name := NAME.fullmatch(path.name))]
    return max(found, default=-1)


def step_folder(folder: Path, step: int) -> Path:
    """Where the state after so many steps is."""
    return folder / f"step-{step:09d}"


class ShardedStates:
    """Writes states of a training while it goes on; every rank calls every method.

    Args:
        folder: of all states; what killed runs left unfinished there is removed at the first save.
        ranks: of the training.
    """

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = folder, ranks
        self._group: Any = None
        self._pending: tuple[int, Future[Any]] | None = None
        self._lock = threading.Lock()

    def save(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Copy the tensors and begin to write them; waits for the save before.

        Raises:
            OSError: the save before could not be written.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        self.finish()
        if self._group is None:
            # Of its own: a thread writes and asks the other ranks while steps exchange gradients.
            self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        aside = self._aside(step)
        if self.ranks.first:
            self._clear()
            aside.mkdir(parents=True)
            (aside / "state.json").write_text(json.dumps({"step": step, "about": dict(about)}))
        self.ranks.wait()
        own = {name: tensor.detach() for name, tensor in tensors.items()}
        writer = HuggingFaceStorageWriter(str(aside), save_distributed=True)
        future = async_save(own, storage_writer=writer, process_group=self._group)
        assert isinstance(future, Future)
        self._pending = step, future
        # At once, not only when somebody waits for it: what dies meanwhile is to find it.
        future.add_done_callback(lambda done: None if done.exception() else self._publish(step))

    def finish(self) -> None:
        """Wait until what was saved is written.

        Raises:
            OSError: it could not be written.
        """
        if self._pending is not None:
            (step, future), self._pending = self._pending, None
            try:
                future.result()
                self._publish(step)
            # The writer hands on whatever its thread or another rank raised; the cause stays with it.
            except Exception as error:
                raise OSError(f"the state in {self.folder} could not be written: {error}") from error

    def _aside(self, step: int) -> Path:
        return self.folder / f".step-{step:09d}"

    def _publish(self, step: int) -> None:
        """Give a written state its name, and remove old ones; by the first rank, whose part ends after all others'."""
        with self._lock:
            if not self.ranks.first or not self._aside(step).exists():
                return
            final = step_folder(self.folder, step)
            if final.exists():
                shutil.rmtree(final)
            os.replace(self._aside(step), final)
            steps = sorted(int(name[1]) for path in self.folder.iterdir() if (name := NAME.fullmatch(path.name)))
            for old in [s for s in steps if s < step][: -(KEPT - 1)]:
                shutil.rmtree(step_folder(self.folder, old), ignore_errors=True)

    def _clear(self) -> None:
        for left in self.folder.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)


def read_state(
    folder: Path, step: int, live: Mapping[str, Tensor], wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the state after so many steps: tensors and what ``state.json`` says. Every rank calls it.

    Args:
        folder: of all states.
        step: of a finished one.
        live: names of tensors, and tensors that are sharded and typed as those are to be; others come whole.
        wanted: names of tensors to read.

    Raises:
        ValueError: the state is damaged.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    place = step_folder(folder, step)
    with reading(place, "the state of a training"):
        reader = HuggingFaceStorageReader(str(place))
        found: dict[str, Tensor] = {}
        for name, entry in reader.read_metadata().state_dict_metadata.items():
            shape, kind = torch.Size(entry.size), entry.properties.dtype  # pyright: ignore
            like = live.get(name)
            if like is not None and like.shape == shape:
                found[name] = torch.empty_like(like, dtype=kind)
            elif wanted(name):
                found[name] = torch.empty(shape, dtype=kind)
        alone = not (distributed.is_available() and distributed.is_initialized())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(found, storage_reader=HuggingFaceStorageReader(str(place)), no_dist=alone)
        about = read_json(place / "state.json")
    return found, about


__all__ = ["ShardedStates", "newest_step", "read_state", "step_folder"]
