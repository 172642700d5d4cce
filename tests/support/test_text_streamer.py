"""Text as it comes: what may be shown already, whole characters, and reasons to stop."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.support.text_streamer import TextStreamer, settled
from writing import BYTES

few = settings(deadline=None, max_examples=30)


class TestSettled:
    @given(st.text("abc", max_size=9), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
    @settings(deadline=None, max_examples=300)
    def test_is_all_that_no_stop_can_take_back(self, text: str, stops: list[str]) -> None:
        """Said without a loop over lengths: where could a stop begin that is not whole yet?"""
        found = settled(text, stops)
        assert text.startswith(found)
        begins = [
            any(len(text) - at < len(stop) and stop.startswith(text[at:]) for stop in stops)
            for at in range(len(text))
        ]
        assert len(found) == (begins.index(True) if any(begins) else len(text))

    def test_the_examples_of_the_chapter(self) -> None:
        found = [settled(text, ["HENRY"]) for text in ("KING HEN", "he said: HE", "HAT")]
        assert found == ["KING ", "he said: ", "HAT"]
        assert settled("ababab", ["abac"]) == "abab"
        assert settled("aba", ["abac"]) == settled("", ["a"]) == ""
        assert settled("text", []) == "text"


class Words:
    """A tokenizer whose tokens are whole words; it only decodes."""

    end_of_text: int | None = None

    def __init__(self, words: list[str]) -> None:
        self.words = words

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.words[id] for id in ids)

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def to_dict(self) -> dict[str, object]:
        raise NotImplementedError

    def save(self, path: object) -> None:
        raise NotImplementedError


class TestTextStreamer:
    @few
    @given(st.text(max_size=12), st.binary(max_size=12))
    def test_parts_are_whole_characters_and_add_up(self, text: str, junk: bytes) -> None:
        text = text.encode("utf-8", errors="replace").decode()
        ids = [*BYTES.encode(text), *junk, *BYTES.encode(text)]
        growing = TextStreamer(BYTES, 1000)
        parts = [growing.add(id) for id in ids]
        parts.append(growing.end("length"))
        assert "".join(parts) == growing.text == BYTES.decode(ids)

    def test_no_part_is_a_broken_character(self) -> None:
        growing = TextStreamer(BYTES, 200)
        parts = [growing.add(id) for id in BYTES.encode("aé€🙂\ufffd!")]
        assert parts == ["a", "", "é", "", "", "€", "", "", "", "🙂", "", "", "", "\ufffd!"]

    @few
    @given(
        st.text("ab", max_size=14),
        st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
        st.lists(st.integers(1, 4), min_size=14, max_size=14),
    )
    def test_stop_strings_end_the_text_however_the_tokens_are_cut(
        self, text: str, stops: list[str], cuts: list[int]
    ) -> None:
        # Read as one would by eye: at the first character that completes a stop string.
        ends = [i for i in range(len(text) + 1) if any(text[:i].endswith(stop) for stop in stops)]
        expected = text
        if ends:
            done = text[: ends[0]]
            expected = done[: -max(len(stop) for stop in stops if done.endswith(stop))]
        parts, rest = [], text
        for cut in cuts:
            parts.append(rest[:cut])
            rest = rest[cut:]
        parts = [part for part in parts if part]
        words = Words(sorted(set(parts)))
        growing = TextStreamer(words, 200, stops)
        shown = ""
        for part in parts:
            shown += growing.add(words.words.index(part))
            assert expected.startswith(shown)
            if growing.finish_reason:
                break
        else:
            shown += growing.end("length")
        assert shown == growing.text == expected
        assert growing.finish_reason == ("stop string" if ends else "length")

    @few
    @given(
        st.lists(st.integers(97, 98), max_size=14),
        st.lists(st.lists(st.integers(97, 98), min_size=1, max_size=4), min_size=1, max_size=3),
    )
    def test_stop_sequences_of_tokens_end_the_text(
        self, ids: list[int], stops: list[list[int]]
    ) -> None:
        ends = [i for i in range(len(ids) + 1) if any(ids[:i][-len(s) :] == s for s in stops)]
        kept = ids
        if ends:
            done = ids[: ends[0]]
            kept = done[: -max(len(s) for s in stops if done[-len(s) :] == s)]
        growing = TextStreamer(BYTES, 200, (), tuple(map(tuple, stops)))
        shown = ""
        for id in ids:
            shown += growing.add(id)
            assert BYTES.decode(kept).startswith(shown)
            if growing.finish_reason:
                break
        else:
            shown += growing.end("length")
        assert shown == growing.text == BYTES.decode(kept)
        assert growing.ids == kept
        assert growing.finish_reason == ("stop tokens" if ends else "length")

    def test_stop_tokens_beside_a_stop_string_and_inside_a_character(self) -> None:
        growing = TextStreamer(BYTES, 200, ("ab",), ((97, 98), (120, 121)))
        assert [growing.add(id) for id in b"xzab"] == ["", "xz", "", ""]
        assert growing.finish_reason == "stop string"
        smile = list("🙂".encode())
        growing = TextStreamer(BYTES, 200, (), (tuple(smile[2:]),))
        assert "".join(growing.add(id) for id in [97, *smile]) == "a\ufffd"
        assert (growing.ids, growing.finish_reason) == ([97, *smile[:2]], "stop tokens")

    def test_text_waits_only_while_it_must(self) -> None:
        growing = TextStreamer(BYTES, 200, ("END", "ENOUGH"))
        parts = [growing.add(id) for id in b"THE ENTRY"]
        assert parts == ["T", "H", "", "E ", "", "", "ENT", "R", "Y"]

    def test_stopping_at_a_length_gives_out_what_was_held_back(self) -> None:
        growing = TextStreamer(BYTES, 3, ("bcd",))
        assert [growing.add(id) for id in b"abc"] == ["a", "", "bc"]
        assert growing.finish_reason == "length"

    def test_stopping_inside_a_character_shows_that(self) -> None:
        growing = TextStreamer(BYTES, 2)
        assert [growing.add(id) for id in "🙂".encode()[:2]] == ["", "\ufffd"]

    def test_end_of_text_is_no_text(self) -> None:
        growing = TextStreamer(BYTES, 200, ("bc",))
        assert [growing.add(id) for id in (97, 98, 256)] == ["a", "", "b"]
        assert growing.ids == [97, 98]
        assert growing.finish_reason == "end of text"
