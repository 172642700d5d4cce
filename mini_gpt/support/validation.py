"""Settings that are checked as soon as they are given: kinds from the annotations, then
ranges.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from typing import Any

# What a message calls a kind, and an example of it.
_WORDS = {
    int: "a whole number, for instance 12",
    float: "a number, for instance 0.1",
    bool: "True or False",
    str: "a text",
}


def check_types(settings: Any) -> None:
    """Raise unless each field of a dataclass holds what its annotation says.

    A float field takes whole numbers too; no number field takes a truth value. Numbers
    of other libraries, such as NumPy's, become Python's, which every file can keep.
    Fields of other kinds than int, float, bool, str, Literal and unions of these are
    left alone.

    Raises:
        TypeError: naming the first field of a wrong kind.
        ValueError: naming the first field that is none of its choices.
    """
    kinds = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, kind = plain_number(getattr(settings, field.name)), kinds[field.name]
        union = typing.get_origin(kind) in (typing.Union, types.UnionType)
        options = typing.get_args(kind) if union else (kind,)
        if not any(_fits(value, option) for option in options):
            _refuse(field.name, value, options)
        object.__setattr__(settings, field.name, value)  # it may be frozen


def plain_number(value: Any) -> Any:
    """A number as Python's own int or float; anything else as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """A count as Python's own int.

    Raises:
        TypeError: if it is no whole number; 2.0 is none, nor is True.
        ValueError: if it is too small.
    """
    plain = plain_number(value)
    if not _fits(plain, int):
        _refuse(name, value, (int,))
    if plain < at_least:
        raise ValueError(f"{name} {plain} must be at least {at_least}")
    return int(plain)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, or the kind is none that we know."""
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    if kind is float:  # to Python, True is a whole number; as a setting it is a slip
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return kind not in (bool, str, types.NoneType) or isinstance(value, kind)


def _refuse(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """Raise the error for a field that is of none of these kinds."""
    words = [_WORDS[option] for option in options if option in _WORDS]
    choices = [
        repr(choice)
        for option in options
        if typing.get_origin(option) is typing.Literal
        for choice in typing.get_args(option)
    ]
    if choices:
        *others, last = choices
        words.append(f"{', '.join(others)} or {last}" if others else last)
    message = f"{name} {value!r} must be {' or '.join(words) or options}"
    raise ValueError(message) if choices else TypeError(message)


def check_range(
    settings: Any,
    names: str,
    *,
    at_least: int | float = -math.inf,
    above: int | float = -math.inf,
    at_most: int | float = math.inf,
    below: int | float = math.inf,
) -> None:
    """Raise unless these fields, where they are not None, are finite and in a range.

    Args:
        names: The fields, with spaces between them.

    Raises:
        ValueError: naming the first field that is not.
    """
    rules = {
        "at least": at_least,
        "above": above,
        "at most": at_most,
        "less than": below,
    }
    rule = " and ".join(f"{word} {x}" for word, x in rules.items() if math.isfinite(x))
    for name in names.split():
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} {value} must be a finite number")
        if not (at_least <= value <= at_most and above < value < below):
            raise ValueError(f"{name} {value} must be {rule}")


def check_stops(stop: Any, stop_ids: Any) -> None:
    """Raise ValueError unless these are a tuple of texts and a tuple of tuples of ids,
    none of them empty.
    """
    if isinstance(stop, str) or not all(stop):
        raise ValueError(f"stop {stop!r} must be a tuple of texts, none of them empty")
    if not all(isinstance(ids, tuple) and ids for ids in stop_ids):
        raise ValueError(
            f"stop_ids {stop_ids!r} must be tuples of ids, none of them empty"
        )
