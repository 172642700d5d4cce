"""Tokens generated per second: mini_gpt against transformers' `generate`, with equal weights.

    python -m bench generation               writes bench/results/generation.json and .md
    python -m bench generation --gpt2        with a model of GPT-2's size too (needs 2 GB)
    python -m bench generation --quick --out FOLDER

Both sample at temperature 1 from the whole vocabulary, with a cache, in float32, each through its
public function: `mini_gpt.generate` and `GPT2LMHeadModel.generate`. The weights are random; time
does not depend on them.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import generate
from mini_gpt.gpt2 import from_gpt2_names
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig

# Layers, heads, width, context, vocabulary; prompt and new tokens.
SHAPES = ((4, 4, 128, 256, 84, 8, 192), (6, 6, 384, 256, 84, 8, 64))
GPT2_SHAPE = (12, 12, 768, 1024, 50_257, 8, 24)
QUICK_SHAPES = ((1, 2, 8, 16, 11, 3, 5),)
BATCHES = (1, 16)
OURS, PEER = "mini_gpt", "transformers generate"
# Prompt for the time to the first token, as a share of the context (512 of GPT-2's 1024).
LONG_PROMPT = 0.5


def readable_bytes_per_second(bytes_to_read: int = 2**28) -> float:
    """How fast memory can be read here: the best of five sums over an array that fits no cache."""
    numbers = torch.ones(bytes_to_read // 4)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        numbers.sum().item()
        seconds.append(time.perf_counter() - start)
    return bytes_to_read / min(seconds)


def contestants(
    shape: Sequence[int], batch: int, prompt: int, new: int
) -> dict[str, Callable[[], object]]:
    """Both, with the same weights and the same prompt, ready to generate.

    Raises:
        RuntimeError: if their greedy texts differ: they would not be doing the same work.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, heads, width, context, vocabulary = shape
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_layer=layers,
        n_head=heads,
        n_embd=width,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(config).eval()
    ours = GPT(GPTConfig(vocabulary, context, layers, heads, width)).eval()
    ours.load_state_dict(from_gpt2_names(theirs.state_dict(), layers))
    tokenizer = CharTokenizer([chr(0x10000 + id) for id in range(vocabulary)])
    ids = torch.randint(vocabulary, (1, prompt), generator=torch.Generator().manual_seed(1))
    text, rows = tokenizer.decode(ids[0].tolist()), ids.expand(batch, -1).contiguous()

    def run_ours(temperature: float = 1.0) -> list[list[int]]:
        settings = SampleConfig(max_new_tokens=new, temperature=temperature)
        return [result.ids for result in generate(ours, tokenizer, [text] * batch, settings)]

    def run_theirs(sample: bool = True) -> list[list[int]]:
        found = theirs.generate(
            rows,
            attention_mask=torch.ones_like(rows),
            max_new_tokens=new,
            do_sample=sample,
            top_k=0 if sample else None,
            pad_token_id=0,
        )
        return found[:, prompt:].tolist()

    if run_ours(temperature=0.0) != run_theirs(sample=False):
        raise RuntimeError(f"greedy texts differ at {tuple(shape)}, batch {batch}")
    return {OURS: run_ours, PEER: run_theirs}


def chapter_table(results: Sequence[dict[str, Any]]) -> str:
    """The table that the chapter shows: tokens per second, and how many times those of the peer.

    Args:
        results: What the JSON holds under that name.
    """
    rows = []
    for result in results:
        # Turn by turn, since neighboring turns share the machine's mood.
        seconds = {name: timing["seconds"] for name, timing in result["timings"].items()}
        amount = result["batch"] * result["new_tokens"]
        pairs = zip(seconds[PEER], seconds[OURS], strict=True)
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        ours, theirs = (amount / statistics.median(seconds[name]) for name in (OURS, PEER))
        row = [f"{result['layers']} × {result['width']}", str(result["batch"])]
        row += [f"{ours:,.0f} ({ratio:.2f})", f"{theirs:,.0f}"]
        rows.append([*row, f"{result['bound_tokens_per_second']:,}"])
    heads = ["layers × width", "batch", "mini_gpt", "transformers", "bound"]
    return harness.table(heads, rows)


def measure(
    shape: tuple[int, ...], batch: int, effort: harness.Effort, bandwidth: float
) -> dict[str, Any]:
    """Tokens per second of both, and seconds to the first token after a long prompt."""
    *model_shape, prompt, new = shape
    layers, heads, width, context, vocabulary = model_shape
    runs = contestants(model_shape, batch, prompt, new)
    timings = harness.contest(runs, effort)
    long = max(1, round(LONG_PROMPT * context))
    firsts = contestants(model_shape, batch, long, 1)
    # Fewer turns: with 16 long prompts at GPT-2's size, one takes a good part of a minute.
    fewer = dataclasses.replace(effort, rounds=5, warm_up=1)
    first = harness.contest(firsts, fewer)
    with torch.device("meta"):
        parameters = count_parameters(GPT(GPTConfig(vocabulary, context, layers, heads, width)))
    return {
        "layers": layers,
        "width": width,
        "vocabulary": vocabulary,
        "batch": batch,
        "new_tokens": new,
        "parameters": parameters,
        # Each step must read all weights once, whatever the batch.
        "bound_tokens_per_second": round(batch * bandwidth / (4 * parameters)),
        "timings": harness.timings_as_json(timings),
        "first_token_after": long,
        "first_token": harness.timings_as_json(first),
        "first_rows": harness.speed_rows(first, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument("--gpt2", action="store_true", help="measure a model of GPT-2's size too")
    options = parser.parse_args(arguments)
    effort = harness.prepare(options)
    try:
        version = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        print("generation: transformers is not installed; see bench/README.md", file=sys.stderr)
        return 2
    machine = harness.environment()
    bandwidth = readable_bytes_per_second(2**20 if options.quick else 2**28)
    shapes = QUICK_SHAPES if options.quick else SHAPES + (GPT2_SHAPE,) * options.gpt2
    results, firsts = [], []
    for shape in shapes:
        for batch in BATCHES:
            result = measure(shape, batch, effort, bandwidth)
            name = f"{result['layers']} layers, width {result['width']}, batch {batch}"
            own_first, peer_first = result.pop("first_rows")
            medians = [result["first_token"][row[0]]["median"] for row in (own_first, peer_first)]
            firsts.append(
                [
                    f"{name}, {result['first_token_after']} tokens",
                    *(f"{1000 * median:.1f}" for median in medians),
                    peer_first[3],
                ]
            )
            results.append(result)
            print(chapter_table([result]), flush=True)
    text = "\n".join(
        [
            "# Generation\n",
            harness.said_of(machine, effort),
            f"Compared with transformers {version}. Memory was read at {bandwidth / 1e9:.0f} GB/s "
            "before the run; the bound is what that allows if every step reads all weights once "
            "from memory. A model that fits the processor's cache can be faster.\n",
            "Tokens per second, and how many times those of transformers:\n",
            chapter_table(results),
            "Milliseconds to the first token after a long prompt:\n",
            harness.table(["model", "mini_gpt", "transformers", "ratio of speeds"], firsts),
        ]
    )
    record = {
        "environment": machine,
        "transformers": version,
        "bytes_read_per_second": round(bandwidth),
        "results": results,
    }
    harness.save("generation", record, text, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
