"""The shape of a GPT-2 in Hugging Face's words, and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_gpt.config import Activation, GPTConfig

# The fields of Hugging Face's `config.json`, and ours.
FIELDS = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_layer": "layers",
    "n_head": "heads",
    "n_embd": "width",
    "n_inner": "hidden_width",
    "resid_pdrop": "dropout",
    "layer_norm_epsilon": "norm_epsilon",
}
# Dropouts that may differ from that of the residual stream.
PLACES = {"embd_pdrop": "embedding_dropout", "attn_pdrop": "attention_dropout"}
# Both forms of GELU have several names there; the first of each is GPT-2's.
ACTIVATIONS: dict[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
}
# What GPT-2 fixes. A field that is left out has this value.
GPT2_CHOICES = {
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def gpt2_config(content: Mapping[str, Any]) -> GPTConfig:
    """Our description of a GPT-2 that is described in Hugging Face's words.

    Raises:
        ValueError: listing what is not GPT-2's, or is missing or of a wrong kind.
    """
    older: dict[str, Any] = {"n_positions": content.get("n_ctx")}
    usual = dict.fromkeys(["resid_pdrop", *PLACES], 0.1)
    content = older | usual | {name: x for name, x in content.items() if x is not None}
    form = str(content.get("activation_function", "gelu_new"))
    faults = [
        f"{name} is {content[name]!r}, expected {value!r}"
        for name, value in GPT2_CHOICES.items()
        if content.get(name, value) != value
    ]
    if form not in ACTIVATIONS:
        known = " or ".join(ACTIVATIONS)
        faults.append(f"activation_function is {form!r}, expected {known}")
    sizes = [*FIELDS][:5]  # the others may be left out
    faults += [f"{name} is missing" for name in sizes if content.get(name) is None]
    if faults:
        raise ValueError(f"this is not a GPT-2: {'; '.join(faults)}")
    fields = {ours: content[x] for x, ours in FIELDS.items() if x in content}
    fields |= {
        ours: content[x]
        for x, ours in PLACES.items()
        if content[x] != fields["dropout"]
    }
    try:
        return GPTConfig(**fields, activation=ACTIVATIONS[form])
    except (TypeError, ValueError) as fault:
        both = (FIELDS | PLACES).items()
        words = ", ".join(f"{ours} is {x}" for x, ours in both if x != ours)
        raise ValueError(f"this is not a GPT-2: {fault}; there, {words}") from None


def huggingface_config(
    config: GPTConfig, end_of_text: int | None = None
) -> dict[str, Any]:
    """A model's shape in Hugging Face's words: the inverse of `gpt2_config`.

    Raises:
        ValueError: listing what GPT-2 cannot express.
    """
    expressible = {"position": "learned", "normalization": "layer", "bias": True}
    faults = [
        f"{name} is {getattr(config, name)!r}, GPT-2's is {value!r}"
        for name, value in expressible.items()
        if getattr(config, name) != value
    ]
    if config.kv_heads != config.heads:
        faults.append(f"key_value_heads is {config.kv_heads}, GPT-2's is that of heads")
    if faults:
        raise ValueError(
            f"GPT-2 cannot express this model: {'; '.join(faults)}; "
            "keep it with save_pretrained"
        )
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    places = {theirs: getattr(config, ours) for theirs, ours in PLACES.items()}
    return {
        "architectures": ["GPT2LMHeadModel"],
        **GPT2_CHOICES,
        **{theirs: getattr(config, ours) for theirs, ours in FIELDS.items()},
        "n_ctx": config.context_length,
        "activation_function": names[config.activation],
        **{x: config.dropout if p is None else p for x, p in places.items()},
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
    }
