"""Checks for the exercises of the chapter on writing text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from mini_gpt.attention import causal_attention
from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT


def texts_that_fit(answer: Callable[[GPTConfig, int, int], int]) -> None:
    """Check how many full key/value caches fit into some memory.

    Args:
        answer: Takes a configuration, the memory in bytes and the bytes of each number.
    """

    def cases() -> Iterator[None]:
        hint = (
            "how many numbers does one layer keep for one position, keys and values "
            "together?"
        )
        sharing = "only the heads of keys and values are kept"
        sizes: dict[str, Any] = {"vocab_size": 7, "context_length": 5, "layers": 3}
        one = GPTConfig(**sizes, heads=2, width=8)
        shared = GPTConfig(**sizes, heads=4, width=8, key_value_heads=1)
        gpt2, gib = GPTConfig.preset("gpt2"), 2**30
        for case, config, memory, size, fit, help in (
            ("240 numbers a text, 4 bytes each, in 9600 bytes", one, 9600, 4, 10, hint),
            ("the same with one byte less", one, 9599, 4, 9, hint),
            ("the same with 2 bytes a number", one, 9599, 2, 19, hint),
            ("GPT-2 small in 16 GiB of float32", gpt2, 16 * gib, 4, 227, hint),
            ("4 heads that share keys and values", shared, 9600, 4, 40, sharing),
        ):
            expect(case, call(answer, config, memory, size), fit, help)
            yield

    run_check(cases, "two vectors a position, in each layer and head of keys")


def positions_computed(answer: Callable[[int, int, int], int]) -> None:
    """Check how many positions a model computes while its window slides.

    Args:
        answer: Takes the tokens of the prompt, those to draw, and the context.
    """

    def cases() -> Iterator[None]:
        for case, prompt, new, context, computed, hint in (
            ("one new token", 5, 1, 8, 5, "the pass over the prompt gives the first"),
            ("three new tokens with room", 5, 3, 8, 7, "the last one is never fed"),
            ("no new token", 5, 0, 8, 0, "nothing is asked, so nothing is computed"),
            ("a context that just fills up", 5, 4, 8, 8, "one more position each time"),
            ("one token past the context", 5, 5, 8, 16, "then the whole window moves"),
            ("a prompt that fills the context", 8, 3, 8, 24, "each costs a window"),
        ):
            where = f"{case}: prompt {prompt}, new {new}, context {context}"
            expect(where, call(answer, prompt, new, context), computed, hint)
            yield

    run_check(cases, "one position for each token, then a window for each")


def window_cache(answer: Callable[[int], Any]) -> None:
    """Check a cache that keeps only the last positions.

    Args:
        answer: Makes a cache for a window of so many positions.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        keys, values = torch.randn(2, 2, 3, 6, 4, generator=generator)
        cache = answer(3)
        for place in range(6):
            start, end = max(0, place - 2), place + 1
            new = [some[:, :, place:end].clone() for some in (keys, values)]
            found = cache.append(*new)
            if not isinstance(found, tuple | list) or len(found) != 2:
                raise NotYet(
                    f"for position {place} append gave {type(found).__name__}, not "
                    "keys and values. Hint: return both, the new position at the end"
                )
            hint = "the last `window` positions, the new one among them"
            case = f"a window of 3 and position {place}"
            expect(f"{case}, keys", found[0], keys[:, :, start:end], hint)
            expect(f"{case}, values", found[1], values[:, :, start:end], hint)
            expect(f"{case}, length", cache.length, end, "count all that have come")
            yield
        kept, fair = sum(map(_numbers, vars(cache).values())), keys[:, :, :3].numel()
        if kept > 2 * fair:
            raise NotYet(
                f"for 3 of 6 positions your cache keeps {kept} numbers, not "
                f"{2 * fair}. Hint: a view keeps the whole of its tensor"
            )
        yield
        torch.manual_seed(1)
        shape: dict[str, Any] = {"context_length": 9, "layers": 2, "heads": 3}
        model = GPT(GPTConfig(17, **shape, width=12, position="rotary")).eval()
        ids = torch.randint(17, (2, 8), generator=generator)
        places = torch.arange(8)
        near = places[None, :] > places[:, None] - 4
        with torch.no_grad():
            caches = [answer(4) for _ in range(2)]
            parts = [model(ids[:, i : i + 1], caches) for i in range(8)]
            expected = model(ids, mask=near.expand(2, -1, -1))
        expect(
            "a model that looks back 4 positions, logits one by one",
            torch.cat(parts, dim=1),
            expected,
            "does the model learn from `length` which position is next?",
        )
        yield

    run_check(cases, "a cache that does not grow, and a model that looks back so far")


def _numbers(value: object) -> int:
    """How many numbers a cache's attribute keeps in memory."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes() // value.element_size()
    if isinstance(value, list | tuple):
        return sum(map(_numbers, value))
    return 0


def cached_step(answer: Callable[..., Any]) -> None:
    """Check one head of attention that is fed position by position.

    Args:
        answer: Takes the new vector, three matrices, and the keys and values so far;
            returns the output, the keys and the values.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(3, 4, 7, generator=generator)  # head width 4, width 7
        stream = torch.randn(5, 7, generator=generator)
        query, key, value = (stream @ one.T for one in maps)
        everything = causal_attention(*(x[None, None] for x in (query, key, value)))[
            0, 0
        ]
        keys = values = torch.zeros(0, 4)
        for place in range(5):
            case = f"position {place}, with {place} positions kept"
            found = call(answer, stream[place], *maps, keys, values)
            if not isinstance(found, tuple | list) or len(found) != 3:
                raise NotYet(
                    f"for {case} you gave {type(found).__name__}, not three things. "
                    "Hint: return the output, the keys and the values"
                )
            output, keys, values = found
            upto = place + 1
            order = "those that were kept, then the new one"
            expect(f"{case}, keys", keys, key[:upto], order)
            expect(f"{case}, values", values, value[:upto], order)
            hint = (
                "the first position sees only itself, so its output is its value"
                if place == 0
                else "divide the scores by the square root of the head width, and let "
                "the new position see itself too"
            )
            expect(f"{case}, output", output, everything[place], hint)
            yield

    run_check(cases, "position by position, the same as all at once")


BUFFER_CASES: tuple[tuple[str, list[str], list[str], list[str], bool, str], ...] = (
    (
        "the stop 'HENRY', then no stop after all",
        ["HENRY"],
        ["KING HEN", "CE"],
        ["KING ", "HENCE"],
        False,
        "what was held comes out when it can no longer become a stop",
    ),
    (
        "two stops, '\\n\\n' and 'END'",
        ["\n\n", "END"],
        ["a E", "N\n", "\nD"],
        ["a ", "EN", ""],
        True,
        "hold back the longest end that begins any of the stops",
    ),
    (
        "the stop 'HENRY' in two parts, and more text after it",
        ["HENRY"],
        ["KING HEN", "RY IV", " enters"],
        ["KING ", "", ""],
        True,
        "after a stop nothing comes out, whatever is added",
    ),
    (
        "the stop 'abac', which overlaps itself",
        ["abac"],
        ["aba", "bac"],
        ["", "ab"],
        True,
        "of 'abab' the first two letters are certain, the last two are not",
    ),
    (
        "two stops in one text, 'later' and 'at'",
        ["later", "at"],
        ["a later day"],
        ["a l"],
        True,
        "the stop that is complete first counts, not the one that begins first",
    ),
    (
        "the stop 'END', letter by letter",
        ["END"],
        ["E", "N", "E", "N", "D"],
        ["", "", "EN", "", ""],
        True,
        "keep what is held from call to call",
    ),
)


def stop_buffer(answer: Callable[[list[str]], Any]) -> None:
    """Check a buffer that holds back what may become a stop string.

    Args:
        answer: Makes a buffer for these stop strings.
    """

    def cases() -> Iterator[None]:
        for case, stops, parts, certain, done, hint in BUFFER_CASES:
            buffer = answer(stops)
            for part, expected in zip(parts, certain, strict=True):
                where = f"{case}: add({part!r})"
                expect(where, call(buffer.add, part), expected, hint)
            asked = f"{case}: done after {parts[-1]!r}"
            expect(asked, buffer.done, done, "done tells whether a stop is complete")
            yield
        buffer = answer(["HENRY"])
        buffer.add("KING HEN")
        case = "the stop 'HENRY', add('KING HEN'), then finish()"
        expect(case, call(buffer.finish), "HEN", "nothing can come any more")
        yield
        buffer = answer(["HENRY"])
        buffer.add("HENRY")
        case = "the stop 'HENRY', add('HENRY'), then finish()"
        expect(case, call(buffer.finish), "", "what a stop took back stays back")
        yield

    run_check(cases, "nothing too early, nothing lost")
