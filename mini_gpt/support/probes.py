"""What the questions to a model try out: twins, slopes, changed inputs, orders."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

STEP = 1e-7  # by which the loss should change when a parameter is moved
FARTHEST = 1e3  # where a gradient is tiny, a number is moved by no more than 1e-4


Model = TypeVar("Model", bound=nn.Module)


def shaken_twin(model: Model, spread: float = 0.02) -> Model:
    """A copy in evaluation mode with a little noise on every parameter.

    What still multiplies by zero hides leaks and stops gradients; here nothing does.
    """
    twin, generator = copy.deepcopy(model).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(spread * noise.to(parameter))
    return twin


def gradients_of(
    loss: Float[Tensor, ""], parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The gradients of the parameters that get one which is not 0."""
    learning = {name: p for name, p in parameters.items() if p.requires_grad}
    if not (loss.requires_grad and learning):
        return {}
    found = torch.autograd.grad(loss, list(learning.values()), allow_unused=True)
    pairs = zip(learning, found, strict=True)
    return {name: g for name, g in pairs if g is not None and bool(g.any())}


def wrong_slopes(
    loss: Callable[[], Float[Tensor, ""]],
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    tolerance: float,
) -> Iterator[tuple[str, float, float]]:
    """The parameters whose gradient is not the loss's slope: name, slope, promise.

    All of them are moved at once, in a random direction in which each is to change the
    loss about equally. If the loss changes as the gradients say, all are right;
    otherwise each half is asked by itself, and so on down to single parameters.

    Args:
        tolerance: For the slope, relative to the length of the gradient.
    """
    generator = torch.Generator().manual_seed(0)
    scales = {name: min(1 / g.norm().item(), FARTHEST) for name, g in gradients.items()}
    directions = {
        name: scales[name] * torch.randn(g.shape, generator=generator).to(g)
        for name, g in gradients.items()
    }

    @torch.no_grad()
    def moved(names: list[str], by: float) -> None:
        for name in names:
            parameters[name].add_(directions[name], alpha=by)

    def slope(names: list[str]) -> float:
        moved(names, STEP)
        above = loss().item()
        moved(names, -2 * STEP)  # down to the other side
        below = loss().item()
        moved(names, STEP)  # and back
        return (above - below) / (2 * STEP)

    def search(names: list[str]) -> Iterator[tuple[str, float, float]]:
        promised = sum((gradients[n] * directions[n]).sum().item() for n in names)
        measured = slope(names)
        most = max(scales[name] * gradients[name].norm().item() for name in names)
        if abs(measured - promised) <= tolerance * most:
            return
        if len(names) == 1:
            (name,) = names
            yield name, measured / scales[name], promised / scales[name]
            return
        half = len(names) // 2
        yield from search(names[:half])
        yield from search(names[half:])

    if gradients:
        yield from search(list(gradients))


def changed_at(
    example: Shaped[Tensor, "batch time *features"],
    place: int,
    generator: torch.Generator,
) -> Shaped[Tensor, "batch time *features"]:
    """The example with other vectors, or other ids, at one position.

    Raises:
        ValueError: if it holds ids that are all equal: there is no other to put there.
    """
    changed = example.clone()
    if example.is_floating_point():
        noise = torch.randn(changed[:, place].shape, generator=generator)
        changed[:, place] += noise.to(changed)
        return changed
    ids, places = example.unique(return_inverse=True)
    if len(ids) < 2:
        raise ValueError(f"all ids are {ids.tolist()}; give different ones")
    changed[:, place] = ids[(places[:, place] + 1) % len(ids)]  # the next larger id
    return changed


def some_orders(time: int) -> list[Int[Tensor, " time"]]:
    """Orders of positions: two neighbors exchanged, all shifted, reversed, random."""
    places, generator = torch.arange(time), torch.Generator().manual_seed(0)
    orders = [torch.tensor([1, 0, *range(2, time)]), places.roll(1), places.flip(0)]
    return orders + [torch.randperm(time, generator=generator) for _ in range(3)]


def attention_cases() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Queries, keys, values, and what causal attention gives, from exponentials.

    Also with more keys than queries: the last query always sees all keys.
    """
    generator = torch.Generator().manual_seed(0)
    # batch, heads, queries, keys, head width
    cases = (2, 3, 5, 5, 4), (2, 3, 2, 7, 4), (1, 2, 1, 6, 8), (1, 1, 1, 1, 3)
    for batch, heads, queries, keys, head_width in cases:
        query = 2 * torch.randn(batch, heads, queries, head_width, generator=generator)
        key, value = torch.randn(2, batch, heads, keys, head_width, generator=generator)
        visible = torch.ones(queries, keys).tril(keys - queries)
        powers = (query @ key.mT / math.sqrt(head_width)).exp() * visible
        yield query, key, value, powers / powers.sum(-1, keepdim=True) @ value
