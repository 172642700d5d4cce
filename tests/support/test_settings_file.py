"""Settings in files: names and kinds are checked, and what is written reads back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from mini_gpt.support.settings_file import override_settings, read_settings, to_toml


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    rounds: int | None = 3


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    where: Path = Path("here")
    kind: Literal["x", "y"] = "x"
    loud: bool = False
    inner: Inner = field(default_factory=Inner)


def test_values_take_the_place_of_those_with_their_names() -> None:
    found = override_settings(Outer(), {"where": "there", "inner": {"rate": 2}}, "mine.toml")
    assert found == Outer(where=Path("there"), inner=Inner(rate=2.0))
    assert isinstance(found.inner.rate, float)  # a whole number will do
    assert override_settings(found, {}, "empty.toml") == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"nam": "b"}, "mine has no setting 'nam'; did you mean name?"),
        ({"zebra": 1}, "mine has no setting 'zebra'; there are name, where, kind, loud, inner"),
        ({"inner": {"rat": 1}}, "mine, part inner has no setting 'rat'; did you mean rate?"),
        ({"name": 3}, "name in mine cannot be 3; it must be a text"),
        ({"loud": 1}, "loud in mine cannot be 1; it must be true or false"),
        ({"kind": "z"}, "kind in mine cannot be 'z'; it must be 'x' or 'y'"),
        ({"inner": {"rounds": 2.5}}, "rounds in .* cannot be 2.5; it must be a whole number"),
        ({"inner": {"rounds": True}}, "rounds in .* cannot be True; it must be a whole number"),
        ({"inner": {"rate": "much"}}, "rate in .* cannot be 'much'; it must be a number"),
    ],
)
def test_what_does_not_fit_is_named(content: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        override_settings(Outer(), content, "mine")


@pytest.mark.parametrize("kind", ["toml", "yaml", "yml"])
def test_files_are_read_by_their_ending(kind: str, tmp_path: Path) -> None:
    content = {"name": 'quoted "é"\\', "loud": True, "inner": {"rate": 0.25, "rounds": 7}}
    path = tmp_path / f"mine.{kind}"
    text = to_toml(content) if kind == "toml" else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    assert read_settings(path) == content


def test_toml_leaves_out_what_is_none() -> None:
    written = to_toml({"a": None, "where": Path("x"), "part": {"b": None, "c": 1.0}})
    assert written == '\nwhere = "x"\n\n[part]\nc = 1.0\n'.removeprefix("\n")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", "[training", "is not TOML"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- 1", "should hold names and values, not a list"),
        ("a.ini", "", "must be named .toml"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(
    name: str, content: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{name} {words}"):
        read_settings(path)
