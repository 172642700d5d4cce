"""Cutting a text into pretokens, so that no character is lost on the way."""

from __future__ import annotations

from math import prod

import regex

from mini_gpt.support.lone_surrogates import refuse_lone_surrogates

LONGEST_PATTERN = 10_000  # characters; GPT-2's has 72
MOST_REPEATS = 10_000  # of all counts in braces together: each is unrolled
# What a pattern may take: some hundred times what GPT-2's takes.
SECONDS, SECONDS_PER_CHARACTER = 2.0, 2e-5


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern that cuts text into pretokens.

    Raises:
        ValueError: if it is not a regular expression, has a capturing group, or is so
            large that compiling it takes long.
    """
    shown = _shown(pattern)
    refuse_lone_surrogates(pattern, "the pattern")
    counts = map(int, regex.findall(r"\d+(?=\s*(?:,\s*)?\})", pattern, regex.ASCII))
    if (
        len(pattern) > LONGEST_PATTERN
        or prod(max(1, count) for count in counts) > MOST_REPEATS
    ):
        raise ValueError(f"the pattern {shown} is too large; repeat less")
    try:
        compiled = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as fault:
        raise ValueError(
            f"the pattern {shown} is no regular expression: {fault}"
        ) from None
    if compiled.groups:  # findall would return the groups in place of the matches
        raise ValueError(
            f"the pattern {shown} has a capturing group; write (?:...) instead"
        )
    return compiled


def _shown(pattern: str) -> str:
    """A pattern for a message."""
    return repr(pattern if len(pattern) <= 200 else f"{pattern[:200]}...")


def pretokenize(
    text: str, pattern: regex.Pattern[str], *, trusted: bool = False
) -> list[str]:
    """All matches of a pattern, which together must be the whole text.

    Args:
        trusted: Whether the pattern is known to finish in time: looking at the clock
            makes cutting three times slower.

    Raises:
        ValueError: naming the first character that is in no match; if the matches are
            not in the order of the text; if the pattern does not finish in time.
    """
    limit = None if trusted else SECONDS + SECONDS_PER_CHARACTER * len(text)
    try:
        pretokens: list[str] = pattern.findall(text, timeout=limit)
    except TimeoutError:
        raise ValueError(
            f"the pattern {_shown(pattern.pattern)} does not finish a text of "
            f"{len(text):,} characters in time; simplify it: no repeats of what can "
            "match in two ways"
        ) from None
    if "".join(pretokens) == text:
        return pretokens
    if sum(map(len, pretokens)) == len(text):
        raise ValueError(
            f"the pattern {_shown(pattern.pattern)} gives its matches in another order "
            "than they stand in the text; leave (?r) out"
        )
    end = 0
    for match in pattern.finditer(text):
        if match.start() > end:
            break
        end = match.end()
    raise ValueError(
        f"the pattern leaves out {text[end : end + 1]!r} at position {end}, which "
        "would be lost; add an alternative for it"
    )
