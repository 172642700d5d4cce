"""The token embedding: a one-hot product read forwards, backwards and from the other end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from answers import verdicts
from mini_gpt import checks
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import overfit_one_batch, random_batch
from mini_gpt.embedding import TokenEmbedding
from mini_gpt.generation import generate_ids
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from tiny import tiny_config, tiny_gpt

BATCH, TIME, VOCABULARY, WIDTH = 2, 5, 7, 3


def embedding_of(vocab_size: int, width: int, multiple: int = 1) -> TokenEmbedding:
    return TokenEmbedding(
        GPTConfig(vocab_size=vocab_size, width=width, heads=1, pad_vocab_to_multiple=multiple)
    )


def embedding_with(weight: Tensor) -> TokenEmbedding:
    embedding = embedding_of(*weight.shape).to(weight.dtype)
    with torch.no_grad():
        embedding.weight.copy_(weight)
    return embedding


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IDS = torch.tensor([[2, 0, 3, 2, 6], [6, 6, 1, 0, 2]])  # tokens 4 and 5 do not occur


class TestReading:
    @given(batch=st.integers(1, 3), time=st.integers(1, 5), seed=st.integers(0, 999))
    @settings(deadline=None, max_examples=20)
    def test_is_a_one_hot_product(self, batch: int, time: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(VOCABULARY, (batch, time), generator=generator)
        table = random(VOCABULARY, WIDTH, seed=seed)
        assert torch.equal(
            embedding_with(table)(ids), F.one_hot(ids, VOCABULARY).to(table.dtype) @ table
        )

    @given(batch=st.integers(1, 3), time=st.integers(1, 5), seed=st.integers(0, 999))
    @settings(deadline=None, max_examples=20)
    def test_equals_pytorchs_own_forwards_and_backwards(
        self, batch: int, time: int, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(VOCABULARY, (batch, time), generator=generator)
        table, upstream = random(VOCABULARY, WIDTH, seed=seed), random(batch, time, WIDTH, seed=1)
        ours, peer = embedding_with(table), nn.Embedding.from_pretrained(table, freeze=False)
        assert torch.equal(ours(ids), F.embedding(ids, table))
        for module in (ours, peer):
            module(ids).backward(upstream)
        assert ours.weight.grad is not None
        assert peer.weight.grad is not None
        torch.testing.assert_close(ours.weight.grad, peer.weight.grad)

    def test_gives_each_token_its_own_row(self) -> None:
        table = torch.arange(VOCABULARY * WIDTH, dtype=torch.float64).view(VOCABULARY, WIDTH)
        found = embedding_with(table)(IDS)
        assert found[0, 4].tolist() == [18.0, 19.0, 20.0]
        assert found[1, 2].tolist() == [3.0, 4.0, 5.0]

    def test_gradient_adds_up_what_comes_back_to_each_token(self) -> None:
        upstream = random(BATCH, TIME, WIDTH, seed=1)
        embedding = embedding_with(random(VOCABULARY, WIDTH))
        embedding(IDS).backward(upstream)
        expected = torch.zeros(VOCABULARY, WIDTH, dtype=torch.float64)
        for sequence in range(BATCH):
            for position in range(TIME):
                expected[IDS[sequence, position]] += upstream[sequence, position]
        assert embedding.weight.grad is not None
        torch.testing.assert_close(embedding.weight.grad, expected)
        assert embedding.weight.grad[[4, 5]].abs().sum() == 0

    def test_refuses_an_id_outside_the_vocabulary(self) -> None:
        with pytest.raises(IndexError):
            embedding_of(VOCABULARY, WIDTH)(torch.tensor([[VOCABULARY]]))
        with pytest.raises(IndexError):
            embedding_of(VOCABULARY, WIDTH)(torch.tensor([[-1]]))


class TestScoring:
    def test_is_a_dot_product_with_every_row(self) -> None:
        table, stream = random(VOCABULARY, WIDTH), random(BATCH, TIME, WIDTH, seed=1)
        found = embedding_with(table).logits(stream)
        assert found.shape == (BATCH, TIME, VOCABULARY)
        for token in range(VOCABULARY):
            expected = (stream * table[token]).sum(-1)
            torch.testing.assert_close(found[..., token], expected)

    def test_equals_an_output_layer_tied_by_hand(self) -> None:
        reader, scorer = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        scorer.weight = reader.weight
        ours = embedding_with(reader.weight.detach())
        for output in (scorer(reader(IDS)), ours.logits(ours(IDS))):
            F.cross_entropy(output.flatten(0, 1), IDS.roll(-1, 1).flatten()).backward()
        assert ours.weight.grad is not None
        assert reader.weight.grad is not None
        torch.testing.assert_close(ours.weight.grad, reader.weight.grad)

    def test_a_tied_gradient_is_the_sum_of_both_uses(self) -> None:
        table, maps = random(VOCABULARY, WIDTH), random(WIDTH, WIDTH, seed=1)
        targets = IDS.roll(-1, 1).flatten()
        tied = embedding_with(table)
        F.cross_entropy(tied.logits(tied(IDS) @ maps).flatten(0, 1), targets).backward()
        reads, scores = embedding_with(table), embedding_with(table)
        F.cross_entropy(scores.logits(reads(IDS) @ maps).flatten(0, 1), targets).backward()
        assert tied.weight.grad is not None
        assert reads.weight.grad is not None
        assert scores.weight.grad is not None
        torch.testing.assert_close(tied.weight.grad, reads.weight.grad + scores.weight.grad)
        assert reads.weight.grad.abs().sum() > 0
        assert scores.weight.grad.abs().sum() > 0


class TestParameters:
    def test_is_one_table(self) -> None:
        shapes = {n: tuple(p.shape) for n, p in embedding_of(11, 4).named_parameters()}
        assert shapes == {"weight": (11, 4)}

    def test_starts_small(self) -> None:
        torch.manual_seed(0)
        weight = embedding_of(500, 200).weight
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert weight.mean().item() == pytest.approx(0.0, abs=3e-4)


class TestPadding:
    """A padded vocabulary is seen in the size of the table and nowhere else."""

    @given(
        vocab_size=st.integers(1, 20),
        multiple=st.sampled_from([1, 3, 8, 64]),
        seed=st.integers(0, 99),
    )
    @settings(deadline=None, max_examples=20)
    def test_changes_neither_vectors_nor_scores_nor_gradients(
        self, vocab_size: int, multiple: int, seed: int
    ) -> None:
        table, stream = random(vocab_size, WIDTH, seed=seed), random(BATCH, TIME, WIDTH, seed=1)
        ids = torch.randint(
            vocab_size, (BATCH, TIME), generator=torch.Generator().manual_seed(seed)
        )
        plain, padded = embedding_with(table), embedding_of(vocab_size, WIDTH, multiple).double()
        assert len(padded.weight) == -(-vocab_size // multiple) * multiple
        with torch.no_grad():
            padded.weight[:vocab_size] = table
            padded.weight[vocab_size:] = 1000.0  # what stands there must not matter
        assert torch.equal(padded(ids), plain(ids))
        torch.testing.assert_close(padded.logits(stream), plain.logits(stream))
        for embedding in (plain, padded):
            (embedding(ids).square().sum() + embedding.logits(stream).exp().sum()).backward()
        assert plain.weight.grad is not None
        assert padded.weight.grad is not None
        torch.testing.assert_close(padded.weight.grad[:vocab_size], plain.weight.grad)
        assert not padded.weight.grad[vocab_size:].any()

    @pytest.mark.parametrize("unknown", [7, 63, 64, -1])
    def test_an_id_in_it_is_unknown(self, unknown: int) -> None:
        with pytest.raises(IndexError):
            embedding_of(VOCABULARY, WIDTH, 64)(torch.tensor([[3, unknown]]))

    @pytest.mark.parametrize(
        ("vocab_size", "rows"), [(50_257, 50_304), (64, 64), (65, 128), (1, 64)]
    )
    def test_rows_of_a_model_are_rounded_up(self, vocab_size: int, rows: int) -> None:
        with torch.device("meta"):
            model = GPT(tiny_config(vocab_size=vocab_size, pad_vocab_to_multiple=64))
        assert model.token_embedding.weight.shape == (rows, 12)


def padded_and_plain() -> tuple[GPT, GPT]:
    """A padded model and one without padding, with the same weights; the padding is not 0."""
    padded, plain = tiny_gpt(pad_vocab_to_multiple=64).eval(), tiny_gpt().eval()
    with torch.no_grad():
        for parameter in padded.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    state = dict(padded.state_dict())
    assert state["token_embedding.weight"].shape == (64, 12)
    assert state["token_embedding.weight"][17:].abs().min() > 0
    state["token_embedding.weight"] = state["token_embedding.weight"][:17]
    plain.load_state_dict(state)
    return padded, plain


class TestPaddingOfAModel:
    def test_logits_are_those_without_it(self) -> None:
        padded, plain = padded_and_plain()
        ids = random_batch(plain.config, batch_size=2, time=5)
        assert padded(ids).shape == (2, 5, 17)
        torch.testing.assert_close(padded(ids), plain(ids))
        stream = padded.hidden(ids)
        torch.testing.assert_close(padded.token_embedding.logits(stream), plain(ids))

    def test_counts_in_no_loss_and_no_gradient(self) -> None:
        padded, plain = padded_and_plain()
        ids = random_batch(plain.config, batch_size=3, time=6)
        losses = [next_token_loss(model(ids[:, :-1]), ids[:, 1:]) for model in (padded, plain)]
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
        mine, other = padded.token_embedding.weight.grad, plain.token_embedding.weight.grad
        assert mine is not None
        assert other is not None
        torch.testing.assert_close(mine[:17], other)
        assert not mine[17:].any()

    def test_is_never_sampled_however_large_its_scores_were(self) -> None:
        padded, _ = padded_and_plain()
        with torch.no_grad():
            padded.token_embedding.weight[17:].mul_(1000)
        source = generate_ids(padded, [3], SampleConfig(temperature=100.0, past_context="slide"))
        drawn = [next(source) for _ in range(60)]
        assert max(drawn) < 17
        assert len(set(drawn)) > 8

    def test_starts_at_zero_and_stays_there_in_training(self) -> None:
        model = tiny_gpt(pad_vocab_to_multiple=64)
        assert not model.token_embedding.weight[17:].any()
        assert model.token_embedding.weight[:17].all()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        ids = random_batch(model.config, 3, 6)
        for _ in range(3):
            next_token_loss(model(ids[:, :-1]), ids[:, 1:]).backward()
            optimizer.step()
        assert not model.token_embedding.weight[17:].any()

    def test_learns_one_batch_by_heart(self) -> None:
        model = tiny_gpt(context_length=12, heads=2, width=32, pad_vocab_to_multiple=64)
        losses = overfit_one_batch(model)
        assert losses[0] == pytest.approx(math.log(17), rel=0.02)
        assert losses[-1] < 0.1


def gradient(ids: Tensor, upstream: Tensor, vocab_size: int) -> Tensor:
    zeros = upstream.new_zeros(vocab_size, upstream.shape[-1])
    return zeros.index_add_(0, ids.flatten(), upstream.flatten(0, 1))


def gradient_of_the_last_occurrence(ids: Tensor, upstream: Tensor, vocab_size: int) -> Tensor:
    zeros = upstream.new_zeros(vocab_size, upstream.shape[-1])
    for sequence, rows in zip(ids, upstream, strict=True):
        for id, row in zip(sequence, rows, strict=True):
            zeros[id] = row
    return zeros


def read(ids: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
    return F.embedding(ids, narrow) @ widen


def score(stream: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
    return (stream @ widen.T) @ narrow.T


class TestExercises:
    def test_rows_that_move(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.embedding.rows_that_move(lambda ids, vocab_size, tied: None)
        checks.embedding.rows_that_move(lambda ids, vocab_size, tied: ids)
        checks.embedding.rows_that_move(lambda ids, vocab_size, tied: sorted(set(ids)))
        checks.embedding.rows_that_move(lambda ids, vocab_size, tied: list(range(vocab_size)))
        checks.embedding.rows_that_move(
            lambda ids, size, tied: list(range(size)) if tied else sorted(set(ids))
        )
        nothing, as_read, never_all, always_all, solution = capsys.readouterr().out.splitlines()
        first = "not yet: for ids [3, 1] and 5 tokens, a table that is only read, "
        assert nothing.startswith(f"{first}nothing comes back")
        for line in (as_read, always_all):
            assert line.startswith(f"{first}expected [1, 3]")
        assert never_all.startswith("not yet: for ids [3, 1] and 5 tokens, a tied table,")
        assert solution.startswith("correct: ")

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ({}, "correct: "),
            ({"rows": 0}, "not yet: for vocab_size 7, width 3 and multiple 4, the parameters"),
            ({"std": 1.0}, "not yet: for a fresh table expected a standard deviation of 0.02"),
            ({"cut_reading": False}, "not yet: for vocab_size 7, width 3 and multiple 4, id 7"),
            ({"cut_scores": False}, "not yet: for vocab_size 7, width 3 and multiple 4, scoring"),
            ({"sign": -1.0}, "not yet: for vocab_size 7, width 3 and multiple 1, reading"),
        ],
    )
    def test_module(
        self, fault: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Table(nn.Module):
            def __init__(self, vocab_size: int, width: int, multiple: int) -> None:
                super().__init__()
                rows = -(-vocab_size // multiple) * multiple if fault.get("rows", 1) else vocab_size
                self.weight = nn.Parameter(fault.get("std", 0.02) * torch.randn(rows, width))
                self.vocab_size = vocab_size

            def forward(self, ids: Tensor) -> Tensor:
                end = self.vocab_size if fault.get("cut_reading", True) else None
                return fault.get("sign", 1.0) * self.weight[:end][ids]

            def logits(self, stream: Tensor) -> Tensor:
                end = self.vocab_size if fault.get("cut_scores", True) else None
                return F.linear(stream, self.weight)[..., :end]

        torch.manual_seed(0)
        checks.embedding.module(Table)
        assert capsys.readouterr().out.startswith(said)

    def test_table_gradient(self, capsys: pytest.CaptureFixture[str]) -> None:
        nothing, last, first_sequence, solution = verdicts(
            capsys,
            checks.embedding.table_gradient,
            lambda ids, upstream, vocab_size: None,
            gradient_of_the_last_occurrence,
            lambda ids, up, size: gradient(ids[:1], up[:1], size),
            gradient,
        )
        assert nothing.startswith("not yet: for three different tokens nothing comes back")
        assert last.startswith("not yet: for a token that occurs twice")
        assert first_sequence.startswith("not yet: for two sequences that share tokens")
        assert solution.startswith("correct: ")

    def test_factors(self, capsys: pytest.CaptureFixture[str]) -> None:
        def full_read(ids: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
            return (narrow @ widen)[ids]

        def full_score(stream: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
            return stream @ (narrow @ widen).T

        checks.embedding.factors(lambda *_: None, score)
        checks.embedding.factors(read, lambda *_: None)
        checks.embedding.factors(lambda ids, narrow, widen: read(ids, narrow.flip(0), widen), score)
        checks.embedding.factors(read, lambda s, n, widen: score(s, n.flip(0), widen))
        checks.embedding.factors(full_read, score)
        checks.embedding.factors(read, full_score)
        checks.embedding.factors(read, score)
        *wrong, reads_all, scores_all, solution = capsys.readouterr().out.splitlines()
        uses = "read nothing", "score nothing", "read expected", "score expected"
        for line, use in zip(wrong, uses, strict=True):
            assert line.startswith(f"not yet: for {use} ")
        computes_it = "gives the right numbers, but computes the full table"
        assert reads_all.startswith(f"not yet: read {computes_it}")
        assert scores_all.startswith(f"not yet: score {computes_it}")
        assert solution.startswith("correct: ")
