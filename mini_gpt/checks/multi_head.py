"""Checks for the exercises of the chapter on multi-head attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mini_gpt.attention import causal_attention
from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig


def owner(owner: Callable[[GPTConfig, int], tuple[str, int]]) -> None:
    """Check to which head a row of the joint map belongs.

    Args:
        owner: From a configuration and a row to "query", "key" or "value" and a head.
    """

    def cases() -> None:
        hints = {
            (12, 3, 3): "rows 0 to 11 make the queries, 4 for each of the three heads",
            (12, 6, 6): "with 6 heads each has 2 rows of each kind",
            (12, 6, 2): "two heads of keys take 4 rows, and so do two of values",
            (8, 2, 1): "one head of keys, one of values, 4 rows each",
        }
        for (width, heads, kv_heads), hint in hints.items():
            config = GPTConfig(width=width, heads=heads, key_value_heads=kv_heads)
            parts = {"query": heads, "key": kv_heads, "value": kv_heads}
            expected = [
                (kind, head)
                for kind, count in parts.items()
                for head in range(count)
                for _ in range(width // heads)
            ]
            shape = f"width {width}, {heads} heads, {kv_heads} of keys"
            for row, whose in enumerate(expected):
                found = call(owner, config, row)
                expect(f"{shape}, row {row}", found, whose, hint)

    run_check(cases, "queries first, then keys, then values, head after head")


def grouped_attention(
    grouped_attention: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    """Check attention where several heads of queries share one of keys and values.

    Args:
        grouped_attention: From query, key and value to the output of every head.
    """

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        hints = {
            (6, 6): "as many key heads as heads is the attention of the chapter",
            (6, 1): "with one key head, every head uses it",
            (6, 2): "heads 0 to 2 belong to key head 0; the order is 0, 0, 0, 1, 1, 1",
            (6, 3): "heads 0 and 1 belong to key head 0; the order is 0, 0, 1, 1, 2, 2",
        }
        for (heads, key_heads), hint in hints.items():
            query = torch.randn(2, heads, 4, 8, generator=generator)
            key, value = torch.randn(2, 2, key_heads, 5, 8, generator=generator)
            group = heads // key_heads
            shared = [head // group for head in range(heads)]
            expected = causal_attention(query, key[:, shared], value[:, shared])
            found = call(grouped_attention, query, key, value)
            expect(f"{heads} heads, {key_heads} key heads", found, expected, hint)

    run_check(cases, "a smaller cache, and every head still asks its own question")


def whole_attention(
    whole_attention: Callable[[Tensor, Tensor, Tensor, int], Tensor],
) -> None:
    """Check multi-head attention for weights that are stored head after head.

    Args:
        whole_attention: From stream, joint map, output map and heads to the output.
    """

    def cases() -> None:
        hints = {
            (2, 5, 1, 12): "with one head the order is query, key, value; then project",
            (1, 1, 3, 12): "a single position sees only itself",
            (
                2,
                5,
                3,
                12,
            ): "the rows go head by head: query, key, value of head 0 first",
        }
        generator = torch.Generator().manual_seed(0)
        for (batch, time, heads, width), hint in hints.items():
            stream = torch.randn(batch, time, width, generator=generator)
            joint = torch.randn(3 * width, width, generator=generator)
            output = torch.randn(width, width, generator=generator)
            joint, output = joint / width**0.5, output / width**0.5
            # (heads, three, head_width, width) -> three of (heads x head_width, width)
            parts = joint.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2)
            query, key, value = (
                (stream @ part.T).unflatten(-1, (heads, -1)).transpose(1, 2)
                for part in parts
            )
            mixed = causal_attention(query, key, value).transpose(1, 2).flatten(2)
            found = call(whole_attention, stream, joint, output, heads)
            case = f"batch {batch}, time {time}, width {width}, heads {heads}"
            expect(case, found, mixed @ output.T, hint)

    run_check(cases, "multi-head attention, whole, in another order of the rows")
