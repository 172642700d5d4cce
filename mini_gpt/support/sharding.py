"""A model that several processes hold together, each a share of every weight: FSDP.

PyTorch's `fully_shard` does it, and its distributed checkpoints keep the shares. Their
files are safetensors, since the usual ones hold pickles. What is imported inside the
functions takes most of a second, which only those wait for who shard.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor, nn

from mini_gpt.model import GPT
from mini_gpt.support.activations import recompute_activations
from mini_gpt.support.distributed import data_parallel, rank, world_size

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_SEEN_AFTER = 60.0  # seconds that a file may take to be seen by another machine


def is_sharded(value: nn.Module | Tensor) -> bool:
    """Whether a process holds only its share of a tensor, or of a model's weights."""
    if isinstance(value, nn.Module):
        return any(map(is_sharded, value.parameters()))
    return hasattr(value, "device_mesh")


def mesh_of(model: nn.Module) -> DeviceMesh | None:
    """The processes that a model's weights are divided among; None if it is whole."""
    for weight in model.parameters():
        if is_sharded(weight):
            mesh: DeviceMesh = weight.device_mesh  # type: ignore[attr-defined]
            return mesh
    return None


def parallel_model(
    model: GPT, device: torch.device, precision: str, config: Any
) -> nn.Module:
    """A model on its device, ready for the training of all processes together.

    Args:
        precision: As for `shard`.
        config: A `TrainConfig`: shard and checkpoint_activations. One process has
            nobody to share with.
    """
    if config.checkpoint_activations:
        recompute_activations(model)
    if not config.shard or world_size() == 1:
        return data_parallel(model.to(device), device)
    shard(model, device, precision)
    return model


def shard(model: GPT, device: torch.device, precision: str) -> None:
    """Leave each process its share of every weight, by rows; the first one's weights.

    A block's matrices are brought together when it is their turn, in the precision of
    the products, and given up again after. Embedding, positions and normalizations stay
    together from the forward to the end of the backward pass. They, the stream, and all
    gradients that are summed over processes are float32, as without sharding.

    Args:
        model: It may be in main memory: no card ever holds more than its share, one
            block that is on its way there, and the embedding.
        device: Where this process computes.
        precision: "float32", "bfloat16" or "float16".
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (world_size(),))
    with torch.no_grad():
        for weight in model.parameters():  # one at a time, so that any card has room
            first = weight.to(device, copy=True)
            dist.broadcast(first, 0)
            weight.copy_(first)
    exact = torch.float32
    products = None if precision == "float32" else getattr(torch, precision)
    in_blocks = MixedPrecisionPolicy(products, exact, cast_forward_inputs=False)
    around = MixedPrecisionPolicy(reduce_dtype=exact, cast_forward_inputs=False)
    for block in model.decoder.blocks:
        matrices: list[Any] = [block.attention, block.feed_forward]
        fully_shard(matrices, mesh=mesh, mp_policy=in_blocks)
    fully_shard(model, mesh=mesh, mp_policy=around)
    # Of a view, which a part may return, nothing is changed in place: blocks add anew.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)

    def give_up(*_: Any) -> None:
        if not torch.is_grad_enabled():  # no backward pass will do it
            model.reshard()  # type: ignore[operator]

    model.register_forward_hook(give_up)


def all_of(value: Tensor) -> Tensor:
    """A tensor of which each process has a share, all of it; all of them must ask."""
    if not is_sharded(value):
        return value
    everything: Tensor = value.full_tensor()  # type: ignore[attr-defined]
    return everything


def whole_model(model: GPT) -> GPT:
    """A model that can be used by itself, in the first process; all of them must ask.

    A model that is not sharded is that already. Others come together in the main memory
    of the first process, weight by weight. In the other ones the result has no numbers.
    """
    if not is_sharded(model):
        return model
    with torch.device("meta"):
        alone = GPT(model.config)
    weights = {}
    for name, weight in model.state_dict().items():
        everything = all_of(weight)
        if rank() == 0:
            weights[name] = everything.cpu()
    if rank() == 0:
        alone.load_state_dict(weights, assign=True)
    return alone.train(model.training)


def shares_of(value: Any, mesh: DeviceMesh | None) -> Any:
    """A nested state, of each of its matrices and vectors this process's share only."""
    if mesh is None:
        return value
    if isinstance(value, dict):
        return {name: shares_of(each, mesh) for name, each in value.items()}
    if isinstance(value, list):
        return [shares_of(each, mesh) for each in value]
    if not isinstance(value, Tensor) or value.ndim == 0 or is_sharded(value):
        return value
    from torch.distributed.tensor import Shard, distribute_tensor

    # Each process has the same whole, so that nothing needs to be sent.
    return distribute_tensor(value, mesh, [Shard(0)], src_data_rank=None)


def of_whole_matrices(
    compiled: Callable[..., Any],
) -> Callable[..., Callable[..., Any]]:
    """As `compiled`, for a function of matrices that have to be there as a whole.

    Muon's is one: a share of the rows does not say which matrix is nearest. Where they
    are sharded, all processes bring them together, a stack at a time, compute the same,
    and keep their own share of what comes out.
    """

    def prepared(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        fast = compiled(function)

        def of_whole(matrices: Any) -> Any:
            if not is_sharded(matrices):
                return fast(matrices)
            from torch.distributed.tensor import distribute_tensor

            mesh, places = matrices.device_mesh, matrices.placements
            result = fast(all_of(matrices))
            return distribute_tensor(result, mesh, places, src_data_rank=None)

        return of_whole

    return prepared


def write_shares(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write what each process has of some sharded tensors; all of them must call.

    Args:
        folder: The same for all, in a file system that they share; it may be missing.

    Raises:
        OSError: in every process, if one of them cannot write.
    """
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.api import CheckpointException

    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        checkpoint.save(dict(tensors), storage_writer=writer)
    except CheckpointException as fault:  # no Exception to Python
        first = next(iter(fault.failures.values()))[0]
        disk = isinstance(first, OSError | SafetensorError)
        kind = OSError if disk else RuntimeError
        raise kind(str(first)) from fault
    if rank() == 0:
        _wait_for_shares(folder, tensors.values())


def _wait_for_shares(folder: Path, tensors: Iterable[Tensor]) -> None:
    """Raise OSError unless what the others wrote can be seen, here, within a minute.

    A file system between machines may take some seconds to show a new file.
    """
    expected = max(-(-len(t) // -(-len(t) // world_size())) for t in tensors)
    deadline = time.monotonic() + _SEEN_AFTER
    while (found := len(list(folder.glob("*.safetensors")))) < expected:
        if time.monotonic() > deadline:
            raise OSError(
                f"only {found} of {expected} shares of a sharded run are in {folder}; "
                "all machines must see the same folder"
            )
        time.sleep(0.1)


def read_shares(folder: Path, mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """The tensors in a folder of safetensors, of each of them our share or all of it.

    Args:
        folder: What `write_shares` wrote, or any other.
        mesh: The processes that are to share them now, as many as there may be; None
            for all of every tensor.
    """
    from torch.distributed import checkpoint
    from torch.distributed import tensor as distributed

    reader = checkpoint.HuggingFaceStorageReader(str(folder))
    found: dict[str, Tensor] = {}
    stored: Mapping[str, Any] = reader.read_metadata().state_dict_metadata
    for name, like in stored.items():
        size, dtype = like.size, like.properties.dtype
        if mesh is None or not size:
            found[name] = torch.empty(size, dtype=dtype)
        else:
            rows = [distributed.Shard(0)]
            found[name] = distributed.empty(
                size, dtype=dtype, device_mesh=mesh, placements=rows
            )
    with warnings.catch_warnings():  # that each reads alone, for itself, is meant so
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        checkpoint.load(found, storage_reader=reader, no_dist=True)
    return found
