"""An account that many have read: each departure does what it says, and sizes are equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from answers import verdicts
from mini_gpt.characters import CharTokenizer
from mini_gpt.checks import popular_account as checks
from mini_gpt.decoder import DecoderBlock
from mini_gpt.diagnostics import check_causality, check_model, count_parameters, random_batch
from mini_gpt.generation import KVCache
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from mini_gpt.popular_account import (
    DEPARTURES,
    AccountBlock,
    AddPositions,
    Concatenate,
    ViewedAttention,
    account_machine,
    leak,
    neighboring_pieces,
    one_frequency,
    same_size,
    train_beside,
    train_machine,
)
from mini_gpt.support import stored_machines
from mini_gpt.support.drawings import popular_account as drawings
from mini_gpt.support.probes import shaken_twin
from mini_gpt.support.stored_results import stored_result
from mini_gpt.support.without_cache import write_anew
from mini_gpt.trainer import TrainConfig
from tiny import tiny_config, tiny_gpt

CONFIG = tiny_config(heads=2)  # 8 positions, which two pieces share evenly
MASKED = [name for name in DEPARTURES if name != "no mask"]
SETTINGS = TrainConfig(steps=3, batch_size=5, warmup_steps=1)
TOKENS = np.random.default_rng(0).integers(17, size=200)


def machine(*departures: str, **changes: Any) -> GPT:
    torch.manual_seed(0)
    return account_machine(replace(CONFIG, **changes), departures)


def outputs_moved_by(model: GPT, position: int) -> list[int]:
    """The positions whose logits change with the input at one position."""
    model = model.eval()
    ids = torch.arange(8)[None]
    other = ids.clone()
    other[0, position] = 13
    with torch.no_grad():
        change = (model(ids) - model(other)).abs().amax(-1)[0]
    return (change > 0).nonzero().flatten().tolist()


class TestMachine:
    def test_without_departures_it_is_the_gpt(self) -> None:
        plain, same = tiny_gpt(heads=2), machine()
        same.load_state_dict(plain.state_dict())
        batch = random_batch(CONFIG, 3, 7)
        assert torch.equal(plain(batch), same(batch))

    def test_an_unknown_departure_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no departure 'telepathy'"):
            account_machine(CONFIG, ["telepathy"])

    @pytest.mark.parametrize("name", DEPARTURES)
    def test_each_learns_and_every_parameter_has_a_gradient(self, name: str) -> None:
        model = machine(name)
        ids = random_batch(CONFIG, 4, 8)
        next_token_loss(model(ids[:, :-1]), ids[:, 1:]).backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())

    @pytest.mark.parametrize("name", MASKED)
    def test_only_the_missing_mask_is_a_leak(self, name: str) -> None:
        check_causality(shaken_twin(machine(name)), random_batch(CONFIG, 2, 6))

    @pytest.mark.slow
    def test_a_missing_mask_is_found_by_the_check(self) -> None:
        assert list(check_model(machine("no mask"))) == ["causality"]
        with pytest.raises(AssertionError, match="position 0 changes with the input at position 1"):
            check_causality(machine("no mask"), random_batch(CONFIG, 2, 6))

    def test_all_together_leak_too(self) -> None:
        check_causality(shaken_twin(machine(*MASKED)), random_batch(CONFIG, 2, 6))
        with pytest.raises(AssertionError, match="position 0 changes"):
            check_causality(shaken_twin(machine(*DEPARTURES)), random_batch(CONFIG, 2, 6))

    @pytest.mark.parametrize("departures", [(), *[(name,) for name in DEPARTURES], DEPARTURES])
    def test_sizes_are_made_equal(self, departures: tuple[str, ...]) -> None:
        config = same_size(CONFIG, departures)
        wanted = count_parameters(GPT(CONFIG))
        found = count_parameters(account_machine(config, departures))
        assert abs(found - wanted) <= CONFIG.layers * 4 * CONFIG.width / 2

    def test_a_cut_sequence_reaches_one_piece_further_with_each_layer(self) -> None:
        one = machine("cut sequence", layers=1, heads=4)
        assert outputs_moved_by(one, 1) == [1, 2, 3]
        two = machine("cut sequence", layers=2, heads=4)
        assert outputs_moved_by(two, 1) == [1, 2, 3, 4, 5]

    def test_cut_and_without_a_mask_neighbors_see_both_ways(self) -> None:
        one = machine("cut sequence", "no mask", layers=1, heads=4)
        assert outputs_moved_by(one, 5) == [2, 3, 4, 5, 6, 7]

    def test_positions_inside_are_the_only_ones(self) -> None:
        model = machine("positions inside")
        assert model.positions is None
        made = model.decoder.blocks[0].attention.query_key_value
        rows = made[1].table
        x = torch.randn(2, 5, 12)
        torch.testing.assert_close(made(x), made[0](x) + rows[:5])
        assert rows.shape == (8, 36)
        assert rows.requires_grad

    def test_one_frequency_inside_is_not_learned(self) -> None:
        model = machine("positions inside", "one frequency")
        rows = model.decoder.blocks[1].attention.query_key_value[1].table
        assert not rows.requires_grad
        assert torch.equal(rows, one_frequency(8, 36))

    def test_one_frequency_alone_takes_the_place_of_the_learned_rows(self) -> None:
        model = machine("one frequency")
        assert torch.equal(model.positions(3), one_frequency(8, 12)[:3])

    def test_feed_forward_first_leaves_nothing_behind_attention(self) -> None:
        block = machine("feed-forward first").decoder.blocks[0]
        assert not hasattr(block, "feed_forward")
        x = torch.randn(2, 5, 12)
        expected = x + block.attention(block.attention_norm(x))
        torch.testing.assert_close(block(x), expected)
        first, gelu, second = block.attention.query_key_value
        assert (first.out_features, second.out_features) == (48, 36)
        assert gelu(torch.tensor(-1.0)) == F.gelu(torch.tensor(-1.0), approximate="tanh")

    def test_the_compression_is_of_rank_a_quarter(self) -> None:
        norm, down, up = machine("compression").decoder.final_norm
        assert norm.normalized_shape == (12,)
        assert torch.linalg.matrix_rank(up.weight @ down.weight) == 3


class TestParts:
    def test_the_table_decides_who_is_seen(self) -> None:
        torch.manual_seed(0)
        attention = ViewedAttention(CONFIG, torch.ones(8, 8).tril().bool())
        plain = tiny_gpt(heads=2).decoder.blocks[0].attention
        plain.load_state_dict(attention.state_dict())
        x = torch.randn(3, 5, 12)
        torch.testing.assert_close(attention(x), plain(x))

    def test_it_refuses_what_it_could_not_honor(self) -> None:
        attention = ViewedAttention(CONFIG, torch.ones(8, 8).bool())
        x = torch.randn(1, 2, 12)
        with pytest.raises(ValueError, match="no cache"):
            attention(x, KVCache(8))
        with pytest.raises(ValueError, match="no mask"):
            attention(x, None, torch.ones(2, 2).bool())

    def test_pieces(self) -> None:
        table = neighboring_pieces(6, 3).int().tolist()
        assert table[0] == [1, 1, 1, 1, 0, 0]
        assert table[2] == [1] * 6
        with pytest.raises(ValueError, match="4 pieces cannot share 6"):
            neighboring_pieces(6, 4)

    def test_one_frequency_is_one_pair(self) -> None:
        rows = one_frequency(5, 6)
        assert torch.equal(rows[:, :2].repeat(1, 3), rows)
        torch.testing.assert_close(rows[3, 0], torch.tensor(3.0).sin())
        torch.testing.assert_close(rows[3, 1], torch.tensor(3.0).cos())

    def test_rows_are_added_from_the_first(self) -> None:
        rows = torch.randn(8, 3)
        added = AddPositions(rows, learned=False)(torch.zeros(2, 5, 3))
        assert torch.equal(added[1], rows[:5])
        assert not list(AddPositions(rows, learned=False).parameters())
        assert len(list(AddPositions(rows, learned=True).parameters())) == 1

    def test_two_identities_side_by_side_are_a_sum(self) -> None:
        join = Concatenate(4)
        with torch.no_grad():
            join.mix.weight.copy_(torch.eye(4).repeat(1, 2))
            join.mix.bias.zero_()
        x, y = torch.randn(2, 2, 3, 4)
        torch.testing.assert_close(join(x, y), x + y)

    def test_a_block_joins_once_for_each_part(self) -> None:
        assert len(AccountBlock(CONFIG, ["concatenation"]).join) == 2
        both = AccountBlock(CONFIG, ["concatenation", "feed-forward first"])
        assert len(both.join) == 1


class TestLosses:
    def test_the_honest_loss_is_that_of_the_last_positions(self) -> None:
        model = tiny_gpt()
        seeming, honest = leak(model, TOKENS[:17], windows=2)
        rows = torch.from_numpy(np.stack([TOKENS[0:9], TOKENS[8:17]]))
        with torch.no_grad():
            logits = model(rows[:, :-1])
        assert seeming == pytest.approx(next_token_loss(logits, rows[:, 1:]).item())
        last = F.cross_entropy(logits[:, -1], rows[:, -1]).item()
        assert honest == pytest.approx(last)

    def test_too_few_tokens_are_refused(self) -> None:
        with pytest.raises(ValueError, match="8 tokens are no window of 9"):
            leak(tiny_gpt(), TOKENS[:8])

    def test_training_lowers_the_loss_and_begins_as_the_model_was(self) -> None:
        model = tiny_gpt()
        config = replace(SETTINGS, steps=30, learning_rate=1e-2)
        tokens = np.tile(np.arange(5), 40)
        losses = train_machine(model, tokens, config)
        assert len(losses) == 30
        assert losses[-1] < losses[0] - 0.5

    def test_it_can_be_asked_at_the_end_only(self) -> None:
        whole, end = tiny_gpt(), tiny_gpt()
        first = train_machine(end, TOKENS, replace(SETTINGS, steps=1), last=1)[0]
        assert first != pytest.approx(train_machine(whole, TOKENS, replace(SETTINGS, steps=1))[0])
        seen = [p.grad is not None and bool(p.grad.any()) for p in end.parameters()]
        assert all(seen)

    def test_side_by_side_they_see_the_same_batches(self) -> None:
        reports = train_beside({"a": tiny_gpt(), "b": tiny_gpt()}, TOKENS, TOKENS, SETTINGS)
        assert reports["a"] == reports["b"]
        assert reports["a"].parameters == count_parameters(tiny_gpt())
        assert len(reports["a"].losses) == 3

    def test_unequal_sizes_are_refused(self) -> None:
        pair = {"a": tiny_gpt(), "b": tiny_gpt(hidden_width=60)}
        with pytest.raises(ValueError, match="no equal sizes"):
            train_beside(pair, TOKENS, TOKENS, SETTINGS)

    def test_what_is_written_anew_follows_from_the_seed_alone(self) -> None:
        tokenizer, model = CharTokenizer("abcdefghijklmnopq"), tiny_gpt()
        first = write_anew(model, tokenizer, "abc", 12, seed=1)
        assert len(first) == 12
        assert first == write_anew(model, tokenizer, "abc", 12, seed=1)
        assert first != write_anew(model, tokenizer, "abc", 12, seed=2)


class TestStored:
    """What the chapter says of three seeds, against what the benchmark has found."""

    RUNS: ClassVar[dict[str, list[dict[str, Any]]]] = stored_result("popular_account")["runs"]

    def test_it_is_shown_as_it_was_stored(self) -> None:
        assert stored_machines.kinds() == list(self.RUNS)
        for kind, runs in self.RUNS.items():
            assert [run["seed"] for run in runs] == [0, 1, 2]
            assert stored_machines.honest(kind) == [run["honest"] for run in runs]
            assert stored_machines.seeming(kind) == [run["seeming"] for run in runs]
            assert stored_machines.parameters(kind) == runs[2]["parameters"]
        assert stored_machines.written("GPT-2", 1) == self.RUNS["GPT-2"][1]["written"]
        assert stored_machines.beginning() == self.RUNS["the account"][2]["prompt"]

    def test_all_are_of_one_size(self) -> None:
        sizes = [stored_machines.parameters(kind) for kind in stored_machines.kinds()]
        assert max(sizes) < 1.003 * min(sizes)

    def test_the_leak_seems_to_be_an_honest_loss_over_the_positions(self) -> None:
        pairs = zip(
            stored_machines.seeming("no mask"), stored_machines.honest("no mask"), strict=True
        )
        assert all(abs(seems - honest / 32) < 0.005 for seems, honest in pairs)

    @pytest.mark.slow
    def test_the_benchmark_runs(self, tmp_path: Path) -> None:
        from bench import popular_account as bench

        words = ["--quick", "--out", str(tmp_path), "--seeds", "0", "--only"]
        kinds = ["GPT-2", "the account", "concatenation, begun as the sum", "asked at the end"]
        assert bench.main([*words, *kinds]) == 0
        assert (tmp_path / "popular_account.json").exists()

    @pytest.mark.parametrize("kind", stored_machines.kinds())
    def test_each_kind_can_be_built(self, kind: str) -> None:
        from bench import popular_account as bench

        found = count_parameters(bench.machine(kind, 84, bench.SHAPE))
        assert found == stored_machines.parameters(kind)


class TestDrawings:
    def test_they_say_what_they_show(self) -> None:
        assert "feed-forward" in drawings.two_machines().alt
        assert "asked for o" in drawings.answer_to_the_right("to be or no").alt
        assert "depends on 3 pieces" in drawings.reach(4, 2).alt
        assert "44 at 0.02" in drawings.one_hand([0, 44]).alt
        assert "12 and back to 48" in drawings.narrow(48, 12).alt
        assert "no mask: the table" in drawings.departures(DEPARTURES).alt


class Swapped(DecoderBlock):
    def forward(self, stream: Tensor, cache: Any = None, mask: Any = None) -> Tensor:
        stream = stream + self.feed_forward(self.feed_forward_norm(stream))
        return stream + self.attention(self.attention_norm(stream), cache, mask)


def heard(view: Tensor, layers: int) -> list[int]:
    known = torch.linalg.matrix_power(view.float(), layers) > 0
    return (~known.triu(1).any(1)).nonzero().flatten().tolist()


def opened(time: int, prefix: int) -> Tensor:
    view = torch.ones(time, time, dtype=torch.bool).tril()
    view[:prefix, :prefix] = True
    return view


class TestChecks:
    """Each check knows what is right, and names the case of a likely mistake."""

    def test_right_answers_pass(self, capsys: pytest.CaptureFixture[str]) -> None:
        for check, answer in (
            (checks.equal_hidden, lambda width, joins: (4 - joins) * width),
            (checks.honest_positions, heard),
            (checks.swapped_block, Swapped),
            (checks.prefix_view, opened),
        ):
            assert verdicts(capsys, check, answer)[0].startswith("correct: ")

    def test_half_a_join_for_a_join(self, capsys: pytest.CaptureFixture[str]) -> None:
        (said,) = verdicts(capsys, checks.equal_hidden, lambda w, joins: 4 * w - joins * w // 2)
        assert said.startswith("not yet: for width 8 and 2 joins expected 16, got 24")

    def test_layers_are_not_forgotten(self, capsys: pytest.CaptureFixture[str]) -> None:
        (said,) = verdicts(capsys, checks.honest_positions, lambda view, layers: heard(view, 1))
        assert said.startswith("not yet: for 5 positions, 1 sees 3, two layers")

    def test_the_usual_order_is_not_the_swapped_one(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Usual(DecoderBlock):
            def forward(self, stream: Tensor, cache: Any = None, mask: Any = None) -> Tensor:
                return super().forward(stream, cache, mask)

        empty, usual = verdicts(capsys, checks.swapped_block, DecoderBlock, Usual)
        assert empty.startswith("not yet: your class has no `forward` of its own")
        assert usual.startswith("not yet: for a stream expected")

    def test_a_mask_is_handed_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Deaf(Swapped):
            def forward(self, stream: Tensor, cache: Any = None, mask: Any = None) -> Tensor:
                return super().forward(stream, cache)

        (said,) = verdicts(capsys, checks.swapped_block, Deaf)
        assert said.startswith("not yet: for a stream and a mask")

    def test_a_causal_table_is_not_open(self, capsys: pytest.CaptureFixture[str]) -> None:
        (said,) = verdicts(capsys, checks.prefix_view, lambda time, prefix: opened(time, 0))
        assert said.startswith("not yet: for 5 positions, 3 of them the prompt")
