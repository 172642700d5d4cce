"""The chapters' small questions, asked and checked in the page (`tools/questions.py` reads them).

Each is a form with its answer folded below it, so that it is there without scripts too;
`questions.js` checks what a reader gives and keeps what was answered in the browser.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from book_languages import is_called, speaker, translation_folder

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import chapters
from questions import Question, inline, questions

logger = logging.getLogger(__name__)


def fields(one: Question, name: str, say: Callable[[str], str] = str) -> str:
    """What a reader fills in."""
    if one.kind == "number":
        return (
            f'<label>{say("Your number")} <input type="text" inputmode="decimal" name="{name}" '
            'autocomplete="off"></label>'
        )
    if one.kind == "order":
        shown = sorted(one.answer)
        ranks = "".join(f"<option>{rank}</option>" for rank in range(1, len(shown) + 1))
        rows = (
            f'<label><select name="{name}" data-item="{escape(item)}"><option value="">?</option>'
            f"{ranks}</select> {inline(item)}</label>"
            for item in shown
        )
        return "".join(rows)
    return "".join(
        f'<label><input type="radio" name="{name}" value="{place}"> {inline(option)}</label>'
        for place, option in enumerate(one.options)
    )


def form(one: Question, name: str, say: Callable[[str], str] = str) -> str:
    """A question as HTML; its data for the script are in one attribute.

    Args:
        say: gives our words in the language of the book.
    """
    answer = {"kind": one.kind, "answer": one.answer, "tolerance": one.tolerance}
    reasons = "".join(f"<li>{inline(reason)}</li>" for reason in one.reasons)
    right = (
        f"{one.answer:g}"
        if one.kind == "number"
        else escape(", ".join(one.answer))
        if one.kind == "order"
        else inline(one.options[one.answer])
    )
    return (
        f'<form class="question" id="{name}" data-question="{escape(json.dumps(answer))}">'
        f'<fieldset><legend><span class="question-word">{say("Predict.")}</span> '
        f"{inline(one.ask)}</legend>"
        f'<div class="question-fields">{fields(one, name, say)}</div></fieldset>'
        '<div class="question-said" role="status"></div>'
        f'<details class="question-answer"><summary>{say("Answer")}</summary><p>{right}</p>'
        f"<ul>{reasons}</ul></details></form>"
    )


def plain(heading: str) -> str:
    """A heading without marks of code and formulas, its apostrophes straight."""
    return re.sub("[`$]", "", heading).replace("’", "'")


def place_questions(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put each question at the end of its section, before the subsections."""
    if app.builder.name != "html":
        return
    for chapter in chapters(Path(app.srcdir)):
        if chapter.page != docname:
            continue
        translated = translation_folder(app.config) / "questions"
        for number, one in enumerate(questions(chapter, translated), 1):
            named = [
                section
                for section in doctree.findall(nodes.section)
                if is_called(section, plain(one.after))
            ]
            if len(named) != 1:
                logger.warning(
                    "questions: %s has %d sections %r",
                    docname,
                    len(named),
                    one.after,
                    type="questions",
                )
                continue
            [section] = named
            inner = [place for place, node in enumerate(section) if isinstance(node, nodes.section)]
            made = nodes.raw(
                "", form(one, f"question-{number}", speaker(app.config)), format="html"
            )
            section.insert(min(inner, default=len(section)), made)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", place_questions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
