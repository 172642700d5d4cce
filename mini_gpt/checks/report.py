"""How an exercise's check speaks: the case, what was expected, what came, a hint."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

# Frames in these folders are not the reader's: the packages that are installed, and our
# own.
OTHERS = (str(Path(torch.__file__).parent.parent), str(Path(__file__).parent.parent))


class NotYet(Exception):
    """The answer is not right yet; the message says where and how."""


def show(value: object) -> str:
    """A value as a reader would write it down: short, rounded, with its shape where it
    has one.
    """
    if isinstance(value, torch.Tensor):
        shape = "×".join(map(str, value.shape)) or "scalar"
        numbers = value.detach().flatten()[:6].tolist()
        body = ", ".join(show(number) for number in numbers) + (
            ", …" if value.numel() > 6 else ""
        )
        return f"tensor {shape} [{body}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def close(found: object, expected: object, tolerance: float) -> bool:
    """Equal for texts, integers and truth values, close for floats and tensors; never
    raises.

    Args:
        found: What the reader's code returned.
        expected: What is right. Lists, tuples and dictionaries are compared item by
            item.
        tolerance: Relative and absolute tolerance for floats.
    """
    if isinstance(expected, torch.Tensor):
        if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
            return False
        if expected.is_floating_point():
            wanted = expected.detach().to(torch.float64)
            found = found.detach().to("cpu", torch.float64)
            return torch.allclose(found, wanted, rtol=tolerance, atol=tolerance)
        return bool((found.detach().cpu() == expected).all())
    if isinstance(expected, float):
        try:
            return abs(float(found) - expected) <= tolerance * max(1.0, abs(expected))  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError):
            return False
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or type(found) is not type(expected):
            return False
        pairs = zip(found, expected, strict=False)
        return len(found) == len(expected) and all(
            close(f, e, tolerance) for f, e in pairs
        )
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(close(found[key], expected[key], tolerance) for key in expected)
        )
    return type(found) is type(expected) and bool(found == expected)


def expect(
    case: str, found: object, expected: object, hint: str, tolerance: float = 1e-4
) -> None:
    """Raise `NotYet` unless `found` is what the case asks for.

    Args:
        case: The case in the reader's words, for instance "width 64".
        found: What the reader's code returned.
        expected: What is right. Tensors and floats are compared within `tolerance`.
        hint: One sentence that helps without giving the answer away.
        tolerance: Relative and absolute tolerance for floats.
    """
    if close(found, expected, tolerance):
        return
    wanted, got = show(expected), show(found)
    if wanted == got:  # two things that look alike when written down
        wanted, got = (
            f"{text} ({kind(value)})"
            for text, value in ((wanted, expected), (got, found))
        )
    if wanted == got:
        got += ", which differs further on"
    raise NotYet(f"for {case} expected {wanted}, got {got}. Hint: {hint}")


def kind(value: object) -> str:
    """What a value is, for a reader: its type, for tensors also the type of its
    numbers.
    """
    if isinstance(value, torch.Tensor):
        return f"tensor of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def run_check(cases: Callable[[], Iterable[None] | None], praise: str) -> None:
    """Run an exercise's cases and print one line: `correct: ...` or `not yet: ...`.
    Never raises.

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
        print(
            f"not yet: your code raised {type(error).__name__}: {error}{where(error)}"
        )
    else:
        print(f"correct: {praise}")


def where(error: Exception) -> str:
    """The innermost line of the reader's own code in an error's traceback, ready to be
    appended.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(OTHERS)
    ]
    if not frames or not frames[-1].line:
        return ""
    return f" (line {frames[-1].lineno}: {frames[-1].line})"


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call the reader's function on copies of tensors, so that no change in place fools
    a case.
    """
    return function(*map(copied, arguments))


def copied(value: object) -> object:
    """The same value with its tensors copied, in lists, tuples and dictionaries as
    well.
    """
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    if type(value) is tuple:
        return tuple(copied(item) for item in value)
    return value
