"""Streaming: bytes that never become a character, however many of them come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.support.text_streamer import TextStreamer
from mini_gpt.tokenizer import BPETokenizer

BYTES = [bytes([byte]) for byte in range(256)]
# Tokens that begin, go on and end inside characters.
PARTS = [b"\xf0\x9f", b"\x8c\xb9", b"\xe7\x8c", b"\xab\xf0", b"\x80\x80\x80", b"\xef\xbf\xbd"]


class Counting(BPETokenizer):
    """Counts how many ids it has been asked to decode."""

    decoded = 0

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        ids = list(ids)
        self.decoded += len(ids)
        return super().decode(ids)


@pytest.mark.parametrize("bytes_", [b"\x80", b"\xf0", b"\xe7\x8c", b"\xff\x80", "\ufffd".encode()])
def test_bytes_that_never_become_a_character_were_quadratic(bytes_: bytes) -> None:
    tokenizer = Counting(BYTES)
    ids = list(bytes_) * (3_000 // len(bytes_))
    streamer = TextStreamer(tokenizer, len(ids) + 1)
    text = "".join(map(streamer.add, ids)) + streamer.end("length")
    assert tokenizer.decoded < 100 * len(ids)
    assert text == streamer.text == tokenizer.decode(ids)


@given(st.lists(st.integers(0, 255 + len(PARTS)), max_size=120), st.booleans())
@settings(deadline=None, max_examples=300)
def test_the_text_is_what_decoding_all_of_it_gives(ids: list[int], mostly_parts: bool) -> None:
    tokenizer = BPETokenizer([*BYTES, *PARTS])
    if mostly_parts:
        ids = [id if id % 3 == 0 else 250 + id % 12 for id in ids]
    streamer = TextStreamer(tokenizer, 1_000)
    shown = ""
    for id in ids:
        shown += streamer.add(id)
        assert tokenizer.decode(ids).startswith(shown)
    assert shown + streamer.end("length") == tokenizer.decode(ids)
