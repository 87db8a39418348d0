"""Checkpoints without pickle: safetensors for tensors, JSON for configuration, written whole or not at all.

A file's header holds the SHA-256 of its tensors and its JSON. It is compared when the file is read; files of earlier
versions have none.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from worldsim.asides import aside_of
from worldsim.models.shield import shielded
from worldsim.spec.damage import reading
from worldsim.spec.text_files import parse_json

M = TypeVar("M", bound=nn.Module)

CHECKSUM = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}")
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


@shielded
def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors and JSON metadata to one safetensors file by an atomic rename.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(dict(metadata or {}))
    try:
        _write(aside, contiguous, {"json": text, CHECKSUM: content_sha256(contiguous, text)})
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        # safetensors makes files that only their owner can read.
        aside.chmod(0o644)
        os.replace(aside, path)
    except SafetensorError as error:
        found = _SYSTEM_ERROR.search(str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number) if found else str(error), str(path)) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    save_file(tensors, path, header)
    # safetensors keeps metadata in a random order: equal contents are to be equal files.
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        told = json.loads(file.read(length))
        told["__metadata__"] = dict(sorted(told["__metadata__"].items()))
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def content_sha256(tensors: Mapping[str, Tensor], text: str) -> str:
    """Of names, types, shapes and bytes of tensors, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def compact(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights as they ship: matrices in bf16, the rest in fp32."""
    return {name: t.bfloat16() if t.ndim >= 2 else t.float() for name, t in module.state_dict().items()}


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON metadata of a file that ``save_tensors`` wrote; its tensors are not read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    with _opened(path) as file:
        return _metadata(path, file.metadata() or {})


@shielded
def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_tensors`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a whole safetensors file, or its content is not what was written.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata = _metadata(path, header)
    # Without a checksum it is of an earlier version or another program, unless another name holds what looks like one.
    if CHECKSUM not in header and (nameless := [name for name in header if _DIGEST.fullmatch(header[name])]):
        raise ValueError(f"{path} is damaged: its header calls the checksum {nameless[0]!r:.60}")
    if CHECKSUM in header and header[CHECKSUM] != content_sha256(tensors, header.get("json", "{}")):
        raise ValueError(f"{path} is damaged: its content differs from what was written")
    return tensors, metadata


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with reading(path, "a safetensors file"), safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from error


def _metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    try:
        metadata = parse_json(header.get("json", "{}"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: its metadata is no JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} is damaged: its metadata is no JSON object")
    return metadata


def misfits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """How names and shapes of tensors differ from a module's; "" where they do not."""
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if not (missing or unknown or wrong):
        return ""
    return f"missing {missing[:3]}, unknown {unknown[:3]}, size {wrong[:3]}"


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load weights strictly, in the module's own types.

    Raises:
        ValueError: names or shapes do not fit, or a weight is no finite number.
    """
    own = module.state_dict()
    if text := misfits(own, tensors):
        raise ValueError(f"{where} does not fit this model: {text}")
    if broken := [n for n in own if tensors[n].is_floating_point() and not bool(tensors[n].isfinite().all())]:
        raise ValueError(f"{where} is damaged: {broken[0]} holds numbers that are not finite")
    module.load_state_dict({n: tensors[n].to(own[n].dtype) for n in own})


@shielded
def build_module(make: Callable[[], M], tensors: Mapping[str, Tensor], where: str) -> M:
    """A module with the given weights; sizes are compared before any memory is taken.

    The program's random generator is left as it is.

    Raises:
        ValueError: the weights do not fit what ``make`` makes, or it cannot be made.
    """
    with reading(where, "what its configuration says"), torch.random.fork_rng(devices=()):
        with sizes_alone():
            expected = make().state_dict()
        if text := misfits(expected, tensors):
            raise ValueError(f"{where} does not fit this model: {text}")
        module = make()
    load_module(module, tensors, where)
    return module


@contextlib.contextmanager
def sizes_alone() -> Iterator[None]:
    """Tensors that are made within take no memory: they are on PyTorch's meta device, and nothing is drawn for them.

    (On that device PyTorch draws numbers in Python and imports its compiler and sympy for it: two seconds.)
    """
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))
