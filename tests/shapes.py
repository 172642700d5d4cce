"""Random small shapes of every kind, and models in which no parameter can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jaxtyping
import torch
from hypothesis import strategies as st
from torch import nn

from mini_gpt.config import GPTConfig

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """Leave out the checks of tensor shapes: torch.compile cannot trace them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def shaken(model: Module, spread: float = 0.3, seed: int = 0) -> Module:
    """The model in evaluation mode, with something random added to every parameter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@st.composite
def configs(draw: st.DrawFn, **fixed: Any) -> GPTConfig:
    """Small shapes of every kind; what is fixed stays."""
    heads = draw(st.integers(1, 4))
    fields = {
        "vocab_size": draw(st.integers(2, 40)),
        "context_length": draw(st.integers(6, 12)),
        "layers": draw(st.integers(1, 3)),
        "heads": heads,
        "width": heads * 2 * draw(st.integers(2, 4)),
        "hidden_width": draw(st.none() | st.integers(1, 30)),
        "bias": draw(st.booleans()),
        "position": draw(st.sampled_from(["learned", "sinusoidal", "rotary", "none"])),
        "normalization": draw(st.sampled_from(["layer", "rms"])),
        "pad_vocab_to_multiple": draw(st.sampled_from([1, 7, 64])),
        "key_value_heads": draw(
            st.sampled_from([None, *(n for n in (1, 2, 3, 4) if not heads % n)])
        ),
    }
    return GPTConfig(**{**fields, **fixed})
