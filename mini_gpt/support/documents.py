"""Documents: kept apart for validation, and as one row of ids that ends each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer
from torch import Tensor

from mini_gpt.characters import Tokenizer
from mini_gpt.data import document_mask

# Where the parts would come out more uneven, a document is cut: the validation part has
# at least half of what is asked for, and at most half of the text.
_LEAST, _MOST = 0.5, 0.5


class DocumentSplit(NamedTuple):
    """A corpus in two parts, the end for validation.

    Attributes:
        inside: Whether the cut is inside a document: then the last training document
            goes on as the first one of validation.
    """

    training: list[str]
    validation: list[str]
    inside: bool


def split_documents(
    documents: Sequence[str], validation_fraction: float = 0.1
) -> DocumentSplit:
    """Cut a corpus at the border of documents that is nearest to a share of its text.

    A single document is cut inside, as `train_val_split` cuts a text. So are several
    where no border leaves validation at least half of its share, and training at least
    half of the text.
    """
    number, place = split_place([*map(len, documents)], validation_fraction)
    if place is None:
        return DocumentSplit([*documents[:number]], [*documents[number:]], False)
    cut = documents[number]
    before, after = [*documents[:number], cut[:place]], documents[number + 1 :]
    return DocumentSplit(before, [cut[place:], *after], True)


def split_place(
    lengths: Sequence[int], validation_fraction: float
) -> tuple[int, int | None]:
    """Where `split_documents` cuts, told from the lengths of the documents alone.

    Returns:
        The number of the first document of validation, and the character in it before
        which it is cut; None: it is whole.
    """
    *borders, total = accumulate(lengths)
    share = round(total * validation_fraction)
    wanted = total - share
    fitting = [
        (abs(border - wanted), number)
        for number, border in enumerate(borders, start=1)
        if _LEAST * share <= total - border <= _MOST * total and border > 0
    ]
    if fitting and share:
        return min(fitting)[1], None
    number = next(n for n, end in enumerate([*borders, total]) if end >= wanted)
    return number, wanted - (borders[number - 1] if number else 0)


def encode_documents(
    documents: Iterable[str], tokenizer: Tokenizer
) -> Iterator[list[int]]:
    """The ids of documents, one list after another, with what stands between them.

    Each document ends with the end-of-text token; where the tokenizer has none, an
    empty line stands between documents. The texts may be produced one by one.
    """
    for number, document in enumerate(documents):
        if tokenizer.end_of_text is not None:
            yield [*tokenizer.encode(document), tokenizer.end_of_text]
        else:
            yield tokenizer.encode("\n\n" + document if number else document)


def encode_row(
    documents: Iterable[str], tokenizer: Tokenizer
) -> Integer[np.ndarray, " tokens"]:
    """All documents as one row of ids, in the smallest type for the vocabulary."""
    dtype = np.min_scalar_type(tokenizer.vocab_size)
    parts = (
        np.array(ids, dtype=dtype) for ids in encode_documents(documents, tokenizer)
    )
    return np.concatenate([np.zeros(0, dtype), *parts])


def encode_split(
    split: DocumentSplit, tokenizer: Tokenizer
) -> tuple[Integer[np.ndarray, " training"], Integer[np.ndarray, " validation"]]:
    """Both parts as rows of ids; a document that was cut does not end at the cut."""
    training = encode_row(split.training, tokenizer)
    if split.inside and tokenizer.end_of_text is not None:
        training = training[:-1]
    return training, encode_row(split.validation, tokenizer)


def document_border(separate: bool, end_of_text: int | None) -> int | None:
    """The token beyond which no position may look; None where all is one text.

    Raises:
        ValueError: if documents are to be kept apart, and no token ends them.
    """
    if separate and end_of_text is None:
        raise ValueError(
            "separate_documents needs a token that ends documents, and this tokenizer "
            "has none; that of --tokenizer bpe has, for a corpus of several documents"
        )
    return end_of_text if separate else None


def within_documents(
    inputs: Int[Tensor, "rows time"], end_of_text: int | None
) -> dict[str, Tensor]:
    """What to hand a model besides its ids, so that no position looks beyond a border.

    The end of a document opens the next one: that is predicted from the end alone, as
    when a new text is written. Without a border it is nothing, and costs no time.
    """
    if end_of_text is None:
        return {}
    return {"mask": document_mask(inputs, end_of_text, opens_next=True)}
