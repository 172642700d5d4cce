"""Batches, splits, masks: exact at the edges, repeatable, refusing what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.checks import data as checks
from mini_gpt.data import (
    BatchLoader,
    document_mask,
    evaluation_batches,
    mask_document_starts,
    train_val_split,
)

# Each token is its own position, so that a batch tells where it comes from.
POSITIONS = np.arange(1_003, dtype=np.uint16)
TEXT = "".join(map(chr, range(1_003)))


def starts(source: BatchLoader, batches: int) -> list[int]:
    return [int(row[0]) for inputs, _ in islice(source, batches) for row in inputs]


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(map(torch.equal, one, other))


# Batches


@settings(deadline=None, max_examples=50)
@given(
    length=st.integers(2, 90),
    batch_size=st.integers(1, 7),
    context_length=st.integers(1, 30),
    seed=st.integers(0, 2**63),
    order=st.sampled_from(["random", "epochs"]),
)
def test_batches_are_windows_and_their_right_neighbors(
    length: int, batch_size: int, context_length: int, seed: int, order: str
) -> None:
    tokens = POSITIONS[:length]
    if length < context_length + 1:
        with pytest.raises(ValueError, match=f"{length} tokens are too few.* of {context_length}"):
            BatchLoader(tokens, batch_size=batch_size, context_length=context_length)
        return
    source = BatchLoader(
        tokens, batch_size=batch_size, context_length=context_length, seed=seed, order=order
    )
    for inputs, targets in islice(source, 4):
        assert inputs.shape == targets.shape == (batch_size, context_length)
        assert inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(inputs, inputs[:, :1] + torch.arange(context_length))
        assert targets.max() < length


def test_the_first_and_the_last_window_are_drawn_and_no_other() -> None:
    source = BatchLoader(POSITIONS[:12], batch_size=300, context_length=5)
    assert set(starts(source, 1)) == set(range(12 - 5))


def test_random_starts_are_spread_evenly() -> None:
    counts = np.bincount(starts(BatchLoader(POSITIONS, batch_size=500, context_length=3), 200))
    assert len(counts) == 1_000
    assert abs(counts - 100).max() < 60  # six standard deviations


@pytest.mark.parametrize("order", ["random", "epochs"])
def test_the_same_seed_gives_the_same_batches_and_another_others(order: str) -> None:
    def drawn(seed: int) -> list[int]:
        source = BatchLoader(POSITIONS, batch_size=6, context_length=10, seed=seed, order=order)
        return starts(source, 40)

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_batches_do_not_hang_on_other_random_numbers() -> None:
    source = BatchLoader(POSITIONS, batch_size=3, context_length=8, seed=2)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    next(source)
    expected = next(BatchLoader(POSITIONS, batch_size=3, context_length=8, seed=2))
    assert not same(next(source), expected)
    source.drawn = 0
    assert same(next(source), expected)


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(11, 400),
    batch_size=st.integers(1, 20),
    context_length=st.integers(1, 10),
    seed=st.integers(0, 50),
)
def test_an_epoch_uses_each_window_once(
    length: int, batch_size: int, context_length: int, seed: int
) -> None:
    source = BatchLoader(
        POSITIONS[:length],
        batch_size=batch_size,
        context_length=context_length,
        seed=seed,
        order="epochs",
    )
    size = source.windows_per_epoch
    drawn = starts(source, -(-2 * size // batch_size))
    for epoch in (drawn[:size], drawn[size : 2 * size]):
        assert set(np.diff(sorted(epoch))) <= {context_length}
        assert len(set(epoch)) == size
    # What an epoch leaves out is at the two ends, and less than two contexts.
    assert length - size * context_length < 2 * context_length + 1


def test_epochs_are_shuffled_and_cut_at_different_places() -> None:
    source = BatchLoader(POSITIONS, batch_size=10, context_length=20, order="epochs")
    size = source.windows_per_epoch
    assert size == 49
    epochs = np.array(starts(source, 49 * 6 // 10 + 1)[: 6 * size]).reshape(6, size)
    assert len({epoch.min() for epoch in epochs}) > 2
    assert all((np.sort(epoch) != epoch).any() for epoch in epochs)
    orders = {tuple((epoch - epoch.min()) // 20) for epoch in epochs}
    assert len(orders) == 6


@pytest.mark.parametrize("order", ["random", "epochs"])
@pytest.mark.parametrize("stop", [0, 1, 9, 16, 17, 30])
def test_a_resumed_source_gives_the_batches_that_would_have_come(order: str, stop: int) -> None:
    def make(seed: int) -> BatchLoader:
        return BatchLoader(POSITIONS, batch_size=3, context_length=20, seed=seed, order=order)

    uninterrupted = list(islice(make(4), 60))  # an epoch is 16 batches and a third
    source = make(4)
    for _ in range(stop):
        next(source)
    state = json.loads(json.dumps(source.state_dict()))
    resumed = make(99)
    next(resumed)
    resumed.load_state_dict(state)
    assert all(map(same, islice(resumed, 60 - stop), uninterrupted[stop:]))


@pytest.mark.parametrize("order", ["random", "epochs"])
@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_processes_share_each_batch_without_overlap(order: str, world_size: int) -> None:
    def make(rank: int, world_size: int) -> BatchLoader:
        return BatchLoader(
            POSITIONS,
            batch_size=6,
            context_length=20,
            order=order,
            rank=rank,
            world_size=world_size,
        )

    whole = make(0, 1)
    sources = [make(rank, world_size) for rank in range(world_size)]
    for _ in range(20):
        parts = [next(source) for source in sources]
        assert {inputs.shape for inputs, _ in parts} == {(6 // world_size, 20)}
        assert same(tuple(map(torch.cat, zip(*parts, strict=True))), next(whole))
    resumed = make(1, 2)  # on another number of processes
    resumed.load_state_dict(sources[0].state_dict())
    assert torch.equal(next(resumed)[0], next(whole)[0][3:])


def test_a_state_for_something_else_is_refused() -> None:
    state = BatchLoader(POSITIONS, batch_size=3, context_length=20).state_dict()
    for changes, message in (
        ({"batch_size": 4}, "state is for batch_size 3, here it is 4"),
        ({"context_length": 19}, "state is for context_length 20, here it is 19"),
        ({"order": "epochs"}, "state is for order 'random', here it is 'epochs'"),
    ):
        other = BatchLoader(POSITIONS, **{"batch_size": 3, "context_length": 20, **changes})
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(state)
    shorter = BatchLoader(POSITIONS[:-1], batch_size=3, context_length=20)
    with pytest.raises(ValueError, match="state is for tokens 1003, here it is 1002"):
        shorter.load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        ({"context_length": 0}, "context_length 0 must"),
        ({"seed": -1}, "seed -1 must be at least 0"),
        ({"order": "sorted"}, r"(?s)order.*'sorted'"),
        ({"rank": 2, "world_size": 2}, "rank 2 must be at least 0 and below world_size 2"),
        ({"rank": -1}, "rank -1 must be"),
        ({"world_size": 0}, "world_size 0 must be at least 1"),
        ({"world_size": 3}, "batch_size 4 cannot be shared evenly by 3 processes"),
        ({"context_length": 1_003}, "1003 tokens are too few.* at least 1004 are needed"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object], message: str) -> None:
    # jaxtyping refuses an unknown order even before we do.
    with pytest.raises((ValueError, TypeError), match=message):
        BatchLoader(POSITIONS, **{"batch_size": 4, "context_length": 5, **arguments})


def test_batches_can_be_written_to() -> None:
    inputs, targets = next(BatchLoader(POSITIONS, batch_size=2, context_length=5))
    before = targets.clone()
    inputs.zero_()
    assert torch.equal(targets, before)
    assert POSITIONS[1] == 1


# Splits


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 300), fraction=st.floats(0.01, 0.99))
def test_a_split_is_one_cut(length: int, fraction: float) -> None:
    training, validation = train_val_split(POSITIONS[:length], fraction)
    assert (
        train_val_split(TEXT[:length], fraction)
        == (  # a text is cut at the same place
            TEXT[: len(training)],
            TEXT[len(training) : length],
        )
    )
    assert np.array_equal(np.concatenate([training, validation]), POSITIONS[:length])
    assert abs(len(validation) - fraction * length) <= 0.5


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_split_needs_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"validation_fraction {fraction} must lie between"):
        train_val_split(POSITIONS, fraction)


# Evaluation


@settings(deadline=None, max_examples=80)
@given(length=st.integers(2, 120), batch_size=st.integers(1, 7), context_length=st.integers(1, 40))
def test_every_target_counts_once(length: int, batch_size: int, context_length: int) -> None:
    tokens = POSITIONS[:length]
    batches = list(evaluation_batches(tokens, batch_size=batch_size, context_length=context_length))
    counted = torch.cat([targets.flatten() for _, targets in batches])
    assert counted.tolist() == list(range(1, length))
    for inputs, targets in batches:
        assert inputs.shape == targets.shape
        assert torch.equal(inputs + 1, targets)
        assert inputs.shape[0] <= batch_size
        assert inputs.shape[1] <= context_length
    assert all(inputs.shape[1] == context_length for inputs, _ in batches[:-1])
    assert sum(inputs.shape[0] for inputs, _ in batches) == -(-(length - 1) // context_length)


def test_evaluation_batches_can_be_written_to() -> None:
    for inputs, targets in evaluation_batches(POSITIONS[:24], batch_size=2, context_length=5):
        before = targets.clone()
        inputs.zero_()
        assert torch.equal(targets, before)


def test_evaluation_needs_two_tokens_and_sizes() -> None:
    with pytest.raises(ValueError, match="1 tokens hold no pair"):
        next(evaluation_batches(POSITIONS[:1], batch_size=2, context_length=5))
    with pytest.raises(ValueError, match="batch_size 0 must be at least 1"):
        next(evaluation_batches(POSITIONS, batch_size=0, context_length=5))


# Boundaries of documents


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=4))
def test_boundary_masks_by_their_definition(rows: list[list[int]]) -> None:
    inputs, end = torch.tensor(rows), 3
    mask = document_mask(inputs, end)
    targets = torch.arange(len(rows) * 7).reshape(-1, 7)
    masked = mask_document_starts(inputs, targets, end)
    for row, ids in enumerate(rows):
        for query in range(7):
            for key in range(7):
                visible = key <= query and end not in ids[key:query]
                assert mask[row, query, key] == visible
            assert masked[row, query] == (-100 if ids[query] == end else targets[row, query])
    assert targets[0, 0] == 0  # not changed in place


def test_masked_targets_do_not_count_in_the_loss() -> None:
    inputs, targets = torch.tensor([[1, 5, 2]]), torch.tensor([[5, 2, 3]])
    logits = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(0))
    masked = mask_document_starts(inputs, targets, 5)
    loss = torch.nn.functional.cross_entropy(logits[0], masked[0])
    losses = torch.nn.functional.cross_entropy(logits[0], targets[0], reduction="none")
    torch.testing.assert_close(loss, (losses[0] + losses[2]) / 2)


# The exercises' checks


def window(tokens: Any, start: int, context_length: int) -> tuple[Any, Any] | None:
    if start + context_length + 1 > len(tokens):
        return None
    part = tokens[start : start + context_length + 1]
    return part[:-1], part[1:]


def in_both(training: Any, validation: Any, context_length: int, extra: int = 1) -> float:
    def positions(starts: Any) -> set[int]:
        return {start + place for start in starts for place in range(context_length + extra)}

    kept = positions(validation)
    return len(kept & positions(training)) / len(kept)


def loader_by_epochs(
    tokens: Any,
    number: int,
    batch_size: int,
    context_length: int,
    seed: int,
    rank: int,
    world_size: int,
    *,
    shift: int = 1,
    of_epoch: bool = True,
) -> Any:
    windows = (len(tokens) - 1) // context_length
    epoch, place = divmod(number, windows // batch_size)
    order = np.random.default_rng([seed, epoch * of_epoch]).permutation(windows)
    rows = batch_size // world_size
    first = place * batch_size + rank * rows
    starts = order[first : first + rows] * context_length
    places = starts[:, None] + np.arange(context_length)
    return tokens[places], tokens[places + shift]


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.inputs_and_targets,
            [
                lambda t, s, c: (t[s : s + c], t[s : s + c]),
                lambda t, s, c: (t[s : s + c], t[s + 1 : s + c + 1]),
                lambda t, s, c: window(t, s, c) if s + c + 1 < len(t) else None,
                lambda t, s, c: (window(t, s, c) or (None, None))[0],
            ],
            window,
        ),
        (
            checks.share_seen,
            [
                lambda batches, batch, context, length: batches * batch * context / length,
                lambda batches, batch, context, length: 1 - (1 - context / length) ** batches,
                lambda batches, batch, context, length: (1 - context / length) ** (batches * batch),
            ],
            lambda batches, batch, context, length: 1 - (1 - context / length) ** (batches * batch),
        ),
        (
            checks.leaked,
            [
                lambda training, validation, context: in_both(training, validation, context, 0),
                lambda training, validation, context: in_both(validation, training, context),
                lambda training, validation, context: float(bool(set(training) & set(validation))),
            ],
            in_both,
        ),
        (
            checks.my_batch,
            [
                lambda *a: loader_by_epochs(*a, shift=0),
                lambda *a: loader_by_epochs(*a, of_epoch=False),
                lambda *a: loader_by_epochs(*a[:4], 0, *a[5:]),
                lambda *a: loader_by_epochs(*a[:4], a[4] + a[5], *a[5:]),
                lambda *a: loader_by_epochs(*a[:5], 0, a[6]),
                lambda *a: loader_by_epochs(*a[:5], 0, 1),
                lambda *a: loader_by_epochs(*a)[0],
                lambda *a: loader_by_epochs(a[0], a[1] // 2, *a[2:]),
            ],
            lambda *a: loader_by_epochs(*a),
        ),
    ],
)
def test_exercise_checks(
    check: Callable[[Any], None],
    wrong: list[Callable[..., Any]],
    right: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for answer in (lambda *_: None, *wrong):
        check(answer)
        assert capsys.readouterr().out.startswith("not yet: ")
    check(right)
    assert capsys.readouterr().out.startswith("correct: ")
