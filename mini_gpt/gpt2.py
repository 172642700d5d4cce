# %%
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mini_gpt.files import atomic_folder
from mini_gpt.model import GPT, GPTConfig
from mini_gpt.position import RotaryPositions, SinusoidalPositions
from mini_gpt.tokenizer import (
    BPETokenizer,
    CharTokenizer,
    Tokenizer,
    load_tokenizer,
    save_tokenizer,
)

# %%
# OpenAI's names on the left, ours on the right; {layer} runs over the blocks.
GPT2_NAMES = {
    "wte.weight": "token_embedding.weight",
    "wpe.weight": "positions.weight",
    "h.{layer}.ln_1.weight": "decoder.blocks.{layer}.attention_norm.weight",
    "h.{layer}.ln_1.bias": "decoder.blocks.{layer}.attention_norm.bias",
    "h.{layer}.attn.c_attn.weight": "decoder.blocks.{layer}.attention.query_key_value.weight",
    "h.{layer}.attn.c_attn.bias": "decoder.blocks.{layer}.attention.query_key_value.bias",
    "h.{layer}.attn.c_proj.weight": "decoder.blocks.{layer}.attention.output.weight",
    "h.{layer}.attn.c_proj.bias": "decoder.blocks.{layer}.attention.output.bias",
    "h.{layer}.ln_2.weight": "decoder.blocks.{layer}.feed_forward_norm.weight",
    "h.{layer}.ln_2.bias": "decoder.blocks.{layer}.feed_forward_norm.bias",
    "h.{layer}.mlp.c_fc.weight": "decoder.blocks.{layer}.feed_forward.expand.weight",
    "h.{layer}.mlp.c_fc.bias": "decoder.blocks.{layer}.feed_forward.expand.bias",
    "h.{layer}.mlp.c_proj.weight": "decoder.blocks.{layer}.feed_forward.contract.weight",
    "h.{layer}.mlp.c_proj.bias": "decoder.blocks.{layer}.feed_forward.contract.bias",
    "ln_f.weight": "decoder.final_norm.weight",
    "ln_f.bias": "decoder.final_norm.bias",
}


def gpt2_names(layers: int) -> dict[str, str]:
    """OpenAI's name of every parameter of a GPT-2, and ours.

    Args:
        layers: Number of decoder blocks ($L$).
    """
    return {
        theirs.format(layer=layer): ours.format(layer=layer)
        for theirs, ours in GPT2_NAMES.items()
        for layer in (range(layers) if "{layer}" in theirs else (0,))
    }


# %%
def from_gpt2_names(
    tensors: Mapping[str, Float[Tensor, "..."]], layers: int
) -> dict[str, Float[Tensor, "..."]]:
    """GPT-2's tensors under our names, its `Conv1D` matrices transposed.

    OpenAI's linear maps store (inputs, outputs), PyTorch's `nn.Linear` stores (outputs, inputs). A leading
    `transformer.` is dropped, and mask buffers and the tied copy of the head are left out.

    Args:
        tensors: Tensors by OpenAI's names, as in a GPT-2 `model.safetensors`.
        layers: Number of decoder blocks ($L$).

    Raises:
        ValueError: listing the names that are missing or unknown.
    """
    plain = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    not_parameters = (".attn.bias", ".attn.masked_bias", "lm_head.weight")
    plain = {name: tensor for name, tensor in plain.items() if not name.endswith(not_parameters)}
    names = gpt2_names(layers)
    missing, unknown = sorted(names.keys() - plain.keys()), sorted(plain.keys() - names.keys())
    if missing or unknown:
        raise ValueError(
            f"these are not the tensors of a GPT-2 with {layers} layers: missing {missing}, unknown {unknown}"
        )
    return {
        ours: plain[theirs].t()
        if theirs.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        else plain[theirs]
        for theirs, ours in names.items()
    }


# %%
def save_pretrained(model: GPT, tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> None:
    """Write a model and its tokenizer to a folder, whole or not at all: `from_pretrained` reads it back.

    Args:
        model: Any GPT, compiled or not.
        tokenizer: The tokenizer that its ids come from.
        folder: The folder to create or replace.

    Raises:
        ValueError: if the tokenizer has more ids than the model.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps the model that we want to keep
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} ids, the model knows {model.config.vocab_size} only"
        )
    with atomic_folder(folder) as partial:
        weights = {
            name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
        }
        save_file(weights, partial / "model.safetensors")
        content = {"format": "mini_gpt", "version": 1, **asdict(model.config)}
        (partial / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_tokenizer(tokenizer, partial / "tokenizer.json")


def from_pretrained(
    folder: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> tuple[GPT, CharTokenizer | BPETokenizer]:
    """Read what `save_pretrained` wrote: the model, in evaluation mode, and its tokenizer.

    Args:
        folder: The folder.
        device: Where to put the weights.

    Raises:
        ValueError: if the folder is not a checkpoint, or its weights are not those that its configuration asks for.
        OSError: if a file cannot be read.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is not a mini_gpt checkpoint: it has no config.json")
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if (content.pop("format"), content.pop("version")) != ("mini_gpt", 1):
            raise KeyError("format")
        config = GPTConfig(**content)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ValueError(
            f"{folder / 'config.json'} is not a mini_gpt configuration ({fault})"
        ) from None
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    with torch.device("meta"):
        model = GPT(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safe_open(folder / "model.safetensors", framework="pt", device=str(device)) as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            wrong = [
                f"{name} (expected {expected.get(name, 'none')}, found {found.get(name, 'none')})"
                for name in sorted(expected.keys() | found.keys())
                if expected.get(name) != found.get(name)
            ]
            if wrong:
                raise ValueError(
                    f"{folder} does not hold the weights of its configuration: {'; '.join(wrong)}"
                )
            weights = {name: file.get_tensor(name) for name in expected}
    except SafetensorError as fault:
        raise ValueError(
            f"{folder / 'model.safetensors'} cannot be read ({fault}); it may be cut short"
        ) from None
    model.load_state_dict(weights, assign=True)
    for module in model.modules():
        if isinstance(module, SinusoidalPositions | RotaryPositions):
            module.reset_tables(
                device
            )  # tables follow from the configuration, so they are not stored
    return model.eval(), tokenizer
