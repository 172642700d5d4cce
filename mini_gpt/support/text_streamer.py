"""From ids to text while it grows: what may be shown already, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mini_gpt.characters import Tokenizer

LONGEST_UNFINISHED = 12  # tokens; a character of UTF-8 has at most four
FinishReason = Literal["end of text", "stop string", "stop tokens", "length", "context"]


def settled(text: str, stops: Sequence[str]) -> str:
    """The part of a growing text that no stop string can still take back."""
    held = max(
        (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
        default=0,
    )
    return text[: len(text) - held]


class TextStreamer:
    """A text that is being written: takes ids, gives out text that is certain.

    Text is certain when no later token can change it: all bytes of its characters are
    there, and it may not belong to a stop string or to a stop sequence of tokens.

    Args:
        max_new_tokens: Most ids to take.
        stop: Texts that end it.
        stop_ids: Sequences of ids that end it.

    Attributes:
        ids: The ids so far, without an end-of-text token or a stop sequence.
        text: The certain text so far.
        finish_reason: Why nothing more is wanted, or None while it goes on.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        stop_ids: Sequence[tuple[int, ...]] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.max_new_tokens = max_new_tokens
        self.stop, self.stop_ids = stop, stop_ids
        self.ids: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None if max_new_tokens else "length"
        self._unfinished: list[int] = []  # ids since the last end of a character
        self._decoded = 0  # characters of these that have been taken already
        self._held = ""  # whole characters that may belong to a stop
        self._before: list[int] = []  # whole characters before each of the ids

    def add(self, id: int, *, full: bool = False) -> str:
        """Take the next id; returns the text that has become certain by it.

        Args:
            full: Whether there is no room in the context for another one.
        """
        if id == self.tokenizer.end_of_text:
            return self.end("end of text")
        self.ids.append(id)
        self._before.append(len(self.text) + len(self._held))
        self._unfinished.append(id)
        decoded = self.tokenizer.decode(self._unfinished)
        whole = decoded.removesuffix("\ufffd")
        fresh, self._decoded = whole[self._decoded :], len(whole)
        if whole == decoded:
            self._unfinished, self._decoded = [], 0
        elif len(self._unfinished) > LONGEST_UNFINISHED:
            self._forget(decoded)
        certain = self._settle(fresh)
        if self.finish_reason is None and len(self.ids) == self.max_new_tokens:
            certain += self.end("length")
        if self.finish_reason is None and full:
            certain += self.end("context")
        return certain

    def _forget(self, decoded: str) -> None:
        """Keep only the last ids of bytes that are no text, where that changes nothing.

        Else whoever is sent bytes that never become a character decodes all of them
        again at each. What UTF-8 reads as one has at most four bytes, and so one of
        four cuts side by side goes between two of these.
        """
        for last in range(4, 8):
            begin = self.tokenizer.decode(self._unfinished[:-last])
            if begin + self.tokenizer.decode(self._unfinished[-last:]) == decoded:
                self._unfinished = self._unfinished[-last:]
                self._decoded -= len(begin)
                return

    def end(self, reason: FinishReason) -> str:
        """Stop here; returns what had been held back, for nothing can change it now."""
        rest = self.tokenizer.decode(self._unfinished)[self._decoded :]
        certain = self._settle(rest, last=True)
        self.finish_reason = self.finish_reason or reason
        return certain

    def _settle(self, fresh: str, last: bool = False) -> str:
        """Add decoded text; returns what is certain, stops where a stop is whole."""
        text = self._held + fresh
        certain = len(text)
        # The stop string that is complete first ends the text, however tokens were cut.
        places = [(text.find(stop), len(stop)) for stop in self.stop]
        found = [(at + length, at) for at, length in places if at >= 0]
        if found:
            self.finish_reason, certain = "stop string", min(found)[1]
        whole, begun = (0, 0) if last else self._stop_ids()
        if whole:
            before = self.tokenizer.decode(self.ids[:-whole])[len(self.text) :]
            if not found or len(before) < certain:
                self.finish_reason = "stop tokens"
                text, certain = before, len(before)
                del self.ids[-whole:]
        if self.finish_reason is None and not last:
            certain = len(settled(text, self.stop))
            if begun:
                certain = min(certain, self._before[-begun] - len(self.text))
        self._held = text[certain:]
        self.text += text[:certain]
        return text[:certain]

    def _stop_ids(self) -> tuple[int, int]:
        """How many of the last ids are a stop sequence, and how many may begin one."""
        if not self.stop_ids:
            return 0, 0
        whole, begun = 0, 0
        for stop in self.stop_ids:
            for n in range(1, len(stop) + 1):
                if tuple(self.ids[-n:]) == stop[:n]:
                    if n == len(stop):
                        whole = max(whole, n)
                    else:
                        begun = max(begun, n)
        return whole, begun
