"""Descriptions of models, checked before anything is built or taken from memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mini_gpt.config import GPTConfig
from mini_gpt.support.files import printable

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def number_format(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A number format that weights can have, also by its name; None stays None.

    Raises:
        ValueError: listing the formats, if it is none of them.
    """
    names = {str(known).removeprefix("torch."): known for known in DTYPES.values()}
    if dtype is None or dtype in names.values():
        return dtype  # type: ignore[return-value]
    if dtype not in names:
        raise ValueError(f"dtype {dtype!r} must be one of {', '.join(names)}")
    return names[str(dtype)]


@contextmanager
def faults_in(path: Path) -> Iterator[None]:
    """Have the faults of a description say which file it is in, in few words."""
    try:
        yield
    except (TypeError, ValueError) as fault:
        raise ValueError(
            f"{path} is no configuration that we know ({printable(fault)})"
        ) from None


def raise_faults(folder: Path, faults: Sequence[str]) -> None:
    """Raise one ValueError that lists all faults, if there are any."""
    if faults:
        more = f"; and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise ValueError(
            f"{folder} does not hold the weights of its configuration: "
            f"{'; '.join(map(printable, faults[:20]))}{more}"
        )


def check_bounds(
    folder: Path, config: GPTConfig, stored: Collection[Sequence[int]]
) -> None:
    """Raise ValueError for a shape that is far too large for what is stored.

    Without that, a few digits in a small file take gigabytes or hours. What is a little
    too large is told later, tensor by tensor.

    Args:
        stored: The shape of each tensor in the file.
    """
    numbers = sum(map(math.prod, stored))
    ample = 16 * numbers
    width, layers, context = config.width, config.layers, config.context_length
    rotary = config.position == "rotary"
    tables = context * (2 * layers * config.head_width if rotary else width)
    learned = config.position == "learned"  # other tables follow from a formula
    sizes = {
        "layers": (layers, len(stored)),
        "vocab_size": (config.vocab_size * width, ample),
        "pad_vocab_to_multiple": (config.padded_vocab_size * width, ample),
        "width": (layers * width**2, ample),
        "hidden_width": (layers * width * config.feed_forward_width, ample),
        "context_length": (tables, ample if learned else 4 * max(numbers, 2**24)),
    }
    faults = [
        f"{name} {getattr(config, name)} is far too large for {len(stored)} tensors "
        f"of {numbers} numbers"
        for name, (needed, most) in sizes.items()
        if needed > most
    ]
    raise_faults(folder, faults)


def check_shape(config: GPTConfig, stored: Any) -> None:
    """Raise ValueError unless a state is of a model of this shape, naming what differs.

    Args:
        stored: The fields. One that an older version did not know has its default.
    """
    if not isinstance(stored, dict):
        raise ValueError("the checkpoint names no shape")
    here, there = asdict(config), asdict(GPTConfig()) | stored
    others = [
        f"{name} {printable(there[name], 40)} ({here.get(name, 'not known')})"
        for name in there
        if name not in here or there[name] != here[name]
    ]
    if others:
        raise ValueError(
            "the checkpoint is of another shape than the model (in brackets): "
            + ", ".join(map(printable, others))
        )
