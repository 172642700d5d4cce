"""Text files larger than memory: stretches of them, cut where documents end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from os import SEEK_END
from typing import BinaryIO, NamedTuple

from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT

MARKER = END_OF_TEXT.encode()
BLOCK = 1 << 20  # bytes that are read at once
LONG = 8 << 20  # bytes; of a longer document one fragment at a time is in memory
_WINDOW = 1 << 16  # bytes in which a place to cut at is looked for
HEAD = 1 << 16  # characters at its beginning by which a document is known

# Before white space and after anything else is a place where GPT-2's pattern cuts in
# any case, so that the ids of both sides are those of the whole. What is excluded are
# the bytes of white space beyond ASCII.
_SAFE = re.compile(
    rb"(?<=[!-~\x80-\xbf])(?<!\xc2[\x85\xa0])(?<!\xe1\x9a\x80)(?<!\xe2\x81\x9f)"
    rb"(?<!\xe2\x80[\x80-\x8a\xa8\xa9\xaf])(?<!\xe3\x80\x80)(?=[ \t\r\n])"
)
# Any place between two characters, but for the two of a line end.
_CHARACTER = re.compile(rb"(?<!\r)(?=[^\x80-\xbf])")


class Fragment(NamedTuple):
    """A document, or a part of a long one.

    Attributes:
        size: Bytes of the source that were read for it.
        begins: Whether a document begins with it.
        ends: Whether the document ends with it.
        key: Of a document whose beginning is not at hand; see `document_key`.
    """

    text: str
    size: int
    begins: bool = True
    ends: bool = True
    key: float | None = None


def document_key(text: str) -> float:
    """A number from 0 to 1 that depends on how a document begins, and on nothing else.

    So it is the same in any order and for any number of processes, and a document that
    occurs twice has it twice.
    """
    digest = sha256(text[:HEAD].encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Cut(NamedTuple):
    """A document that a stretch does not hold as a whole: where it begins; its key."""

    start: int
    key: float


@dataclass(frozen=True)
class TextStretch:
    """A part of a text file, from one byte to before another.

    Attributes:
        marked: Whether the file has markers that part documents.
        before: The document that has begun before this stretch, if one has.
        after: The document that goes on after it, likewise.
    """

    path: str
    start: int
    end: int
    marked: bool
    before: Cut | None = None
    after: Cut | None = None

    @property
    def size(self) -> int:
        """Bytes of the source."""
        return self.end - self.start

    def read(self) -> Iterator[Fragment]:
        """Its documents; those that hold nothing but white space are left out.

        Raises:
            ValueError: naming the file and the offset of the first byte that is not
                UTF-8.
            OSError: if it cannot be read, or has become shorter.
        """
        begins, place = self.before is None, self.start
        key = None if self.before is None else self.before.key
        for data, size, ends in self._documents():
            if begins and self.after is not None and place == self.after.start:
                key = self.after.key
            text = _decoded(data, self.path, place)
            if self.marked:  # line breaks around a marker belong to it
                text = text.lstrip("\n") if begins else text
                text = text.rstrip("\n") if ends else text
            if not (begins and ends) or (text and not text.isspace()):
                yield Fragment(text, size, begins, ends, key)
            begins, place, key = ends, place + size, None

    def _documents(self) -> Iterator[tuple[bytes, int, bool]]:
        """Bytes of documents or fragments, those with the marker, and whether it ends.

        A file without markers is not searched for any.
        """
        buffer, position, left = b"", 0, self.size
        with open(self.path, "rb") as file:
            file.seek(self.start)
            while left:
                block = file.read(min(BLOCK, left))
                if not block:
                    raise OSError(f"{self.path} was cut short while it was read")
                left -= len(block)
                # A marker may lie across two blocks.
                searched = max(0, len(buffer) - position - len(MARKER))
                buffer, position = buffer[position:] + block, 0
                found = buffer.find(MARKER, searched) if self.marked else -1
                while found >= 0:
                    end = found + len(MARKER)
                    yield buffer[position:found], end - position, True
                    position, found = end, buffer.find(MARKER, end)
                while left and len(buffer) - position > LONG + _WINDOW:
                    cut = _place_to_cut(buffer, position + LONG)
                    yield buffer[position:cut], cut - position, False
                    position = cut
        if position < len(buffer):
            rest = buffer[position:]
            yield rest, len(rest), self.after is None


def text_stretches(path: str, room: int, part_bytes: int) -> Iterator[TextStretch]:
    """Cut a text file into stretches, where documents end.

    A document that is longer than a part is cut inside, before white space.

    Args:
        room: Bytes that the first stretch should have; the others have `part_bytes`.
    """
    with open(path, "rb") as file:
        size = file.seek(0, SEEK_END)
        documents = _document_ends(file, size)
        text_end, end = next(documents)
        marked = text_end < end
        start = opening = 0
        before: Cut | None = None
        while True:
            while end - start >= room:
                cut = end
                if end - opening > part_bytes and start + room < text_end:
                    cut = _safe_place(file, max(start + room, opening + 1), text_end)
                    cut = cut if cut < text_end else end
                if cut == end:
                    yield TextStretch(path, start, end, marked, before)
                    start, before, room = end, None, part_bytes
                    break
                key = _key_in_file(file, opening, text_end, marked)
                after = Cut(opening, key)
                yield TextStretch(path, start, cut, marked, before, after)
                start, before, room = cut, after, part_bytes
            opening = end
            if end == size:
                break
            text_end, end = next(documents)
        if start < size:
            yield TextStretch(path, start, size, marked, before)


def _document_ends(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Where each document's text ends, and where the marker behind it does."""
    tail, base = b"", 0
    file.seek(0)
    while block := file.read(4 * BLOCK):
        data = tail + block
        place, last = data.find(MARKER), 0
        position = file.tell()
        while place >= 0:
            last = place + len(MARKER)
            yield base + place, base + last
            place = data.find(MARKER, last)
        file.seek(position)  # who asks for the ends may have looked elsewhere
        kept = max(last, len(data) - len(MARKER) + 1)
        tail, base = data[kept:], base + kept
    yield size, size


def _safe_place(file: BinaryIO, at: int, end: int) -> int:
    """A place near byte `at` where a document can be cut; its end if there is none."""
    first = max(at - 4, 0)  # the character before may have four bytes
    file.seek(first)
    window = file.read(min(_WINDOW, end - first))
    place = first + _place_to_cut(window, at - first)
    return place if place < first + len(window) else end


def _place_to_cut(data: bytes, at: int) -> int:
    """A place at or after `at` before white space, or else between two characters."""
    last = len(data) - len(MARKER)  # a marker that begins behind it is not whole yet
    for pattern in (_SAFE, _CHARACTER):
        if (match := pattern.search(data, at + 1, max(last, at + 1))) is not None:
            return match.start()
    return len(data)


def _key_in_file(file: BinaryIO, start: int, end: int, marked: bool) -> float:
    """The key of a document that no stretch holds as a whole."""
    file.seek(start)
    data = file.read(min(8 * HEAD, end - start))
    text = _plain(data.decode("utf-8", errors="ignore"), start)
    return document_key(text.lstrip("\n") if marked else text)


def _decoded(data: bytes, path: str, start: int) -> str:
    """The text of bytes that stand in a file from `start` on."""
    try:
        return _plain(data.decode("utf-8"), start)
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"{path} is not UTF-8: byte {data[fault.start]:#04x} at offset "
            f"{start + fault.start}; convert it first"
        ) from None


def _plain(text: str, start: int) -> str:
    """A text without byte-order mark, its line ends plain ones."""
    text = text if start else text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
