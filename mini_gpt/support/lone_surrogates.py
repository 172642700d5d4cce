"""Halves of characters: a Python string may hold them, a file in UTF-8 may not."""

from __future__ import annotations


def replace_lone_surrogates(text: str) -> str:
    """Make a string fit for UTF-8.

    A Python string may hold halves of UTF-16 pairs, which are not text. Two halves that
    belong together become one character; a lone half becomes U+FFFD, and is lost.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        halves = text.encode("utf-16-le", errors="surrogatepass")
        return halves.decode("utf-16-le", "replace")
    return text


def refuse_lone_surrogates(text: str, what: str) -> None:
    """Raise ValueError, calling the text `what`, if it is not fit for UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise ValueError(
            f"{what} holds {text[fault.start]!r}, half of a character, which no file "
            "can keep; leave it out"
        ) from None
