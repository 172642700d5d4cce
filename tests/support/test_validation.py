"""Settings that are checked when they are made: kinds by their annotations, then ranges."""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_gpt.support.validation import check_range, check_types


@dataclass
class Settings:
    count: int = 3
    rate: float = 0.5
    shout: bool = False
    name: str = "romeo"
    order: Literal["random", "epochs"] = "random"
    only: Literal["alone"] = "alone"
    limit: int | None = None
    older: Optional[float] = None  # noqa: UP045 - annotations of this form are read, too
    either: int | str = 0
    where: Path = Path()
    stop: tuple[str, ...] = ()


@dataclass
class MoreSettings(Settings):
    seed: int = 0


class TestTypes:
    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"rate": 2, "limit": 7, "older": 1, "shout": True},
            {"order": "epochs", "either": "text", "name": ""},
            {"count": 10**400, "rate": math.inf},
            {"where": "left alone", "stop": None},  # not one of the kinds that are checked
        ],
    )
    def test_passes_what_the_annotations_allow(self, fields: dict[str, Any]) -> None:
        check_types(Settings(**fields))
        check_types(MoreSettings(**fields))

    @pytest.mark.parametrize(
        ("fields", "kind", "message"),
        [
            ({"count": 2.0}, TypeError, "count 2.0 must be a whole number, for instance 12"),
            ({"count": True}, TypeError, "count True must be a whole number"),
            ({"count": None}, TypeError, "count None must be a whole number"),
            ({"count": "3"}, TypeError, "count '3' must be a whole number"),
            ({"rate": "0.1"}, TypeError, "rate '0.1' must be a number, for instance 0.1"),
            ({"rate": False}, TypeError, "rate False must be a number"),
            ({"rate": None}, TypeError, "rate None must be a number"),
            ({"shout": 1}, TypeError, "shout 1 must be True or False"),
            ({"shout": "no"}, TypeError, "shout 'no' must be True or False"),
            ({"name": 3}, TypeError, "name 3 must be a text"),
            ({"order": "up"}, ValueError, "order 'up' must be 'random' or 'epochs'"),
            ({"order": None}, ValueError, "order None must be 'random' or 'epochs'"),
            ({"only": "both"}, ValueError, "only 'both' must be 'alone'"),
            ({"limit": 2.0}, TypeError, "limit 2.0 must be a whole number"),
            ({"limit": True}, TypeError, "limit True must be a whole number"),
            ({"older": "x"}, TypeError, "older 'x' must be a number"),
            (
                {"either": 0.5},
                TypeError,
                "either 0.5 must be a whole number, for instance 12 or a text",
            ),
        ],
    )
    def test_names_field_value_and_kind(
        self, fields: dict[str, Any], kind: type[Exception], message: str
    ) -> None:
        for settings in (Settings(**fields), MoreSettings(**fields)):
            with pytest.raises(kind) as fault:
                check_types(settings)
            assert str(fault.value).startswith(message)

    def test_names_the_first_of_several(self) -> None:
        with pytest.raises(TypeError, match="rate"):
            check_types(Settings(rate="a", shout="b", limit="c"))  # type: ignore[arg-type]


def has(**fields: Any) -> Any:
    return types.SimpleNamespace(**fields)


class TestRange:
    def test_passes_what_is_within(self) -> None:
        check_range(has(a=1, b=10**400, c=None), "a b c", at_least=1)
        check_range(has(a=0, b=0.999), "a b", at_least=0, below=1)
        check_range(has(a=1e-9, b=1), "a b", above=0, at_most=1)
        check_range(has(a=-5), "a")

    @pytest.mark.parametrize(
        ("value", "rules", "message"),
        [
            (0, {"at_least": 1}, "a 0 must be at least 1"),
            (-(10**400), {"at_least": 1}, "must be at least 1"),
            (0, {"above": 0}, "a 0 must be above 0"),
            (5, {"at_most": 4}, "a 5 must be at most 4"),
            (1, {"at_least": 0, "below": 1}, "a 1 must be at least 0 and less than 1"),
            (1.5, {"above": 0, "at_most": 1}, "a 1.5 must be above 0 and at most 1"),
            (math.nan, {"at_least": 0}, "a nan must be a finite number"),
            (math.inf, {"above": 0}, "a inf must be a finite number"),
            (-math.inf, {}, "a -inf must be a finite number"),
        ],
    )
    def test_names_field_value_and_rule(
        self, value: int | float, rules: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError) as fault:
            check_range(has(b=None, a=value, c=-1), "b a c", **rules)
        assert message in str(fault.value)

    @given(st.floats(), st.integers(-3, 3), st.integers(-3, 3))
    def test_refuses_exactly_what_is_outside(self, value: float, low: int, high: int) -> None:
        try:
            check_range(has(a=value), "a", above=low, at_most=high)
            accepted = True
        except ValueError:
            accepted = False
        assert accepted == (low < value <= high)

    def test_leaves_other_fields_alone(self) -> None:
        check_range(has(a=1, b=-1), "a", at_least=1)
