"""Which device networks compute on: "cpu", or a GPU by the name that PyTorch gives it."""

import re

from worldsim.errors import UserError

_GPU = re.compile(r"cuda(?::(\d+))?")


def device_of(name: str | None) -> str:
    """The device named; without a name a GPU if there is one, else the CPU.

    Raises:
        UserError: there is no such device.
    """
    if name == "cpu":
        return name
    # Here: commands check their settings before anything heavy is imported.
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return "cuda" if count else "cpu"
    gpu = _GPU.fullmatch(name)
    if gpu is None or int(gpu[1] or 0) >= count:
        raise UserError(f"device {name!r} is not available: cpu, or cuda where PyTorch finds a GPU")
    return name
