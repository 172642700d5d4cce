"""The token embedding: a one-hot product read forwards, backwards and from the other end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mini_gpt import checks
from mini_gpt.embedding import TokenEmbedding

BATCH, TIME, VOCABULARY, WIDTH = 2, 5, 7, 3


def embedding_with(weight: Tensor) -> TokenEmbedding:
    embedding = TokenEmbedding(*weight.shape).to(weight.dtype)
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
            TokenEmbedding(VOCABULARY, WIDTH)(torch.tensor([[VOCABULARY]]))


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
        shapes = {n: tuple(p.shape) for n, p in TokenEmbedding(11, 4).named_parameters()}
        assert shapes == {"weight": (11, 4)}

    def test_starts_small(self) -> None:
        torch.manual_seed(0)
        weight = TokenEmbedding(500, 200).weight
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert weight.mean().item() == pytest.approx(0.0, abs=3e-4)

    @pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 4)])
    def test_refuses_sizes_below_one(self, sizes: tuple[int, int]) -> None:
        named = rf"vocab_size {sizes[0]} and width {sizes[1]} must be at least 1"
        with pytest.raises(ValueError, match=named):
            TokenEmbedding(*sizes)


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
    def test_share_saved(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.embeddings.share_saved(lambda vocab_size, width, other: None)
        checks.embeddings.share_saved(lambda v, w, other: v * w / (v * w + other))
        checks.embeddings.share_saved(lambda v, w, other: v * w / (2 * v * w + other))
        nothing, of_the_tied, solution = capsys.readouterr().out.splitlines()
        first = "not yet: for vocab_size 10, width 4 and 20 other parameters expected 0.4, got"
        assert nothing.startswith(f"{first} None")
        assert of_the_tied.startswith(f"{first} 0.6667")
        assert solution.startswith("correct: ")

    def test_table_gradient(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.embeddings.table_gradient(lambda ids, upstream, vocab_size: None)
        checks.embeddings.table_gradient(gradient_of_the_last_occurrence)
        checks.embeddings.table_gradient(lambda ids, up, size: gradient(ids[:1], up[:1], size))
        checks.embeddings.table_gradient(gradient)
        nothing, last, first_sequence, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for three different tokens expected tensor 6×2")
        assert last.startswith("not yet: for a token that occurs twice")
        assert first_sequence.startswith("not yet: for two sequences that share tokens")
        assert solution.startswith("correct: ")

    def test_factors(self, capsys: pytest.CaptureFixture[str]) -> None:
        def full_read(ids: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
            return (narrow @ widen)[ids]

        def full_score(stream: Tensor, narrow: Tensor, widen: Tensor) -> Tensor:
            return stream @ (narrow @ widen).T

        checks.embeddings.factors(lambda *_: None, score)
        checks.embeddings.factors(read, lambda *_: None)
        checks.embeddings.factors(
            lambda ids, narrow, widen: read(ids, narrow.flip(0), widen), score
        )
        checks.embeddings.factors(read, lambda s, n, widen: score(s, n.flip(0), widen))
        checks.embeddings.factors(full_read, score)
        checks.embeddings.factors(read, full_score)
        checks.embeddings.factors(read, score)
        *wrong, reads_all, scores_all, solution = capsys.readouterr().out.splitlines()
        for line, use in zip(wrong, ("read", "score", "read", "score"), strict=True):
            assert line.startswith(f"not yet: for {use} expected tensor 3×4×")
        computes_it = "gives the right numbers, but computes the full table"
        assert reads_all.startswith(f"not yet: read {computes_it}")
        assert scores_all.startswith(f"not yet: score {computes_it}")
        assert solution.startswith("correct: ")
