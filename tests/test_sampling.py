"""Choosing a token: each rule, the draw, and many choices against their distribution."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor, TypicalLogitsWarper

import mini_gpt.sampling as sampling
from mini_gpt import checks
from mini_gpt.sampling import (
    SampleConfig,
    choose_tokens,
    min_p,
    multinomial,
    process_logits,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
    typical_p,
)
from writing import chi_square, limit, seeded

few = settings(deadline=None, max_examples=30)


def unchecked_config(**changes: Any) -> SampleConfig:
    """A configuration as a user makes it: without the checks of types that tests switch on."""
    config = object.__new__(SampleConfig)
    for name, value in {**vars(SampleConfig()), **changes}.items():
        object.__setattr__(config, name, value)
    config.__post_init__()
    return config


class TestSamplers:
    LOGITS = torch.tensor([0.5, -1.0, 3.0, 2.5, -7.0, 0.5, 1.0])

    def test_temperature(self) -> None:
        found = temperature(self.LOGITS, 2.0).softmax(-1)
        expected = self.LOGITS.softmax(-1).sqrt()
        torch.testing.assert_close(found, expected / expected.sum())

    @pytest.mark.parametrize("degree", [0.0, -1.0, math.nan])
    def test_temperature_must_be_above_0(self, degree: float) -> None:
        with pytest.raises(ValueError, match=f"temperature {degree} must be above 0"):
            temperature(self.LOGITS, degree)

    def test_top_k(self) -> None:
        assert top_k(self.LOGITS, 2).tolist() == [*[-math.inf] * 2, 3.0, 2.5, *[-math.inf] * 3]

    @few
    @given(st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.integers(1, 12))
    def test_top_k_keeps_exactly_k_of_the_highest(self, values: list[int], k: int) -> None:
        logits = torch.tensor(values).float()
        found = top_k(logits, k)
        kept = found > -math.inf
        assert kept.sum() == min(k, len(values))
        assert torch.equal(found[kept], logits[kept])
        if not kept.all():
            assert logits[kept].min() >= logits[~kept].max()

    def test_top_p(self) -> None:
        logits = torch.tensor([0.125, 0.5, 0.125, 0.25]).log()
        for p, kept in ((0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.999, 4), (1.0, 4)):
            found = top_p(logits, p)
            assert (found > -math.inf).sum() == kept, p
            assert torch.equal(found[1], logits[1])

    @few
    @given(
        st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9),
        st.floats(0.001, 1, exclude_max=True),
    )
    def test_top_p_keeps_no_more_than_it_needs(self, values: list[float], p: float) -> None:
        logits = torch.tensor(values)
        probabilities = logits.double().softmax(-1)
        kept = top_p(logits, p) > -math.inf
        assert probabilities[kept].sum() >= p - 1e-9
        assert probabilities[kept].sum() - probabilities[kept].min() < p + 1e-9
        if not kept.all():
            assert logits[kept].min() >= logits[~kept].max()

    def test_top_p_of_1_keeps_even_what_rounding_would_lose(self) -> None:
        logits = torch.tensor([60.0, 0.0, -60.0])
        assert torch.equal(top_p(logits, 1.0), logits)

    def test_min_p(self) -> None:
        logits = torch.tensor([0.4, 0.2, 0.19, 0.1, 0.11]).log()
        assert (min_p(logits, 0.49) > -math.inf).tolist() == [True, True, False, False, False]
        assert (min_p(logits, 1.0) > -math.inf).tolist() == [True, *[False] * 4]
        assert (min_p(logits, 1e-6) > -math.inf).all()

    @pytest.mark.parametrize("p", [0.0, -0.1, 1.1, math.nan])
    def test_shares_must_be_shares(self, p: float) -> None:
        for rule in (top_p, min_p, typical_p):
            with pytest.raises(
                ValueError, match=rf"{rule.__name__} {p} must be above 0 and at most 1"
            ):
                rule(self.LOGITS, p)

    def test_typical_as_transformers(self) -> None:
        logits = torch.randn(50, 31, generator=seeded()) * 3
        for p in (0.05, 0.4, 0.9):
            expected = TypicalLogitsWarper(p)(torch.zeros(50, 1, dtype=torch.long), logits)
            assert torch.equal(typical_p(logits, p), expected)

    def test_typical_may_cut_the_likeliest(self) -> None:
        logits = torch.tensor([0.3, *[0.1] * 7]).log()
        assert (typical_p(logits, 0.65) > -math.inf).tolist() == [False, *[True] * 7]
        assert (typical_p(logits, 0.95) > -math.inf).all()

    def test_a_penalty_as_transformers_and_never_a_reward(self) -> None:
        logits = torch.randn(50, 31, generator=seeded()) * 3
        ids = torch.randint(31, (50, 9), generator=seeded(1))
        seen = torch.zeros(50, 31, dtype=torch.bool).scatter(1, ids, True)
        found = repetition_penalty(logits, seen, 1.3)
        torch.testing.assert_close(found, RepetitionPenaltyLogitsProcessor(1.3)(ids, logits))
        assert (logits[seen] < 0).any()
        assert (found[seen] < logits[seen]).all()
        assert torch.equal(found[~seen], logits[~seen])
        with pytest.raises(ValueError, match=r"repetition_penalty 0\.5 must be at least 1"):
            repetition_penalty(logits, seen, 0.5)

    @pytest.mark.parametrize("rule", [top_p, min_p, typical_p])
    def test_a_filter_that_would_leave_nothing_keeps_the_best(self, rule: Any) -> None:
        for logits in (self.LOGITS, torch.zeros(7), torch.tensor([-math.inf, 0.0, -math.inf])):
            share = 1.0 if rule is min_p else 1e-12
            kept = rule(logits, share) > -math.inf
            assert kept.sum() == 1 or (rule is min_p and len(set(logits.tolist())) == 1)
            if rule is not typical_p:
                assert kept[logits.argmax()]
            assert (logits[kept] > -math.inf).all()

    def test_k_must_be_at_least_1(self) -> None:
        with pytest.raises(ValueError, match="top_k 0 must be at least 1"):
            top_k(self.LOGITS, 0)

    @pytest.mark.parametrize(
        "rule",
        [
            lambda logits: temperature(logits, 0.7),
            lambda logits: top_k(logits, 3),
            lambda logits: top_p(logits, 0.8),
            lambda logits: min_p(logits, 0.2),
            lambda logits: typical_p(logits, 0.7),
        ],
        ids=["temperature", "top_k", "top_p", "min_p", "typical_p"],
    )
    def test_rows_are_treated_one_by_one(self, rule: Callable[[Tensor], Tensor]) -> None:
        logits = torch.randn(2, 3, 7, generator=seeded())
        before = logits.clone()
        found = rule(logits)
        assert torch.equal(logits, before)
        for i in range(2):
            for j in range(3):
                assert torch.equal(found[i, j], rule(logits[i, j]))


class TestChoice:
    LOGITS = torch.tensor([0.5, -1.0, 3.0, 2.5, -7.0, 0.4, 1.0, 2.0, 1.5, -0.5, 0.0])

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("settings", "rule"),
        [
            ({"temperature": 1.0}, lambda x: x),
            ({"temperature": 0.6}, lambda x: temperature(x, 0.6)),
            ({"temperature": 1.9}, lambda x: temperature(x, 1.9)),
            ({"temperature": 1.0, "top_k": 4}, lambda x: top_k(x, 4)),
            ({"temperature": 1.0, "top_k": 99}, lambda x: x),
            ({"temperature": 1.0, "top_p": 0.85}, lambda x: top_p(x, 0.85)),
            ({"temperature": 1.0, "min_p": 0.15}, lambda x: min_p(x, 0.15)),
            ({"temperature": 1.0, "typical_p": 0.6}, lambda x: typical_p(x, 0.6)),
            (
                {"temperature": 1.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1},
                lambda x: min_p(top_p(top_k(temperature(x, 1.5), 7), 0.9), 0.1),
            ),
        ],
    )
    def test_follows_the_distribution(
        self, settings: dict[str, Any], rule: Callable[[Tensor], Tensor]
    ) -> None:
        config, generator = SampleConfig(**settings), seeded(3)
        drawn = [choose_tokens(self.LOGITS[None], config, [generator])[0] for _ in range(4000)]
        probabilities = rule(self.LOGITS).softmax(-1)
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        freedom = int((probabilities > 0).sum()) - 1
        assert chi_square(observed, probabilities) < limit(freedom)

    @pytest.mark.slow
    def test_a_penalized_choice_follows_its_distribution(self) -> None:
        config, generator = SampleConfig(temperature=0.9, repetition_penalty=1.6), seeded(3)
        text = [[2, 3, 3, 9, 1]]
        drawn = [
            choose_tokens(self.LOGITS[None], config, [generator], text)[0] for _ in range(4000)
        ]
        seen = torch.zeros(11, dtype=torch.bool)
        seen[text[0]] = True
        probabilities = (repetition_penalty(self.LOGITS, seen, 1.6) / 0.9).softmax(-1)
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        assert chi_square(observed, probabilities) < limit(10)
        assert chi_square(observed, (self.LOGITS / 0.9).softmax(-1)) > limit(10)

    @pytest.mark.slow
    def test_the_test_can_fail(self) -> None:
        config, generator = SampleConfig(temperature=1.2), seeded(3)
        drawn = [choose_tokens(self.LOGITS[None], config, [generator])[0] for _ in range(4000)]
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        assert chi_square(observed, self.LOGITS.softmax(-1)) > limit(10)

    def test_neighboring_seeds_are_independent(self) -> None:
        rows = self.LOGITS.expand(4000, -1)
        observed = torch.bincount(
            torch.tensor(multinomial(rows, [seeded(seed) for seed in range(4000)])), minlength=11
        )
        assert chi_square(observed, self.LOGITS.softmax(-1)) < limit(10)

    def test_each_row_has_its_own_randomness(self) -> None:
        rows = torch.randn(5, 11, generator=seeded())
        config = SampleConfig(temperature=1.2, top_p=0.9)
        together = choose_tokens(rows, config, [seeded(seed) for seed in range(5)])
        alone = [choose_tokens(rows[i : i + 1], config, [seeded(i)])[0] for i in range(5)]
        assert together == alone

    @pytest.mark.parametrize("degree", [0.0, 1.5])
    def test_many_rows_of_a_large_vocabulary_are_chosen_as_alone(self, degree: float) -> None:
        logits, rows = torch.randn(7, 30_000, generator=seeded(4)), range(7)
        logits[:, 0] = 6.0  # the best of most rows, until the penalty
        config = SampleConfig(temperature=degree, repetition_penalty=3.0)
        seen = [[row, 0] if row % 2 else [row + 8] for row in rows]
        together = choose_tokens(logits, config, [seeded(row) for row in rows], seen)
        alone = [choose_tokens(logits[[r]], config, [seeded(r)], [seen[r]])[0] for r in rows]
        assert together == alone
        assert len(set(together)) > 3

    def test_temperature_0_is_greedy_and_needs_no_randomness(self) -> None:
        generator = seeded()
        before = generator.get_state()
        config = SampleConfig(temperature=0.0, top_k=5)
        assert choose_tokens(torch.stack([self.LOGITS, -self.LOGITS]), config, [generator] * 2) == [
            2,
            4,
        ]
        assert torch.equal(generator.get_state(), before)

    @pytest.mark.parametrize("degree", [1e-30, 1e-320, 1e30])
    def test_extreme_temperatures_stay_finite(self, degree: float) -> None:
        (id,) = choose_tokens(
            1000 * self.LOGITS[None], SampleConfig(temperature=degree), [seeded()]
        )
        assert id == 2 or degree > 1

    def test_what_is_impossible_is_never_drawn(self) -> None:
        logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]])
        generator = seeded()
        assert {multinomial(logits, [generator])[0] for _ in range(500)} == {1, 3}

    @pytest.mark.parametrize("dart", [0.0, 1 - 2**-53])
    def test_the_outermost_darts_hit(self, dart: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            torch, "rand", lambda *_, **__: torch.tensor([dart], dtype=torch.float64)
        )
        for weights in ([0.0, 0.3, 0.7, 0.0], [0.0, 1.0, 1e-12, 0.0], [0.0, *[1 / 3] * 3, 0.0]):
            (id,) = multinomial(torch.tensor([weights]).log(), [seeded()])
            assert weights[id] > 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_scores_that_are_no_numbers_are_an_error(self, bad: float) -> None:
        logits = torch.stack([self.LOGITS, self.LOGITS])
        logits[1, 3] = bad
        with pytest.raises(ValueError, match=f"{bad}.*not a finite number"):
            choose_tokens(logits, SampleConfig(), [seeded(), seeded()])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"max_new_tokens": -1}, "max_new_tokens -1"),
            ({"temperature": -0.5}, "temperature -0.5"),
            ({"temperature": math.nan}, "temperature nan"),
            ({"temperature": math.inf}, "temperature inf"),
            ({"top_k": 0}, "top_k 0"),
            ({"top_p": 0.0}, "top_p 0.0"),
            ({"top_p": 1.5}, "top_p 1.5"),
            ({"min_p": 0.0}, "min_p 0.0"),
            ({"typical_p": 1.5}, "typical_p 1.5"),
            ({"repetition_penalty": 0.9}, "repetition_penalty 0.9"),
            ({"stop_ids": ((1,), ())}, "stop_ids"),
            ({"stop": ("a", "")}, "stop"),
            ({"stop": "END"}, "stop 'END'"),
            ({"past_context": "jump"}, "past_context 'jump'"),
            ({"max_new_tokens": 2.5}, "max_new_tokens 2.5 must be a whole number"),
            ({"top_k": 7.0}, "top_k 7.0 must be a whole number"),
            ({"seed": True}, "seed True must be a whole number"),
            ({"temperature": "hot"}, "temperature 'hot' must be a number"),
        ],
    )
    def test_configuration_names_what_is_wrong(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message) as fault:
            unchecked_config(**change)
        assert "must" in str(fault.value)

    def test_the_small_choice_of_the_chapter_is_the_large_one(self) -> None:
        config = SampleConfig(temperature=1.5, top_k=6, top_p=0.8)
        for seed in range(300):
            logits = torch.randn(11, generator=seeded(seed)).double() * 3
            kept = top_p(top_k(temperature(logits, 1.5), 6), 0.8)
            ends = kept.softmax(-1).cumsum(-1)
            dart = torch.rand(1, dtype=torch.float64, generator=seeded(seed)).item()
            expected = int(torch.searchsorted(ends, dart * ends[-1], right=True))
            assert choose_tokens(logits[None], config, [seeded(seed)]) == [expected]

    def test_processed_logits_are_double_and_leave_what_they_are_given(self) -> None:
        logits, config = self.LOGITS[None].clone(), SampleConfig(top_k=3, repetition_penalty=2.0)
        found = process_logits(logits, config, [[2, 5]])
        assert found.dtype == torch.float64
        assert (found > -math.inf).sum() == 3
        assert torch.equal(logits, self.LOGITS[None])
        greedy = process_logits(logits, SampleConfig(temperature=0.0)).softmax(-1)
        assert greedy.tolist() == [[0.0, 0.0, 1.0, *[0.0] * 8]]


class TestChecks:
    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        return capsys.readouterr().out

    def test_reheat(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(probabilities: Tensor, degree: float) -> Tensor:
            powers = probabilities ** (1 / degree)
            return powers / powers.sum()

        def not_normalized(probabilities: Tensor, degree: float) -> Tensor:
            return probabilities ** (1 / degree)

        def other_way_round(probabilities: Tensor, degree: float) -> Tensor:
            return right(probabilities, 1 / degree)

        def takes_them_for_logits(probabilities: Tensor, degree: float) -> Tensor:
            return (probabilities / degree).softmax(-1)

        def revives(probabilities: Tensor, degree: float) -> Tensor:
            return right(probabilities + 1e-2, degree)

        check = checks.sampling.reheat
        for wrong in (
            lambda *_: None,
            not_normalized,
            other_way_round,
            takes_them_for_logits,
            revives,
        ):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_penalize(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            result[sorted(set(seen))] -= math.log(penalty)
            return result

        def divides(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            result[sorted(set(seen))] /= penalty
            return result

        def counts_twice(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            for id in seen:
                result[id] -= math.log(penalty)
            return result

        def in_place(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            logits[sorted(set(seen))] -= math.log(penalty)
            return logits

        check = checks.sampling.penalize
        for wrong in (lambda *_: None, divides, counts_twice, in_place):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_choose_word(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(
            shares: dict[str, float], degree: float, p: float, dart: float, *, fault: str = ""
        ) -> str:
            power = degree if fault == "power" else 1 / degree
            weights = {word: share**power for word, share in shares.items()}
            words = list(weights)
            if fault != "unsorted":
                words.sort(key=lambda word: -weights[word])
            total, reached, nucleus = sum(weights.values()), 0.0, []
            for word in words:
                nucleus.append(word)
                reached += weights[word]
                if reached >= p * (1 if fault == "no total" else total):
                    break
            if fault == "drops the last" and len(nucleus) > 1:
                reached -= weights[nucleus.pop()]
            end = 0.0
            for word in nucleus:
                end += weights[word]
                if dart * (1 if fault == "not normalized" else reached) < end:
                    return word
            return "nothing"

        check = checks.sampling.choose_word
        faults = ("power", "unsorted", "no total", "drops the last", "not normalized")
        for fault in faults:
            answer = functools.partial(right, fault=fault)
            assert self.said(capsys, check, answer).startswith("not yet: "), fault
        assert self.said(capsys, check, lambda *_: None).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_race(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(probabilities: Tensor, darts: Tensor) -> int:
            return int((-darts.log() / probabilities).argmin())

        def last_wins(probabilities: Tensor, darts: Tensor) -> int:
            return int((-darts.log() / probabilities).argmax())

        def multiplies(probabilities: Tensor, darts: Tensor) -> int:
            return int((-darts.log() * probabilities).argmin())

        def without_logarithm(probabilities: Tensor, darts: Tensor) -> int:
            return int((darts * probabilities).argmax())

        def greedy(probabilities: Tensor, darts: Tensor) -> int:
            return int(probabilities.argmax())

        check = checks.sampling.race
        for wrong in (lambda *_: None, last_wins, multiplies, without_logarithm, greedy):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")


def test_the_module_has_no_state_of_its_own() -> None:
    for name, thing in vars(sampling).items():
        assert not isinstance(thing, Tensor | torch.Generator | list | dict) or name in (
            "__all__",
            "__builtins__",
        ), name
