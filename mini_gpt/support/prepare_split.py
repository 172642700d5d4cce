"""Which document is for training and which for validation, whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

from mini_gpt.support.documents import split_place
from mini_gpt.support.prepare_plan import Part, read_part
from mini_gpt.support.prepare_text import Fragment, document_key

Side = Literal["training", "validation"]
# With fewer documents than this divided by validation's share, chance might leave it
# none; then the corpus is cut at one place, as `split_documents` does.
_ENOUGH = 20


class Piece(NamedTuple):
    """Text for one side.

    Attributes:
        begins: Whether a document begins with it, there.
        ends: Whether the document ends with it.
        parted: Whether another document stands before it on its side.
    """

    side: Side
    text: str
    begins: bool
    ends: bool
    parted: bool


class Standing(NamedTuple):
    """Where in the corpus a part begins.

    Attributes:
        documents: How many have begun before.
        characters: How many of the last of them, if it goes on in this part.
    """

    documents: int = 0
    characters: int = 0


@dataclass(frozen=True)
class Split:
    """A rule: by a document's own beginning, or one cut through the corpus.

    Attributes:
        fraction: Validation's share of the documents, where there is no cut.
        document: The number of the first document that is for validation, counted from
            0; None: there is no cut, each document falls by its key.
        character: The place in it at which it is cut; None: it is whole.
        documents: How many there are; None where nobody has counted them.
    """

    fraction: float
    document: int | None = None
    character: int | None = None
    documents: int | None = None

    def described(self) -> dict[str, str | int | None]:
        """For the manifest."""
        if self.document is None:
            return {"rule": "hash"}
        place = {"document": self.document, "character": self.character}
        return {"rule": "place", **place}


class Assignment:
    """Gives the documents of a part to their sides, one fragment after the other.

    Args:
        standing: Where the part begins; without a cut it does not matter.
    """

    def __init__(self, split: Split, standing: Standing) -> None:
        self.split = split
        self.number, self.characters = standing.documents - 1, standing.characters
        self.side: Side = "training"

    def pieces(self, fragment: Fragment) -> list[Piece]:
        """What a fragment is to which side: one piece, or two where it is cut."""
        text, _, begins, ends, key = fragment
        if begins:
            self.number, self.characters = self.number + 1, 0
        if self.split.document is None:
            if begins or key is not None:
                known = document_key(text) if key is None else key
                held_out = known < self.split.fraction
                self.side = "validation" if held_out else "training"
            return [Piece(self.side, text, begins, ends, begins)]
        cut = self._training_characters(len(text))
        first = self.characters == (self.split.character or 0)
        self.characters += len(text)
        if cut is None:
            parted = begins and self.number > 0
            return [Piece("training", text, begins, ends, parted)]
        if cut > 0:
            parted = begins and self.number > 0
            before = Piece("training", text[:cut], begins, False, parted)
            return [before, Piece("validation", text[cut:], True, ends, False)]
        parted = begins and self.number > self.split.document
        begins = begins or (first and self.number == self.split.document)
        return [Piece("validation", text, begins, ends, parted)]

    def _training_characters(self, length: int) -> int | None:
        """How much of the next characters is for training; None: all of it."""
        assert self.split.document is not None
        if self.number != self.split.document or self.split.character is None:
            return None if self.number < self.split.document else 0
        cut = max(0, self.split.character - self.characters)
        return None if cut >= length else cut


def find_split(
    parts: Iterable[Part], fraction: float
) -> tuple[Split, list[Standing] | None]:
    """The rule for a corpus, and where its parts begin, where that matters.

    Of few documents the lengths are counted, and the place of the cut is that of
    `split_documents`. Reading ends where it is seen that there are many.

    Raises:
        ValueError: if there is no text.
    """
    many = ceil(_ENOUGH / fraction)
    lengths: list[int] = []
    standings = []
    for part in parts:
        standing = None
        for fragment in read_part(part):
            if standing is None:
                standing = Standing(len(lengths), 0 if fragment.begins else lengths[-1])
            if fragment.begins:
                lengths.append(0)
            lengths[-1] += len(fragment.text)
            if len(lengths) > many:
                return Split(fraction), None
        standings.append(standing or Standing(len(lengths)))
    if not any(lengths):
        raise ValueError("there is no text in it; give a corpus that has some")
    document, character = split_place(lengths, fraction)
    return Split(fraction, document, character, len(lengths)), standings
