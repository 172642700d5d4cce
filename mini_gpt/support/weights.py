"""Weights in safetensors files, read a few rows at a time, all of them or none."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mini_gpt.characters import Tokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.position import RotaryPositions, SinusoidalPositions
from mini_gpt.support.files import printable, read_json, utf8_name
from mini_gpt.support.model_checks import (
    DTYPES,
    check_bounds,
    number_format,
    raise_faults,
)

# How to turn a pickle of tensors into the format that cannot hold code.
CONVERT = (
    "tensors = torch.load('pytorch_model.bin', weights_only=True); "
    "safetensors.torch.save_file({name: tensor.clone() for name, tensor in "
    "tensors.items()}, 'model.safetensors')"
)
AT_ONCE = 2**21  # most numbers that are read at once, unless one row has more


class StoredTensor(NamedTuple):
    """Where a tensor lies and what it is, as the header of its file says.

    Attributes:
        path: The file.
        name: Its name there.
        dtype: Its number format, in the file's word for it, for instance "F32".
        shape: Its shape.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """The tensor a few rows at a time.

        The file is opened anew for each part: while it is open, all that was read of it
        stays in memory.
        """
        rows = self.shape[0]
        step = max(1, AT_ONCE * rows // max(1, math.prod(self.shape)))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            with open_safetensors(self.path) as file:
                yield part, file.get_slice(self.name)[part]

    def holds(self, tensor: Tensor) -> bool:
        """Whether the file has these numbers, in the number format of the tensor."""
        return self.shape == tuple(tensor.shape) and all(
            torch.equal(rows.to(tensor), tensor[part]) for part, rows in self.parts()
        )


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open for reading, its faults told as ValueError."""
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            yield file
    except SafetensorError as fault:
        raise ValueError(
            f"{path} cannot be read ({printable(fault)}); it may be cut short"
        ) from None


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """What the headers of a folder's weights announce, by name. No weight is read yet.

    Args:
        folder: Holds `model.safetensors`, or shards and `model.safetensors.index.json`.

    Raises:
        ValueError: if there is neither, or a file is damaged.
    """
    paths = [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if not paths[0].is_file() and not index.is_file() and pickled:
        raise ValueError(
            f"{folder} has its weights in {printable(pickled[0])}, a pickle, which may "
            f"hold code and is not read; convert it without running any: {CONVERT}"
        )
    if not paths[0].is_file() and index.is_file():
        try:
            shards = read_json(index)["weight_map"].values()
            # The names only: an index must not lead out of its folder.
            paths = [folder / Path(shard).name for shard in sorted(set(shards))]
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise ValueError(
                f"{index} is not an index of shards ({printable(fault)})"
            ) from None
    found, present = {}, {path.name for path in folder.iterdir() if path.is_file()}
    for path in paths:
        if path.name not in present:
            missing = printable(path.name)
            raise ValueError(f"{folder} has no {missing}; its weights are missing")
        with open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                kind = part.get_dtype(), tuple(part.get_shape())
                found[name] = StoredTensor(path, name, *kind)
    return found


def targets(
    model: GPT, names: Mapping[str, str], transposed: Collection[str]
) -> dict[str, Tensor]:
    """A model's parameters by the names of a file, turned as the file has them."""
    parameters = dict(model.named_parameters())
    turned = tuple(transposed)
    return {
        theirs: parameters[ours].t() if theirs.endswith(turned) else parameters[ours]
        for theirs, ours in names.items()
    }


def stored_format(
    folder: Path,
    stored: Mapping[str, StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
) -> torch.dtype | None:
    """The number format of a folder's weights, if they are all there as expected.

    Where there are several, it is the one that holds the numbers of all others exactly;
    None if there is no such one.

    Raises:
        ValueError: listing the tensors that are missing, not expected, of another shape
            or not in a floating-point format.
    """
    formats = {stored[name].dtype for name in expected if name in stored}
    if formats and not formats & DTYPES.keys():
        kinds, known = " and ".join(sorted(formats)), ", ".join(DTYPES)
        raise_faults(folder, [f"numbers are {kinds}, not one of {known}"])
    faults = [
        f"{name} is missing, expected {shape}"
        for name, shape in expected.items()
        if name not in stored
    ]
    for name, tensor in stored.items():
        if name not in expected:
            faults.append(f"{name} is not expected")
        elif tensor.shape != expected[name]:
            faults.append(f"{name} has shape {tensor.shape}, expected {expected[name]}")
        elif tensor.dtype not in DTYPES:
            known = ", ".join(DTYPES)
            faults.append(f"{name} holds {tensor.dtype}, expected one of {known}")
    raise_faults(folder, faults)
    kinds_held = {DTYPES[kind] for kind in formats}
    widest = reduce(torch.promote_types, kinds_held)
    return widest if widest in kinds_held else None


@torch.no_grad()
def load_weights(
    config: GPTConfig,
    folder: Path,
    stored: Mapping[str, StoredTensor],
    names: Callable[[int], Mapping[str, str]] | None = None,
    *,
    transposed: Collection[str] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
) -> GPT:
    """Build a GPT and fill it from files, wholly or not at all, with no second copy.

    Args:
        config: The shape that the weights must have.
        folder: Where they come from, for messages.
        stored: The tensors that there are, by the names of the file.
        names: From the number of layers to the name that each must have in the file,
            and our name for it; None means that they are the same.
        transposed: Ends of the names of matrices that the file has the other way round.
        device: Where to put the weights.
        dtype: Their number format; None means that of the file, and where that has
            several, the one that holds all numbers exactly.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: listing the tensors that are missing, not expected, of another
            shape, not in a floating-point format, or not finite; or if the shape asks
            for far more than is stored.
    """
    check_bounds(folder, config, [tensor.shape for tensor in stored.values()])
    with torch.device("meta"):  # shapes only: nothing is taken before all is checked
        model = GPT(config)
    pairs = (
        {name: name for name, _ in model.named_parameters()}
        if names is None
        else names(config.layers)
    )
    places = targets(model, pairs, transposed)
    shapes = {name: tuple(place.shape) for name, place in places.items()}
    found = stored_format(folder, stored, shapes)
    kind = number_format(dtype) or found
    if kind is None:
        raise ValueError(
            f"{folder} has weights in float16 and in bfloat16, and neither holds the "
            "numbers of the other; choose, for instance dtype=torch.float32"
        )
    model = model.to(kind).to_empty(device=device)
    infinite = set()
    for name, place in targets(model, pairs, transposed).items():
        for part, rows in stored[name].parts():
            copied = place[part].copy_(rows)  # a format that is too narrow may overflow
            if not copied.isfinite().all():
                infinite.add(name)
    faults = [f"{name} holds numbers that are not finite" for name in sorted(infinite)]
    raise_faults(folder, faults)
    for module in model.modules():  # tables follow from the shape, so no file has them
        if isinstance(module, SinusoidalPositions | RotaryPositions):
            module.reset_tables(device)
    return model.to(kind).eval()


def weights_to_save(model: nn.Module) -> tuple[GPT, dict[str, Tensor]]:
    """A model without the wrapping of `torch.compile`, and its weights, fit to be kept.

    Raises:
        TypeError: if the model is not a GPT.
        ValueError: if the weights are not finite, or not of one number format.
    """
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, GPT):
        raise TypeError(
            f"the model is a {type(model).__name__}; only a GPT can be saved"
        )
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    infinite = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if infinite:
        raise ValueError(
            f"numbers that are not finite in {', '.join(infinite)}; nothing is saved"
        )
    formats = sorted({str(tensor.dtype) for tensor in weights.values()})
    if len(formats) > 1:
        raise ValueError(
            f"weights in {' and '.join(formats)}; convert the model to one of them"
        )
    return model, weights


def check_fit(
    folder: str | os.PathLike[str], tokenizer: Tokenizer, config: GPTConfig
) -> None:
    """Raise ValueError where a tokenizer has ids that the model does not know."""
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, the model knows "
            f"{config.vocab_size} only; they do not belong together"
        )
