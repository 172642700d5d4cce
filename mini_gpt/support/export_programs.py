"""A model as two programs that need no mini_gpt: read a prompt, then a token at a time.

Both are the model's one forward pass, traced; what differs is only where the past comes
from. The cache of keys and values goes in and out as tensors, so that whoever serves
the programs keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mini_gpt.characters import Tokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.support.files import atomic_folder
from mini_gpt.support.huggingface_tokenizer import write_huggingface_tokenizer
from mini_gpt.support.modes import without_training
from mini_gpt.support.weights import check_fit

# What a program gives: logits of the next token (batch, vocab_size), keys and values
# (layers, batch, kv_heads, positions so far, head_width).
Scored = tuple[Tensor, Tensor, Tensor]
Program = Callable[..., Scored]
INPUTS = {"prefill": ["ids"], "step": ["ids", "keys", "values"]}
OUTPUTS = {
    "prefill": ["logits", "keys", "values"],
    "step": ["logits", "all_keys", "all_values"],
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
DESCRIPTION = "export.json"
SHORTEST_CONTEXT = 4  # so that both lengths, of prompt and past, can differ


class GrownCache:
    """The keys and values of one layer, joined to what comes (a `LayerCache`)."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values

    @property
    def length(self) -> int:
        """Positions so far; while a program is traced, the symbol of their number."""
        return 0 if self.keys is None else self.keys.shape[2]

    def append(
        self,
        key: Float[Tensor, "batch kv_heads new head_width"],
        value: Float[Tensor, "batch kv_heads new head_width"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads keys head_width"],
        Float[Tensor, "batch kv_heads keys head_width"],
    ]:
        """Keep the new keys and values behind the others, and return all."""
        if self.keys is not None and self.values is not None:
            key = torch.cat([self.keys, key], dim=2)
            value = torch.cat([self.values, value], dim=2)
        self.keys, self.values = key, value
        return key, value


def _scored(model: GPT, ids: Tensor, caches: list[GrownCache]) -> Scored:
    logits = model(ids, caches, last=1)[:, 0]
    keys = torch.stack([cache.keys for cache in caches if cache.keys is not None])
    values = [cache.values for cache in caches if cache.values is not None]
    return logits, keys, torch.stack(values)


class Prefill(nn.Module):
    """Reads a prompt from its beginning."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Int[Tensor, "batch time"]) -> Scored:
        """The logits after the last token, and the keys and values of all."""
        caches = [GrownCache() for _ in range(self.model.config.layers)]
        return _scored(self.model, ids, caches)


class Step(nn.Module):
    """Reads one more token in each row."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        ids: Int[Tensor, "batch 1"],
        keys: Float[Tensor, "layers batch kv_heads past head_width"],
        values: Float[Tensor, "layers batch kv_heads past head_width"],
    ) -> Scored:
        """The logits after this token, and keys and values with its own behind them."""
        pairs = zip(keys.unbind(), values.unbind(), strict=True)
        return _scored(self.model, ids, [GrownCache(*pair) for pair in pairs])


def trace_programs(model: GPT) -> dict[str, torch.export.ExportedProgram]:
    """The two programs by name, for any number of rows and any length that fits.

    They take any batch size, prompts of 1 to `context_length` tokens, and a past of 1
    to `context_length` - 1 positions.

    Raises:
        ValueError: if the model's context is too short to have a past.
    """
    from torch.export import Dim, export  # takes a while to import

    context = model.config.context_length
    if context < SHORTEST_CONTEXT:
        raise ValueError(
            f"a context of {context} leaves no room for a prompt and a past; export a "
            f"model with a context_length of at least {SHORTEST_CONTEXT}"
        )
    batch, time = Dim("batch"), Dim("time", max=context)
    past = Dim("past", max=context - 1)
    device = model.token_embedding.weight.device
    ids = torch.zeros(2, 3, dtype=torch.long, device=device)
    with torch.no_grad(), without_training(list(model.modules())):
        prefill, step = Prefill(model), Step(model)
        _, keys, values = prefill(ids)
        kept = {1: batch, 3: past}
        first = export(prefill, (ids,), dynamic_shapes={"ids": {0: batch, 1: time}})
        second = export(
            step,
            (ids[:, :1], keys, values),
            dynamic_shapes={"ids": {0: batch}, "keys": kept, "values": kept},
        )
    return {"prefill": first, "step": second}


@torch.no_grad()
def largest_difference(model: GPT, programs: Mapping[str, Program]) -> float:
    """How far logits of the programs are from the model's, over the largest of them.

    Rows and lengths vary, from one token to a full context, and each prompt is followed
    by steps.
    """
    context, device = model.config.context_length, model.token_embedding.weight.device
    generator, farthest = torch.Generator().manual_seed(0), 0.0
    lengths = (1, 1), (3, 2), (2, min(7, context - 2)), (1, context - 1), (1, context)
    with without_training(list(model.modules())):
        for rows, length in lengths:
            steps = min(2, context - length)
            drawn = (rows, length + steps)
            ids = torch.randint(model.config.vocab_size, drawn, generator=generator)
            expected = model(ids.to(device))[:, length - 1 :]  # (rows, 1 + steps, V)
            logits, keys, values = programs["prefill"](ids[:, :length].to(device))
            found = [logits]
            for place in range(length, length + steps):
                new = ids[:, place : place + 1].to(device)
                logits, keys, values = programs["step"](new, keys, values)
                found.append(logits)
            gap = (torch.stack(found, dim=1) - expected).abs().max()
            farthest = max(farthest, (gap / expected.abs().max()).item())
    return farthest


def check_programs(model: GPT, programs: Mapping[str, Program]) -> None:
    """Raise ValueError where programs do not give the model's logits."""
    exact = model.token_embedding.weight.dtype in (torch.float32, torch.float64)
    gap, most = largest_difference(model, programs), 1e-4 if exact else 3e-2
    if not gap <= most:
        raise ValueError(
            f"the exported programs' logits differ from the model's by {gap:.1e} of "
            f"the largest, more than {most:.0e}; nothing was written: try another "
            "version of torch"
        )


def describe_export(config: GPTConfig, tokenizer: Tokenizer, dtype: torch.dtype) -> str:
    """What who serves the programs has to know, as JSON."""
    content: dict[str, Any] = {
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "layers": config.layers,
        "kv_heads": config.kv_heads,
        "head_width": config.head_width,
        "dtype": str(dtype).removeprefix("torch."),
        "end_of_text": tokenizer.end_of_text,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
    }
    return json.dumps(content, indent=2) + "\n"


def write_export(
    model: GPT,
    tokenizer: Tokenizer,
    folder: Path,
    files: tuple[str, ...],
    write: Callable[[Path], Mapping[str, Program]],
) -> None:
    """Write programs, their description and the tokenizer: whole, or nothing.

    Args:
        folder: Replaced, if it holds nothing but an older export of the same kind.
        files: Names that `write` may give to its files.
        write: Writes the programs into a folder, and gives them back as read there.

    Raises:
        ValueError: if tokenizer and model do not fit, or what was written does not give
            the model's logits.
        FileExistsError: if the folder holds other files.
    """
    check_fit(folder, tokenizer, model.config)
    replaced = (*files, *TOKENIZER_FILES, DESCRIPTION)
    with atomic_folder(folder, replaces=replaced) as partial:
        write_huggingface_tokenizer(tokenizer, partial, model.config.context_length)
        dtype = model.token_embedding.weight.dtype
        text = describe_export(model.config, tokenizer, dtype)
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
        check_programs(model, write(partial))


def write_torch_programs(model: GPT, tokenizer: Tokenizer, folder: Path) -> None:
    """Write `prefill.pt2` and `step.pt2`, which `torch.export.load` reads.

    Each holds all weights. Errors are those of `trace_programs` and `write_export`.
    """

    def write(partial: Path) -> dict[str, Program]:
        read: dict[str, Program] = {}
        for name, program in trace_programs(model).items():
            program.example_inputs = None  # all that would be pickled
            torch.export.save(program, partial / f"{name}.pt2")
            read[name] = torch.export.load(partial / f"{name}.pt2").module()
        return read

    write_export(model, tokenizer, folder, ("prefill.pt2", "step.pt2"), write)
