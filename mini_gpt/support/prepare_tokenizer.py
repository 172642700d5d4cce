"""The tokenizer of a corpus that is larger than memory: taken, or learned from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.hub import local_folder
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.model_folder import read_tokenizer_of
from mini_gpt.support.prepare_plan import Part, Plan, read_part
from mini_gpt.support.prepare_pool import Tell, Workers
from mini_gpt.support.prepare_split import Assignment, Split, Standing
from mini_gpt.support.prepare_work import TOLD_EVERY
from mini_gpt.support.run_folder import MODEL
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

LEARNED = ("bpe", "characters")
VOCAB_SIZE = 8192  # of a learned vocabulary, where none is given
_LOOKED_AT = 256  # parts that a sample is taken from, at most


def given_tokenizer(name: str) -> CharTokenizer | BPETokenizer:
    """A tokenizer that exists: GPT-2's, or that of a file, a folder, a model.

    Raises:
        ValueError: if there is none of that name, or it cannot be read.
        OSError: if it cannot be read or fetched.
    """
    if name == "gpt2":
        return BPETokenizer.gpt2()
    path = Path(name)
    if path.is_file():
        if path.name == "tokenizer.json":
            return read_huggingface_tokenizer(path.parent)
        return load_tokenizer(path)
    if (path / TOKENIZER_FILE).is_file():
        return load_tokenizer(path / TOKENIZER_FILE)
    folder = local_folder(name)
    return read_tokenizer_of(folder / MODEL if (folder / MODEL).is_dir() else folder)


def learned_tokenizer(
    kind: str,
    plan: Plan,
    split: Split,
    standings: Sequence[Standing],
    workers: Workers,
    *,
    vocab_size: int | None,
    sample_bytes: int,
    shown: bool | None,
) -> CharTokenizer | BPETokenizer:
    """A tokenizer that is made for a corpus.

    Tokens are learned from a sample of the training part: from the beginnings of parts
    all over the corpus. Characters are those of all of it.

    Raises:
        ValueError: if the size does not fit the kind, or the text.
    """
    several = split.documents != 1
    if kind == "characters":
        sets = workers.map(
            _characters,
            plan.parts,
            what="characters",
            total=plan.size,
            shown=shown,
        )
        between = "\n" if several else ""
        return CharTokenizer.train("".join(sorted(set(between).union(*sets))))
    step = max(1, len(plan.parts) // _LOOKED_AT)
    looked_at = range(0, len(plan.parts), step)
    share = max(1, sample_bytes // len(looked_at))
    texts = []
    for number in looked_at:
        left = share
        for text in _training_texts(plan.parts[number], split, standings[number]):
            texts.append(text[:left])
            left -= len(text)
            if left <= 0:
                break
    # As `mini-gpt train` has it: of a single document nobody sees the end.
    special = (END_OF_TEXT,) if several else ()
    size = VOCAB_SIZE if vocab_size is None else vocab_size
    return BPETokenizer.train("\n\n".join(texts), size, special_tokens=special)


def _training_texts(part: Part, split: Split, standing: Standing) -> Iterator[str]:
    """The texts of a part that are for training."""
    assignment = Assignment(split, standing)
    for fragment in read_part(part):
        for piece in assignment.pieces(fragment):
            if piece.side == "training":
                yield piece.text


def _characters(part: Part, tell: Tell) -> set[str]:
    """The characters of a part."""
    found: set[str] = set()
    untold = 0
    for fragment in read_part(part):
        found.update(fragment.text)
        untold += fragment.size
        if untold >= TOLD_EVERY:
            tell(untold)
            untold = 0
    tell(untold)
    return found
