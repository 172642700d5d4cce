"""Fine-tuning: the mask of the answer, LoRA against autograd, adapters, classification."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from mini_gpt.checks import finetuning as checks
from mini_gpt.config import GPTConfig
from mini_gpt.finetuning import (
    LORA_TARGETS,
    Classifier,
    LoRALinear,
    add_lora,
    answer_batch,
    answer_batches,
    answer_loss,
    class_loss,
    finetune,
    merge_lora,
    text_batch,
)
from mini_gpt.gpt2 import to_huggingface
from mini_gpt.loss import IGNORE_INDEX, next_token_loss
from mini_gpt.model import GPT
from mini_gpt.optimizer import OptimizerConfig
from mini_gpt.support.instructions import Exchange, chat_model, make_exchanges
from mini_gpt.tokenizer import BPETokenizer
from tiny import tiny_gpt

WORDS = ["fool", "crown", "moon", "sword", "night", "heart"]
EXCHANGES = make_exchanges(("repeat", "count"), WORDS, 9, seed=0)
QUICK = OptimizerConfig(steps=3, learning_rate=0.01, warmup_steps=1, weight_decay=0.0)


def letters() -> BPETokenizer:
    return BPETokenizer([bytes([byte]) for byte in range(256)], special_tokens=())


def chat(**changes: object) -> tuple[GPT, BPETokenizer]:
    return chat_model(tiny_gpt(vocab_size=256, context_length=90, **changes), letters())


def trained_lora(seed: int = 1) -> GPT:
    """A small GPT whose low-rank maps are no longer zero."""
    model = tiny_gpt(bias=True)
    add_lora(model, rank=3, alpha=5.0)
    torch.manual_seed(seed)
    for part in model.modules():
        if isinstance(part, LoRALinear):
            nn.init.normal_(part.up, std=0.3)
    return model


class TestAnswerBatch:
    def test_only_the_answer_and_its_end_are_targets(self) -> None:
        _, tokenizer = chat()
        inputs, targets = answer_batch(tokenizer, EXCHANGES[:3])
        for one, row, wanted in zip(EXCHANGES, inputs, targets, strict=False):
            counted = wanted[wanted != IGNORE_INDEX]
            assert tokenizer.decode(counted) == f" {one.answer}<|endoftext|>"
            begin = int((wanted != IGNORE_INDEX).nonzero()[0])
            # What stands where the first token of the answer is predicted.
            assert tokenizer.decode(row[: begin + 1]) == f"<|user|> {one.command}<|assistant|>"
            # The targets are the inputs, one place to the left.
            places = torch.arange(begin, begin + len(counted) - 1)
            assert torch.equal(wanted[places], row[places + 1])

    @pytest.mark.slow
    def test_padding_changes_nothing(self) -> None:
        model, tokenizer = chat()
        model.eval()
        alone = [
            model(*answer_batch(tokenizer, [one])[:1], targets=answer_batch(tokenizer, [one])[1])
            for one in EXCHANGES[:4]
        ]
        inputs, targets = answer_batch(tokenizer, EXCHANGES[:4])
        torch.testing.assert_close(model(inputs, targets=targets), sum(alone))

    def test_the_loss_is_the_mean_over_the_answers(self) -> None:
        model, tokenizer = chat()
        inputs, targets = answer_batch(tokenizer, EXCHANGES[:3])
        expected = next_token_loss(model(inputs), targets)
        torch.testing.assert_close(answer_loss(model, inputs, targets), expected)

    def test_batches_bring_each_exchange_once_a_round(self) -> None:
        _, tokenizer = chat()
        batches = answer_batches(tokenizer, EXCHANGES, 3, seed=4)
        rounds = [list(itertools.islice(batches, 3)) for _ in range(2)]
        whole = {tuple(answer_batch(tokenizer, [one])[0][0].tolist()) for one in EXCHANGES}
        for some in rounds:
            rows = [tuple(row[: row.count_nonzero()].tolist()) for x, _ in some for row in x]
            assert set(rows) == whole
        assert not torch.equal(rounds[0][0][0], rounds[1][0][0])
        with pytest.raises(ValueError, match="batch_size 10 must be from 1 to 9"):
            next(answer_batches(tokenizer, EXCHANGES, 10))


class TestFinetune:
    @pytest.mark.slow
    def test_takes_the_steps_and_leaves_the_mode(self) -> None:
        model, tokenizer = chat()
        model.eval()
        before = copy.deepcopy(model.state_dict())
        losses = finetune(model, answer_batches(tokenizer, EXCHANGES, 4), QUICK)
        assert len(losses) == QUICK.steps
        assert losses[0] == pytest.approx(5.56, abs=0.3)  # about ln 259
        assert not model.training
        assert all(not torch.equal(before[name], x) for name, x in model.state_dict().items())

    @pytest.mark.slow
    def test_learns_answers_by_heart(self) -> None:
        model, tokenizer = chat()
        config = OptimizerConfig(steps=60, learning_rate=0.02, warmup_steps=5, weight_decay=0.0)
        losses = finetune(model, answer_batches(tokenizer, EXCHANGES[:2], 2), config)
        assert losses[-1] < 0.25 * losses[0]

    def test_frozen_weights_stay(self) -> None:
        model, tokenizer = chat()
        start = copy.deepcopy(model)
        add_lora(model, rank=2)
        finetune(model, answer_batches(tokenizer, EXCHANGES, 4), QUICK)
        for name, weight in start.named_parameters():
            module, _, kind = name.rpartition(".")
            kept = model.get_submodule(module)
            kept = kept.base if isinstance(kept, LoRALinear) else kept
            assert torch.equal(getattr(kept, kind), weight)
        model.requires_grad_(False)
        with pytest.raises(ValueError, match="all weights are frozen"):
            finetune(model, [], QUICK)


class TestLoRA:
    def test_changes_nothing_before_training(self) -> None:
        model, ids = tiny_gpt().eval(), torch.tensor([[3, 1, 16, 4, 0]])
        before = model(ids)
        add_lora(model, rank=3)
        assert torch.equal(model(ids), before)

    @pytest.mark.parametrize("bias", [True, False])
    def test_is_a_linear_map_with_another_weight(self, bias: bool) -> None:
        torch.manual_seed(0)
        linear = nn.Linear(5, 7, bias=bias)
        lora = LoRALinear(linear, rank=2, alpha=3.0)
        nn.init.normal_(lora.up)
        x = torch.randn(4, 3, 5)
        weight = linear.weight + 1.5 * lora.up @ lora.down
        torch.testing.assert_close(lora(x), F.linear(x, weight, linear.bias))
        merged = lora.merged()
        torch.testing.assert_close(merged(x), lora(x))
        assert merged.weight.shape == (7, 5)
        assert torch.linalg.matrix_rank(merged.weight - linear.weight) == 2

    def test_gradients_are_those_of_the_formula(self) -> None:
        torch.manual_seed(0)
        lora = LoRALinear(nn.Linear(5, 7), rank=2, alpha=3.0).double()
        nn.init.normal_(lora.up)
        x = torch.randn(6, 5, dtype=torch.double)
        y = torch.randn(6, 7, dtype=torch.double)
        (lora(x) * y).sum().backward()
        outer = 1.5 * y.T @ x  # of the weight (7, 5)
        torch.testing.assert_close(lora.up.grad, outer @ lora.down.T)
        torch.testing.assert_close(lora.down.grad, lora.up.T @ outer)
        assert lora.base.weight.grad is None

    def test_agrees_with_a_parametrized_weight(self) -> None:
        """The same by torch's own means: a weight that is computed when it is read."""

        class LowRank(nn.Module):
            def __init__(self, lora: LoRALinear) -> None:
                super().__init__()
                self.change = lora.scale * lora.up.detach() @ lora.down.detach()

            def forward(self, weight: torch.Tensor) -> torch.Tensor:
                return weight + self.change

        model, ids = trained_lora(), torch.tensor([[3, 1, 16, 4, 0]])
        plain = tiny_gpt(bias=True)
        for path, part in model.named_modules():
            if isinstance(part, LoRALinear):
                linear = plain.get_submodule(path)
                parametrize.register_parametrization(linear, "weight", LowRank(part))
        torch.testing.assert_close(plain(ids), model(ids))

    def test_merging_keeps_the_logits_and_gives_back_a_plain_gpt(self) -> None:
        model, ids = trained_lora(), torch.tensor([[3, 1, 16, 4, 0]])
        before = model(ids)
        assert not torch.allclose(before, tiny_gpt(bias=True)(ids), atol=1e-3)
        merge_lora(model)
        torch.testing.assert_close(model(ids), before, atol=1e-6, rtol=1e-5)
        assert model.state_dict().keys() == tiny_gpt().state_dict().keys()
        assert all(weight.requires_grad for weight in model.parameters())

    def test_trains_the_maps_alone(self) -> None:
        model = tiny_gpt()
        add_lora(model, rank=3, targets=("query_key_value", "contract"))
        names = {name for name, weight in model.named_parameters() if weight.requires_grad}
        assert names == {
            f"decoder.blocks.{layer}.{part}.{kind}"
            for layer in range(2)
            for part in ("attention.query_key_value", "feed_forward.contract")
            for kind in ("down", "up")
        }
        trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
        assert trained == 2 * 3 * ((12 + 36) + (48 + 12))

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="rank 13 must be from 1 to 12"):
            add_lora(tiny_gpt(), rank=13)
        with pytest.raises(ValueError, match=r"targets \['head'\] must be some of"):
            add_lora(tiny_gpt(), rank=2, targets=["head"])
        with pytest.raises(ValueError, match="must be some of"):
            add_lora(tiny_gpt(), rank=2, targets=[])
        model = tiny_gpt()
        add_lora(model, rank=2)
        with pytest.raises(ValueError, match="has LoRA already"):
            add_lora(model, rank=2)

    def test_half_precision_stays(self) -> None:
        model = tiny_gpt().bfloat16()
        add_lora(model, rank=2)
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
        merge_lora(model)
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}

    @pytest.mark.slow
    def test_a_merged_model_goes_to_hugging_face(self, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        model, tokenizer = chat(position="learned")
        add_lora(model, rank=3)
        finetune(model, answer_batches(tokenizer, EXCHANGES, 4), QUICK)
        inputs, _ = answer_batch(tokenizer, EXCHANGES[:2])
        with torch.no_grad():
            expected = model.eval()(inputs)
        merge_lora(model)
        to_huggingface(model, tokenizer, tmp_path / "hub")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hub").eval()
        with torch.no_grad():
            found = theirs(inputs).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        names = transformers.AutoTokenizer.from_pretrained(tmp_path / "hub")
        assert names(EXCHANGES[0].command).input_ids == tokenizer.encode(EXCHANGES[0].command)


class TestClassifier:
    def test_padding_is_left_out(self) -> None:
        tokenizer, model = letters(), tiny_gpt(vocab_size=256, context_length=20)
        classifier = Classifier(model, 3)
        texts = ["to be", "or", "not to be, that"]
        ids, lengths = text_batch(tokenizer, texts)
        assert lengths.tolist() == [5, 2, 15]
        together = classifier.features(ids, lengths)
        for text, row in zip(texts, together, strict=True):
            stream = model.hidden(torch.tensor([tokenizer.encode(text)]))[0]
            torch.testing.assert_close(row, stream.mean(0))

    def test_starts_without_an_opinion_and_learns(self) -> None:
        tokenizer, model = letters(), tiny_gpt(vocab_size=256, context_length=20)
        classifier = Classifier(model, 2)
        ids, lengths = text_batch(tokenizer, ["aaaa", "bbb", "aa", "bbbbb"])
        batch = ids, lengths, torch.tensor([0, 1, 0, 1])
        assert torch.equal(classifier(ids, lengths), classifier.head.bias.expand(4, 2))
        config = OptimizerConfig(steps=40, learning_rate=0.02, warmup_steps=5)
        losses = finetune(classifier, itertools.repeat(batch), config, class_loss)
        assert losses[-1] < 0.05
        assert classifier(ids, lengths).argmax(1).tolist() == [0, 1, 0, 1]

    def test_the_head_alone_leaves_the_model(self) -> None:
        tokenizer, model = letters(), tiny_gpt(vocab_size=256, context_length=20)
        before = copy.deepcopy(model.state_dict())
        classifier = Classifier(model.requires_grad_(False), 2)
        batch = *text_batch(tokenizer, ["aa", "bbb"]), torch.tensor([0, 1])
        finetune(classifier, itertools.repeat(batch), QUICK, class_loss)
        assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
        assert classifier.head.weight.abs().sum() > 0


def test_every_target_is_a_linear_map_of_a_block() -> None:
    linear = {
        path.rpartition(".")[2]
        for path, part in tiny_gpt().named_modules()
        if isinstance(part, nn.Linear)
    }
    assert linear == set(LORA_TARGETS)
    assert Exchange("sort", "sort: b a", "a b").kind == "sort"


def said(check: Callable[[Any], None], answer: Any, capsys: pytest.CaptureFixture[str]) -> str:
    check(answer)
    return capsys.readouterr().out


class TestChecks:
    """A wrong answer is told by its case, with a hint; the right ones run in the chapter."""

    def test_a_count_that_forgets_something(self, capsys: pytest.CaptureFixture[str]) -> None:
        def narrow(config: GPTConfig, rank: int) -> int:
            return config.layers * rank * 16 * config.width  # as if F were 4 D

        assert "a feed-forward width of 20" in said(checks.lora_weights, narrow, capsys)
        assert "one layer of width 12, rank 5" in said(
            checks.lora_weights, lambda config, rank: 16 * config.width, capsys
        )

    def test_a_mask_that_is_not_shifted(self, capsys: pytest.CaptureFixture[str]) -> None:
        def same(turns: list[tuple[str, list[int]]]) -> tuple[list[int], list[int]]:
            ids = [id for _, some in turns for id in some]
            wanted = [id if who == "assistant" else -100 for who, some in turns for id in some]
            return ids[:-1], wanted[:-1]

        assert "one turn each, targets" in said(checks.conversation, same, capsys)
        assert "return two lists" in said(checks.conversation, lambda turns: None, capsys)

    def test_maps_that_begin_wrongly(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Maps(nn.Module):
            def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
                super().__init__()
                self.down = nn.Parameter(torch.zeros(rank, inputs))
                self.up = nn.Parameter(torch.zeros(outputs, rank))

            def forward(self, weight: torch.Tensor) -> torch.Tensor:
                return weight + self.up @ self.down

        class Loud(Maps):
            def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
                super().__init__(outputs, inputs, rank, scale)
                nn.init.ones_(self.down)
                nn.init.ones_(self.up)

        class Unscaled(Maps):
            def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
                super().__init__(outputs, inputs, rank, scale)
                nn.init.ones_(self.down)

        assert "`up` has no gradient" in said(checks.low_rank, Maps, capsys)
        assert "a new part, outputs" in said(checks.low_rank, Loud, capsys)
        assert "trained maps, the weight" in said(checks.low_rank, Unscaled, capsys)
        assert "has the parameters {}" in said(checks.low_rank, lambda *_: nn.Identity(), capsys)

    def test_an_adapter_of_the_wrong_directions(self, capsys: pytest.CaptureFixture[str]) -> None:
        def smallest(
            before: torch.Tensor, after: torch.Tensor, rank: int
        ) -> tuple[torch.Tensor, torch.Tensor]:
            left, values, right = torch.linalg.svd(after - before, full_matrices=False)
            return left[:, -rank:] * values[-rank:], right[-rank:]

        assert "what is missed" in said(checks.extract, smallest, capsys)
        assert "return two tensors" in said(checks.extract, lambda *_: None, capsys)
