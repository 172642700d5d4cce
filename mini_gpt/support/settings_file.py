"""Settings of a run in a file: TOML or YAML in, TOML out, names and kinds checked."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import math
import re
import sys
import types
import typing
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from mini_gpt.support.files import printable, read_text

Settings = TypeVar("Settings")


def read_settings(path: Path) -> dict[str, Any]:
    """What a `.toml`, `.yaml` or `.yml` file says, as nested dictionaries.

    Raises:
        ValueError: if it cannot be understood, or its kind is none of these.
        OSError: if it cannot be read.
    """
    text = read_text(path)
    if path.suffix == ".toml":
        try:
            toml = importlib.import_module(
                "tomllib" if sys.version_info >= (3, 11) else "tomli"
            )
        except ImportError:
            raise ValueError(
                "to read TOML with Python 3.10: pip install tomli"
            ) from None
        try:
            return toml.loads(text)
        except ValueError as fault:
            raise ValueError(f"{path} is not TOML: {fault}") from None
        except RecursionError:
            raise ValueError(f"{path} is nested too deeply to be read") from None
    if path.suffix in (".yaml", ".yml"):
        try:
            import yaml  # type: ignore[import-untyped]
        except ImportError:
            raise ValueError(
                f"to read {path}: pip install pyyaml, or use TOML"
            ) from None
        try:
            content = yaml.load(text, _yaml_loader())
        except (yaml.YAMLError, ValueError) as fault:
            raise ValueError(f"{path} is not YAML: {fault}") from None
        except RecursionError:
            raise ValueError(f"{path} is nested too deeply to be read") from None
        if not isinstance(content, dict):
            raise ValueError(
                f"{path} should hold names and values, not a {type(content).__name__}"
            )
        return content
    raise ValueError(
        f"{path} must be named .toml, .yaml or .yml, so that its format is known"
    )


def _yaml_loader() -> type:
    """A safe loader for settings: a tree of names that are texts, each there once.

    It takes 1e-3 for a number, as YAML 1.2 does and every reader expects; YAML 1.1,
    which PyYAML keeps to, wants a point and a sign.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):  # a few of these make gigabytes
                raise ValueError(f"{_line(self.peek_event())} an alias; write it out")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            found = set()
            for key, _ in node.value:
                name = self.construct_object(key)
                if not isinstance(name, str):
                    raise ValueError(
                        f"{_line(key)} the name {name!r}, which is no text; "
                        "put it in quotes"
                    )
                if name in found:
                    raise ValueError(f"{_line(key)} the name {name!r} again")
                found.add(name)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, "-+.0123456789")
    return Loader


def _line(node: Any) -> str:
    """Where something stands in a YAML text, to begin a message with."""
    return f"line {node.start_mark.line + 1} has"


def override_settings(
    default: Settings, content: dict[str, Any], where: str
) -> Settings:
    """A dataclass with some of its fields replaced, those of dataclasses in it too.

    Args:
        content: New values by the names of the fields; a dictionary for a field that is
            itself a dataclass.
        where: What to call the source of the values in messages.

    Raises:
        ValueError: naming a field that does not exist, or a value of the wrong kind.
    """
    kinds = typing.get_type_hints(type(default), include_extras=False)
    names = [field.name for field in dataclasses.fields(default)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in names:
            name = str(name)[:80]
            near = difflib.get_close_matches(name, names, n=1)
            known = f"there are {', '.join(names)}"
            hint = f"did you mean {near[0]}?" if near else known
            raise ValueError(f"{where} has no setting {name!r}; {hint}")
        present = getattr(default, name)
        if dataclasses.is_dataclass(present):
            if not isinstance(value, dict):
                raise ValueError(
                    f"{name} in {where} cannot be {_short(value)}; it must be a part "
                    "with names and values of its own"
                )
            values[name] = override_settings(present, value, f"{where}, part {name}")
        else:
            values[name] = _coerce(kinds[name], value, f"{name} in {where}")
    try:
        return dataclasses.replace(default, **values)  # type: ignore[type-var]
    except (ValueError, TypeError) as fault:  # out of range, or not fitting together
        raise ValueError(f"{where}: {printable(fault)}") from None


def _coerce(kind: Any, value: Any, where: str) -> Any:
    """A value as a field wants it: a whole number as a float, a text as a path.

    Raises ValueError, calling the value `where`, if it does not fit.
    """
    for option in _options(kind):
        choices = typing.get_args(option)
        if typing.get_origin(option) is typing.Literal and value in choices:
            return value
        if option is float and type(value) in (int, float):
            with suppress(OverflowError):  # a whole number can be larger
                return float(value)
        if option is Path and isinstance(value, str):
            return Path(value)
        if isinstance(option, type) and type(value) is option:
            return value
    raise ValueError(f"{where} cannot be {_short(value)}; it must be {_words(kind)}")


def _short(value: Any) -> str:
    """A value for a message."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def _options(kind: Any) -> tuple[Any, ...]:
    """The kinds that an annotation allows: two for `int | None`."""
    unions = (typing.Union, types.UnionType)
    return typing.get_args(kind) if typing.get_origin(kind) in unions else (kind,)


def _words(kind: Any) -> str:
    """An annotation for readers."""
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
    }
    options = [option for option in _options(kind) if option is not type(None)]
    return " or ".join(names.get(option, "a path") for option in options)


def to_toml(settings: dict[str, Any]) -> str:
    """Settings as TOML; what is None is left out.

    They may be texts, numbers, truth values and paths, and dictionaries of these.
    """
    plain, tables = [], []
    for name, value in settings.items():
        if isinstance(value, dict):
            tables.append(f"\n[{name}]\n{to_toml(value)}")
        elif value is not None:
            plain.append(f"{name} = {_toml_value(value)}\n")
    return "".join(plain + tables)


def _toml_value(value: Any) -> str:
    """A text, path, number or truth value as TOML writes it; a list of these."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf, nan; JSON has other words
    if isinstance(value, Path | str):
        text = json.dumps(str(value), ensure_ascii=False)
        return text.replace("\x7f", "\\u007f")  # of what JSON lets stand, TOML does not
    return json.dumps(value)
