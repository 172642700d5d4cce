"""Several processes that train one model together, as `torchrun` starts them.

Without `torchrun` there is one process, and everything here does nothing, at no cost.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mini_gpt.data import BatchLoader
from mini_gpt.support.token_shards import TokenRow


def launched() -> bool:
    """Whether `torchrun` (or a program like it) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _in_group() -> bool:
    """Whether this process is connected to others."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, from 0; 0 where it is alone."""
    return dist.get_rank() if _in_group() else 0


def world_size() -> int:
    """How many processes train together; 1 where this one is alone."""
    return dist.get_world_size() if _in_group() else 1


@contextmanager
def process_group(device: torch.device, timeout: float = 600.0) -> Iterator[None]:
    """Connect the processes that `torchrun` started; does nothing where it did not.

    CUDA cards talk by NCCL, all else by gloo.

    Args:
        timeout: Seconds after which a process gives up waiting for the others.

    Raises:
        ConnectionError: at the end of the block, if another process is gone or silent.
    """
    if not launched() or _in_group():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield
    except RuntimeError as fault:
        # All backends raise this, whatever happened; only the words tell.
        said = str(fault).strip()
        signs = ("gloo", "nccl", "connection", "timed out", "peer")
        if not any(sign in said.lower() for sign in signs):
            raise
        raise ConnectionError(
            f"process {rank()} of {world_size()} lost the others: one of them ended or "
            f"hangs, and this run cannot go on without it ({said.splitlines()[0]})"
        ) from fault
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The card of this process: of several on one machine, each takes its own."""
    if device.type != "cuda" or device.index is not None or not launched():
        return device
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, its gradients averaged over all processes.

    All start with the first one's weights. The model must be on its device already.
    """
    if world_size() == 1:
        return model
    return DistributedDataParallel(model, [device] if device.type == "cuda" else None)


def batches_of_process(
    tokens: TokenRow, context_length: int, config: Any
) -> BatchLoader:
    """This process's share of every batch of a run.

    Args:
        config: A `TrainConfig`: batch_size, seed and order.
    """
    return BatchLoader(
        tokens,
        batch_size=config.batch_size,
        context_length=context_length,
        seed=config.seed,
        order=config.order,
        rank=rank(),
        world_size=world_size(),
    )


def shared_out(
    batches: Iterable[tuple[Tensor, Tensor]], ignored: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of some batches, and for all processes equally many.

    Who would be one short gets a batch without a target that counts: a sharded model
    computes only where all processes let it.

    Args:
        ignored: The target that does not count.
    """
    waiting: list[tuple[Tensor, Tensor]] = []
    for batch in batches:
        waiting.append(batch)
        if len(waiting) == world_size():
            yield waiting[rank()]
            waiting = []
    if rank() < len(waiting):
        yield waiting[rank()]
    elif waiting:
        inputs, targets = waiting[0]
        yield inputs, torch.full_like(targets, ignored)


def no_sync(model: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    """A context in which gradients stay in this process, to be sent with later ones.

    Args:
        model: What `data_parallel` gave.
        wanted: Whether to hold them back at all. A sharded model sends them always: in
            one process there is no room for all of them.
    """
    if wanted and isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return nullcontext()


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum of a number over all processes; every one of them must ask.

    The number that is given stays as it is.
    """
    if world_size() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else value.device
    total = value.to(device, copy=True)
    dist.all_reduce(total)
    return total.to(value.device)


def all_gather_objects(value: Any) -> list[Any]:
    """What each process has, in the order of their ranks; every one of them must ask.

    It must be something that can be pickled: it travels between processes, and never to
    a disk.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def any_rank_stops(asked: bool, step: int) -> bool:
    """Whether any process was asked to stop, so that all stop after the same step.

    Several processes put the question to each other at every tenth step only, since
    each answer has to be waited for.

    Args:
        asked: Whether this process was.
        step: Steps taken, the same number in all processes.
    """
    if world_size() == 1:
        return asked
    return step % 10 == 0 and bool(all_reduce_sum(torch.tensor(int(asked))))
