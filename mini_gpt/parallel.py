"""Several processes that train one model together, as `torchrun` starts them.

Without `torchrun` there is one process, and everything here does nothing, at no cost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def launched() -> bool:
    """Whether `torchrun` (or a program like it) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def in_group() -> bool:
    """Whether this process is connected to others."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, from 0; 0 where it is alone."""
    return dist.get_rank() if in_group() else 0


def ranks() -> int:
    """How many processes train together; 1 where this one is alone."""
    return dist.get_world_size() if in_group() else 1


@contextmanager
def process_group(device: torch.device, timeout: float = 600.0) -> Iterator[None]:
    """Connect the processes that `torchrun` started; does nothing where it did not.

    Args:
        device: What they compute on: CUDA cards talk by NCCL, all else by gloo.
        timeout: Seconds after which a process gives up waiting for the others.

    Raises:
        ConnectionError: inside the block, if another process is gone or does not answer.
    """
    if not launched() or in_group():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield
    except RuntimeError as fault:  # what all backends raise, whatever happened to the other side
        words = str(fault).lower()
        if not any(word in words for word in ("gloo", "nccl", "connection", "timed out", "peer")):
            raise
        raise ConnectionError(
            f"process {rank()} of {ranks()} lost the others: one of them ended or hangs, and this "
            f"run cannot go on without it ({str(fault).strip().splitlines()[0]})"
        ) from fault
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The card of this process: with several processes on one machine, each takes its own."""
    if device.type != "cuda" or device.index is not None or not launched():
        return device
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def replicated(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, its gradients averaged over all processes; all start with the first one's weights.

    Args:
        model: The model, already on its device.
        device: Where it is.
    """
    if ranks() == 1:
        return model
    return DistributedDataParallel(model, [device] if device.type == "cuda" else None)


def keeps_gradients(model: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    """A context in which gradients stay in this process, to be sent with later ones.

    Args:
        model: What `replicated` gave.
        wanted: False gives a context that does nothing.
    """
    if wanted and isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return nullcontext()


def over_ranks(value: Tensor) -> Tensor:
    """The sum of a number over all processes; every one of them must ask.

    Args:
        value: This process's share. It is left as it is.
    """
    if ranks() == 1:
        return value
    place, value = value.device, value.cuda() if dist.get_backend() == "nccl" else value.clone()
    dist.all_reduce(value)
    return value.to(place)


def everybodys(value: Any) -> list[Any]:
    """What each process has, in the order of their ranks; every one of them must ask.

    Args:
        value: Anything that can be pickled. It travels between processes, never to a disk.
    """
    if ranks() == 1:
        return [value]
    values: list[Any] = [None] * ranks()
    dist.all_gather_object(values, value)
    return values


def any_asked(asked: bool, step: int) -> bool:
    """Whether any process was asked to stop, so that all stop after the same step.

    Several processes put the question to each other at every tenth step only, since each answer
    has to be waited for.

    Args:
        asked: Whether this process was asked.
        step: Steps done, the same in all processes.
    """
    if ranks() == 1:
        return asked
    return step % 10 == 0 and bool(over_ranks(torch.tensor(int(asked))))
