"""Cutting a text into pretokens, so that no character is lost on the way."""

from __future__ import annotations

import regex


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern that cuts text into pretokens.

    Raises:
        ValueError: if it is not a regular expression, or has a capturing group.
    """
    try:
        compiled = regex.compile(pattern)
    except regex.error as fault:
        raise ValueError(
            f"the pattern {pattern!r} is no regular expression: {fault}"
        ) from None
    if compiled.groups:  # findall would return the groups in place of the matches
        raise ValueError(
            f"the pattern {pattern!r} has a capturing group; write (?:...) instead"
        )
    return compiled


def pretokenize(text: str, pattern: regex.Pattern[str]) -> list[str]:
    """All matches of a pattern, which together must be the whole text.

    Raises:
        ValueError: naming the first character that is in no match.
    """
    pretokens: list[str] = pattern.findall(text)
    if sum(map(len, pretokens)) == len(text):
        return pretokens
    end = 0
    for match in pattern.finditer(text):
        if match.start() > end:
            break
        end = match.end()
    raise ValueError(
        f"the pattern leaves out {text[end]!r} at position {end}, which would be lost; "
        "add an alternative for it"
    )


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
