"""Measuring: what a model said of each token, intervals, choices, calibration, copies."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.characters import CharTokenizer
from mini_gpt.checks import evaluation as checks
from mini_gpt.checks.report import hint as give_hint
from mini_gpt.evaluation import (
    CopyFinder,
    Interval,
    Score,
    Scorer,
    bootstrap,
    choose,
    in_blocks,
    predict,
    reliability,
)
from mini_gpt.loss import NGramModel, evaluate
from tiny import tiny_gpt

SPLIT = np.random.default_rng(0).integers(17, size=61)


# What was said of each token


def test_predictions_are_those_of_single_passes() -> None:
    """Windows of 12, a stride of 5: each target by a pass that shows what its window shows."""
    model = tiny_gpt(vocab_size=17, context_length=12).eval()
    said = predict(model, SPLIT, stride=5, batch_size=2)
    assert len(said.nats) == len(SPLIT) - 1
    for target in range(1, len(SPLIT)):
        late = max(0, target - 12)  # windows after the first begin at multiples of 5
        begin = 0 if late == 0 else 5 * math.ceil(late / 5)
        with torch.no_grad():
            logits = model(torch.from_numpy(SPLIT[begin:target])[None])[0, -1]
        shares = logits.softmax(-1)
        assert said.nats[target - 1] == pytest.approx(-shares[SPLIT[target]].log().item(), abs=1e-4)
        assert said.confidence[target - 1] == pytest.approx(shares.max().item(), abs=1e-5)
        assert said.hits[target - 1] == (shares.argmax() == SPLIT[target])


@given(length=st.integers(2, 40), context=st.integers(1, 9), batch_size=st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_side_by_side_it_is_the_loss_of_evaluate(
    length: int, context: int, batch_size: int
) -> None:
    model = tiny_gpt(vocab_size=17, context_length=context)
    said = predict(model, SPLIT[:length], batch_size=batch_size)
    loss = evaluate(model, SPLIT[:length], context_length=context)
    assert said.nats.mean() == pytest.approx(loss, rel=1e-5)


def test_predicting_leaves_the_mode_and_takes_lists() -> None:
    model = tiny_gpt(vocab_size=17, context_length=12, dropout=0.5).train()
    first, again = predict(model, SPLIT.tolist()), predict(model, SPLIT)
    assert np.array_equal(first.nats, again.nats)
    assert model.training


def test_predicting_refuses_what_has_no_answer() -> None:
    model = tiny_gpt(vocab_size=17, context_length=12)
    with pytest.raises(ValueError, match="1 tokens: a prediction needs at least 2"):
        predict(model, SPLIT[:1])
    for stride in (0, 13):
        with pytest.raises(ValueError, match=f"stride {stride} must be from 1 to the context"):
            predict(model, SPLIT, stride=stride)


# Intervals


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        found = bootstrap(random.exponential(3.0, size=60), seed=seed, resamples=200)
        covered += found.low <= 3.0 <= found.high
    assert 0.86 < covered / 200 < 0.99


def test_an_interval_has_the_width_of_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(values, level=0.9)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.645 * values.std() / 20, rel=0.1)
    assert bootstrap(values, level=0.5).high < found.high


def test_parts_count_by_their_size() -> None:
    found = bootstrap([10.0, 2.0], [5.0, 1.0])
    assert found.mean == pytest.approx(2.0)  # and not the mean of 2 and 2, which is the same
    assert bootstrap([9.0, 1.0], [3.0, 1.0]).mean == pytest.approx(2.5)
    assert (found.low, found.high) == (2.0, 2.0)
    assert str(Interval(1.8123, 1.78, 1.836)) == "1.81 (1.78 to 1.84)"
    with pytest.raises(ValueError, match="1 parts: an interval needs at least 2"):
        bootstrap([1.0])


def test_blocks_hold_what_ends_in_them() -> None:
    values, sizes = np.array([1.0, 2.0, 4.0, 8.0]), np.array([3, 2, 5, 1])
    # The tokens end at bytes 3, 5, 10 and 11; blocks of 5 end at 5, 10 and 15.
    sums, counted = in_blocks(values, sizes, 5)
    assert sums.tolist() == [3.0, 4.0, 8.0]
    assert counted.tolist() == [5.0, 5.0, 1.0]


# Questions


@pytest.fixture(params=["gpt", "counts"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    tokenizer = CharTokenizer.train("to be or not to be?")
    if request.param == "gpt":
        return Scorer(tiny_gpt(vocab_size=tokenizer.vocab_size, context_length=8), tokenizer)
    ids = np.array(tokenizer.encode("to be or not to be? to be"))
    return Scorer(NGramModel(ids, tokenizer.vocab_size, 3), tokenizer)


def log_probs(scorer: Scorer, text: str) -> np.ndarray:
    """Of each token but the first, without the scorer."""
    ids = scorer.tokenizer.encode(text)
    if isinstance(scorer.model, NGramModel):
        return scorer.model.log_probs(np.array(ids))
    with torch.no_grad():
        said = scorer.model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return said[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def test_a_score_is_the_surprise_of_the_continuation_alone(scorer: Scorer) -> None:
    score = scorer.score("to b", "e or")
    assert score.nats == pytest.approx(-log_probs(scorer, "to be or")[-4:].sum(), rel=1e-4)
    assert (score.tokens, score.characters) == (4, 4)


def test_a_long_context_is_cut_to_what_the_model_sees(scorer: Scorer) -> None:
    whole, seen = scorer.score("not to be or not", " to"), scorer.score("or not", " to")
    if isinstance(scorer.model, NGramModel):  # it looks two tokens back
        assert whole == seen
    else:
        # 9 tokens are inputs and their last target: 6 of context and 3 of continuation.
        assert whole.nats == pytest.approx(seen.nats, rel=1e-5)
    longer = scorer.score("t", "o be or not to be")  # more than a window
    assert longer.tokens == 17
    assert math.isfinite(longer.nats)


def test_what_would_be_written_is_what_greedy_choice_writes(scorer: Scorer) -> None:
    text = "to b"
    for _ in range(3):
        ids = scorer.tokenizer.encode(text)
        if isinstance(scorer.model, NGramModel):
            best = int(scorer.model.probabilities(ids).argmax())
        else:
            with torch.no_grad():
                best = int(scorer.model(torch.tensor([ids]))[0, -1].argmax())
        text += scorer.tokenizer.decode([best])
    assert scorer.would_write("to b", text[4:])
    other = next(letter for letter in "tobe" if letter != text[-1])
    assert not scorer.would_write("to b", text[4:-1] + other)


def test_nothing_to_go_on_from_and_nothing_to_judge_are_refused(scorer: Scorer) -> None:
    for context, continuation in (("", "to"), ("to", "")):
        with pytest.raises(ValueError, match="give some context"):
            scorer.score(context, continuation)


def test_the_unit_decides() -> None:
    short, long = Score(5.0, 1, 2), Score(9.0, 3, 3)
    assert [choose([short, long], unit) for unit in ("text", "token", "character")] == [0, 1, 0]
    assert choose([short, short]) == 0
    assert long.per("token") == 3.0
    assert short.per("character") == 2.5


# Calibration


def test_bins_hold_what_was_said_and_what_came() -> None:
    confidence = np.array([0.05, 0.5, 0.55, 0.58, 1.0])
    hits = np.array([False, True, False, True, True])
    found = reliability(confidence, hits, bins=10)
    assert found.confidence == pytest.approx([0.05, 1.63 / 3, 1.0])
    assert found.accuracy == pytest.approx([0.0, 2 / 3, 1.0])
    assert found.share == pytest.approx([0.2, 0.6, 0.2])
    assert found.error == pytest.approx(0.2 * 0.05 + 0.6 * (2 / 3 - 1.63 / 3))


def test_who_is_as_right_as_sure_has_no_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(50_000)
    honest = reliability(confidence, random.random(50_000) < confidence)
    boasting = reliability(confidence, random.random(50_000) < confidence**2)
    assert honest.error < 0.01
    assert boasting.error == pytest.approx(1 / 2 - 1 / 3, abs=0.01)


# Copies


def test_runs_are_found_whatever_stands_between_the_words() -> None:
    finder = CopyFinder("To be, or not\nto be: that is the question.")
    assert finder.copied("he said TO BE or not, to be?", 3).tolist() == [
        *(False, False, True, True, True),
        True,
    ]
    assert finder.longest("she is the question, that is the question!") == [
        *("that", "is", "the", "question"),
    ]
    assert finder.longest("nothing here") == []
    assert finder.longest("") == []
    assert finder.copied("to be", 3).tolist() == []
    assert CopyFinder("").longest("to be") == []


def test_apostrophes_belong_to_words() -> None:
    finder = CopyFinder("'Tis true 'tis pity; the king's men, lov'd")
    assert finder.longest("the king s men") == ["the"]
    assert finder.longest("the king's men") == ["the", "king's", "men"]


@given(
    source=st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    text=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30),
    length=st.integers(1, 6),
)
@settings(deadline=None, max_examples=60)
def test_runs_are_those_of_a_set(source: list[str], text: list[str], length: int) -> None:
    def runs(words: list[str], n: int) -> list[tuple[str, ...]]:
        return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]

    finder = CopyFinder(" ".join(source))
    known = set(runs(source, length))
    right = [run in known for run in runs(text, length)]
    assert finder.copied(" ".join(text), length).tolist() == right
    longest = max((n for n in range(1, 31) if set(runs(source, n)) & set(runs(text, n))), default=0)
    assert len(finder.longest(" ".join(text))) == longest


# The exercises


def pick_wrongly(log_probs: list[list[float]], characters: list[int], way: str) -> int:
    return max(range(len(log_probs)), key=lambda place: sum(log_probs[place]))


def luck_one_sided(first: Any, second: Any, flips: Any) -> float:
    differences = first - second
    return float((flips @ differences >= differences.sum()).mean())


@pytest.mark.parametrize(
    ("check", "wrong", "hint"),
    [
        (
            partial(checks.questions_needed),
            lambda p, half: int(1.96**2 * p * (1 - p) / half**2),
            "solve 1.96",
        ),
        (partial(checks.pick), pick_wrongly, "−2 is above −5"),
        (
            partial(checks.best_temperature),
            lambda logits, targets, degrees: 1.0,
            "divide the logits",
        ),
        (partial(checks.luck), luck_one_sided, "2 of 8 rows"),
    ],
    ids=["questions_needed", "pick", "best_temperature", "luck"],
)
def test_a_wrong_answer_is_named(
    check: Any, wrong: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(wrong)
    said = capsys.readouterr().out
    assert said.startswith("not yet: ")
    give_hint()
    assert hint in capsys.readouterr().out
