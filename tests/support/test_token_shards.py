"""Shards that behave as one row: equal to their concatenation, wherever one ends."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.data import BatchLoader, evaluation_batches
from mini_gpt.support.data_checks import check_splits
from mini_gpt.support.token_shards import TokenShards


@st.composite
def rows(draw: st.DrawFn, longest: int = 40) -> tuple[list[np.ndarray], np.ndarray]:
    """Some shards, and the row that they make; each token tells where it stands."""
    sizes = draw(st.lists(st.integers(0, longest), min_size=1, max_size=6))
    dtype = draw(st.sampled_from(["<u2", "<u4"]))
    whole = np.arange(sum(sizes), dtype=dtype)
    return np.split(whole, np.cumsum(sizes)[:-1]), whole


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(map(torch.equal, one, other))


@given(pair=rows(), data=st.data())
def test_a_stretch_is_that_of_the_whole(
    pair: tuple[list[np.ndarray], np.ndarray], data: st.DataObject
) -> None:
    shards, whole = TokenShards(pair[0]), pair[1]
    bounds = st.none() | st.integers(-len(whole) - 3, len(whole) + 3)
    start, stop = data.draw(bounds), data.draw(bounds)
    found = shards[start:stop]
    assert found.dtype == whole.dtype
    assert found.shape == whole[start:stop].shape
    assert np.array_equal(np.asarray(found), whole[start:stop])
    inner = data.draw(st.integers(0, len(found)))  # a stretch of a stretch
    assert np.array_equal(np.asarray(found[inner:]), whole[start:stop][inner:])


@given(pair=rows(), data=st.data())
def test_tokens_at_places_are_those_of_the_whole(
    pair: tuple[list[np.ndarray], np.ndarray], data: st.DataObject
) -> None:
    shards, whole = TokenShards(pair[0]), pair[1]
    place = st.integers(-len(whole), len(whole) - 1)
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 3)))
    if not len(whole):
        return
    count = shape[0] * shape[1]
    flat = data.draw(st.lists(place, min_size=count, max_size=count))
    places = np.array(flat, dtype=np.int64).reshape(shape)
    found = shards[places]
    assert found.dtype == whole.dtype
    assert np.array_equal(found, whole[places])
    one = data.draw(place)
    assert shards[one] == whole[one]
    assert list(shards) == whole.tolist()


@settings(deadline=None, max_examples=40)
@given(
    pair=rows(),
    context_length=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    order=st.sampled_from(["random", "epochs"]),
)
def test_batches_are_those_of_the_whole(
    pair: tuple[list[np.ndarray], np.ndarray], context_length: int, seed: int, order: str
) -> None:
    shards, whole = TokenShards(pair[0]), pair[1]
    sizes = {"batch_size": 6, "context_length": context_length}
    if len(whole) < context_length + 1:
        with pytest.raises(ValueError, match="too few"):
            BatchLoader(shards, **sizes)
        return
    for rank in range(2):
        loaders = (
            BatchLoader(row, **sizes, seed=seed, order=order, rank=rank, world_size=2)
            for row in (shards, whole)
        )
        pairs = islice(zip(*loaders, strict=True), 9)
        assert all(same(one, other) for one, other in pairs)
    batches = (evaluation_batches(row, **sizes) for row in (shards, whole))
    assert all(same(one, other) for one, other in zip(*batches, strict=True))


def test_a_window_may_lie_in_three_shards() -> None:
    shards = TokenShards([np.array([5, 6]), np.array([7]), np.array([8, 9])])
    assert shards[np.arange(1, 4)].tolist() == [6, 7, 8]
    stretch = shards[1:4]
    assert isinstance(stretch, TokenShards)
    assert [part.tolist() for part in stretch.shards] == [[6], [7], [8]]
    assert isinstance(shards[2:3], np.ndarray)  # one shard's own memory, and no copy
    assert np.shares_memory(shards[0:2], shards.shards[0])


def test_a_loader_goes_on_by_shards_where_it_stood_with_one_array() -> None:
    whole = np.arange(500, dtype=np.uint16)
    shards = TokenShards(np.split(whole, [3, 3, 200, 431]))
    sizes = {"batch_size": 4, "context_length": 11, "order": "epochs"}
    first = BatchLoader(whole, **sizes)
    list(islice(first, 17))
    second = BatchLoader(shards, **sizes)
    second.load_state_dict(first.state_dict())
    assert all(same(next(first), next(second)) for _ in range(30))


@pytest.mark.parametrize(
    "shards",
    [
        [],
        [np.zeros(3)],
        [np.zeros((2, 2), dtype=int)],
        [np.zeros(3, dtype=np.uint16), np.zeros(3, dtype=np.uint32)],
    ],
)
def test_what_is_no_row_is_refused(shards: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="shards must be rows of one kind of whole numbers, not"):
        TokenShards(shards)


def test_places_that_are_none_are_refused() -> None:
    shards = TokenShards([np.arange(3), np.arange(4)])
    for places in (np.array([7]), np.array([-8])):
        with pytest.raises(IndexError, match="a place is outside the 7 tokens"):
            shards[places]
    with pytest.raises(IndexError, match="outside the 7"):
        shards[7]
    with pytest.raises(IndexError, match="step 2 must be 1"):
        shards[::2]
    with pytest.raises(TypeError, match="whole numbers, not float64"):
        shards[np.array([0.5])]
    with pytest.raises(ValueError, match="an array of them is a copy"):
        np.asarray(shards, copy=False)


def test_an_unknown_id_is_named_by_its_place_in_the_whole() -> None:
    shards = TokenShards([np.arange(3), np.array([1, 9]), np.arange(4)])
    with pytest.raises(ValueError, match="id 9 at position 4 of training_tokens"):
        check_splits(shards, np.arange(5), 9)
    check_splits(shards, shards, 10)
