"""Rows of numbers in one line."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def numbers(row: Sequence[float] | Tensor, form: str = "{:g}") -> str:
    return " ".join(form.format(float(number)) for number in row)
