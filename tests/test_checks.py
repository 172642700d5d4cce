"""How the exercises' checks speak: the case, what was expected, what came, and a hint."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

import chapters as toc
import pytest
import torch
from chapters import Chapter
from torch.nn import functional as F

from mini_gpt import checks
from mini_gpt.checks.report import NotYet, call, close, expect, run_check, show
from rendered import code_cells
from sources import cells

ONE = torch.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize("chapter", toc.chapters(), ids=lambda chapter: chapter.name)
def test_a_chapter_asks_for_each_of_its_checks_and_for_no_others(chapter: Chapter) -> None:
    tree = ast.parse(chapter.checks.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    asked = set(re.findall(rf"\bchecks\.{chapter.stem}\.(\w+)\(", cells(chapter)))
    assert asked == {name for name in functions if not name.startswith("_")}


def test_checks_are_found_by_the_chapters_stem() -> None:
    assert callable(checks.attention.scaling_mean)
    with pytest.raises(AttributeError, match="there are no checks for a chapter 'unknown'"):
        checks.unknown  # noqa: B018
    assert not hasattr(checks, "__unknown__")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        (1 / 3, "0.3333"),
        (1_234_567.0, "1.235e+06"),
        (12, "12"),
        (True, "True"),
        ((2, 5, 17), "(2, 5, 17)"),
        (torch.tensor([[1.0, 1 / 3]]), "tensor 1×2 [1, 0.3333]"),
        (torch.tensor(2.5), "tensor scalar [2.5]"),
        (torch.arange(8), "tensor 8 [0, 1, 2, 3, 4, 5, …]"),
        (torch.tensor([True, False]), "tensor 2 [True, False]"),
        (torch.ones(1, requires_grad=True), "tensor 1 [1]"),
    ],
)
def test_values_are_shown_as_one_would_write_them(value: Any, text: str) -> None:
    assert show(value) == text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ONE + 1e-6, ONE),
        (ONE.double(), ONE),
        (ONE.clone().requires_grad_(), ONE),
        (torch.arange(3), torch.arange(3)),
        (torch.tensor([True]), torch.tensor([True])),
        (0.33334, 1 / 3),
        (torch.tensor(0.5), 0.5),
        (1, 1.0),
        ("a", "a"),
        ([1, 2.0], [1, 2.00001]),
        ((ONE, "a"), (ONE, "a")),
        ({"a": ONE}, {"a": ONE}),
        (None, None),
    ],
)
def test_close(found: Any, expected: Any) -> None:
    assert close(found, expected, 1e-4)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ONE + 0.01, ONE),
        (ONE[:2], ONE),
        (ONE[None], ONE),
        ([1.0, 2.0, 3.0], ONE),
        (None, ONE),
        (ONE.log().sub(100).log(), ONE),
        (torch.tensor([0.9]), torch.tensor([0])),
        (torch.tensor([0, 1]), torch.tensor([0, 2])),
        (None, 0.5),
        ("0.5x", 0.5),
        (math.nan, 0.5),
        (ONE, 0.5),
        (12.0, 12),
        (True, 1),
        (1, True),
        ("b", "a"),
        ([1], (1,)),
        ([1, 2], [1]),
        ([1], [1, 2]),
        (None, [1]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        (None, {"a": 1}),
    ],
)
def test_not_close(found: Any, expected: Any) -> None:
    assert not close(found, expected, 1e-4)


class TestExpect:
    def test_says_nothing_when_all_is_well(self) -> None:
        expect("width 64", 0.125, 0.125, "a hint")

    def test_names_case_and_values_and_keeps_the_hint(self) -> None:
        with pytest.raises(NotYet) as fault:
            expect("width 64", 8.0, 0.125, "what is the spread before you divide?")
        assert str(fault.value) == "for width 64 expected 0.125, got 8"
        assert fault.value.hint == "what is the spread before you divide?"

    def test_does_not_give_the_answer_away_when_nothing_came(self) -> None:
        with pytest.raises(NotYet) as fault:
            expect("width 64", None, 0.125, "what is the spread before you divide?")
        assert str(fault.value) == "for width 64 nothing comes back"
        assert fault.value.expected == "0.125"

    @pytest.mark.parametrize("empty", [[], {}, ()])
    def test_does_not_show_what_is_missing_from_something_empty(self, empty: Any) -> None:
        with pytest.raises(NotYet, match=r"^for the names there is nothing yet$"):
            expect("the names", empty, type(empty)([("a", 1)]), "annotate them")

    def test_shows_a_tensor_at_the_first_wrong_index(self) -> None:
        right = torch.arange(24.0).reshape(2, 3, 4)
        wrong = right.clone()
        wrong[1, 0, 2:] = -1
        with pytest.raises(NotYet) as fault:
            expect("a case", wrong, right, "look")
        said = "for a case expected 14 at index [1, 0, 2], got -1; 2 of 24 entries differ"
        assert str(fault.value) == said

    def test_shows_a_small_matrix_as_a_grid(self) -> None:
        right = torch.ones(2, 3, dtype=torch.bool).tril()
        with pytest.raises(NotYet) as fault:
            expect("a mask", torch.ones(2, 3, dtype=torch.bool), right, "look")
        assert str(fault.value).splitlines()[1:] == [
            "   True  *True  *True",
            "   True   True  *True",
        ]
        assert fault.value.expected.splitlines() == [
            "",
            "   True  False  False",
            "   True   True  False",
        ]

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (torch.zeros(3, 2), "expected a tensor of shape 2×3, got 3×2"),
            (torch.zeros(2, 3).long(), "expected a tensor of float32, got a tensor of int64"),
        ],
    )
    def test_says_what_is_wrong_besides_the_entries(self, found: torch.Tensor, said: str) -> None:
        with pytest.raises(NotYet, match=said):
            expect("a case", found, torch.ones(2, 3), "look")

    def test_tells_apart_what_looks_alike(self) -> None:
        with pytest.raises(NotYet, match=r"expected 12 \(int\), got 12 \(float\)"):
            expect("a case", 12.0, 12, "a hint")
        with pytest.raises(NotYet, match=r"expected 7 at index \[7\], got 14"):
            expect("a case", torch.arange(8) * torch.tensor([1] * 7 + [2]), torch.arange(8), "look")
        long = [0] * 90
        with pytest.raises(NotYet, match="which differs further on"):
            expect("a case", [*long, 1], [*long, 2], "look")


def printed(capsys: pytest.CaptureFixture[str], cases: Any) -> str:
    run_check(cases, "well done.")
    out = capsys.readouterr()
    assert out.err == ""
    assert out.out.count("\n") == 1
    return out.out.rstrip("\n")


class TestRunCheck:
    def test_praises(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert printed(capsys, lambda: expect("x", 1, 1, "hint")) == "correct: well done."

    def test_runs_a_generator_to_its_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        def cases() -> Iterator[None]:
            yield expect("first", 1, 1, "hint")  # type: ignore[func-returns-value]
            yield expect("second", 1, 2, "hint")  # type: ignore[func-returns-value]

        assert printed(capsys, cases).startswith("not yet: for second expected 2, got 1")

    def test_stops_at_the_first_fault(self, capsys: pytest.CaptureFixture[str]) -> None:
        def cases() -> None:
            expect("first", 1, 2, "hint")
            raise AssertionError("never reached")

        assert printed(capsys, cases).startswith("not yet: for first")

    def test_shows_the_line_that_raised(self, capsys: pytest.CaptureFixture[str]) -> None:
        def answer() -> float:
            return 1 / 0  # the reader's mistake

        line = printed(capsys, answer)
        assert line.startswith(
            "not yet: your code raised ZeroDivisionError: division by zero (line"
        )
        assert "return 1 / 0" in line

    def test_shows_the_readers_line_not_that_of_a_library(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def answer() -> None:
            F.cross_entropy(torch.ones(2, 3), torch.ones(4, dtype=torch.long))

        assert "F.cross_entropy(torch.ones(2, 3)" in printed(capsys, answer)


class TestHint:
    def test_comes_on_request_one_after_the_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        run_check(lambda: expect("x", 1, 2, "count once more"), "well done.")
        assert capsys.readouterr().out == "not yet: for x expected 2, got 1. Try checks.hint().\n"
        for _ in range(3):
            checks.hint()
        assert capsys.readouterr().out.splitlines() == [
            "Hint: count once more",
            "Expected: 2",
            "No further hint; the solution is folded.",
        ]

    def test_is_of_the_last_check(self, capsys: pytest.CaptureFixture[str]) -> None:
        run_check(lambda: expect("x", 1, 2, "count once more"), "well done.")
        run_check(lambda: expect("x", 2, 2, "count once more"), "well done.")
        capsys.readouterr()
        checks.hint()
        assert capsys.readouterr().out.startswith("No further hint")

    def test_of_a_fault_in_words_stands_behind_the_fault(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def cases() -> None:
            raise NotYet("the pattern is a string. Hint: start from GPT2_PATTERN.")

        run_check(cases, "well done.")
        assert "GPT2_PATTERN" not in capsys.readouterr().out
        checks.hint()
        assert capsys.readouterr().out == "Hint: start from GPT2_PATTERN.\n"


def test_no_empty_exercise_gives_its_answer_away() -> None:
    """What the chapters store below the stubs: the case alone."""
    for chapter in toc.chapters():
        for cell in code_cells(chapter):
            for output in cell["outputs"]:
                text = "".join(output.get("text", ""))
                if text.startswith("not yet"):
                    assert "Hint:" not in text, (chapter.name, text)
                    assert not re.search(r"expected (tensor|-?\d|\[|\{|b?')", text), text


class TestCall:
    def test_a_change_in_place_does_not_come_back(self) -> None:
        def spoil(tensor: torch.Tensor, named: dict[str, torch.Tensor], listed: Any) -> None:
            tensor.zero_()
            named["a"].zero_()
            named.clear()
            listed[0].zero_()

        tensor, named, listed = torch.ones(2), {"a": torch.ones(3)}, [torch.ones(4)]
        call(spoil, tensor, named, listed)
        assert tensor.all()
        assert named["a"].all()
        assert listed[0].all()

    def test_passes_on_what_comes_back(self) -> None:
        assert call(lambda a, b: a + b, 2, 3) == 5
