"""The state of a training run as files: tensors, and everything else as JSON.

Where a model is sharded, its tensors lie in a folder of their own, each process's share
in a file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mini_gpt.support.distributed import rank
from mini_gpt.support.files import (
    file_digest,
    printable,
    read_json,
    text_digest,
    utf8_name,
)
from mini_gpt.support.model_folder import CHECKPOINT_FILES
from mini_gpt.support.sharding import is_sharded, read_shares, shares_of
from mini_gpt.support.threads import keep_threads

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# Nothing is pickled, not even by torch.save with its restricted reader: the tensors go
# into a format that cannot hold code, the rest into JSON, which people can read. It
# costs two short functions.

VERSION = 2  # of run folders and states; it goes up when older ones cannot be read
STATE_FILES = ("state.json", "state.safetensors")
SHARES = "shares"  # a folder: what each process had of the sharded tensors
_JSON, _TENSORS = STATE_FILES


def random_states() -> dict[str, Any]:
    """Where Python's, NumPy's, PyTorch's and the card's random generators stand."""
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": tuple(
            part.tolist() if isinstance(part, np.ndarray) else part for part in numpy
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "threads": torch.get_num_threads(),  # more would sum in another order
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the generators where they stood when `random_states` was called.

    As many threads as then are taken too, where `fitting_threads` has chosen others.
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])
    keep_threads(states.get("threads", torch.get_num_threads()))


def flatten_state(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state without its tensors, in lists and dictionaries that JSON can write.

    Args:
        value: Nested dictionaries, lists and tuples of tensors, numbers, texts and
            None.
        tensors: Takes the tensors, by the names that stand in their places.

    Raises:
        TypeError: if there is something else in it.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[key, flatten_state(item, tensors)] for key, item in value.items()]
        return {"pairs": pairs}  # an object of JSON would turn numbered keys into texts
    if isinstance(value, tuple):
        return {"tuple": [flatten_state(item, tensors) for item in value]}
    if isinstance(value, list):
        return [flatten_state(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a state cannot hold a {type(value).__name__}; give numbers, texts or tensors"
    )


def unflatten_state(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that `flatten_state` took apart, its value back from JSON."""
    if isinstance(value, list):
        return [unflatten_state(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(unflatten_state(item, tensors) for item in value["tuple"])
    return {key: unflatten_state(item, tensors) for key, item in value["pairs"]}


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state into an existing folder; `flatten_state` says what it may hold.

    Digests of it, and of all that is in the folder by then, are written with it. The
    shares of sharded tensors must lie there already: `sharded_tensors` names them.
    """
    tensors: dict[str, Tensor] = {}
    flat = flatten_state(state, tensors)
    layout = torch.contiguous_format  # the only one that safetensors knows
    own = {
        name: each.cpu().clone(memory_format=layout)
        for name, each in tensors.items()
        if not is_sharded(each)
    }
    save_file(own, folder / _TENSORS)
    files = [path for path in folder.rglob("*") if path.is_file()]
    digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    content = {
        "format": "mini_gpt training state",
        "version": VERSION,
        "sha256": {"state": text_digest(json.dumps(flat)), **digests},
        "state": flat,
    }
    (folder / _JSON).write_text(json.dumps(content), encoding="utf-8")


def sharded_tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of which each process has a share, by their names in storage."""
    tensors: dict[str, Tensor] = {}
    flatten_state(state, tensors)
    return {name: each for name, each in tensors.items() if is_sharded(each)}


def read_state(folder: Path, mesh: DeviceMesh | None = None) -> dict[str, Any]:
    """Read what `write_state` wrote, whether or not it was sharded then.

    Args:
        mesh: The processes that are to share the optimizers' memories now, as many as
            there may be; None for all of them in each process.

    Raises:
        ValueError: if a file is missing, or has changed since it was written, or is of
            another version.
    """
    damage = (OSError, ValueError, LookupError, TypeError, AttributeError)
    try:
        content = read_json(folder / _JSON)
        version = content["version"]
        if version == VERSION:
            digests = {**content["sha256"]}
            found = {"state": text_digest(json.dumps(content["state"]))}
            ours = [_TENSORS, *(f"model/{name}" for name in CHECKPOINT_FILES)]
            for name in {*digests, *ours} - {"state"}:
                if rank() and name.startswith(f"{SHARES}/"):
                    continue  # it is large, and the first process looks
                if name in digests or (folder / name).exists():
                    found[name] = file_digest(folder / name)
            if changed := sorted(
                name for name in found if found[name] != digests[name]
            ):
                raise ValueError(f"{' and '.join(changed)} changed after it was saved")
            tensors = read_tensors(folder / _TENSORS)
            if (folder / SHARES).is_dir():
                tensors |= read_shares(folder / SHARES, mesh)
            state = unflatten_state(content["state"], tensors)
            return {
                name: shares_of(value, mesh) if name == "optimizers" else value
                for name, value in state.items()
            }
    except (*damage, RecursionError, SafetensorError) as fault:
        lacking = isinstance(fault, KeyError)
        what = f"state.json has no field {fault}" if lacking else fault
        raise ValueError(
            f"{folder} is not a whole checkpoint of training ({printable(what)})"
        ) from None
    raise other_version(folder, version)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file; copies, since it may change after it was read."""
    with utf8_name(path) as name:
        return {key: tensor.clone() for key, tensor in load_file(name).items()}


@contextmanager
def loading(part: str) -> Iterator[None]:
    """Have each error while a part of a state is taken up say which part it was."""
    try:
        yield
    except Exception as fault:  # torch and the generators have many kinds of error
        raise ValueError(f"{part} of the checkpoint does not fit: {fault}") from fault


def other_version(path: Path, version: object) -> ValueError:
    """The error for a run or a state that another version of mini_gpt wrote."""
    return ValueError(
        f"{path} was made by another version of mini_gpt (its format is "
        f"{printable(version)}, this one reads {VERSION}); go on with it there, or "
        "start a new run"
    )
