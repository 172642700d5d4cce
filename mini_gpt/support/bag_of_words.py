"""Logistic regression on a bag of words: what any classifier of texts has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Labeled = tuple[str, int]  # a text and the number of its class


def word_counts(
    texts: Sequence[str], words: Sequence[str]
) -> Float[Tensor, "texts words"]:
    """How often each of some words stands in each text."""
    places = {word: place for place, word in enumerate(words)}
    counts = torch.zeros(len(texts), len(words))
    for row, text in enumerate(texts):
        for word in text.split():
            if word in places:
                counts[row, places[word]] += 1
    return counts


def logistic_regression(
    features: Float[Tensor, "texts features"],
    labels: Int[Tensor, " texts"],
    decay: float = 0.01,
) -> tuple[Float[Tensor, " features"], Float[Tensor, ""]]:
    """The weights and the bias for two classes, to the end, by L-BFGS.

    Lowers the mean cross-entropy plus `decay` times the squared length of the weights.
    """
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, line_search_fn="strong_wolfe"
    )

    def lowered() -> Tensor:
        optimizer.zero_grad()
        scores = features @ weight + bias
        loss = F.binary_cross_entropy_with_logits(scores, labels.float())
        loss = loss + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(lowered)
    return weight.detach(), bias.detach()


def bag_of_words(training: Sequence[Labeled], test: Sequence[Labeled]) -> float:
    """How many of the test's texts logistic regression on word counts gets right."""
    words = sorted({word for text, _ in training for word in text.split()})
    texts, labels = zip(*training, strict=True)
    fitted = logistic_regression(word_counts(texts, words), torch.tensor(labels))
    texts, labels = zip(*test, strict=True)
    scores = word_counts(texts, words) @ fitted[0] + fitted[1]
    return float(((scores > 0).long() == torch.tensor(labels)).float().mean())
