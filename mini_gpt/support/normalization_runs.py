"""Small trainings of pre-norm and post-norm stacks, many models side by side.

An axis of models stands in front of every weight: to train three seeds with three
factors on the loss costs little more than to train one. The parts are those of the
book's chapter on the decoder, without biases and learned scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mini_gpt.attention import causal_attention

DIGITS, TIME, WIDTH, HEADS, HIDDEN, SEEDS = 10, 8, 16, 2, 64, 3
KNOWN = slice(TIME // 2, TIME)  # the targets that the digits before them decide

Weights = dict[str, Float[Tensor, "models inputs outputs"]]
Stream = Float[Tensor, "models positions width"]


def backwards(rows: int, generator: torch.Generator) -> Int[Tensor, "rows 9"]:
    """A start token, four random digits, and the same four in reverse."""
    digits = torch.randint(DIGITS, (rows, TIME // 2), generator=generator)
    return torch.cat([torch.full((rows, 1), DIGITS), digits, digits.flip(1)], dim=1)


def fresh_weights(layers: int, copies: int = 1) -> Weights:
    """Xavier's matrices for three seeds, each several times."""
    shapes = {"tokens": (DIGITS + 1, WIDTH), "positions": (TIME, WIDTH)}
    shapes["head"] = (WIDTH, DIGITS)
    for layer in range(layers):
        shapes[f"query_key_value {layer}"] = (WIDTH, 3 * WIDTH)
        shapes[f"output {layer}"] = (WIDTH, WIDTH)
        shapes[f"expand {layer}"] = (WIDTH, HIDDEN)
        shapes[f"contract {layer}"] = (HIDDEN, WIDTH)
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    weights = {}
    for name, shape in shapes.items():
        spread = math.sqrt(2 / sum(shape))
        drawn = [spread * torch.randn(shape, generator=each) for each in generators]
        weights[name] = torch.stack(drawn).repeat_interleave(copies, 0).requires_grad_()
    return weights


def _norm(stream: Stream) -> Stream:
    return F.layer_norm(stream, stream.shape[-1:])


def _attend(stream: Stream, weights: Weights, layer: int) -> Stream:
    projected = stream @ weights[f"query_key_value {layer}"]
    pattern = "m (r t) (three h k) -> three (m r) h t k"
    query, key, value = rearrange(projected, pattern, t=TIME, three=3, h=HEADS)
    mixed = causal_attention(query, key, value)
    mixed = rearrange(mixed, "(m r) h t k -> m (r t) (h k)", m=len(stream))
    return mixed @ weights[f"output {layer}"]


def _feed(stream: Stream, weights: Weights, layer: int) -> Stream:
    hidden = stream @ weights[f"expand {layer}"]
    return F.gelu(hidden, approximate="tanh") @ weights[f"contract {layer}"]


def scores_of(
    weights: Weights, ids: Int[Tensor, "rows 8"], layers: int, place: str
) -> Float[Tensor, "models positions 10"]:
    """What each model says at each position, with the rows' positions on one axis."""
    stream = weights["tokens"][:, ids] + weights["positions"][:, None]
    stream = stream.flatten(1, 2)  # (models, rows * time, width)
    for layer in range(layers):
        for part in (_attend, _feed):
            if place == "pre":
                stream = stream + part(_norm(stream), weights, layer)
            else:
                stream = _norm(stream + part(stream, weights, layer))
    return _norm(stream) @ weights["head"]


def _losses(
    scores: Float[Tensor, "models positions 10"], targets: Int[Tensor, "rows 8"]
) -> Float[Tensor, " models"]:
    """The loss of each model on the digits that can be known."""
    chosen = targets.flatten()[None, :, None].expand(len(scores), -1, 1)
    given = scores.log_softmax(-1).gather(-1, chosen)
    return -given.view(len(scores), -1, TIME)[:, :, KNOWN].mean(dim=(1, 2))


def train(
    place: Literal["pre", "post"],
    layers: int,
    warmup: int,
    optimizer: type[torch.optim.SGD] | type[torch.optim.Adam],
    lr: float,
    factors: Sequence[float] = (1.0,),
    *,
    steps: int = 150,
) -> tuple[Float[Tensor, "seeds factors"], Float[Tensor, "seeds factors"]]:
    """Train models of three seeds, the loss of each multiplied by each of the factors.

    Args:
        place: Where the normalization stands, before a part or after the addition.
        warmup: Steps over which the learning rate rises to `lr`.

    Returns:
        The mean loss over the last ten steps, and the norm of the gradient at the first
        layer as a share of that at the last, after 20 steps.
    """
    weights = fresh_weights(layers, len(factors))
    generator = torch.Generator().manual_seed(0)
    stepper, history = optimizer(weights.values(), lr=lr), []
    share = torch.full((len(weights["head"]),), math.nan)
    for step in range(steps):
        stepper.param_groups[0]["lr"] = lr * min(1, (step + 1) / (warmup + 1))
        ids = backwards(16, generator)
        losses = _losses(scores_of(weights, ids[:, :-1], layers, place), ids[:, 1:])
        stepper.zero_grad()
        (losses * torch.tensor(factors).repeat(SEEDS)).sum().backward()
        if step == 20:
            ends = (weights[f"contract {n}"].grad for n in (0, layers - 1))
            first, last = (
                end.flatten(1).norm(dim=1) for end in ends if end is not None
            )
            share = first / last
        stepper.step()
        history.append(losses.detach())
    last_losses = torch.stack(history[-10:]).mean(0)
    return last_losses.view(SEEDS, -1), share.view(SEEDS, -1)
