"""What `mini-gpt COMMAND --help` says: the options that most people want, or all."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING
from itertools import pairwise
from typing import Annotated, Any, get_type_hints

import tyro

# They are made for types that are written down; these types are made here.
_HIDDEN: Any = tyro.conf.Suppress
_WITHOUT_PREFIX: Any = tyro.conf.OmitArgPrefixes


def print_help(
    kind: type[Any],
    program: str,
    default: Any = None,
    essentials: Sequence[str] = (),
    *,
    all: bool = False,
) -> None:
    """Print what a command takes, as tyro prints it.

    Args:
        kind: A dataclass of options; other dataclasses in it are groups of options.
        program: How the command is called.
        default: One of that kind with the defaults that are shown; None: its own.
        essentials: The options that are shown if not `all` are; none named means all.
    """
    brief = bool(essentials) and not all
    words = " ".join((kind.__doc__ or "").split())
    if brief:
        more = count_options(kind) - len(essentials)
        words += f" For {more} more options: {program} --help-all"
    shown = _shown(kind, default, essentials if brief else None)
    with suppress(SystemExit):  # tyro's way to end
        tyro.cli(shown, prog=program, description=words, args=["--help"])


def count_options(kind: type[Any]) -> int:
    """How many options a command has, those of its groups included."""
    count = 0
    for hint in get_type_hints(kind).values():
        count += count_options(hint) if dataclasses.is_dataclass(hint) else 1  # type: ignore[arg-type]
    return count


def _shown(kind: type[Any], default: Any, keep: Sequence[str] | None) -> type[Any]:
    """The same options as a class in which some are hidden from the help.

    Explanations that stand below their fields lose the ends of their lines: these are
    the source's, and a terminal has its own.
    """
    hints, said = get_type_hints(kind, include_extras=True), explanations(kind)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        value = _default_of(field, default)
        hint: Any = hints[field.name]
        if dataclasses.is_dataclass(value):
            group = _shown(type(value), value, keep)
            value, hint = group(), _WITHOUT_PREFIX[group]
        elif keep is not None and field.name not in keep:
            hint = _HIDDEN[hint]
        if field.name in said:
            hint = Annotated[hint, tyro.conf.arg(help=said[field.name])]
        given: Any = {} if value is MISSING else {"default": value}
        fields.append((field.name, hint, dataclasses.field(**given)))
    return dataclasses.make_dataclass(
        kind.__name__,
        fields,
        bases=(kind,),
        frozen=True,
        namespace={"__doc__": kind.__doc__},
    )


def _default_of(field: dataclasses.Field[Any], default: Any) -> Any:
    """What a field is where nothing is said; MISSING where something must be."""
    if default is not None:
        return getattr(default, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def explanations(kind: type) -> dict[str, str]:
    """What stands below the fields of a dataclass, each in one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    found = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(words))):
                    found[field.target.id] = " ".join(words.split())
    return found
