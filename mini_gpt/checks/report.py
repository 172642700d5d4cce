"""How an exercise's check speaks: which case, what was expected, what came, and a hint."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch


class NotYet(Exception):
    """The answer is not right yet; the message says where and how."""


def show(value: object) -> str:
    """A value as a reader would write it down: short, rounded, with its shape where that matters."""
    if isinstance(value, torch.Tensor):
        shape = "×".join(map(str, value.shape)) or "scalar"
        numbers = value.detach().flatten()[:6].tolist()
        body = ", ".join(show(number) for number in numbers) + (", …" if value.numel() > 6 else "")
        return f"tensor {shape} [{body}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def close(found: object, expected: object, tolerance: float) -> bool:
    """Equal for texts and integers, close for numbers and tensors; never raises."""
    if isinstance(expected, torch.Tensor):
        if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
            return False
        if expected.is_floating_point():
            return torch.allclose(
                found.to(expected.dtype), expected, rtol=tolerance, atol=tolerance
            )
        return bool(torch.equal(found.to(expected.dtype), expected))
    if isinstance(expected, float):
        try:
            return abs(float(found) - expected) <= tolerance * max(1.0, abs(expected))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
    return type(found) is type(expected) and bool(found == expected)


def expect(case: str, found: object, expected: object, hint: str, tolerance: float = 1e-4) -> None:
    """Raise `NotYet` unless `found` is what the case asks for.

    Args:
        case: The case in the reader's words, for instance "width 64".
        found: What the reader's code returned.
        expected: What is right. Tensors and floats are compared within `tolerance`.
        hint: One sentence that helps without giving the answer away.
        tolerance: Relative and absolute tolerance for floats.
    """
    if not close(found, expected, tolerance):
        raise NotYet(f"for {case} expected {show(expected)}, got {show(found)}. Hint: {hint}")


def run_check(cases: Callable[[], Iterable[None] | None], praise: str) -> None:
    """Run an exercise's cases and print one line: `correct: ...` or `not yet: ...`. Never raises.

    Args:
        cases: Calls `expect` for each case; may be a generator.
        praise: What the reader has now shown, in a few words.
    """
    try:
        for _ in cases() or ():
            pass
    except NotYet as fault:
        print(f"not yet: {fault}")
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"not yet: your code raised {type(error).__name__}: {error} (line {frame.lineno}: {frame.line})"
        )
    else:
        print(f"correct: {praise}")


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call the reader's function on copies of tensors, so that a change in place cannot fool a later case."""
    return function(*(a.clone() if isinstance(a, torch.Tensor) else a for a in arguments))
