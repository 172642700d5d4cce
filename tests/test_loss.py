"""The loss: nats and bits per byte, and a split that is measured as a whole."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mini_gpt.checks import loss as checks
from mini_gpt.loss import (
    IGNORE_INDEX,
    NGramModel,
    bits_per_byte,
    evaluate,
    linear_cross_entropy,
    next_token_loss,
)
from mini_gpt.support.compressors import adaptive_loss, file_loss
from shapes import without_shape_checks
from tiny import tiny_gpt

SPLIT = np.random.default_rng(0).integers(17, size=250).astype(np.uint8)


# A batch


def test_loss_is_the_mean_surprisal() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, generator=generator)
    targets = torch.randint(5, (2, 3), generator=generator)
    surprisals = [
        -math.log(logits[row, time].softmax(0)[targets[row, time]])
        for row in range(2)
        for time in range(3)
    ]
    assert next_token_loss(logits, targets).item() == pytest.approx(sum(surprisals) / 6, rel=1e-5)
    total = next_token_loss(logits, targets, reduction="sum").item()
    assert total == pytest.approx(sum(surprisals), rel=1e-5)
    targets[1] = IGNORE_INDEX
    mean = next_token_loss(logits, targets).item()
    assert mean == pytest.approx(sum(surprisals[:3]) / 3, rel=1e-5)


@given(vocab_size=st.integers(2, 300), time=st.integers(1, 7))
@settings(deadline=None, max_examples=20)
def test_a_uniform_guess_loses_the_logarithm_of_the_vocabulary(vocab_size: int, time: int) -> None:
    targets = torch.arange(time)[None] % vocab_size
    loss = next_token_loss(torch.zeros(1, time, vocab_size), targets)
    assert loss.item() == pytest.approx(math.log(vocab_size), rel=1e-5)


# Bits per byte


def test_bits_per_byte_of_known_texts() -> None:
    assert bits_per_byte(math.log(2), tokens=10, utf8_bytes=10) == pytest.approx(1)
    assert bits_per_byte(math.log(256), tokens=10, utf8_bytes=10) == pytest.approx(8)
    assert bits_per_byte(math.log(256), tokens=5, utf8_bytes=20) == pytest.approx(2)


def test_bits_per_byte_needs_a_text() -> None:
    with pytest.raises(ValueError, match="utf8_bytes 0"):
        bits_per_byte(1.0, 3, 0)


# The n-gram model


def chance_by_hand(tokens: list[int], vocab_size: int, context: list[int], token: int) -> float:
    """Witten and Bell's blend, with dictionaries; as long a context as is given."""
    chance = 1 / vocab_size
    for length in range(len(context) + 1):
        followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for end in range(length, len(tokens)):
            followers[tuple(tokens[end - length : end])][tokens[end]] += 1
        after = followers[tuple(context[len(context) - length :])]
        if after:
            kinds = len(after)
            chance = (after[token] + kinds * chance) / (after.total() + kinds)
    return chance


@given(
    tokens=st.lists(st.integers(0, 4), min_size=4, max_size=40),
    text=st.lists(st.integers(0, 6), min_size=2, max_size=12),
    order=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_ngrams_are_what_counting_by_hand_gives(
    tokens: list[int], text: list[int], order: int
) -> None:
    """Ids 5 and 6 occur in no training text; they are improbable and not impossible."""
    model = NGramModel(np.array(tokens), 7, order)
    found = model.log_probs(np.array(text, dtype=np.uint16))
    for place in range(1, len(text)):
        context = text[max(0, place - order + 1) : place]
        every = [chance_by_hand(tokens, 7, context, token) for token in range(7)]
        assert sum(every) == pytest.approx(1)
        assert found[place - 1] == pytest.approx(math.log(every[text[place]]))
        after = model.probabilities(np.array(text[:place], dtype=np.uint16))
        assert after.tolist() == pytest.approx(every)
    assert model.loss(np.array(text)) == pytest.approx(-found.mean())
    assert model.probabilities([]).sum() == pytest.approx(1)


def test_ngrams_learn_what_repeats() -> None:
    tokens = np.tile(np.array([3, 1, 4, 1, 5]), 50)
    one, two, three = (NGramModel(tokens, 6, order).loss(tokens) for order in (1, 2, 3))
    assert one > two > three
    assert three < 0.05  # two tokens of context say all


@pytest.mark.slow
def test_ngrams_write_as_they_predict() -> None:
    model = NGramModel(SPLIT, 17, 2)
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(model.sample([3, 5], 1, generator)[-1] for _ in range(4000))
    expected = model.probabilities([5])
    for token in range(17):
        assert drawn[token] / 4000 == pytest.approx(expected[token].item(), abs=0.04)
    texts = [model.sample([3], 9, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0][0] == 3
    assert len(texts[0]) == 10
    assert model.sample([], 4, generator) != []  # a text may begin with nothing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NGramModel(SPLIT, 17, 0), "order 0 must be from 1 to 250"),
        (lambda: NGramModel(SPLIT[:3], 17, 4), "order 4 must be from 1 to 3"),
        (lambda: NGramModel(SPLIT, 17, 16), "order 16 is too long for 17 tokens"),
        (lambda: NGramModel(SPLIT, 16, 2), "ids must be from 0 to 15"),
        (lambda: NGramModel(SPLIT, 17, 2).loss(SPLIT[:1]), "1 tokens"),
        (lambda: NGramModel(SPLIT, 17, 2).log_probs(np.array([1, 17])), "from 0 to 16"),
        (lambda: NGramModel(SPLIT, 17, 2).probabilities(np.array([-1])), "from 0 to 16"),
    ],
)
def test_ngrams_refuse_what_they_cannot_count(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Opponents


def test_adaptive_loss_counts_what_came_before_each_token() -> None:
    tokens = SPLIT[:60] % 5
    nats = [
        -math.log(chance_by_hand(part[:-1], 5, part[-3:-1], part[-1]))
        for part in (tokens[: end + 1].tolist() for end in range(40, 60))
    ]
    found = adaptive_loss(tokens, 40, 5, order=3)
    assert found == pytest.approx(sum(nats) / 20)


@pytest.mark.parametrize("program", ["bzip2", "xz"])
def test_a_file_that_repeats_what_was_read_costs_little(program: str) -> None:
    text = "".join(map(chr, 97 + np.random.default_rng(0).integers(26, size=4000)))
    alone, after = file_loss(program, text), file_loss(program, text, read_first=text)
    assert alone > math.log(26)  # nothing can be gained on random letters
    assert after < alone / 2


# A batch whose logits are never all there


def head(rows: int = 17, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """A stream and a table, both with gradients, and targets, some of which do not count."""
    generator = torch.Generator().manual_seed(3)
    stream = torch.randn(3, 7, 12, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(rows, 12, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(17, (3, 7), generator=generator)
    targets[0, :2] = targets[2, 5] = IGNORE_INDEX
    return stream, table, targets


def with_gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    """The loss and its gradients, as a mean would give them: the factor reaches them too."""
    return [loss.detach(), *torch.autograd.grad(loss / 18, inputs)]


@pytest.mark.parametrize("rows", [17, 24])
@pytest.mark.parametrize("at_once", [1, 24, 100, 300, 10**9])
def test_a_loss_in_parts_is_the_plain_loss_with_its_gradient(rows: int, at_once: int) -> None:
    stream, table, targets = head(rows, torch.float64)
    logits = (stream @ table.T)[..., :17]
    expected = with_gradients(next_token_loss(logits, targets, "sum"), stream, table)
    loss = linear_cross_entropy(stream, table, targets, 17, at_once=at_once)
    for mine, plain in zip(with_gradients(loss, stream, table), expected, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-12, atol=1e-12)
    assert not expected[2][17:].any()  # what stands in the padding would be a mistake


def test_a_loss_in_parts_is_the_plain_loss_in_single_precision() -> None:
    stream, table, targets = head(24)
    losses = [linear_cross_entropy(stream, table, targets, 17, at_once=n) for n in (9999, 60)]
    both = [with_gradients(loss, stream, table) for loss in losses]
    assert losses[0].grad_fn.name() != losses[1].grad_fn.name()
    for mine, plain in zip(*both, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-5)


def test_a_loss_in_parts_of_nothing_that_counts_is_zero() -> None:
    stream, table, _ = head()
    targets = torch.full((3, 7), IGNORE_INDEX)
    loss = linear_cross_entropy(stream, table, targets, 17, at_once=30)
    assert [found.abs().max().item() for found in with_gradients(loss, stream, table)] == [0, 0, 0]


def test_a_loss_in_parts_holds_no_more_logits_than_it_is_told() -> None:
    stream, table, targets = head(24)
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            result = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (result,) if isinstance(t, Tensor))
            return result

    with Watch():
        linear_cross_entropy(stream, table, targets, 17, at_once=300).backward()
    assert max(sizes) == 12 * 24  # the table's gradient; all logits are 21 * 24
    assert {10 * 24, 11 * 24} < set(sizes)  # two parts


def test_a_loss_in_parts_under_autocast_is_close_and_exact_where_it_sums() -> None:
    stream, table, targets = head(24)
    exact = with_gradients(linear_cross_entropy(stream, table, targets, 17), stream, table)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(stream, table, targets, 17, at_once=60)
    coarse = with_gradients(loss, stream, table)
    assert loss.dtype == torch.float32
    assert [g.dtype for g in coarse] == [torch.float32] * 3
    assert loss.item() == pytest.approx(exact[0].item(), rel=0.01)
    for mine, other in zip(coarse[1:], exact[1:], strict=True):
        assert F.cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("coarse", [False, True])
def test_a_model_and_its_loss_in_parts_compile_into_one_graph(
    coarse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts = partial(linear_cross_entropy, at_once=60)
    monkeypatch.setattr("mini_gpt.model.linear_cross_entropy", in_parts)
    ids = torch.randint(17, (3, 8), generator=torch.Generator().manual_seed(1))
    found = []
    for backend in (None, "aot_eager"):
        model = tiny_gpt(pad_vocab_to_multiple=8)
        run = model if backend is None else torch.compile(model, backend=backend, fullgraph=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=coarse), without_shape_checks():
            loss = run(ids[:, :-1], targets=ids[:, 1:])
        loss.backward()
        found.append([loss, *(p.grad for p in model.parameters())])
    for mine, compiled in zip(*found, strict=True):
        torch.testing.assert_close(mine, compiled, rtol=1e-2 if coarse else 1e-5, atol=1e-4)


# A whole split


@given(tokens=st.integers(2, 60), batch_size=st.integers(1, 5), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=25)
def test_evaluation_counts_every_token_once(tokens: int, batch_size: int, seed: int) -> None:
    model, split = tiny_gpt(seed, dropout=0.5), SPLIT[:tokens]
    nats = 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, tokens - 1, 6):
            window = torch.from_numpy(split[start : start + 7].astype(np.int64))[None]
            logits = model(window[:, :-1]).log_softmax(-1)
            nats -= logits.gather(2, window[:, 1:, None]).sum().item()
    model.train()
    found = evaluate(model, split, context_length=6, batch_size=batch_size)
    assert found == pytest.approx(nats / (tokens - 1), rel=1e-4)
    assert model.training


def test_evaluation_is_deterministic_and_leaves_the_weights() -> None:
    model = tiny_gpt(dropout=0.5)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    losses = {evaluate(model, SPLIT, context_length=6) for _ in range(3)}
    assert len(losses) == 1
    assert torch.equal(before, nn.utils.parameters_to_vector(model.parameters()))


def test_evaluation_needs_two_tokens() -> None:
    with pytest.raises(ValueError, match="1 tokens"):
        evaluate(tiny_gpt(), SPLIT[:1], context_length=6)


def test_evaluation_computes_in_the_format_that_it_is_told() -> None:
    formats = []
    model = tiny_gpt()
    model.register_forward_hook(lambda _, __, logits: formats.append(logits.dtype))
    exact = evaluate(model, SPLIT, context_length=6)
    coarse = evaluate(model, SPLIT, context_length=6, precision="bfloat16")
    assert coarse == pytest.approx(exact, abs=0.02)
    assert set(formats) == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize(("rank", "batches", "shown"), [(0, [0, 2], [0, 2]), (1, [1], [1, 2])])
def test_processes_share_the_batches_of_an_evaluation(
    rank: int, batches: list[int], shown: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each counts its own batches and sees as many; the sum over all is asked for once."""
    monkeypatch.setattr("mini_gpt.support.distributed.world_size", lambda: 2)
    monkeypatch.setattr("mini_gpt.support.distributed.rank", lambda: rank)
    monkeypatch.setattr("mini_gpt.loss.all_reduce_sum", lambda total: total + 1000)
    split, model, seen = SPLIT[:31], tiny_gpt(), []  # batches of 2 windows of 6, and one of 1
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten().tolist()))
    found = evaluate(model, split, context_length=6, batch_size=2, share=True)
    assert seen == [split[12 * n : min(12 * n + 12, 30)].tolist() for n in shown]
    own = sum(
        next_token_loss(
            model(
                torch.tensor(split[12 * n : min(12 * n + 12, 30)].astype(np.int64).reshape(-1, 6))
            ),
            torch.tensor(split[12 * n + 1 : min(12 * n + 13, 31)].astype(np.int64).reshape(-1, 6)),
            "sum",
        ).item()
        for n in batches
    )
    assert found == pytest.approx((own + 1000) / 30, rel=1e-5)


# The exercises' checks


class Discounted:
    """Absolute discounting, in a loop instead of a recursion."""

    taken = 0.75

    def __init__(self, text: str, alphabet: str, n: int) -> None:
        self.text, self.alphabet, self.n = text, alphabet, n

    def chance(self, context: str, letter: str) -> float:
        chance = 1 / len(self.alphabet)
        for length in range(min(self.n - 1, len(context)) + 1):
            last = context[len(context) - length :]
            ends = range(length, len(self.text))
            after = Counter(self.text[e] for e in ends if self.text[e - length : e] == last)
            if after:
                kept = max(after[letter] - self.taken, 0)
                chance = (kept + self.taken * len(after) * chance) / after.total()
        return chance


class Undiscounted(Discounted):
    """Nothing is taken away, so that what never came is impossible."""

    taken = 0.0


def in_two_steps(logits: Tensor, targets: Tensor) -> Tensor:
    """Right for small logits, and none for large ones."""
    exponentials = logits.exp()
    shares = exponentials / exponentials.sum(1, keepdim=True)
    return -shares[torch.arange(len(targets)), targets].log().mean()


@pytest.mark.parametrize(
    ("check", "answer", "verdict"),
    [
        (checks.word_perplexity, lambda *_: None, "not yet: for 1.5 nats per token, 7"),
        (
            checks.word_perplexity,
            lambda nats, tokens, words: math.exp(nats) * tokens / words,
            "not yet: for 1.0 nats per token, 12",
        ),
        (
            checks.word_perplexity,
            lambda nats, tokens, words: math.exp(nats * tokens / words),
            "correct: ",
        ),
        (checks.draw, lambda *_: None, "not yet: for the point 0.3"),
        (
            checks.draw,
            lambda chances, point: int((chances.cumsum(0) < point).sum()),
            "not yet: for the point 0.25",
        ),
        (
            checks.draw,
            lambda chances, point: int((chances.cumsum(0) <= point).sum()),
            "correct: ",
        ),
        (checks.discount_model, Undiscounted, "not yet: for n = 2, 't' after 'o'"),
        (checks.discount_model, Discounted, "correct: "),
        (
            checks.cross_entropy,
            lambda logits, targets: None,
            "not yet: for one row nothing comes back",
        ),
        (
            checks.cross_entropy,
            lambda logits, targets: F.cross_entropy(logits, targets, reduction="sum"),
            "not yet: for two rows",
        ),
        (checks.cross_entropy, in_two_steps, "not yet: for logits of 2,000"),
        (
            checks.cross_entropy,
            lambda logits, targets: in_two_steps(logits - logits.max(1, True).values, targets),
            "not yet: for logits of 2,000 and an unlikely token",
        ),
        (
            checks.cross_entropy,
            lambda logits, targets: F.cross_entropy(logits, targets.clamp(0)),
            "not yet: for a target of -100",
        ),
        (checks.cross_entropy, F.cross_entropy, "correct: "),
    ],
)
def test_check_tells_right_from_wrong(
    check: Callable[[Any], None],
    answer: Callable[..., Any],
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(answer)
    assert capsys.readouterr().out.startswith(verdict)
