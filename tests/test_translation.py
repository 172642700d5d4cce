"""The Chinese edition: how far it is, what has gone stale, and what translations must keep."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import book_languages
import book_terms
import pytest
import translation
import translation_check
from babel.messages.catalog import Catalog, Message
from chapters import chapters
from docutils import nodes
from questions import questions
from sphinx.config import Config

ROOT = translation.ROOT
LEAST = 0.9  # of a translated page's paragraphs; below it, `make translations` is overdue
FIRST_PROOF = ["book/index", "book/01_characters", "book/notation", "book/glossary"]


def chinese() -> Config:
    return Config({}, {"language": "zh_CN"})


class TestWhatIsKept:
    def test_the_first_pages_are_there(self) -> None:
        assert set(FIRST_PROOF) <= set(translation.pages())

    def test_no_translation_loses_what_it_must_keep(self) -> None:
        assert translation_check.faults(translation.folder()) == []

    def test_only_files_with_translations_are_kept(self) -> None:
        for path in translation.folder().rglob("*.po"):
            assert any(message.string for message in translation.read(path) if message.id), path

    @pytest.mark.parametrize(
        ("source", "target", "fault"),
        [
            ("A `b` of $c$.", "`b` 的 $c$。", None),
            ("A `b` of $c$.", "`B` 的 $c$。", "loses the code b"),
            ("A `b` of $c$.", "`b` 的 $d$。", "loses the formula c"),
            ("See {doc}`02_bpe`.", "见 {doc}`03_bpe`。", "loses doc 02_bpe"),
            ("See {cite}`a2020b`.", "见某处。", "loses cite a2020b"),
            ("[here](x.md)", "[这里](y.md)", "loses the link x.md"),
            ("84 of 1,024 and 2.4%", "1,024 里的 84，2.4%", None),
            ("84 of 1,024 and 2.4%", "1024 里的 84，2.4%", "loses the number 1,024"),
            ("five million", "500 万", None),
            ("**Bold.** And *so*.", "**粗。** 还有*这样*。", None),
            ("**Bold.** And.", "**粗。**还有。", "loses emphasis (strong)"),
            ("**Bold.** And.", "**粗。**还有。", "has a * that emphasizes nothing"),
            ("*So*.", "这样。", "loses emphasis (em)"),
            ("{count:,} steps", "{count:,} 步", None),
            ("{count:,} steps", "{steps} 步", "loses the field {count:,}"),
        ],
    )
    def test_what_does_not_fit_is_named(self, source: str, target: str, fault: str | None) -> None:
        found = translation_check.misfits(Message(source, target))
        assert any(line.startswith(fault) for line in found) if fault else found == []


class TestHowFar:
    def test_states_are_counted(self) -> None:
        source, kept = Catalog(), Catalog()
        for words in ("one", "two", "three", "four"):
            source.add(words)
        kept.add("one", "一")
        kept.add("two", "二", flags=["fuzzy"])
        kept.add("three")
        kept.add("five", "五")
        found = translation.state("page", kept, source)
        assert found == translation.State("page", 4, 1, 1, 1)
        assert found.share == 0.25

    @pytest.mark.slow
    def test_translated_pages_follow_the_book(self) -> None:
        """The table that `make translations` shows; each page in it may lag a little."""
        sources = translation.extract(FIRST_PROOF)
        states = [
            translation.state(
                page, translation.read(translation.folder() / f"{page}.po"), sources[page]
            )
            for page in FIRST_PROOF
        ]
        print(*states, sep="\n")
        late = {state.page: f"{state.share:.0%}" for state in states if state.share < LEAST}
        assert late == {}, "run `make translations ARGS=update` and translate what is new"

    def test_the_books_own_words_are_translated(self) -> None:
        known = translation.read(translation.folder() / "interface.po")
        wanted = [message.id for message in translation.interface() if message.id]
        done = [one for one in wanted if (found := known.get(one)) and found.string]
        assert len(wanted) > 50
        assert len(done) >= LEAST * len(wanted), sorted(set(wanted) - set(done))

    def test_words_to_translate_are_found_where_they_stand(self) -> None:
        source = 'say("one")\nspeaker(config)("two")\nother("three")\nX = "four"\n'
        source += 'LABELS = ("five", X)\n'
        assert sorted(translation.said(ast.parse(source))) == ["five", "four", "one", "two"]
        text = "```{exercise-start} A title\n```{button-ref} page\n:color: x\n:outline:\nPress\n```"
        found = [one[1] or one[2] for one in translation.OUTSIDE.finditer(text)]
        assert found == ["A title", "Press"]

    def test_files_have_no_dates(self, tmp_path: Path) -> None:
        kept = Catalog(locale="zh_CN")
        kept.add("one", "一")
        translation.write(tmp_path / "one.po", kept)
        text = (tmp_path / "one.po").read_text(encoding="utf-8")
        assert not re.search(r"\d{4}-\d\d-\d\d|fuzzy|#:", text)
        assert str(translation.read(tmp_path / "one.po").get("one").string) == "一"


class TestQuestions:
    TRANSLATED = sorted((ROOT / "locale" / "zh_CN" / "questions").glob("*.yml"))

    @pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.stem)
    def test_they_are_the_same_questions(self, path: Path) -> None:
        (chapter,) = (one for one in chapters() if one.name == path.stem)
        own, other = questions(chapter), questions(chapter, path.parent)
        assert len(own) == len(other)
        for one, two in zip(own, other, strict=True):
            assert (one.after, one.kind, one.answer) == (two.after, two.kind, two.answer)
            assert (one.tolerance, len(one.options)) == (two.tolerance, len(two.options))
            coded = [Counter(re.findall(r"`[^`]+`", each.ask)) for each in (one, two)]
            assert coded[0] == coded[1]
            assert one.ask != two.ask


class TestLanguages:
    def test_words_are_said_in_the_language_of_the_book(self) -> None:
        assert book_languages.speaker(chinese())("Figure") == "图"
        assert book_languages.speaker(chinese())("no such words") == "no such words"
        assert book_languages.speaker(Config({}, {"language": "en"}))("Figure") == "Figure"

    @pytest.mark.parametrize(
        ("here", "there", "leads"),
        [
            ("en", "zh_CN", "../zh_CN/book/index.html"),
            ("zh_CN", "en", "../../book/index.html"),
        ],
    )
    def test_the_switch_leads_to_the_same_page(self, here: str, there: str, leads: str) -> None:
        assert book_languages.address("book/index", here, there) == leads
        written = book_languages.switch("book/index", here, ["en", "zh_CN"])
        assert f'href="{leads}"' in written
        assert f'hreflang="{there.replace("_", "-")}"' in written

    def test_no_english_page_leads_to_what_is_not_translated(self) -> None:
        assert book_languages.switch("book/no_such_page", "en", ["en", "zh_CN"]) == ""
        assert "English" in book_languages.switch("book/no_such_page", "zh_CN", ["en", "zh_CN"])

    def test_a_section_is_found_by_its_first_heading_too(self) -> None:
        title = nodes.title("", "文本里有什么？")
        section = nodes.section("", title, names=["what’s in a text?", "文本里有什么？"])
        assert book_languages.is_called(section, "What's in a text?")
        assert not book_languages.is_called(section, "What is in a text?")

    def test_terms_are_found_in_both_languages(self) -> None:
        found = book_terms.pattern(["词元", "值", "token", "attention head", "attention"])
        said = "一个词元（token）有数值；attention heads"
        assert [match[0] for match in found.finditer(said)] == ["词元", "token", "attention heads"]
        assert book_terms.BOTH.fullmatch("词元（token）").groups() == ("词元", "token")
        assert book_terms.pattern(["token"]).search("Tokens")
