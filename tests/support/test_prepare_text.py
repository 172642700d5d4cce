"""Text files in stretches: nothing lost, cut where the ids do not change."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_gpt.support import prepare_text
from mini_gpt.support.corpus import load_documents
from mini_gpt.support.prepare_text import (
    Fragment,
    TextStretch,
    document_key,
    text_stretches,
)
from mini_gpt.tokenizer import END_OF_TEXT, BPETokenizer

WORDS = ["a", "the", "猫", "don't", "x1", "é", "12", "…", "end.", "a\u00a0b"]
SPACES = [" ", "\n", "  ", "\n\n", " \n ", "\r\n", "\t", "\u3000 ", "\u00a0 ", " \u2003"]
TEXT = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=30).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
SAME_FOLDER = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, fragments and windows so small that every border is met."""
    monkeypatch.setattr(prepare_text, "BLOCK", 16)
    monkeypatch.setattr(prepare_text, "LONG", 40)
    monkeypatch.setattr(prepare_text, "_WINDOW", 30)


def put(folder: Path, text: str) -> Path:
    path = folder / "a.txt"
    path.write_bytes(text.encode())
    return path


def cut(path: Path, part_bytes: int, room: int | None = None) -> list[TextStretch]:
    return list(text_stretches(str(path), part_bytes if room is None else room, part_bytes))


def documents_of(stretches: list[TextStretch]) -> list[str]:
    """What the fragments of stretches are together."""
    found: list[str] = []
    open_document = False
    for fragment in (fragment for stretch in stretches for fragment in stretch.read()):
        assert fragment.begins != open_document
        found += [""] if fragment.begins else []
        found[-1] += fragment.text
        open_document = not fragment.ends
    assert not open_document
    return found


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=SAME_FOLDER, deadline=None, max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(1, 400), st.integers(25, 400))
def test_stretches_give_the_documents_of_the_file(
    tmp_path: Path, texts: list[str], room: int, part_bytes: int
) -> None:
    path = put(tmp_path, END_OF_TEXT.join(texts))
    stretches = cut(path, part_bytes, room)
    ends = [0, *(stretch.end for stretch in stretches)]
    assert [stretch.start for stretch in stretches] == ends[:-1]
    assert ends[-1] == path.stat().st_size
    if not any(text.strip() for text in texts):
        assert "".join(documents_of(stretches)).strip() == ""
        return
    found = [text for text in documents_of(stretches) if text.strip()]
    assert found == [text for text in load_documents(path) if text.strip()]


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=SAME_FOLDER, deadline=None, max_examples=40)
@given(TEXT.map(lambda text: text * 2 + "the end"), st.integers(30, 300))
def test_a_cut_inside_a_document_does_not_change_its_ids(
    tmp_path: Path, text: str, part_bytes: int
) -> None:
    """Also where the white space before the cut is not ASCII."""
    tokenizer = BPETokenizer.train(
        "the cat the hat\n\nthe  the\n\nthe  hat", 260, special_tokens=()
    )
    stretches = cut(put(tmp_path, text), part_bytes)
    ids = []
    for stretch in stretches:
        for fragment in stretch.read():
            ids += tokenizer.encode(fragment.text)
    assert ids == tokenizer.encode("".join(documents_of(stretches)))


def test_only_documents_longer_than_a_part_are_cut(tmp_path: Path) -> None:
    texts = ["a " * 20, "b " * 200, "c " * 30, "d " * 30]
    stretches = cut(put(tmp_path, END_OF_TEXT.join(texts)), 100)
    whole = [[f.text[0] for f in s.read() if f.begins and f.ends] for s in stretches]
    assert whole == [["a"], [], [], [], ["c"], ["d"]]
    assert len({s.after.key for s in stretches if s.after is not None}) == 1
    assert [s.before for s in stretches[1:4]] == [s.after for s in stretches[:3]]


def test_all_of_a_long_document_has_one_key(tmp_path: Path) -> None:
    long = "".join(f"{number} " for number in range(300))
    stretches = cut(put(tmp_path, END_OF_TEXT.join(["x y", long, "z"])), 200)
    assert len(stretches) > 4
    first = [f for s in stretches for f in s.read() if not (f.begins and f.ends)]
    assert {f.key for f in first} == {document_key(long)}


def test_a_key_is_spread_and_the_same_for_the_same_beginning() -> None:
    keys = [document_key(str(number)) for number in range(2000)]
    assert all(0 <= key < 1 for key in keys)
    assert abs(sum(key < 0.1 for key in keys) / 2000 - 0.1) < 0.03
    long = "a" * prepare_text.HEAD
    assert document_key(long + "b") == document_key(long + "c") != document_key(long[1:])


def test_marks_of_editors_are_no_text(tmp_path: Path) -> None:
    path = put(tmp_path, f"\ufeffa\r\nb\rc\n{END_OF_TEXT}\r\n\ufeffd\n{END_OF_TEXT} \n ")
    (stretch,) = cut(path, 1000)
    assert [f.text for f in stretch.read()] == ["a\nb\nc", "\ufeffd"]
    assert [f.text for f in stretch.read()] == load_documents(path)


def test_bytes_that_are_not_utf8_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one two\n" * 30 + b"\xff three")
    stretches = cut(path, 100)
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8: byte 0xff at offset 240; conv"):
        documents_of(stretches)


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path, "one two " * 30)
    stretches = cut(path, 100)
    path.write_text("one")
    with pytest.raises(OSError, match=r"a\.txt was cut short"):
        documents_of(stretches)


def test_an_empty_file_has_no_stretch(tmp_path: Path) -> None:
    assert cut(put(tmp_path, ""), 10) == []
    assert Fragment("a", 1).begins
