"""Searching and guessing: the likeliest text found, and a draft that changes nothing but time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mini_gpt import checks
from mini_gpt.characters import CharTokenizer
from mini_gpt.generation import generate
from mini_gpt.model import GPT
from mini_gpt.sampling import (
    SampleConfig,
    multinomial,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from mini_gpt.speculative import accept_proposals, beam_search, speculative_generate
from writing import BYTES, LETTERS, chi_square, limit, lively_model, naive_ids, seeded


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the tests' type checks, which take most of the time of tiny models.

    For many repetitions of what other tests run with the checks.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


class TestBeamSearch:
    def all_continuations(self, model: GPT, prompt: list[int], new: int, end: int | None) -> Any:
        """Every continuation and its log-probability, the likeliest first."""
        found, alive = [], [(0.0, [])]
        for _ in range(new):
            longer = []
            for score, ids in alive:
                logits = model(torch.tensor([prompt + ids]))[0, -1].detach().log_softmax(-1)
                longer += [(score + logits[id].item(), [*ids, id]) for id in range(len(logits))]
            found += [text for text in longer if text[1][-1] == end]
            alive = [text for text in longer if text[1][-1] != end]
        return sorted(found + alive, key=lambda text: -text[0])

    @pytest.mark.parametrize("end", [None, 0, 3])
    @pytest.mark.parametrize("beams", [25, 40])
    def test_with_beams_enough_it_finds_the_likeliest(self, end: int | None, beams: int) -> None:
        model = lively_model(vocab_size=5)
        found = beam_search(model, [1, 2], 3, beams=beams, end_of_text=end)
        expected = self.all_continuations(model, [1, 2], 3, end)[:beams]
        assert [ids for _, ids in found] == [ids for _, ids in expected]
        assert [score for score, _ in found] == pytest.approx(
            [score for score, _ in expected], abs=1e-4
        )

    @pytest.mark.slow
    def test_one_beam_is_greedy(self) -> None:
        model = lively_model()
        ((_, ids),) = beam_search(model, [3, 1], 30, beams=1)
        assert ids == naive_ids(model, [3, 1], 30, SampleConfig(temperature=0.0))

    def test_more_beams_find_likelier_text(self) -> None:
        model = lively_model()
        scores = [beam_search(model, [3, 1], 9, beams=beams)[0][0] for beams in (1, 3, 30)]
        assert scores == sorted(scores)
        assert scores[0] < scores[-1]

    def test_refuses_what_makes_no_sense(self) -> None:
        with pytest.raises(ValueError, match="beams 0 and new_tokens 5 must be at least 1"):
            beam_search(lively_model(), [1], 5, beams=0)
        with pytest.raises(ValueError, match="the prompt is empty"):
            beam_search(lively_model(), [], 5)


class TestSpeculative:
    """A draft changes the number of passes and nothing that can be read."""

    def draft(self, seed: int = 1, **changes: Any) -> GPT:
        model = lively_model(**{"layers": 1, "width": 8, **changes})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed)))
        return model

    def lively(self, **changes: Any) -> GPT:
        """A model whose greedy text is not one letter again and again."""
        return self.draft(100, width=12, **changes)

    @pytest.mark.slow
    @pytest.mark.parametrize("rate", [1.0, 0.3])
    def test_judged_tokens_are_draws_from_the_target(self, rate: float) -> None:
        logits = torch.randn(4, 7, generator=seeded(2)).double() * 2
        logits[0, 3] = logits[1, 2] = -math.inf  # impossible for the draft, for the target
        draft, target = logits[[0, 1]].softmax(-1), logits[[1, 2, 3]].softmax(-1)
        draft = rate * draft + (1 - rate) * target[:2]
        generator, judged = seeded(5), []
        for _ in range(6000):
            proposals = multinomial(draft.log(), [generator, generator])
            judged.append(accept_proposals(proposals, target, draft, generator))
        for place in range(3):
            found = torch.tensor([ids[place] for ids in judged if len(ids) > place])
            assert chi_square(torch.bincount(found, minlength=7), target[place]) < limit(6)
        kept = sum(len(ids) > 1 for ids in judged)
        overlap = torch.minimum(draft[0], target[0]).sum().item()
        assert abs(kept / 6000 - overlap) < 0.03  # the share that is accepted, as proved

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("texts_drawn", [600, pytest.param(2500, marks=pytest.mark.slow)])
    def test_texts_have_the_probabilities_of_the_target(self, texts_drawn: int) -> None:
        settings = {"temperature": 1.3, "top_k": 3, "top_p": 0.95, "repetition_penalty": 1.5}
        letters, prompt, size, new = CharTokenizer("abcd"), [2, 0], 4, 3
        model, draft = self.lively(vocab_size=size), self.draft(vocab_size=size)
        with torch.no_grad():
            for each in (model, draft):  # so that no text is hopeless
                each.token_embedding.weight.mul_(0.3)

        def texts(model: GPT) -> Tensor:
            """The exact probability of each of the texts, by the model alone."""
            total = []
            for number in range(size**new):
                ids = [number // size ** (new - 1 - place) % size for place in range(new)]
                chance = 1.0
                for place in range(new):
                    so_far = prompt + ids[:place]
                    with torch.no_grad():
                        logits = model(torch.tensor([so_far]))[:, -1]
                    marks = torch.zeros(1, size, dtype=torch.bool)
                    marks[0, so_far] = True
                    logits = repetition_penalty(
                        logits, marks, settings.get("repetition_penalty", 1.0)
                    )
                    logits = temperature(logits, settings["temperature"])
                    logits = top_k(logits, settings.get("top_k", size))
                    logits = top_p(logits, settings.get("top_p", 1.0))
                    chance *= logits.softmax(-1)[0, ids[place]].item()
                total.append(chance)
            return torch.tensor(total, dtype=torch.float64)

        numbers, kept = [], []
        for seed in range(texts_drawn):
            config = SampleConfig(max_new_tokens=new, seed=seed, **settings)
            found = speculative_generate(model, draft, letters, "ca", config, 2)
            numbers.append(sum(id * size ** (new - 1 - i) for i, id in enumerate(found.ids)))
            kept.append(found.accepted / found.proposed)
        observed = torch.bincount(torch.tensor(numbers), minlength=size**new)
        expected = texts(model)
        assert expected.sum().item() == pytest.approx(1)
        # Texts of which fewer than five are expected are counted together.
        rare = expected * texts_drawn < 5
        together = [torch.cat([x[~rare], x[rare].sum()[None]]) for x in (observed, expected)]
        freedom = len(together[0]) - (1 if together[1][-1] > 0 else 2)
        assert chi_square(*together) < limit(freedom)
        alone = texts(draft)
        other = torch.cat([alone[~rare], alone[rare].sum()[None]])
        assert chi_square(together[0], other) > limit(freedom)  # the draft's own texts differ
        assert 0.1 < sum(kept) / texts_drawn < 0.97

    def compare_greedy(self, seed: int, draft_tokens: int, context: int, new: int) -> None:
        model = self.lively(context_length=23)
        draft = self.draft(seed, context_length=context)
        stops = {"stop": ("a", "bq"), "stop_ids": ((3, 4),)}
        for more in ({}, stops, {"repetition_penalty": 1.7}):
            config = SampleConfig(temperature=0.0, max_new_tokens=2 * new, **more)
            (alone,) = generate(model, LETTERS, ["hello"], config)
            found = speculative_generate(model, draft, LETTERS, "hello", config, draft_tokens)
            assert (found.ids, found.text) == (alone.ids, alone.text)
            assert found.finish_reason == alone.finish_reason
            assert found.accepted <= found.proposed <= draft_tokens * found.passes

    CASES = (st.integers(0, 99), st.integers(1, 7), st.integers(1, 40), st.integers(0, 12))

    @pytest.mark.slow
    @given(*CASES)
    @settings(deadline=None, max_examples=15)
    def test_greedy_text_is_that_of_the_model_alone(
        self, seed: int, draft_tokens: int, context: int, new: int
    ) -> None:
        self.compare_greedy(seed, draft_tokens, context, new)

    @pytest.mark.slow
    @given(*CASES)
    @settings(deadline=None, max_examples=60)
    def test_greedy_text_is_that_of_the_model_alone_in_many_cases(
        self, seed: int, draft_tokens: int, context: int, new: int
    ) -> None:
        self.compare_greedy(seed, draft_tokens, context, new)

    def test_a_draft_that_agrees_saves_passes(self) -> None:
        model = self.lively(context_length=40)
        config = SampleConfig(temperature=0.0, max_new_tokens=30)
        found = speculative_generate(model, model, LETTERS, "abc", config)
        assert (found.passes, found.proposed, found.accepted) == (6, 24, 24)
        assert len(set(found.ids)) > 3

    def test_each_position_is_read_once_unless_rejected(self) -> None:
        model, draft, read = self.lively(context_length=40), self.draft(context_length=40), []
        model.decoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[1]))
        config = SampleConfig(temperature=1.0, max_new_tokens=20, seed=4)
        found = speculative_generate(model, draft, LETTERS, "abc", config, draft_tokens=3)
        assert len(read) == found.passes <= 20
        assert sum(read) == 3 + found.proposed + found.passes - 1
        assert found.finish_reason == "length"

    def test_a_full_context_ends_as_it_does_alone(self) -> None:
        model, draft = self.lively(), self.draft()
        for seed in range(20):
            config = SampleConfig(temperature=1.0, seed=seed)
            found = speculative_generate(model, draft, LETTERS, "abcd", config)
            assert (found.finish_reason, len(found.ids)) == ("context", 8)
        full = speculative_generate(model, draft, LETTERS, "abcdefghijk", SampleConfig())
        assert (full.finish_reason, len(full.ids), full.proposed) == ("context", 1, 0)

    @pytest.mark.slow
    def test_end_of_text_ends(self) -> None:
        model = lively_model(vocab_size=257)
        for seed in range(30):
            config = SampleConfig(temperature=9.0, seed=seed)
            found = speculative_generate(model, model, BYTES, "", config)
            assert 256 not in found.ids
            assert found.text == BYTES.decode(found.ids)
        with torch.no_grad():
            model.token_embedding.weight[256] = 1e3 * model.hidden(torch.tensor([[97]]))[0, 0]
        greedy = SampleConfig(temperature=0.0)
        (alone,) = generate(model, BYTES, ["a"], greedy)
        found = speculative_generate(model, self.draft(vocab_size=257), BYTES, "a", greedy)
        assert (
            (found.ids, found.finish_reason)
            == (alone.ids, alone.finish_reason)
            == ([], "end of text")
        )

    @pytest.mark.slow
    def test_padded_ids_are_never_drawn(self) -> None:
        model, draft = self.lively(vocab_size=64), self.draft(vocab_size=64)
        drawn = set()
        for seed in range(40):
            config = SampleConfig(temperature=9.0, seed=seed)
            drawn |= set(speculative_generate(model, draft, LETTERS, "a", config).ids)
        assert drawn == set(range(19))

    def test_leaves_both_models_as_found(self) -> None:
        model, draft = self.lively(dropout=0.5).train(), self.draft(dropout=0.5).train()
        draft.decoder.eval()
        modes = [module.training for each in (model, draft) for module in each.modules()]
        kept = [set(vars(module)) for each in (model, draft) for module in each.modules()]
        config, randomness = SampleConfig(temperature=1.0), torch.get_rng_state()
        found = speculative_generate(model, draft, LETTERS, "abc", config)
        assert modes == [module.training for each in (model, draft) for module in each.modules()]
        assert kept == [set(vars(module)) for each in (model, draft) for module in each.modules()]
        assert torch.equal(torch.get_rng_state(), randomness)
        assert all(p.grad is None for each in (model, draft) for p in each.parameters())
        again = speculative_generate(model.eval(), draft.eval(), LETTERS, "abc", config)
        assert found == again  # no dropout, and nothing remembered
        draft.train()
        with torch.no_grad():
            draft.token_embedding.weight.fill_(math.nan)
        with pytest.raises(ValueError, match="not a finite number"):
            speculative_generate(model, draft, LETTERS, "abc", config)
        assert draft.training

    @pytest.mark.parametrize(
        ("draft", "prompt", "config", "draft_tokens", "message"),
        [
            ({"vocab_size": 23}, "a", {}, 4, "draft has a vocabulary of 23, the model one of 19"),
            ({}, "a", {}, 0, "draft_tokens 0 must be at least 1"),
            ({}, "a", {"past_context": "slide"}, 4, "'slide'.*use past_context='stop'"),
            ({}, "", {}, 4, "no end-of-text token"),
            ({}, "a" * 12, {}, 4, "12 tokens does not fit"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self,
        draft: dict[str, Any],
        prompt: str,
        config: dict[str, Any],
        draft_tokens: int,
        message: str,
    ) -> None:
        with pytest.raises(ValueError, match=message):
            speculative_generate(
                self.lively(),
                self.draft(**draft),
                LETTERS,
                prompt,
                SampleConfig(**config),
                draft_tokens,
            )


class TestChecks:
    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        return capsys.readouterr().out

    def test_best_ahead(self, capsys: pytest.CaptureFixture[str]) -> None:
        def gains(kept: float, cost: float) -> list[float]:
            return [sum(kept**n for n in range(k + 1)) / (1 + k * cost) for k in range(17)]

        def right(kept: float, draft: float, judging: float) -> int:
            found = gains(kept, draft + judging)
            return found.index(max(found))

        def judging_is_free(kept: float, draft: float, judging: float) -> int:
            return right(kept, draft, 0.0)

        def always_guesses(kept: float, draft: float, judging: float) -> int:
            return max(1, right(kept, draft, judging))

        def each_for_itself(kept: float, draft: float, judging: float) -> int:
            found = [(1 + k * kept) / (1 + k * (draft + judging)) for k in range(17)]
            return found.index(max(found))

        check = checks.speculative.best_ahead
        for wrong in (lambda *_: None, judging_is_free, always_guesses, each_for_itself):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_judge(self, capsys: pytest.CaptureFixture[str]) -> None:
        def throw(weights: Tensor, dart: float) -> int:
            ends = weights.double().cumsum(-1)
            return int(torch.searchsorted(ends, dart * ends[-1], right=True))

        def right(
            guesses: list[int], target: Tensor, draft: Tensor, darts: list[float]
        ) -> list[int]:
            *each, last = darts
            for place, (id, dart) in enumerate(zip(guesses, each, strict=True)):
                if dart * draft[place, id] >= target[place, id]:
                    gaps = (target[place] - draft[place]).clamp(min=0)
                    return [*guesses[:place], throw(gaps, last)]
            return [*guesses, throw(target[-1], last)]

        def redraws_from_target(
            guesses: list[int], target: Tensor, draft: Tensor, darts: list[float]
        ) -> list[int]:
            kept = len(right(guesses, target, draft, darts)) - 1
            return [*guesses[:kept], throw(target[kept], darts[-1])]

        def counts_all_that_pass(
            guesses: list[int], target: Tensor, draft: Tensor, darts: list[float]
        ) -> list[int]:
            at = range(len(guesses))
            passed = torch.tensor(darts[:-1]) * draft[at, guesses] < target[at, guesses]
            kept = int(passed.sum())
            weights = target[kept]
            if kept < len(guesses):
                weights = (weights - draft[kept]).clamp(min=0)
            return [*guesses[:kept], throw(weights, darts[-1])]

        def always_keeps(
            guesses: list[int], target: Tensor, draft: Tensor, darts: list[float]
        ) -> list[int]:
            return [*guesses, throw(target[-1], darts[-1])]

        def forgets_the_extra_one(
            guesses: list[int], target: Tensor, draft: Tensor, darts: list[float]
        ) -> list[int]:
            return right(guesses, target, draft, darts)[: len(guesses)]

        check = checks.speculative.judge
        for wrong in (
            lambda *_: None,
            redraws_from_target,
            counts_all_that_pass,
            always_keeps,
            forgets_the_extra_one,
        ):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_lookup(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(ids: list[int], size: int, ahead: int) -> list[int]:
            for place in range(len(ids) - size - 1, -1, -1):
                if ids[place : place + size] == ids[-size:]:
                    return ids[place + size : place + size + ahead]
            return []

        def finds_itself(ids: list[int], size: int, ahead: int) -> list[int]:
            for place in range(len(ids) - size, -1, -1):
                if ids[place : place + size] == ids[-size:]:
                    return ids[place + size : place + size + ahead]
            return []

        def takes_the_first(ids: list[int], size: int, ahead: int) -> list[int]:
            for place in range(len(ids) - size):
                if ids[place : place + size] == ids[-size:]:
                    return ids[place + size : place + size + ahead]
            return []

        def copies_the_place(ids: list[int], size: int, ahead: int) -> list[int]:
            return right(ids, size, size + ahead) and ids[-size:][:ahead]

        check = checks.speculative.lookup
        for wrong in (lambda *_: None, finds_itself, takes_the_first, copies_the_place):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")
