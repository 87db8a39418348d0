"""Functions run by several ranks on this machine, as torchrun would start them."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo

from tests.timing import PATIENCE
from worldsim.optim.distributed.ranks import ranked


def run_ranks(count: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """What the function returns on each of ``count`` ranks (plain values), in a process of their own each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked: what tests have imported need not be imported again by every rank; that is why PyTorch's compiler, which
    # optimizers import, is imported here.
    fork = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for rank in range(count):
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_rank, args=(rank, count, port, theirs, function, args))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    results = []
    for rank, pipe in enumerate(pipes):
        assert pipe.poll(PATIENCE), f"rank {rank} does not answer"
        results.append(pipe.recv())
    for process in processes:
        process.join(PATIENCE)
    errors = [text for text, _ in results if text]
    assert not errors, "\n".join(errors)
    return [value for _, value in results]


def _rank(rank: int, count: int, port: int, pipe: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    # Threads of the parent did not come along.
    torch.set_num_threads(1)
    try:
        pipe.send(("", ranked(function)(*args)))
    except BaseException:
        pipe.send((f"rank {rank}:\n{traceback.format_exc()}", None))
    finally:
        pipe.close()
