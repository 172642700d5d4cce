"""Small questions within the chapters, beside the notebooks: `book/questions/09_attention.yml`.

Each stands at the end of a section, named by its heading, and is of one kind:

    - after: "Any scores make weights: softmax"
      ask: "Scores 2 and 0: how many times the second's weight is the first's?"
      number: 7.389                 # right within `tolerance`, 0.01 of the number if not given
      because: "Two more in the score is $e^2$ times the weight."

    - after: ...
      ask: ...
      options:                      # exactly one of them begins with "+ "
        - "+ It sums to 1."
        - "It is the largest."
      because: [one reason for each option, in order]

    - after: ...
      ask: ...
      order: [first, second, third] # in the right order; shown in another
      because: ...

The site asks and checks them (book/_ext/book_questions.py); the notebooks for readers show them as
folded text.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from chapters import Chapter

KINDS = ("number", "options", "order")


class Question(NamedTuple):
    """A question and its answer."""

    after: str
    ask: str
    kind: str
    answer: Any  # the number; the place of the right option; the items in order
    options: list[str]
    reasons: list[str]
    tolerance: float

    def folded(self) -> str:
        """The question as plain text with a folded answer."""
        lines = [f"**Predict.** {self.ask}", ""]
        if self.kind == "options":
            lines += [f"{chr(97 + place)}) {option}  " for place, option in enumerate(self.options)]
        if self.kind == "order":
            lines.append(f"Put in order: {', '.join(sorted(self.answer))}.")
        lines += [
            "",
            "<details>",
            "<summary>Answer</summary>",
            "",
            self.answered(),
            "",
            "</details>",
        ]
        return "\n".join(lines)

    def answered(self) -> str:
        """The answer in words, with its reasons."""
        if self.kind == "options":
            place = self.answer
            said = [f"{chr(97 + place)}) {self.options[place]} {self.reasons[place]}"]
            said += [
                f"Not {chr(97 + other)}: {reason}"
                for other, reason in enumerate(self.reasons)
                if other != place
            ]
            return "\n\n".join(said)
        right = f"{self.answer:g}" if self.kind == "number" else ", ".join(self.answer)
        return f"{right}. {self.reasons[0]}"


def question(entry: dict[str, Any], where: str) -> Question:
    """A question from its entry in the file.

    Raises:
        ValueError: if the entry is not as the module's text says; the message says where.
    """
    kinds = [kind for kind in KINDS if kind in entry]
    known = {"after", "ask", "because", "tolerance", *KINDS}
    if len(kinds) != 1 or not {"after", "ask", "because"} <= entry.keys() <= known:
        raise ValueError(
            f"{where}: a question has after, ask, because and one of {', '.join(KINDS)}"
        )
    [kind] = kinds
    value, reasons = entry[kind], entry["because"]
    reasons = reasons if isinstance(reasons, list) else [reasons]
    options: list[str] = []
    if kind == "options":
        right = [place for place, option in enumerate(value) if option.startswith("+ ")]
        options = [option.removeprefix("+ ") for option in value]
        if len(right) != 1 or len(reasons) != len(options):
            raise ValueError(f"{where}: one option begins with '+ ', and each has its reason")
        value = right[0]
    elif len(reasons) != 1 or not all(isinstance(reason, str) for reason in reasons):
        raise ValueError(f"{where}: there is one reason, in words")
    if kind == "order" and (len(set(value)) != len(value) or sorted(value) == value):
        raise ValueError(f"{where}: the items differ, and their order is not the alphabet's")
    tolerance = float(entry.get("tolerance", abs(value) / 100 if kind == "number" else 0))
    return Question(entry["after"], entry["ask"], kind, value, options, reasons, tolerance)


def questions(chapter: Chapter, translated: Path | None = None) -> list[Question]:
    """The questions of a chapter, in the order of its file; none if it has no file.

    Args:
        translated: a folder whose file is taken in the place of the book's, where it has one.
    """
    name = f"{chapter.name}.yml"
    stored = chapter.notebook.parent / "questions" / name
    if translated is not None and (translated / name).exists():
        stored = translated / name
    if not stored.exists():
        return []
    entries = yaml.safe_load(stored.read_text(encoding="utf-8"))
    return [
        question(entry, f"{stored.name}, question {place}")
        for place, entry in enumerate(entries, 1)
    ]


def inline(text: str) -> str:
    """A question's words as HTML: code between backticks, formulas between dollars."""
    parts = escape(text).split("`")
    coded = "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)
    )
    pieces = coded.split("$")
    return "".join(
        rf'<span class="math notranslate nohighlight">\({piece}\)</span>' if place % 2 else piece
        for place, piece in enumerate(pieces)
    )
