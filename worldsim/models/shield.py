"""A world computes the same whatever the program around it has set in PyTorch and NumPy, and leaves that as it was.

Shielded from: the default dtype and device, autocast, deterministic mode, the precision of float32 products, oneDNN
switched off, NumPy's floating-point errors. A process that was forked computes in one thread: the threads of its
parent's OpenMP did not come along, and waiting for them would never end.
"""

import contextlib
import functools
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

P = ParamSpec("P")
R = TypeVar("R")

CPU = torch.device("cpu")
# What NumPy does about floating-point errors by default.
NUMPY_ERRORS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@dataclass(frozen=True)
class _Setting:
    """A setting of the whole process: how it is read and set, and what a world needs: one of some values."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    wanted: tuple[Any, ...]


def _attribute(owner: Any, name: str, *wanted: Any) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), wanted)


def _product_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        # Set by the newer interface, backend by backend, which has no answer for all of them.
        return "highest"


def _own_precision(part: Any) -> _Setting:
    def write(value: str) -> None:
        # "none" follows the setting of all backends: what followed it before goes on doing so.
        part.fp32_precision = "none"
        if part.fp32_precision != value:
            part.fp32_precision = value

    return _Setting(lambda: part.fp32_precision, write, ("ieee", "none"))


def _settings() -> list[_Setting]:
    mkldnn = torch.backends.mkldnn
    with warnings.catch_warnings():
        # PyTorch 2.9 and 2.10 warn, the first time, of the interface that asks for all backends at once.
        warnings.simplefilter("ignore", UserWarning)
        _product_precision()
    found = [
        _Setting(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
        _Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, (0,)),
        _Setting(_product_precision, torch.set_float32_matmul_precision, ("highest",)),
        _attribute(mkldnn, "enabled", True),
    ]
    # Since PyTorch 2.9, products and convolutions of each backend have precisions of their own.
    parts = (getattr(mkldnn, name, None) for name in ("matmul", "conv"))
    return found + [_own_precision(part) for part in parts if hasattr(part, "fp32_precision")]


class _ProcessSettings:
    """Settings of the whole process: the first thread that needs the world's saves them, the last one restores them."""

    def __init__(self) -> None:
        self.settings = _settings()
        self.lock = threading.Lock()
        self.users = 0
        self.saved: list[tuple[Callable[[Any], None], Any]] = []
        self.forked = False

    def enter(self) -> None:
        with self.lock:
            if self.users == 0:
                for setting in self.settings:
                    if (value := setting.read()) not in setting.wanted:
                        self.saved.append((setting.write, value))
                        setting.write(setting.wanted[0])
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            # A child that was forked inside of a shield leaves it without having entered.
            self.users = max(0, self.users - 1)
            if self.users == 0:
                self._restore()

    def in_child(self) -> None:
        """After a fork: threads that were computing in the parent, and who held the lock, are not here."""
        # Nor are those of video decoders: garbage of the parent with one in it would crash this process when collected.
        gc.freeze()
        self.lock, self.users, self.forked = threading.Lock(), 0, True
        self._restore()

    def _restore(self) -> None:
        while self.saved:
            write, value = self.saved.pop()
            write(value)


_PROCESS = _ProcessSettings()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.in_child)


def default_device() -> torch.device:
    """Where PyTorch puts new tensors."""
    try:
        return torch.get_default_device()
    except AttributeError:
        # PyTorch 2.9, after the default was set back to None.
        return CPU


@contextlib.contextmanager
def shield() -> Iterator[None]:
    """A context in which PyTorch and NumPy are set as a world needs them; afterwards they are as they were."""
    if _PROCESS.forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
    _PROCESS.enter()
    try:
        with contextlib.ExitStack() as stack:
            # A device context costs time at every call of PyTorch: only where there is something to shield from.
            if default_device() != CPU:
                stack.enter_context(CPU)
            for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(np.errstate(**NUMPY_ERRORS))
            yield
    finally:
        _PROCESS.leave()


def shielded(function: Callable[P, R]) -> Callable[P, R]:
    """A function that always runs in a ``shield``."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with shield():
            return function(*args, **kwargs)

    return run
