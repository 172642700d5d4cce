"""Characters: there and back, and clear about what is unknown."""

from __future__ import annotations

import copy
import pickle
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mini_gpt import checks
from mini_gpt.characters import CharTokenizer, Tokenizer, validate_ids
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.tokenizer_file import fingerprint


def test_characters_there_and_back() -> None:
    corpus = load_corpus()
    tokenizer = CharTokenizer.train(corpus)
    assert tokenizer.vocab_size == len(set(corpus)) == 84
    assert "".join(tokenizer.alphabet) == "".join(sorted(set(corpus)))
    assert tokenizer.decode(tokenizer.encode(corpus[:9_999])) == corpus[:9_999]
    assert CharTokenizer("cab").encode("abc") == [1, 2, 0]
    assert tokenizer.end_of_text is None


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(ValueError, match=r"does not know '猫' \(U\+732B, at position 2\)"):
        CharTokenizer("abc").encode("ab猫猫")


def test_an_unknown_character_can_be_replaced() -> None:
    tokenizer = CharTokenizer.train("abc", replacement="?")
    assert tokenizer.decode(tokenizer.encode("ab猫c")) == "ab?c"
    with pytest.raises(ValueError, match="lacks the replacement '#'"):
        CharTokenizer("abc", replacement="#")


def test_alphabets_that_are_none() -> None:
    with pytest.raises(ValueError, match="alphabet is empty"):
        CharTokenizer("")
    with pytest.raises(ValueError, match="alphabet is empty"):
        CharTokenizer.train("")
    with pytest.raises(ValueError, match="has 'b' twice"):
        CharTokenizer("abcb")
    with pytest.raises(ValueError, match="holds 'bc', which is not one character"):
        CharTokenizer(["a", "bc"])


def test_ids_that_are_none() -> None:
    tokenizer = CharTokenizer("abc")
    with pytest.raises(ValueError, match=r"id 3 at position 2 is outside .*0 to 2"):
        tokenizer.decode([0, 1, 3])
    with pytest.raises(ValueError, match="id -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(TypeError, match=r"at position 1 stands 0\.5"):
        tokenizer.decode(iter([0, 0.5]))


def test_ids_from_arrays_and_tensors() -> None:
    tokenizer = CharTokenizer("abc")
    assert tokenizer.decode(np.array([2, 0], dtype=np.uint16)) == "ca"
    assert tokenizer.decode(torch.tensor([1, 2])) == "bc"
    assert list(validate_ids(torch.tensor([1]), 2)) == [1]
    with pytest.raises(TypeError, match="single whole numbers, but at position 0"):
        tokenizer.decode(torch.tensor([[1, 2]]))


def test_it_keeps_the_protocol_and_a_text_does_not() -> None:
    assert isinstance(CharTokenizer("ab"), Tokenizer)
    assert not isinstance("ab", Tokenizer)


@pytest.mark.parametrize(
    "tokenizer", [CharTokenizer("ba\n\x00\U00010000猫"), CharTokenizer("ab?", replacement="?")]
)
def test_copies_are_the_same(tokenizer: CharTokenizer) -> None:
    for twin in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert fingerprint(twin) == fingerprint(tokenizer)
        assert twin.encode("abab") == tokenizer.encode("abab")


# The exercises' checks


def covered(text: str, k: int) -> float:
    return sum(count for _, count in Counter(text).most_common(k)) / len(text)


def fold(text: str, mark: str) -> str:
    return "".join(mark + c.lower() if "A" <= c <= "Z" else c for c in text)


def fold_all(text: str, mark: str) -> str:
    return "".join(mark + c.lower() if c.isupper() else c for c in text)


def unfold(folded: str, mark: str) -> str:
    first, *others = folded.split(mark)
    return first + "".join(part[0].upper() + part[1:] for part in others)


def utf8(code_point: int) -> list[int]:
    return list(chr(code_point).encode())


def utf8_with_borders_off_by_one(code_point: int) -> list[int]:
    return utf8(code_point) if code_point not in (128, 2_048, 65_536) else [0xC0, 0x80]


class Words:
    def __init__(self, text: str, size: int) -> None:
        common = Counter(re.findall(r"\w+|\W", text)).most_common(size - 1)
        self.parts = ["\ufffd", *(part for part, _ in common)]

    def encode(self, text: str) -> list[int]:
        parts = re.findall(r"\w+|\W", text)
        return [self.parts.index(part) if part in self.parts else 0 for part in parts]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.parts[id] for id in ids)


class OneTooMany(Words):
    def __init__(self, text: str, size: int) -> None:
        super().__init__(text, size + 1)


class Sorted(Words):
    def __init__(self, text: str, size: int) -> None:
        super().__init__(text, size)
        self.parts = sorted(self.parts[1:], reverse=True)[: size - 1]
        self.parts.insert(0, "\ufffd")


class Forgetful(Words):
    def decode(self, ids: list[int]) -> str:
        return super().decode([id for id in ids if id])


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.characters.coverage,
            [
                lambda text, k: covered(text, k) * len(text),
                lambda text, k: k / len(set(text)),
                lambda text, k: covered(text.replace(" ", ""), k),
                lambda text, k: sum(Counter(text)[c] for c in sorted(set(text))[:k]) / len(text),
            ],
            (covered,),
        ),
        (
            checks.characters.capitals,
            [
                (lambda text, mark: text.lower(), unfold),
                (lambda text, mark: text, lambda folded, mark: folded),
                (lambda text, mark: fold(text, "^"), lambda folded, mark: unfold(folded, "^")),
                (fold_all, unfold),
                (fold, lambda folded, mark: folded.replace(mark, "")),
                (fold, lambda folded, mark: folded.replace(mark, "").title()),
            ],
            (fold, unfold),
        ),
        (
            checks.characters.utf8,
            [
                lambda code_point: [code_point],
                lambda code_point: list(chr(code_point).encode("utf-16-be")),
                utf8_with_borders_off_by_one,
            ],
            (utf8,),
        ),
        (checks.characters.words, [OneTooMany, Sorted, Forgetful], (Words,)),
    ],
)
def test_exercise_checks(
    check: Callable[..., None],
    wrong: list[Callable[..., object] | tuple[Callable[..., object], ...]],
    right: tuple[Callable[..., object], ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = tuple(lambda *_: None for _ in right)
    for answer in (nothing, *wrong):
        check(*(answer if isinstance(answer, tuple) else (answer,)))
        assert capsys.readouterr().out.startswith("not yet: ")
    check(*right)
    assert capsys.readouterr().out.startswith("correct: ")
