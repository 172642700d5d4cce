"""Weights in safetensors files, read a few rows at a time, all of them or none."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mini_gpt.characters import Tokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.position import RotaryPositions, SinusoidalPositions
from mini_gpt.support.files import read_json, utf8_name

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


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open for reading, its faults told as ValueError."""
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            yield file
    except SafetensorError as fault:
        raise ValueError(
            f"{path} cannot be read ({fault}); it may be cut short"
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
    if not paths[0].is_file() and index.is_file():
        try:
            shards = read_json(index)["weight_map"].values()
            # The names only: an index must not lead out of its folder.
            paths = [folder / Path(shard).name for shard in sorted(set(shards))]
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise ValueError(f"{index} is not an index of shards ({fault})") from None
    found = {}
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{folder} has no {path.name}; its weights are missing")
        with open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                kind = part.get_dtype(), tuple(part.get_shape())
                found[name] = StoredTensor(path, name, *kind)
    return found


DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def raise_faults(folder: Path, faults: Sequence[str]) -> None:
    """Raise one ValueError that lists all faults, if there are any."""
    if faults:
        more = f"; and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise ValueError(
            f"{folder} does not hold the weights of its configuration: "
            f"{'; '.join(faults[:20])}{more}"
        )


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
) -> torch.dtype:
    """The number format of a folder's weights, if they are all there as expected.

    Raises:
        ValueError: listing the tensors that are missing, not expected, of another shape
            or not of one floating-point format.
    """
    formats = Counter(stored[name].dtype for name in expected if name in stored)
    usual = formats.most_common(1)[0][0] if formats else "F32"
    if usual not in DTYPES:
        raise_faults(folder, [f"numbers are {usual}, not one of {', '.join(DTYPES)}"])
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
        elif tensor.dtype != usual:
            faults.append(
                f"{name} holds {tensor.dtype}, expected {usual} as in the others"
            )
    raise_faults(folder, faults)
    return DTYPES[usual]


@torch.no_grad()
def load_weights(
    config: GPTConfig,
    folder: Path,
    stored: Mapping[str, StoredTensor],
    names: Mapping[str, str],
    *,
    transposed: Collection[str] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> GPT:
    """Build a GPT and fill it from files, wholly or not at all, with no second copy.

    Args:
        config: The shape that the weights must have.
        folder: Where they come from, for messages.
        stored: The tensors that there are, by the names of the file.
        names: The name that each must have in the file, and our name for it.
        transposed: Ends of the names of matrices that the file has the other way round.
        device: Where to put the weights.
        dtype: Their number format; None means that of the file.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: listing the tensors that are missing, not expected, of another
            shape, not of one floating-point format, or not finite.
    """
    with torch.device("meta"):  # shapes only: nothing is taken before all is checked
        model = GPT(config)
    places = targets(model, names, transposed)
    shapes = {name: tuple(place.shape) for name, place in places.items()}
    found = stored_format(folder, stored, shapes)
    dtype = found if dtype is None else dtype
    model = model.to(dtype).to_empty(device=device)
    infinite = set()
    for name, place in targets(model, names, transposed).items():
        for part, rows in stored[name].parts():
            copied = place[part].copy_(rows)  # a format that is too narrow may overflow
            if not copied.isfinite().all():
                infinite.add(name)
    faults = [f"{name} holds numbers that are not finite" for name in sorted(infinite)]
    raise_faults(folder, faults)
    for module in model.modules():  # tables follow from the shape, so no file has them
        if isinstance(module, SinusoidalPositions | RotaryPositions):
            module.reset_tables(device)
    return model.to(dtype).eval()


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
