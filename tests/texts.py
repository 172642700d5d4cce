"""Texts that stress tokenizers, and two independent sources of ids for them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import tiktoken
from hypothesis import strategies as st

from mini_gpt.bpe import merge, train_bpe
from mini_gpt.support.pretokenization import compile_pattern, pretokenize
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer, count_pretokens

END_OF_TEXT = "<|endoftext|>"
WHOLE = r"(?s:.+)"  # a pattern that does not cut
SPACES = r"\S+|\s"  # a pattern that parts words from spaces
LETTERS = [
    "aàá",
    "e\u0301",
    "🌹",
    "👩\u200d👩\u200d👧",
    "שלום",
    "مرحبا",
    "हिन्दी",
    "猫",
    "ﬀ",
    "ǅ",
    "Ⅷ",
    "²",
    "٣",
]
LETTERS += ["\u00a0", "\u2003", "\u200b", "\ufeff"]
# Text that stresses what tokenizers get wrong, and any text at all, but for characters that are
# newer than Python's own table of Unicode: the engines' tables are of different years.
AWKWARD = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=8),
        st.sampled_from(LETTERS),
        st.sampled_from(["'s", "'LL", "’t", " ", "  ", "\n", "\r\n", "\t", "\x00", "\x7f", "\x85"]),
        st.sampled_from([END_OF_TEXT, "<|", "the", " the", "THE", "12", " 3.14"]),
        st.builds(lambda c, n: c * n, st.sampled_from("a é\n0-"), st.integers(2, 300)),
    ),
    max_size=12,
).map("".join)
FEW_LETTERS = st.text(alphabet="ab é", max_size=80)


def learn(text: str, count: int, pattern: str = GPT2_PATTERN) -> list[bytes]:
    """So many tokens of a text, learned by the package."""
    return train_bpe(count_pretokens(text, pattern), count)


def learn_naively(text: str, count: int, pattern: str) -> list[bytes]:
    """The ten-line algorithm: count everything again for each merge. Stops where none repeats."""
    words = [list(word.encode()) for word in pretokenize(text, compile_pattern(pattern))]
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < count:
        counts = Counter(pair for word in words for pair in pairwise(word))
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < 2:
            break
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        words = [merge(word, pair, len(tokens) - 1) for word in words]
    return tokens


def engine(tokenizer: BPETokenizer) -> tiktoken.Encoding:
    """tiktoken's engine with the same tokens."""
    return tiktoken.Encoding(
        "test",
        pat_str=tokenizer.pattern,
        mergeable_ranks={token: id for id, token in enumerate(tokenizer.tokens)},
        special_tokens={
            text: len(tokenizer.tokens) + i for i, text in enumerate(tokenizer.special_tokens)
        },
    )
