"""Learning from rewards: each loss against its formula, and what it does to a small model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mini_gpt.characters import CharTokenizer
from mini_gpt.checks import reinforcement as checks
from mini_gpt.model import GPT
from mini_gpt.reinforcement import (
    GRPOConfig,
    dpo_loss,
    group_advantages,
    grpo_loss,
    learn_from_rewards,
    pass_at_k,
    preference_pairs,
    reinforce_loss,
    sample_groups,
    token_log_probs,
)
from mini_gpt.sampling import SampleConfig
from mini_gpt.support import sorting, stored_rewards
from mini_gpt.support.stored_results import stored_result
from tiny import tiny_config

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = CharTokenizer("\n abcdefgh")
FREE = SampleConfig(temperature=1.0, max_new_tokens=6, stop=("\n",), seed=3)


def tiny_model(seed: int = 0, dropout: float = 0.0) -> GPT:
    torch.manual_seed(seed)
    return GPT(tiny_config(vocab_size=TOKENIZER.vocab_size, context_length=19, dropout=dropout))


def some(seed: int = 0) -> dict[str, Tensor]:
    """Log-probabilities of 6 answers of different lengths, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    new, old, ref = (torch.randn(3, 6, 7, generator=generator) * 0.4 - 1.5).double()
    places = torch.arange(7)
    begin, end = torch.tensor([0, 2, 3, 3, 1, 6]), torch.tensor([7, 5, 4, 7, 3, 7])
    mask = ((begin[:, None] <= places) & (places < end[:, None])).double()
    advantages = torch.tensor([1.4, -0.3, 0.0, -1.2, 0.8, -0.1]).double()
    return {"new": new, "old": old, "ref": ref, "mask": mask, "advantages": advantages}


class TestPassAtK:
    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_it_is_the_share_of_the_choices_that_hold_a_right_one(self, data: Any) -> None:
        samples = data.draw(st.integers(1, 9))
        correct = data.draw(st.integers(0, samples))
        k = data.draw(st.integers(1, samples))
        answers = [True] * correct + [False] * (samples - correct)
        choices = [any(choice) for choice in combinations(answers, k)]
        assert pass_at_k(samples, correct, k) == pytest.approx(sum(choices) / len(choices))

    @pytest.mark.parametrize(
        ("samples", "correct", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 0), (4, 1, 5)]
    )
    def test_what_cannot_be_is_refused(self, samples: int, correct: int, k: int) -> None:
        with pytest.raises(ValueError, match="must fit"):
            pass_at_k(samples, correct, k)


class TestLogProbs:
    def test_they_are_those_of_the_tokens_that_came(self) -> None:
        model = tiny_model()
        ids = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 0, 3, 2]])
        found = token_log_probs(model, ids)
        assert found.shape == (2, 4)
        for row in range(2):
            for place in range(4):
                scores = model(ids[row : row + 1, : place + 1])[0, -1].log_softmax(-1)
                torch.testing.assert_close(found[row, place], scores[ids[row, place + 1]])

    def test_rollouts_know_what_the_model_chose(self) -> None:
        """Prompts and answers of different lengths; a line's end is a choice as well."""
        drawn = sample_groups(tiny_model(), TOKENIZER, ["ab", "h", "cde"], 4, FREE)
        assert drawn.prompts == ["ab"] * 4 + ["h"] * 4 + ["cde"] * 4
        assert len({len(text) for text in drawn.texts}) > 1
        for ids, mask, prompt, text in zip(
            drawn.ids, drawn.mask, drawn.prompts, drawn.texts, strict=True
        ):
            ended = "\n" if len(text) < FREE.max_new_tokens else ""
            row = TOKENIZER.encode(prompt + text + ended)
            assert ids.tolist() == row + [0] * (len(ids) - len(row))
            chosen = [0.0] * (len(prompt) - 1) + [1.0] * len(text + ended)
            assert mask.tolist() == chosen + [0.0] * (len(mask) - len(chosen))

    def test_rewards_stand_in_groups(self) -> None:
        drawn = sample_groups(tiny_model(), TOKENIZER, ["ab", "h"], 3, FREE)
        found = drawn.rewards(lambda prompt, text: len(prompt) + 10 * len(text))
        assert found.shape == (2, 3)
        lengths = [10 * len(text) for text in drawn.texts]
        expected = [2 + n for n in lengths[:3]] + [1 + n for n in lengths[3:]]
        assert found.flatten().tolist() == expected

    @pytest.mark.parametrize(
        "change", [{"temperature": 0.8}, {"top_k": 3}, {"top_p": 0.9}, {"stop_ids": ((1,),)}]
    )
    def test_another_distribution_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="temperature 1 and without rules"):
            sample_groups(tiny_model(), TOKENIZER, ["ab"], 2, replace(FREE, **change))
        with pytest.raises(ValueError, match="temperature 1 and without rules"):
            GRPOConfig(sampling=replace(FREE, **change))

    @pytest.mark.slow
    def test_tokens_are_drawn_with_these_probabilities(self) -> None:
        """Each first letter's share among 4,000 answers, against the model's own."""
        model, config = tiny_model(), replace(FREE, max_new_tokens=1, stop=())
        drawn = sample_groups(model, TOKENIZER, ["ab"], 4000, config)
        shares = torch.bincount(drawn.ids[:, 2], minlength=TOKENIZER.vocab_size) / 4000
        expected = model(torch.tensor([TOKENIZER.encode("ab")]))[0, -1].softmax(-1)
        assert (shares - expected).abs().max() < 0.025


class TestGradients:
    """The gradient of each loss is autograd's of its formula, written out."""

    def test_reinforce(self) -> None:
        x = some()
        new = x["new"].requires_grad_()
        found = torch.autograd.grad(reinforce_loss(new, x["mask"], x["advantages"]), new)[0]
        torch.testing.assert_close(found, -x["mask"] * x["advantages"][:, None] / 6)

    def test_reinforce_follows_the_expected_reward(self) -> None:
        """Over all answers, weighted by their probability, the estimate is exact."""
        logits = torch.tensor([0.3, -1.0, 0.8, 0.1], requires_grad=True)
        rewards = torch.tensor([0.0, 2.0, 1.0, -1.0])
        shares = logits.softmax(-1)
        exact = torch.autograd.grad((shares * rewards).sum(), logits)[0]
        for baseline in (0.0, 0.7, -30.0):
            weights = 4 * shares.detach() * (rewards - baseline)  # 4: the loss takes a mean
            loss = reinforce_loss(logits.log_softmax(-1)[:, None], torch.ones(4, 1), weights)
            found = torch.autograd.grad(loss, logits)[0]
            torch.testing.assert_close(-found, exact, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("old", [False, True])
    @pytest.mark.parametrize("clip", [None, 0.2])
    @pytest.mark.parametrize("kl", [0.0, 0.3])
    def test_grpo(self, old: bool, clip: float | None, kl: float) -> None:
        x = some()
        new = x["new"].requires_grad_()
        start = x["old"] if old else None
        loss = grpo_loss(
            new, x["mask"], x["advantages"], old=start, clip=clip, reference=x["ref"], kl=kl
        )
        found = torch.autograd.grad(loss, new)[0].numpy()
        arrays = {name: value.detach().numpy() for name, value in x.items()}
        value, gradient = grpo_in_numpy(arrays, old, clip, kl)
        assert loss.item() == pytest.approx(value, abs=1e-12)
        np.testing.assert_allclose(found, gradient, rtol=1e-10, atol=1e-12)
        if old and clip is None and not kl:
            assert np.abs(gradient).max() > 0.1  # so that equal zeros are not a proof

    def test_clipped_tokens_have_no_gradient_and_mistakes_have(self) -> None:
        new = torch.tensor([[0.5, -0.5], [0.5, -0.5]], requires_grad=True)
        old, mask, advantages = torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([1.0, -1.0])
        grpo_loss(new, mask, advantages, old=old, clip=0.2).backward()
        assert new.grad is not None
        assert (new.grad != 0).tolist() == [[False, True], [True, False]]

    def test_where_nothing_has_moved_it_is_reinforce(self) -> None:
        x = some()
        even = torch.ones(6, 7).double()
        new = x["new"].requires_grad_()
        one = torch.autograd.grad(grpo_loss(new, even, x["advantages"], clip=0.2), new)[0]
        same = {"old": new.detach(), "reference": new.detach(), "kl": 0.5}
        two = torch.autograd.grad(grpo_loss(new, even, x["advantages"], **same), new)[0]
        other = torch.autograd.grad(reinforce_loss(new, even, x["advantages"]), new)[0]
        torch.testing.assert_close(one, other / 7)
        torch.testing.assert_close(two, other / 7)

    def test_the_price_pulls_like_the_divergence_the_other_way_round(self) -> None:
        """Over all tokens, weighted as they are drawn: the gradient of KL(reference, model)."""
        reference = torch.tensor([0.5, 0.3, 0.2]).double()
        weights = torch.tensor([0.7, 0.2, 0.1]).double().log().requires_grad_()
        log_p = weights.log_softmax(-1)
        share = log_p.detach().exp()
        loss = grpo_loss(
            log_p[:, None],
            torch.ones(3, 1).double(),
            torch.zeros(3).double(),
            reference=reference.log()[:, None],
            kl=1.0,
        )
        assert loss > 0
        apart = reference.log() - log_p
        term = (share * (apart.exp() - apart - 1)).sum()
        divergence = (share * -apart.detach()).sum()
        torch.testing.assert_close(term.detach(), divergence)
        found = torch.autograd.grad(term, weights, retain_graph=True)[0]
        expected = torch.autograd.grad((reference * apart).sum(), weights)[0]
        torch.testing.assert_close(found, expected)

    def test_a_price_needs_a_reference(self) -> None:
        x = some()
        with pytest.raises(ValueError, match=r"kl 0\.1 needs the log-probabilities"):
            grpo_loss(x["new"], x["mask"], x["advantages"], kl=0.1)

    def test_an_empty_answer_is_no_nan(self) -> None:
        x = some()
        x["mask"][2] = 0
        assert grpo_loss(x["new"], x["mask"], x["advantages"]).isfinite()

    @pytest.mark.parametrize("beta", [0.1, 1.5])
    def test_dpo(self, beta: float) -> None:
        generator = torch.Generator().manual_seed(1)
        four = torch.randn(4, 5, generator=generator).double().requires_grad_()
        loss = dpo_loss(*four, beta)
        by_hand = -torch.log(
            1 / (1 + torch.exp(-beta * (four[0] - four[2] - four[1] + four[3])))
        ).mean()
        torch.testing.assert_close(loss, by_hand)
        found, expected = (torch.autograd.grad(value, four)[0] for value in (loss, by_hand))
        torch.testing.assert_close(found, expected)
        margin = (four[0] - four[2] - four[1] + four[3]).detach()
        torch.testing.assert_close(found[0], -beta * torch.sigmoid(-beta * margin) / 5)

    def test_dpo_at_the_start_is_a_coin(self) -> None:
        zeros = torch.zeros(3)
        assert dpo_loss(zeros - 4, zeros - 7, zeros - 4, zeros - 7).item() == pytest.approx(
            math.log(2)
        )


def grpo_in_numpy(
    x: dict[str, np.ndarray], old: bool, clip: float | None, kl: float
) -> tuple[float, np.ndarray]:
    """The loss and its gradient, in loops, without autograd: an independent computation."""
    gradient, total = np.zeros_like(x["new"]), 0.0
    rows = len(x["new"])
    for row in range(rows):
        places = np.flatnonzero(x["mask"][row])
        advantage = x["advantages"][row]
        for place in places:
            now = x["new"][row, place]
            ratio = math.exp(now - (x["old"][row, place] if old else now))
            gain, slope = ratio * advantage, ratio * advantage
            if clip is not None:
                limited = min(max(ratio, 1 - clip), 1 + clip) * advantage
                if limited < gain:
                    gain, slope = limited, 0.0
            if kl:
                z = x["ref"][row, place] - now
                gain -= kl * (math.exp(z) - z - 1)
                slope -= kl * (1 - math.exp(z))
            total += gain / len(places) / rows
            gradient[row, place] = -slope / len(places) / rows
    return -total, gradient


class TestAdvantages:
    def test_against_numpy(self) -> None:
        rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 2.0, 1.0, 0.0]])
        rows = rewards.numpy()
        centered = rows - rows.mean(1, keepdims=True)
        scaled = centered / (rows.std(1, ddof=1, keepdims=True) + 1e-4)
        np.testing.assert_allclose(group_advantages(rewards), scaled.flatten(), rtol=1e-5)
        plain = group_advantages(rewards, scale=False)
        np.testing.assert_allclose(plain, centered.flatten(), rtol=1e-5)

    @pytest.mark.parametrize("scale", [True, False])
    def test_equal_rewards_teach_nothing(self, scale: bool) -> None:
        assert (group_advantages(torch.full((2, 5), 0.25), scale=scale) == 0).all()

    def test_one_answer_is_no_group(self) -> None:
        with pytest.raises(ValueError, match="at least 2 answers"):
            group_advantages(torch.ones(3, 1))

    def test_pairs(self) -> None:
        rewards = torch.tensor(
            [[0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0], [0.2, 0.9, 0.5, 0.1, 0.3]]
        )
        better, worse = preference_pairs(rewards)
        flat = rewards.flatten()
        assert (flat[better] > flat[worse]).all()
        assert (better // 5).tolist() == (worse // 5).tolist() == [0, 0, 2, 2]
        assert len({*better.tolist(), *worse.tolist()}) == 8

    def test_no_pairs(self) -> None:
        better, worse = preference_pairs(torch.ones(2, 3))
        assert len(better) == len(worse) == 0


class TestLearning:
    CONFIG = GRPOConfig(
        prompts=4, group_size=6, learning_rate=1e-2, sampling=replace(FREE, max_new_tokens=3)
    )

    def learn(
        self, config: GRPOConfig, steps: int, dropout: float = 0.0
    ) -> tuple[GPT, list[float]]:
        model = tiny_model(dropout=dropout)

        def draw(count: int, generator: torch.Generator) -> list[str]:
            picks = torch.randint(4, (count,), generator=generator).tolist()
            return ["abcd"[pick] for pick in picks]

        learning = learn_from_rewards(
            model, TOKENIZER, draw, lambda prompt, text: text.count(prompt) / 3, config
        )
        return model, [found.mean().item() for _, found in islice(learning, steps)]

    @pytest.mark.slow
    @pytest.mark.parametrize("updates", [1, 3])
    def test_it_learns_to_repeat_the_prompt(self, updates: int) -> None:
        _, rewards = self.learn(replace(self.CONFIG, updates=updates), 60)
        assert np.mean(rewards[:5]) < 0.25
        assert np.mean(rewards[-5:]) > 0.45

    def test_the_same_seed_gives_the_same_run(self) -> None:
        one, two = (self.learn(self.CONFIG, 3) for _ in range(2))
        assert one[1] == two[1]
        for a, b in zip(one[0].parameters(), two[0].parameters(), strict=True):
            assert torch.equal(a, b)
        seeded = replace(self.CONFIG, sampling=replace(self.CONFIG.sampling, seed=4))
        assert self.learn(seeded, 3)[1] != one[1]

    def test_a_step_is_the_gradient_of_the_loss(self) -> None:
        """The weights after one step are those of the same step, taken by hand."""
        config = replace(self.CONFIG, max_grad_norm=1e9)
        model, other = tiny_model(), tiny_model()
        learning = learn_from_rewards(
            model, TOKENIZER, lambda n, _: ["ab"] * n, lambda _, text: float("c" in text), config
        )
        drawn, rewards = next(learning)
        assert 0 < rewards.mean() < 1
        advantages = group_advantages(rewards)
        optimizer = torch.optim.AdamW(other.parameters(), 1e-2, (0.9, 0.99), weight_decay=0.0)
        grpo_loss(token_log_probs(other, drawn.ids), drawn.mask, advantages).backward()
        optimizer.step()
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b)

    @pytest.mark.slow
    def test_a_price_keeps_the_model_near(self) -> None:
        moved = []
        for kl in (0.0, 30.0):
            model, _ = self.learn(replace(self.CONFIG, kl=kl, learning_rate=3e-3), 12)
            ids = torch.tensor([TOKENIZER.encode("abcd")])
            with torch.no_grad():
                now, before = (m(ids).log_softmax(-1) for m in (model, tiny_model()))
            moved.append((before.exp() * (before - now)).sum(-1).mean().item())
        assert moved[1] < 0.5 * moved[0]

    def test_dropout_is_off_and_the_mode_is_kept(self) -> None:
        without, with_dropout = self.learn(self.CONFIG, 2), self.learn(self.CONFIG, 2, 0.5)
        assert without[1] == with_dropout[1]
        assert with_dropout[0].training
        for a, b in zip(without[0].parameters(), with_dropout[0].parameters(), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"prompts": 0}, "prompts 0"),
            ({"group_size": 1}, "group_size 1"),
            ({"clip": 0.0}, "clip 0"),
            ({"kl": -1.0}, "kl -1"),
        ],
    )
    def test_settings_are_checked(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            replace(self.CONFIG, **change)


class TestStoredRuns:
    """What the chapter says of three seeds, against what the benchmark has found."""

    RUNS: ClassVar[dict[str, list[dict[str, Any]]]] = stored_result("reinforcement")["runs"]

    def test_every_kind_has_three_seeds(self) -> None:
        assert stored_rewards.kinds() == list(self.RUNS)
        for kind, runs in self.RUNS.items():
            assert [run["seed"] for run in runs] == [0, 1, 2], kind
            if not kind.startswith("DPO"):  # which learns from pairs
                assert len(stored_rewards.rewards(kind)) == 3

    def test_each_table_is_cut_from_the_record(self) -> None:
        second = self.RUNS["groups"][1]["after"]
        assert stored_rewards.pass_at("groups", "after")[1] == second["pass@k"]
        others = [second["greedy"], second["majority of 16"]]
        assert stored_rewards.others("groups", "after")[1] == others
        third = self.RUNS["free"][2]["after"]
        assert stored_rewards.verse("free", "after")[2]["ten"] == third["ten"]
        assert stored_rewards.samples("free")[2] == third["samples"][:3]

    def last(self, kind: str, until: int | None = None) -> list[float]:
        return [np.mean(run["rewards"][:until][-4:]) for run in self.RUNS[kind]]

    def after(self, kind: str, k: int) -> list[float]:
        place = stored_rewards.KS.index(k)
        return [run["after"]["pass@k"][place] for run in self.RUNS[kind]]

    def test_pass_at_1_rises_towards_pass_at_k(self) -> None:
        for run in self.RUNS["groups"]:
            before, after = run["before"]["pass@k"], run["after"]["pass@k"]
            assert after[0] > 3 * before[0]
            assert abs(after[-1] - before[-1]) < 0.1
            assert run["before"]["greedy"] > 2 * before[0]
            assert run["after"]["greedy"] > run["before"]["greedy"]

    def test_without_a_baseline_is_highest_and_groups_are_lowest(self) -> None:
        kinds = (self.last("groups", 20), self.last("baseline"), self.last("no baseline"))
        for groups, baseline, none in zip(*kinds, strict=True):
            assert groups < baseline < none

    def test_four_updates_need_ratio_and_clip(self) -> None:
        assert max(self.last("4 updates, no ratio")) < 0.01
        assert max(self.last("4 updates, ratio")) < 0.25
        assert min(self.last("4 updates, ratio and clip")) > 0.28

    def test_dpo(self) -> None:
        for run in self.RUNS["DPO, beta 1"]:
            assert run["after"]["pass@k"][0] > 1.5 * run["before"]["pass@k"][0]
            assert run["chosen moved"] > 0 > run["rejected moved"]
        for run in self.RUNS["DPO, beta 0.1"]:
            assert run["chosen moved"] < 0
            assert run["after"]["pass@k"][-1] < run["before"]["pass@k"][-1] - 0.1

    def test_verse(self) -> None:
        for free, priced in zip(self.RUNS["free"], self.RUNS["KL 0.1"], strict=True):
            assert free["after"]["ten"] > 0.95
            assert free["after"]["different"] < 0.5
            assert free["after"]["ten"] > priced["after"]["ten"] > 2 * priced["before"]["ten"]
            assert priced["after"]["different"] > 0.95
            assert 2 * priced["after"]["distance"] < free["after"]["distance"]
        found = [run["after"]["samples"][0].rstrip(".-") for run in self.RUNS["free"]]
        assert found[1] == found[2] == "I am am am am am am am"

    @pytest.mark.slow
    def test_the_benchmark_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(ROOT))
        from bench import reinforcement as bench

        words = ["--quick", "--out", str(tmp_path), "--seeds", "0", "--only"]
        kinds = ["baseline", "4 updates, ratio and clip", "DPO, beta 1"]
        assert bench.main([*words, *kinds]) == 0
        found = json.loads((tmp_path / "reinforcement.json").read_text(encoding="utf-8"))
        assert list(found["runs"]) == kinds


class TestChecks:
    """Each check finds the mistakes that are likely, and names the case."""

    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        return capsys.readouterr().out

    def test_the_mean_of_all_is_not_that_of_the_others(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with_itself = self.said(capsys, checks.leave_one_out, lambda r: r - r.mean(1, keepdim=True))
        assert with_itself.startswith("not yet: for rewards [1, 0, 0]")

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("day " * 10, "different words"),
            ("day responsibilities a b c", "2 are known"),
            ("qz xq zq day", "syllables"),
        ],
    )
    def test_a_line_that_does_not_fool_the_verifier(
        self, line: str, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = self.said(capsys, checks.exploit, lambda known: line.strip())
        assert found.startswith("not yet: ")
        assert told in found

    def test_a_clamp_alone_is_not_the_minimum(self, capsys: pytest.CaptureFixture[str]) -> None:
        def clamped(
            new: Tensor, old: Tensor, mask: Tensor, rewards: Tensor, size: int, clip: float
        ) -> Tensor:
            advantages = group_advantages(rewards.view(-1, size))
            gain = (new - old).exp().clamp(1 - clip, 1 + clip) * advantages[:, None]
            return -((gain * mask).sum(1) / mask.sum(1)).mean()

        found = self.said(capsys, checks.whole_grpo, clamped)
        assert found.startswith("not yet: for moved, clip 0.1")

    def test_tokens_are_not_averaged_over_all_answers(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def pooled(
            new: Tensor, old: Tensor, mask: Tensor, rewards: Tensor, size: int, clip: float
        ) -> Tensor:
            advantages = group_advantages(rewards.view(-1, size))
            return -((new - old).exp() * advantages[:, None] * mask).sum() / mask.sum()

        found = self.said(capsys, checks.whole_grpo, pooled)
        assert found.startswith("not yet: for nothing moved, answers of different lengths")

    def test_the_best_policy(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = self.said(capsys, checks.best_policy, lambda reference, rewards, beta: reference)
        assert found.startswith("not yet: for beta 2.0 your distribution is worth")
        found = self.said(
            capsys, checks.best_policy, lambda p, r, beta: (p.log() + r / beta).softmax(-1)
        )
        assert found.startswith("correct: ")


class TestSortingTask:
    def test_the_verifier_accepts_the_sorted_digits_only(self) -> None:
        assert sorting.solution("407133>") == "013347"
        assert sorting.is_right("407133>", "013347") == 1.0
        for wrong in ("013374", "013347 ", "01334", "407133", ""):
            assert sorting.is_right("407133>", wrong) == 0.0

    def test_questions_are_drawn_from_a_seed(self) -> None:
        one, two = (sorting.draw_prompts(5, torch.Generator().manual_seed(seed)) for seed in (1, 1))
        assert one == two
        assert all(len(prompt) == sorting.DIGITS + 1 and prompt.endswith(">") for prompt in one)
        assert len(set(one)) > 1
