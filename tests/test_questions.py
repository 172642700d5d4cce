"""The small questions: their files, their place in the chapters, and that they can be answered."""

from __future__ import annotations

import chapters as toc
import pytest
from book_questions import form
from bs4 import BeautifulSoup
from chapters import Chapter
from questions import Question, inline, question, questions
from reader_notebooks import Converter, Edition

CHOICE = {
    "after": "A section",
    "ask": "Which?",
    "options": ["one", "+ two"],
    "because": ["too few", "as many as asked"],
}
NUMBER = {"after": "A section", "ask": "How many?", "number": 12, "because": "3 times 4"}
ORDER = {"after": "A section", "ask": "In order?", "order": ["b", "a"], "because": "as it goes"}


@pytest.mark.parametrize("chapter", toc.chapters(), ids=lambda chapter: chapter.name)
class TestEveryChapter:
    def test_asks_three_questions_or_more(self, chapter: Chapter) -> None:
        assert len(questions(chapter)) >= 3

    @pytest.mark.slow
    def test_asks_after_sections_that_it_has(self, chapter: Chapter) -> None:
        edition = Edition("https://example.org/book", "main", solutions=False)
        made = Converter(chapter, edition).notebook()
        asked = [cell.source for cell in made.cells if cell.id.startswith("question-")]
        assert len(asked) == len(questions(chapter))
        for text in asked:
            assert text.startswith("**Predict.** ")
            assert text.count("<details>") == text.count("</details>") == 1

    def test_gives_reasons_and_no_answer_in_the_question(self, chapter: Chapter) -> None:
        for one in questions(chapter):
            assert all(len(reason.split()) >= 4 for reason in one.reasons), one.ask
            assert one.ask.rstrip().endswith((".", "?")), one.ask


class TestEntry:
    def test_of_each_kind(self) -> None:
        assert question(CHOICE, "here").answer == 1
        assert question(CHOICE, "here").options == ["one", "two"]
        assert question(NUMBER, "here").tolerance == 0.12
        assert question(NUMBER | {"tolerance": 0}, "here").tolerance == 0
        assert question(ORDER, "here").answer == ["b", "a"]

    @pytest.mark.parametrize(
        "wrong",
        [
            CHOICE | {"number": 1},
            {"after": "A section", "ask": "Which?", "because": "so"},
            CHOICE | {"options": ["one", "two"]},
            CHOICE | {"options": ["+ one", "+ two"]},
            CHOICE | {"because": ["only one"]},
            NUMBER | {"because": ["one", "two"]},
            NUMBER | {"unknown": 1},
            ORDER | {"order": ["a", "a"]},
            ORDER | {"order": ["a", "b"]},
        ],
    )
    def test_that_cannot_be_asked_is_refused_with_its_place(self, wrong: dict) -> None:
        with pytest.raises(ValueError, match=r"09\.yml, question 2: "):
            question(wrong, "09.yml, question 2")

    def test_words_become_html(self) -> None:
        assert inline("a < `b` and $x$") == (
            'a &lt; <code>b</code> and <span class="math notranslate nohighlight">\\(x\\)</span>'
        )


class TestForm:
    @pytest.mark.parametrize("entry", [CHOICE, NUMBER, ORDER])
    def test_has_fields_and_a_folded_answer(self, entry: dict) -> None:
        one = question(entry, "here")
        made = BeautifulSoup(form(one, "question-1"), "html.parser")
        assert made.select_one("legend").get_text() == f"Predict. {one.ask}"
        assert (
            len(made.select("input, select")) == {"options": 2, "number": 1, "order": 2}[one.kind]
        )
        assert all(field.find_parent("label") for field in made.select("input, select"))
        answer = made.select_one("details").get_text()
        assert all(reason in answer for reason in one.reasons)

    def test_items_to_order_are_not_shown_in_order(self) -> None:
        one = question(ORDER, "here")
        shown = [
            field["data-item"]
            for field in BeautifulSoup(form(one, "question-1"), "html.parser").select("select")
        ]
        assert shown == ["a", "b"]


def test_every_file_belongs_to_a_chapter() -> None:
    names = {path.stem for path in (toc.ROOT / "book" / "questions").glob("*.yml")}
    assert names == {chapter.name for chapter in toc.chapters()}


def test_a_folded_question_names_the_right_option() -> None:
    text = Question("x", "Which?", "options", 1, ["one", "two"], ["few", "right"], 0).folded()
    assert "b) two right" in text
    assert "Not a: few" in text
