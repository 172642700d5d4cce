"""How an exercise's check speaks: the case and what came; a hint when it is asked for.

An answer that returns nothing yet is told only that, so that an empty exercise does
not give its solution away. A wrong answer is shown beside what was expected, a tensor
at the first place where the two differ.
"""

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
    """The answer is not right yet.

    Args:
        told: Where and how, in one sentence; what follows " Hint: " in it is the hint.
        hint: One sentence that helps without giving the answer away.
        expected: What is right, for whoever asks for it after the hint.
    """

    def __init__(self, told: str, hint: str = "", expected: str = "") -> None:
        told, _, in_the_text = told.partition(" Hint: ")
        self.hint, self.expected = hint or in_the_text, expected
        super().__init__(told.rstrip("."))


# What `hint` has still to say about the last check that was not passed, and whether the
# function that was called last returned nothing.
_help: list[str] = []
_came = {"nothing": False}


def hint() -> None:
    """Help with the last check that said "not yet": a hint, then what was expected."""
    print(_help.pop(0) if _help else "No further hint; the solution is folded.")


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
    whole = in_full(expected)
    if isinstance(found, list | dict | tuple) and not found and expected:
        raise NotYet(f"for {case} there is nothing yet", hint, whole)
    nothing = found is None or (isinstance(found, str) and found == "NoneType")
    in_place = isinstance(found, torch.Tensor | list | dict)
    if (nothing and expected is not None) or (_came["nothing"] and not in_place):
        raise NotYet(f"for {case} nothing comes back", hint, whole)
    if _came["nothing"]:
        raise NotYet(f"for {case} it leaves {show(found)}", hint, whole)
    if isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor):
        where = difference(found, expected, tolerance)
        raise NotYet(f"for {case} {where}", hint, whole)
    wanted, got = show(expected), show(found)
    if wanted == got:  # two things that look alike when written down
        wanted, got = (
            f"{text} ({kind(value)})"
            for text, value in ((wanted, expected), (got, found))
        )
    if wanted == got:
        got += ", which differs further on"
    raise NotYet(f"for {case} expected {wanted}, got {got}", hint, whole)


LARGEST_GRID = 8  # rows and columns that are still taken in at a glance


def difference(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> str:
    """Where two tensors differ: in shape, in kind, or at which first index.

    Small matrices are shown as grids, with a mark at each wrong entry.
    """
    if found.shape != expected.shape:
        sizes = ("×".join(map(str, one.shape)) or "scalar" for one in (expected, found))
        return "expected a tensor of shape {}, got {}".format(*sizes)
    if found.is_floating_point() != expected.is_floating_point():
        return f"expected a {kind(expected)}, got a {kind(found)}"
    ours, theirs = found.detach().cpu(), expected.detach().cpu()
    if expected.is_floating_point():
        ours, theirs = ours.double(), theirs.double()
        wrong = ~torch.isclose(ours, theirs, rtol=tolerance, atol=tolerance)
    else:
        wrong = ours != theirs
    first = tuple(wrong.nonzero()[0].tolist())
    place = f" at index {list(first)}" if first else ""
    right, came = show(theirs[first].item()), show(ours[first].item())
    said = f"expected {right}{place}, got {came}"
    if wrong.numel() > 1:
        said += f"; {int(wrong.sum())} of {wrong.numel()} entries differ"
    if wrong.ndim == 2 and max(wrong.shape) <= LARGEST_GRID:
        said += f"; yours, the wrong ones marked *\n{grid(ours, wrong)}"
    return said


def grid(matrix: torch.Tensor, marked: torch.Tensor | None = None) -> str:
    """A matrix as rows of columns, a star before each marked entry."""
    rows = [
        [
            ("*" if marked is not None and marked[row, column] else "")
            + show(matrix[row, column].item())
            for column in range(matrix.shape[1])
        ]
        for row in range(matrix.shape[0])
    ]
    wide = max((len(text) for row in rows for text in row), default=0)
    return "\n".join("  " + "  ".join(text.rjust(wide) for text in row) for row in rows)


def in_full(value: object) -> str:
    """What was expected, for whoever asks: a small matrix as a grid, else as `show`."""
    if (
        isinstance(value, torch.Tensor)
        and value.ndim == 2
        and max(value.shape) <= LARGEST_GRID
    ):
        return f"\n{grid(value.detach().cpu())}"
    return show(value)


def kind(value: object) -> str:
    """What a value is, for a reader: its type, for tensors also the type of its
    numbers.
    """
    if isinstance(value, torch.Tensor):
        return f"tensor of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def run_check(cases: Callable[[], Iterable[None] | None], praise: str) -> None:
    """Run an exercise's cases and print `correct: ...` or `not yet: ...`. Never raises.

    What helps further is printed by `hint`.

    Args:
        cases: Calls `expect` for each case; may be a generator.
        praise: What the reader has now shown, in a few words.
    """
    _came["nothing"] = False
    _help.clear()
    try:
        for _ in cases() or ():
            pass
    except NotYet as fault:
        if fault.hint:
            _help.append(f"Hint: {fault.hint}")
        if fault.expected:
            _help.append(f"Expected: {fault.expected}")
        said, _, drawn = str(fault).partition("\n")
        print(f"not yet: {said}.{' Try checks.hint().' if _help else ''}")
        if drawn:
            print(drawn)
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
    came = function(*map(copied, arguments))
    _came["nothing"] = came is None
    return came


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
