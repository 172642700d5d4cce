"""`mini-gpt inspect`: what each layer would say next, and where the heads look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from mini_gpt.inspection import (
    capture,
    logit_lens,
    over_layers,
    residual_streams,
    weight_at_distance,
)
from mini_gpt.support.device import resolve_device
from mini_gpt.support.files import atomic_file
from mini_gpt.support.hub import SHIPPED_NAME
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.prompts import encode_prompt

MOST_SHOWN = 40  # tokens whose names still fit at the edge of a map


@dataclass(frozen=True)
class Inspect:
    """Look inside a model while it reads a text: what each layer would say next, how
    much each head looks one token back, and a picture of all attention maps.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = (
        SHIPPED_NAME
    )
    """Folder of a run or of a model; or shakespeare, the model that comes with the
    package.
    """
    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[TEXT]")] = (
        "What, thou, my good lord,"
    )
    """What the model reads."""
    top: int = 3
    """How many tokens to print for each layer."""
    out: Path = Path("attention.png")
    """The picture to write (PNG); it needs matplotlib."""
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""


def run_inspect(command: Inspect) -> None:
    """Read the text once, print both tables, draw the maps."""
    model, tokenizer = from_pretrained(command.model, resolve_device(command.device))
    if not 1 <= command.top <= model.config.vocab_size:
        raise ValueError(
            f"--top {command.top} must be from 1 to {model.config.vocab_size}"
        )
    ids = encode_prompt(tokenizer, command.text)
    device = model.token_embedding.weight.device
    seen = capture(model, torch.tensor([ids], device=device))
    words = [tokenizer.decode([id]) for id in ids]
    print(f"after {words[-1]!r}, the last of {len(ids)} tokens:")
    opinions = logit_lens(model, residual_streams(seen))[:, 0, -1].softmax(-1)
    for depth, shares in enumerate(opinions):
        best = shares.topk(command.top)
        said = (
            f"{tokenizer.decode([id])!r} {share:.2f}"
            for share, id in zip(
                best.values.tolist(), best.indices.tolist(), strict=True
            )
        )
        name = f"layer {depth}" if depth else "before"
        print(f"  {name:<9} {'  '.join(said)}")
    weights = over_layers(seen, "attention.weights")
    if len(ids) > 1:
        print("weight of each head one token back:")
        for layer, row in enumerate(weight_at_distance(weights, 1), start=1):
            numbers = "  ".join(f"{weight:.2f}" for weight in row.tolist())
            print(f"  layer {layer:<3} {numbers}")
    print(_drawn(weights[:, 0].cpu(), words, command.out))


def _drawn(
    weights: Float[Tensor, "layers heads time time"], words: list[str], path: Path
) -> str:
    """Draw the maps; says where they are, or what to install."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "no maps are drawn without matplotlib (pip install matplotlib)"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mini_gpt.support import figures
    from mini_gpt.support.figures.maps import draw_attention

    layers, heads = weights.shape[:2]
    with mpl.rc_context():  # leave the caller's style as it is
        figures.use_style()
        size = 0.6 + 1.6 * heads, 0.6 + 1.6 * layers
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw_attention(figure, weights, words if len(words) <= MOST_SHOWN else [])
        with atomic_file(path) as partial:
            figure.savefig(partial, format="png")
    return f"the attention maps are in {path}"
