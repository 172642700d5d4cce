"""Checks for the exercises: each prints `correct: ...`, or `not yet: ...` and the case.

`checks.hint()` then prints a hint, and called once more what was expected.

Every chapter has a module of checks with its own name, for instance
`checks.attention.scaling_mean(your_function)`. It is imported when it is first asked
for.
"""

from importlib import import_module
from types import ModuleType

from mini_gpt.checks.report import hint

__all__ = ["hint"]


def __getattr__(name: str) -> ModuleType:
    """The checks of a chapter."""
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as fault:
        if fault.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there are no checks for a chapter {name!r}") from None
