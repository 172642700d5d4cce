"""The ladder: what many ways of prediction make of the same text, in bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from mini_gpt.characters import Tokenizer
from mini_gpt.evaluation import Interval, bootstrap, in_blocks, predict
from mini_gpt.loss import NGramModel
from mini_gpt.model import GPT
from mini_gpt.support.compressors import PROGRAMS, adaptive_losses, file_loss
from mini_gpt.support.text_bytes import count_text_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK = 1000  # bytes of text that are drawn together for an interval
ORDERS = (1, 2, 3, 6)  # runs of bytes that are counted; 6 is the best of them
LONGEST = 6  # run that the PPM-like model counts


# The four plays of the held-out tenth of our corpus, and where the exam's part of each
# begins: one that is cut in two, and three whole ones.
PLAYS = {
    "Troilus and Cressida": 0,
    "Twelfth Night": 137_218,
    "Two Gentlemen": 252_092,
    "Winter's Tale": 353_077,
}
PART = 30_000  # characters of each


def exam_of(unseen: str) -> str:
    """The text that the chapter on evaluation measures on: a part of each play.

    Args:
        unseen: The last tenth of the corpus, as `train_val_split` cuts it off.
    """
    return "".join(unseen[start : start + PART] for start in PLAYS.values())


class Rung(NamedTuple):
    """What one way of prediction makes of a text.

    Attributes:
        name: What to call it.
        alone: Bits per byte without any other text; None where it cannot do without.
        taught: Bits per byte after the training text; None where there is none.
        interval: Of the one that it is ranked by; None where a size comes as a whole.
    """

    name: str
    alone: float | None
    taught: float | None
    interval: Interval | None

    @property
    def best(self) -> float:
        """What it is ranked by: with the training text, where it has read it."""
        best = self.alone if self.taught is None else self.taught
        assert best is not None  # each rung has one of the two
        return best


def bits_in_blocks(
    model: GPT | NGramModel, tokenizer: Tokenizer, text: str
) -> tuple[Float[np.ndarray, " blocks"], Float[np.ndarray, " blocks"]]:
    """The bits of a text in blocks of 1,000 bytes, and the bytes that they are for.

    The first token is not predicted, so its bytes count for nothing.
    """
    ids = np.array(tokenizer.encode(text))
    sizes = byte_sizes(tokenizer, ids)
    if isinstance(model, NGramModel):
        nats = -model.log_probs(ids)
    else:
        nats = predict(model, ids).nats
    bits, counted = in_blocks(np.append(0, nats) / math.log(2), sizes, BLOCK)
    counted[0] -= sizes[0]
    return bits, counted


def byte_sizes(
    tokenizer: Tokenizer, ids: Integer[np.ndarray, " tokens"]
) -> Int[np.ndarray, " tokens"]:
    """How many bytes of text each token stands for."""
    known = {int(id): count_text_bytes(tokenizer, [id]) for id in np.unique(ids)}
    return np.array([known[int(id)] for id in ids])


def _of_bytes(
    nats: Float[np.ndarray, " bytes"],
) -> tuple[float, Interval | None]:
    """Bits per byte of single bytes, with an interval where there are blocks enough."""
    sums, sizes = in_blocks(nats / math.log(2), np.ones(len(nats), np.int64), BLOCK)
    return float(sums.sum() / sizes.sum()), _interval(sums, sizes)


def _interval(
    bits: Float[np.ndarray, " blocks"], sizes: Float[np.ndarray, " blocks"]
) -> Interval | None:
    return bootstrap(bits, sizes) if len(bits) > 1 else None


def climb(
    text: str,
    training: str | None,
    models: Mapping[str, tuple[GPT | NGramModel, Tokenizer]],
) -> Iterator[Rung]:
    """Measure a text in every way, one after another: the cheap ones first.

    Args:
        training: What the others may read first; None if it is not known.
        models: Language models by their names, each with its tokenizer; they have
            been trained already.
    """
    data = _bytes(text)
    yield Rung("uniform", 8.0, None, None)
    if training:
        known = _bytes(training)
        for order in ORDERS:
            name = "unigram" if order == 1 else f"{order}-gram of bytes"
            counting = NGramModel(known, 256, order)
            # The first byte is predicted from the training text's last ones.
            after = np.concatenate([known[-order:], data])
            nats = -counting.log_probs(after)[-len(data) :]
            yield Rung(name, None, *_of_bytes(nats))
    for program in PROGRAMS:
        alone, taught = (
            file_loss(program, text, before) * len(text) / (math.log(2) * len(data))
            if before is not None
            else None
            for before in ("", training)
        )
        yield Rung(program, alone, taught, None)
    alone, interval = _of_bytes(adaptive_losses(data, 256, LONGEST))
    taught = None
    if training:
        both = np.concatenate([known, data])
        losses = adaptive_losses(both, 256, LONGEST)[len(known) :]
        taught, interval = _of_bytes(losses)
    yield Rung("PPM's idea", alone, taught, interval)
    for name, (model, tokenizer) in models.items():
        yield rung_of(name, *bits_in_blocks(model, tokenizer, text))


def rung_of(
    name: str, bits: Float[np.ndarray, " blocks"], sizes: Float[np.ndarray, " blocks"]
) -> Rung:
    """The rung of a trained model, from its bits in blocks and their bytes."""
    mean = float(bits.sum() / sizes.sum())
    return Rung(name, None, mean, _interval(bits, sizes))


def _bytes(text: str) -> Int[np.ndarray, " bytes"]:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


def row(rung: Rung) -> str:
    """A line of the ladder's table."""
    alone, taught = (
        "" if value is None else f"{value:.2f}" for value in (rung.alone, rung.taught)
    )
    found = rung.interval
    between = f"{found.low:.2f} to {found.high:.2f}" if found else ""
    return f"{rung.name:<18}{alone:>7}{taught:>9}   {between}".rstrip()


HEADING = f"{'':<18}{'alone':>7}{'taught':>9}   95% interval"


def draw_ladder(axes: Axes, rungs: list[Rung]) -> None:
    """Draw rungs as bars, the worst on top; a paler bar is what it reaches alone."""
    from mini_gpt.support.figures import BLACK, BLUE, SKY

    ordered = sorted(rungs, key=lambda rung: -rung.best)
    for place, rung in enumerate(ordered):
        if rung.alone is not None and rung.taught is not None:
            axes.barh(
                place, rung.alone, 0.62, color=SKY, hatch="///", edgecolor="white"
            )
        axes.barh(place, rung.best, 0.62, color=BLUE)
        if rung.interval:
            ends = rung.interval.low, rung.interval.high
            axes.plot(ends, (place, place), color=BLACK, ls="-", lw=2)
        end = max(rung.alone or 0, rung.interval.high if rung.interval else rung.best)
        axes.text(end + 0.08, place, f"{rung.best:.2f}", va="center", fontsize=9)
    axes.set_yticks(range(len(ordered)), [rung.name for rung in ordered])
    axes.invert_yaxis()
    axes.set(xlabel="bits per byte", xlim=(0, 8.8))
