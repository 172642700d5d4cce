"""Positions: the table and its formula, offsets, and rotations that see the distance only."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mini_gpt import checks
from mini_gpt.config import GPTConfig
from mini_gpt.position import (
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    make_positions,
    rotation_angles,
    sinusoidal_table,
)
from tiny import tiny_config

CONTEXT, WIDTH, BATCH, HEADS, TIME = 23, 10, 2, 3, 5
TOO_FAR = (
    "position 23 is beyond the context of 23; "
    "shorten the text, or build the model with a longer context_length"
)
NEGATIVE = "offset -1 is negative; positions are counted from 0"


def shape(context_length: int, width: int) -> GPTConfig:
    """One head, so that its width is the model's."""
    return GPTConfig(context_length=context_length, heads=1, width=width)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestSinusoidalTable:
    def test_is_the_formula(self) -> None:
        table = sinusoidal_table(CONTEXT, WIDTH)
        for position in range(CONTEXT):
            for pair in range(WIDTH // 2):
                angle = position / 10_000 ** (2 * pair / WIDTH)
                found = table[position, 2 * pair : 2 * pair + 2].tolist()
                assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)

    @given(context_length=st.integers(1, 40), pairs=st.integers(1, 9))
    @settings(deadline=None, max_examples=20)
    def test_equals_a_double_loop_in_double_precision(
        self, context_length: int, pairs: int
    ) -> None:
        expected = torch.empty(context_length, 2 * pairs, dtype=torch.float64)
        for position in range(context_length):
            for dimension in range(2 * pairs):
                angle = position / 10_000 ** (2 * (dimension // 2) / (2 * pairs))
                wave = math.cos if dimension % 2 else math.sin
                expected[position, dimension] = wave(angle)
        table = sinusoidal_table(context_length, 2 * pairs)
        torch.testing.assert_close(table.double(), expected, rtol=0, atol=1e-7)

    def test_is_exact_at_far_positions(self) -> None:
        """Angles in single precision would be off by thousandths of a radian there."""
        table = sinusoidal_table(100_001, 4)
        angle = 100_000 / 10_000 ** (2 / 4)
        expected = [math.sin(100_000), math.cos(100_000), math.sin(angle), math.cos(angle)]
        assert table[100_000].tolist() == pytest.approx(expected, abs=1e-6)

    @given(offset=st.integers(0, 12), distance=st.integers(0, 10))
    @settings(deadline=None, max_examples=20)
    def test_a_shift_is_one_rotation_for_all_positions(self, offset: int, distance: int) -> None:
        table = sinusoidal_table(CONTEXT, WIDTH)
        turns = rotation_angles(distance + 1, WIDTH)[distance]
        sine, cosine = rearrange(table[offset], "(pair two) -> two pair", two=2)
        shifted = [
            sine * turns.cos() + cosine * turns.sin(),
            cosine * turns.cos() - sine * turns.sin(),
        ]
        expected = rearrange(torch.stack(shifted), "two pair -> (pair two)").float()
        torch.testing.assert_close(table[offset + distance], expected)

    def test_frequencies_fall_with_the_dimension(self) -> None:
        angles = rotation_angles(2, WIDTH)[1]
        assert angles.tolist() == pytest.approx([10_000 ** (-i / 5) for i in range(5)])
        others = rotation_angles(4, 6, base=8.0)[3]
        assert others.tolist() == pytest.approx([3.0, 1.5, 0.75])

    def test_refuses_an_odd_width(self) -> None:
        message = "width 7 is odd; sines and cosines come in pairs"
        with pytest.raises(ValueError, match=message):
            sinusoidal_table(CONTEXT, 7)
        with pytest.raises(ValueError, match=message):
            SinusoidalPositions(shape(CONTEXT, 7))


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
class TestAddedPositions:
    def test_an_offset_continues_where_the_text_stands(self, kind: type[nn.Module]) -> None:
        positions = kind(shape(CONTEXT, WIDTH))
        whole = positions(CONTEXT)
        for offset in range(CONTEXT - TIME + 1):
            assert torch.equal(positions(TIME, offset), whole[offset : offset + TIME])

    def test_refuses_what_lies_outside_the_context(self, kind: type[nn.Module]) -> None:
        positions = kind(shape(CONTEXT, WIDTH))
        assert positions(TIME, CONTEXT - TIME).shape == (TIME, WIDTH)
        with pytest.raises(ValueError, match=TOO_FAR):
            positions(TIME, CONTEXT - TIME + 1)
        with pytest.raises(ValueError, match=NEGATIVE):
            positions(TIME, -1)


class TestLearnedPositions:
    def test_is_one_table_that_learns_where_it_was_read(self) -> None:
        positions = LearnedPositions(shape(CONTEXT, WIDTH))
        assert [tuple(p.shape) for p in positions.parameters()] == [(CONTEXT, WIDTH)]
        positions(TIME, 4).sum().backward()
        assert positions.weight.grad is not None
        learned = positions.weight.grad.abs().sum(-1) > 0
        assert learned.nonzero().flatten().tolist() == [4, 5, 6, 7, 8]

    def test_starts_small(self) -> None:
        torch.manual_seed(0)
        assert LearnedPositions(shape(300, 200)).weight.std().item() == pytest.approx(
            0.02, rel=0.02
        )


class TestSinusoidalPositions:
    def test_has_the_table_and_nothing_to_learn_or_store(self) -> None:
        positions = SinusoidalPositions(shape(CONTEXT, WIDTH))
        assert torch.equal(positions(CONTEXT), sinusoidal_table(CONTEXT, WIDTH))
        assert list(positions.parameters()) == []
        assert positions.state_dict() == {}


class TestRotaryPositions:
    rotary = RotaryPositions(shape(CONTEXT, WIDTH))

    def test_turns_each_pair_by_its_angle(self) -> None:
        vectors = random(BATCH, HEADS, TIME, WIDTH)
        turned = self.rotary(vectors, 3)
        for position in range(TIME):
            for pair in range(WIDTH // 2):
                angle = (position + 3) / 10_000 ** (2 * pair / WIDTH)
                turn = complex(math.cos(angle), math.sin(angle))
                place = (1, 2, position, slice(2 * pair, 2 * pair + 2))
                expected = complex(*vectors[place].tolist()) * turn
                assert complex(*turned[place].tolist()) == pytest.approx(expected, abs=1e-5)

    @given(offset=st.integers(1, CONTEXT - TIME), seed=st.integers(0, 999))
    @settings(deadline=None, max_examples=30)
    def test_scores_depend_on_the_distance_only(self, offset: int, seed: int) -> None:
        query = random(BATCH, HEADS, TIME, WIDTH, seed=seed)
        key = random(BATCH, HEADS, TIME, WIDTH, seed=seed + 1)
        scores = self.rotary(query) @ self.rotary(key).mT
        moved = self.rotary(query, offset) @ self.rotary(key, offset).mT
        torch.testing.assert_close(moved, scores, atol=1e-5, rtol=1e-5)
        # The key alone moved: other distances, other scores.
        apart = self.rotary(query) @ self.rotary(key, offset).mT
        assert not torch.allclose(apart, scores, atol=1e-2)

    @given(pairs=st.integers(1, 6), time=st.integers(1, 7), seed=st.integers(0, 999))
    @settings(deadline=None, max_examples=30)
    def test_is_a_complex_product(self, pairs: int, time: int, seed: int) -> None:
        """The tables hold each angle twice, and the sines with the signs of a rotation."""
        vectors = random(BATCH, HEADS, time, 2 * pairs, seed=seed)
        angles = rotation_angles(time, 2 * pairs)
        unit = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        pairwise = torch.view_as_complex(vectors.unflatten(-1, (-1, 2)))
        expected = torch.view_as_real(pairwise * unit).flatten(-2)
        rotary = RotaryPositions(shape(time, 2 * pairs))
        assert rotary.cosine.shape == rotary.sine.shape == (time, 2 * pairs)
        torch.testing.assert_close(rotary(vectors), expected, atol=1e-5, rtol=1e-5)

    def test_scores_do_depend_on_the_distance(self) -> None:
        q = random(1, 1, 1, WIDTH)
        scores = [(self.rotary(q, 0) * self.rotary(q, key)).sum().item() for key in range(CONTEXT)]
        assert max(scores[1:]) < scores[0]  # a vector fits itself best at distance 0

    def test_keeps_lengths(self) -> None:
        vectors = random(BATCH, HEADS, TIME, WIDTH)
        torch.testing.assert_close(self.rotary(vectors, 7).norm(dim=-1), vectors.norm(dim=-1))

    @given(cut=st.integers(0, TIME), offset=st.integers(0, CONTEXT - TIME))
    @settings(deadline=None, max_examples=20)
    def test_part_by_part_is_the_same_as_at_once(self, cut: int, offset: int) -> None:
        vectors = random(BATCH, HEADS, TIME, WIDTH)
        parts = (
            self.rotary(vectors[:, :, :cut], offset),
            self.rotary(vectors[:, :, cut:], offset + cut),
        )
        assert torch.equal(torch.cat(parts, dim=2), self.rotary(vectors, offset))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_keeps_the_number_format(self, dtype: torch.dtype) -> None:
        vectors = random(BATCH, HEADS, TIME, WIDTH).to(dtype)
        turned = self.rotary(vectors, 11)
        assert turned.dtype == dtype
        expected = self.rotary(vectors.float(), 11)
        torch.testing.assert_close(turned.float(), expected, atol=2e-2, rtol=1e-2)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_a_module_in_half_precision_turns_by_exact_angles(self, dtype: torch.dtype) -> None:
        converted = nn.ModuleList([RotaryPositions(shape(3001, WIDTH))]).to(dtype)[0]
        assert converted.cosine.dtype == converted.sine.dtype == torch.float32
        vectors = random(BATCH, HEADS, TIME, WIDTH).to(dtype)
        exact = RotaryPositions(shape(3001, WIDTH))(vectors.float(), 2990)
        assert torch.equal(converted(vectors, 2990), exact.to(dtype))

    def test_rounded_tables_would_lose_the_distance(self) -> None:
        """What the last test rules out: scores in which the same distance counts differently."""
        exact, rounded = RotaryPositions(shape(3001, 64)), RotaryPositions(shape(3001, 64))
        rounded.cosine, rounded.sine = (t.bfloat16().float() for t in rounded.buffers())
        query, key = random(2, 1, 1, 1, 64)
        spreads = [
            torch.stack([rotary(query, p + 5) @ rotary(key, p).mT for p in range(500)]).std()
            for rotary in (exact, rounded)
        ]
        assert spreads[0] < 1e-5 < 1e-2 < spreads[1]

    def test_has_nothing_to_learn_or_store(self) -> None:
        assert list(self.rotary.parameters()) == []
        assert self.rotary.state_dict() == {}

    def test_refuses_what_it_cannot_do(self) -> None:
        with pytest.raises(ValueError, match="head_width 5 is odd; rotations need pairs"):
            RotaryPositions(shape(CONTEXT, 5))
        vectors = random(BATCH, HEADS, TIME, WIDTH)
        with pytest.raises(ValueError, match=TOO_FAR):
            self.rotary(vectors, CONTEXT - TIME + 1)
        with pytest.raises(ValueError, match=NEGATIVE):
            self.rotary(vectors, -1)


@pytest.mark.parametrize("kind", [SinusoidalPositions, RotaryPositions])
def test_tables_come_back_after_building_on_the_meta_device(kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        positions = kind(shape(CONTEXT, WIDTH))
    assert all(table.is_meta for table in positions.buffers())
    positions.reset_tables("cpu")
    fresh = dict(kind(shape(CONTEXT, WIDTH)).named_buffers())
    assert fresh
    for name, table in positions.named_buffers():
        assert torch.equal(table, fresh[name])
    positions.reset_tables("meta")  # the argument, and not where PyTorch builds by itself, decides
    assert all(table.is_meta for table in positions.buffers())


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_positions_up_to_the_last_are_accepted(kind: type[nn.Module]) -> None:
    positions = kind(shape(CONTEXT, WIDTH))
    assert positions(CONTEXT).shape == (CONTEXT, WIDTH)
    assert positions(0, CONTEXT).shape == (0, WIDTH)
    with pytest.raises(ValueError, match="beyond"):
        positions(1, CONTEXT)


class TestMakePositions:
    @pytest.mark.parametrize(
        ("position", "kind"),
        [
            ("learned", LearnedPositions),
            ("sinusoidal", SinusoidalPositions),
            ("rotary", type(None)),
            ("none", type(None)),
        ],
    )
    def test_builds_what_the_configuration_names(self, position: Any, kind: type[Any]) -> None:
        positions = make_positions(tiny_config(position=position))
        assert type(positions) is kind
        if positions is not None:
            assert positions(8).shape == (8, 12)


def entry(position: int, dimension: int, width: int) -> float:
    angle = position / 10_000 ** (2 * (dimension // 2) / width)
    return math.cos(angle) if dimension % 2 else math.sin(angle)


def entry_with_one_frequency(position: int, dimension: int, width: int) -> float:
    return math.cos(position) if dimension % 2 else math.sin(position)


def distance(query: Tensor, key: Tensor, turned_query: Tensor, turned_key: Tensor) -> int:
    def angle(vector: Tensor) -> float:
        return math.atan2(vector[1].item(), vector[0].item())

    turn = angle(turned_query) - angle(query) - angle(turned_key) + angle(key)
    return round((turn + math.pi) % (2 * math.pi) - math.pi)


def distance_without_full_turns(q: Tensor, k: Tensor, turned_q: Tensor, turned_k: Tensor) -> int:
    angles = [math.atan2(v[1].item(), v[0].item()) for v in (turned_q, q, turned_k, k)]
    return round(angles[0] - angles[1] - angles[2] + angles[3])


class TestExercises:
    def test_entry(self, capsys: pytest.CaptureFixture[str]) -> None:
        def by_dimension(position: int, dimension: int, width: int) -> float:
            angle = position / 10_000 ** (2 * dimension / width)
            return math.cos(angle) if dimension % 2 else math.sin(angle)

        checks.position.entry(lambda position, dimension, width: None)
        checks.position.entry(entry_with_one_frequency)
        checks.position.entry(by_dimension)
        checks.position.entry(entry)
        nothing, one_frequency, exponent, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith(
            "not yet: for position 3, dimension 0, width 10 nothing comes back"
        )
        assert one_frequency.startswith("not yet: for position 5, dimension 6, width 10")
        assert exponent.startswith("not yet: for position 3, dimension 1, width 10")
        assert solution.startswith("correct: ")

    def test_distance(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.position.distance(lambda *_: None)
        checks.position.distance(distance_without_full_turns)
        checks.position.distance(lambda *pair: abs(distance(*pair)))
        checks.position.distance(lambda *pair: -distance(*pair))
        checks.position.distance(distance)
        nothing, turns, unsigned, swapped, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for a query at 4 and a key at 4 nothing comes back")
        assert turns.startswith("not yet: for a query at 5 and a key at 3 expected 2, got 8")
        assert unsigned.startswith("not yet: for a query at 3 and a key at 5 expected -2, got 2")
        assert swapped.startswith("not yet: for a query at 5 and a key at 3 expected 2, got -2")
        assert solution.startswith("correct: ")

    def test_halves_to_neighbors(self, capsys: pytest.CaptureFixture[str]) -> None:
        def three_apart(vectors: Tensor) -> Tensor:
            pairs = range(vectors.shape[-1] // 2)
            return vectors[..., [place for pair in pairs for place in (pair, pair + 3)]]

        checks.position.halves_to_neighbors(lambda vectors: None)
        checks.position.halves_to_neighbors(
            lambda vectors: rearrange(vectors, "... (pair two) -> ... (two pair)", two=2)
        )
        checks.position.halves_to_neighbors(three_apart)
        checks.position.halves_to_neighbors(
            lambda vectors: rearrange(vectors, "... (two pair) -> ... (pair two)", two=2)
        )
        nothing, inverse, six, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for the dimensions 0, 1, 2, 3, 4, 5 nothing comes back")
        assert inverse.startswith("not yet: for the dimensions 0, 1, 2, 3, 4, 5 expected")
        assert six.startswith("not yet: for vectors of head width 8, turned after the change")
        assert solution.startswith("correct: ")

    def test_turn_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        def turned(sign: float = 1.0, halves: bool = False, counted: bool = True) -> Any:
            def answer(vectors: Tensor, offset: int) -> Tensor:
                time, width = vectors.shape[-2:]
                first = offset if counted else 0
                angles = sign * rotation_angles(first + time, width)[first:].float()
                if halves:
                    a, b = vectors.chunk(2, dim=-1)
                else:
                    a, b = vectors[..., 0::2], vectors[..., 1::2]
                pairs = (
                    a * angles.cos() - b * angles.sin(),
                    a * angles.sin() + b * angles.cos(),
                )
                return torch.cat(pairs, -1) if halves else torch.stack(pairs, -1).flatten(-2)

            return answer

        checks.position.turn_all(lambda vectors, offset: None)
        checks.position.turn_all(turned(sign=-1))
        checks.position.turn_all(turned(halves=True))
        checks.position.turn_all(turned(counted=False))
        checks.position.turn_all(turned())
        nothing, backward, halves, at_start, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith(
            "not yet: for time 1, head width 4 and offset 0 nothing comes back"
        )
        assert backward.startswith("not yet: for time 2, head width 2 and offset 0 expected")
        assert halves.startswith("not yet: for time 5, head width 4 and offset 0 expected")
        assert at_start.startswith("not yet: for time 5, head width 4 and offset 3 expected")
        assert solution.startswith("correct: ")
