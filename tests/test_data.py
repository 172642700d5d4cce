"""Corpora, batches, splits, token files: exact at the edges, repeatable, refusing what is wrong."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt import checks
from mini_gpt.data import (
    TOKEN_FILE_HEADER,
    BatchSource,
    decode_text,
    document_mask,
    encode_documents,
    evaluation_batches,
    load_corpus,
    load_documents,
    open_token_file,
    read_text,
    skip_first_targets,
    split_tokens,
    write_token_file,
)
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer, fingerprint, learn_tokens

# Each token is its own position, so that a batch tells where it comes from.
POSITIONS = np.arange(1_003, dtype=np.uint16)


def starts(source: BatchSource, batches: int) -> list[int]:
    return [int(row[0]) for inputs, _ in islice(source, batches) for row in inputs]


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(map(torch.equal, one, other))


# Text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"\xef\xbb\xbfone\r\ntwo\rthree\n\r\n", "one\ntwo\nthree\n\n"),
        ("\ufeff\ufeffa\ufeff".encode(), "\ufeffa\ufeff"),  # only the first is a byte-order mark
        (b"", ""),
    ],
)
def test_marks_and_line_ends(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == decode_text(data, "a") == text


def test_a_file_that_is_not_utf8_is_named_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("a rosé".encode("latin-1"))
    with pytest.raises(ValueError, match=r"old\.txt is not UTF-8: byte 0xe9 at offset 5"):
        read_text(tmp_path / "old.txt")


def test_a_folder_is_its_text_files_in_order(tmp_path: Path) -> None:
    for name, text in {"b.txt": "B", "a/z.txt": "Z", "a.md": "no", "c.txt/d.txt": "D"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_documents(tmp_path) == ["Z", "B", "D"]
    assert load_corpus(str(tmp_path)) == "Z\n\nB\n\nD"
    assert load_documents(tmp_path / "b.txt") == ["B"]


def test_a_corpus_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no corpus '.*nowhere': give 'shakespeare'"):
        load_documents(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no text"):
        load_documents(tmp_path)
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"blank\.txt' holds no text"):
        load_corpus(tmp_path / "blank.txt")


def test_the_default_corpus() -> None:
    text = load_corpus()
    assert len(text) == 5_057_280
    assert len(load_documents("shakespeare")) == 42
    assert "\r" not in text


# Batches


@settings(deadline=None, max_examples=50)
@given(
    length=st.integers(2, 90),
    batch=st.integers(1, 7),
    context_length=st.integers(1, 30),
    seed=st.integers(0, 2**63),
    order=st.sampled_from(["random", "epochs"]),
)
def test_batches_are_windows_and_their_right_neighbours(
    length: int, batch: int, context_length: int, seed: int, order: str
) -> None:
    tokens = POSITIONS[:length]
    if length < context_length + 1:
        with pytest.raises(ValueError, match=f"{length} tokens are too few.* of {context_length}"):
            BatchSource(tokens, batch=batch, context_length=context_length)
        return
    source = BatchSource(tokens, batch=batch, context_length=context_length, seed=seed, order=order)
    for inputs, targets in islice(source, 4):
        assert inputs.shape == targets.shape == (batch, context_length)
        assert inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(inputs, inputs[:, :1] + torch.arange(context_length))
        assert targets.max() < length


def test_the_first_and_the_last_window_are_drawn_and_no_other() -> None:
    source = BatchSource(POSITIONS[:12], batch=300, context_length=5)
    assert set(starts(source, 1)) == set(range(12 - 5))


def test_random_starts_are_spread_evenly() -> None:
    counts = np.bincount(starts(BatchSource(POSITIONS, batch=500, context_length=3), 200))
    assert len(counts) == 1_000
    assert abs(counts - 100).max() < 60  # six standard deviations


@pytest.mark.parametrize("order", ["random", "epochs"])
def test_the_same_seed_gives_the_same_batches_and_another_others(order: str) -> None:
    def drawn(seed: int) -> list[int]:
        source = BatchSource(POSITIONS, batch=6, context_length=10, seed=seed, order=order)
        return starts(source, 40)

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_batches_do_not_hang_on_other_random_numbers() -> None:
    source = BatchSource(POSITIONS, batch=3, context_length=8, seed=2)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    next(source)
    expected = next(BatchSource(POSITIONS, batch=3, context_length=8, seed=2))
    assert not same(next(source), expected)
    source.drawn = 0
    assert same(next(source), expected)


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(11, 400),
    batch=st.integers(1, 20),
    context_length=st.integers(1, 10),
    seed=st.integers(0, 50),
)
def test_an_epoch_uses_each_window_once(
    length: int, batch: int, context_length: int, seed: int
) -> None:
    source = BatchSource(
        POSITIONS[:length], batch=batch, context_length=context_length, seed=seed, order="epochs"
    )
    size = source.windows_per_epoch
    drawn = starts(source, -(-2 * size // batch))
    for epoch in (drawn[:size], drawn[size : 2 * size]):
        assert set(np.diff(sorted(epoch))) <= {context_length}
        assert len(set(epoch)) == size
    # What an epoch leaves out is at the two ends, and less than two contexts.
    assert length - size * context_length < 2 * context_length + 1


def test_epochs_are_shuffled_and_cut_at_different_places() -> None:
    source = BatchSource(POSITIONS, batch=10, context_length=20, order="epochs")
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
    def make(seed: int) -> BatchSource:
        return BatchSource(POSITIONS, batch=3, context_length=20, seed=seed, order=order)

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
@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_processes_share_each_batch_without_overlap(order: str, ranks: int) -> None:
    def make(rank: int, ranks: int) -> BatchSource:
        return BatchSource(
            POSITIONS, batch=6, context_length=20, order=order, rank=rank, ranks=ranks
        )

    whole = make(0, 1)
    sources = [make(rank, ranks) for rank in range(ranks)]
    for _ in range(20):
        parts = [next(source) for source in sources]
        assert {inputs.shape for inputs, _ in parts} == {(6 // ranks, 20)}
        assert same(tuple(map(torch.cat, zip(*parts, strict=True))), next(whole))
    resumed = make(1, 2)  # on another number of processes
    resumed.load_state_dict(sources[0].state_dict())
    assert torch.equal(next(resumed)[0], next(whole)[0][3:])


def test_a_state_for_something_else_is_refused() -> None:
    state = BatchSource(POSITIONS, batch=3, context_length=20).state_dict()
    for changes, message in (
        ({"batch": 4}, "state is for batch 3, here it is 4"),
        ({"context_length": 19}, "state is for context_length 20, here it is 19"),
        ({"order": "epochs"}, "state is for order 'random', here it is 'epochs'"),
    ):
        other = BatchSource(POSITIONS, **{"batch": 3, "context_length": 20, **changes})
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(state)
    shorter = BatchSource(POSITIONS[:-1], batch=3, context_length=20)
    with pytest.raises(ValueError, match="state is for tokens 1003, here it is 1002"):
        shorter.load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch 0 and context_length 5 must be at least 1"),
        ({"context_length": 0}, "context_length 0 must"),
        ({"seed": -1}, "seed -1 must be 0 or more"),
        ({"order": "sorted"}, r"(?s)order.*'sorted'"),
        ({"rank": 2, "ranks": 2}, "rank 2 must be at least 0 and below ranks 2"),
        ({"rank": -1}, "rank -1 must be"),
        ({"ranks": 3}, "batch 4 cannot be shared evenly by 3 processes"),
        ({"context_length": 1_003}, "1003 tokens are too few.* at least 1004 are needed"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object], message: str) -> None:
    # jaxtyping refuses an unknown order even before we do.
    with pytest.raises((ValueError, TypeError), match=message):
        BatchSource(POSITIONS, **{"batch": 4, "context_length": 5, **arguments})


def test_batches_can_be_written_to() -> None:
    inputs, targets = next(BatchSource(POSITIONS, batch=2, context_length=5))
    before = targets.clone()
    inputs.zero_()
    assert torch.equal(targets, before)
    assert POSITIONS[1] == 1


# Splits


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 300), fraction=st.floats(0.01, 0.99))
def test_a_split_is_one_cut(length: int, fraction: float) -> None:
    training, validation = split_tokens(POSITIONS[:length], fraction)
    assert np.array_equal(np.concatenate([training, validation]), POSITIONS[:length])
    assert abs(len(validation) - fraction * length) <= 0.5


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_split_needs_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"validation_fraction {fraction} must lie between"):
        split_tokens(POSITIONS, fraction)


# Evaluation


@settings(deadline=None, max_examples=80)
@given(length=st.integers(2, 120), batch=st.integers(1, 7), context_length=st.integers(1, 40))
def test_every_target_counts_once(length: int, batch: int, context_length: int) -> None:
    tokens = POSITIONS[:length]
    batches = list(evaluation_batches(tokens, batch=batch, context_length=context_length))
    counted = torch.cat([targets.flatten() for _, targets in batches])
    assert counted.tolist() == list(range(1, length))
    for inputs, targets in batches:
        assert inputs.shape == targets.shape
        assert torch.equal(inputs + 1, targets)
        assert inputs.shape[0] <= batch
        assert inputs.shape[1] <= context_length
    assert all(inputs.shape[1] == context_length for inputs, _ in batches[:-1])
    assert sum(inputs.shape[0] for inputs, _ in batches) == -(-(length - 1) // context_length)


def test_evaluation_batches_can_be_written_to() -> None:
    for inputs, targets in evaluation_batches(POSITIONS[:24], batch=2, context_length=5):
        before = targets.clone()
        inputs.zero_()
        assert torch.equal(targets, before)


def test_evaluation_needs_two_tokens_and_sizes() -> None:
    with pytest.raises(ValueError, match="1 tokens hold no pair"):
        next(evaluation_batches(POSITIONS[:1], batch=2, context_length=5))
    with pytest.raises(ValueError, match="batch 0 and context_length 5"):
        next(evaluation_batches(POSITIONS, batch=0, context_length=5))


# Token files

BPE = BPETokenizer(learn_tokens("the cat the hat the", 259))
CHARACTERS = CharTokenizer("abc\n")


def test_a_token_file_is_the_corpus(tmp_path: Path) -> None:
    documents = ["ab", "", "c\na"]
    count = write_token_file(tmp_path / "new" / "a.tokens", iter(documents), CHARACTERS)
    tokens = open_token_file(tmp_path / "new" / "a.tokens", CHARACTERS)
    assert len(tokens) == count
    assert tokens.dtype == np.dtype("<u2")
    assert CHARACTERS.decode(tokens) == "\n\n".join(documents)
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 0


def test_each_document_ends_with_the_end_of_text(tmp_path: Path) -> None:
    assert list(encode_documents(["a", "", "b"], BPE)) == [[97, 259], [259], [98, 259]]
    write_token_file(tmp_path / "a.tokens", ["the cat", "<|endoftext|>"], BPE)
    tokens = open_token_file(tmp_path / "a.tokens", BPE)
    assert (tokens == BPE.end_of_text).sum() == 2  # typed text does not end a document
    assert BPE.decode(tokens) == "the cat<|endoftext|><|endoftext|><|endoftext|>"


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    large = CharTokenizer([chr(code) for code in range(0x10000, 0x10000 + 65_537)])
    write_token_file(tmp_path / "a.tokens", [chr(0x10000 + 65_536)], large)
    tokens = open_token_file(tmp_path / "a.tokens", large)
    assert tokens.dtype == np.dtype("<u4")
    assert tokens.tolist() == [65_536]
    just = CharTokenizer([chr(code) for code in range(0x10000, 0x10000 + 65_536)])
    write_token_file(tmp_path / "b.tokens", [chr(0x10000 + 65_535)], just)
    assert open_token_file(tmp_path / "b.tokens", just).tolist() == [65_535]


def test_a_token_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["ab"], CHARACTERS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="does not know 'x'"):
        write_token_file(path, ["abc", "x"], CHARACTERS)
    with pytest.raises(ValueError, match="at least one token"):
        write_token_file(path, [], CHARACTERS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_header_as_the_chapter_describes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    data = path.read_bytes()
    assert TOKEN_FILE_HEADER.size == 64
    assert data[:8] == b"mini_gpt"
    assert data[8:24] == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    assert data[24:40] == fingerprint(CHARACTERS).encode()
    assert data[40:] == bytes(24) + bytes([0, 0, 1, 0, 2, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is not a token file"),
        (lambda data: data[:63], "is not a token file"),
        (lambda data: b"M" + data[1:], "is not a token file"),
        (lambda data: data[:8] + b"\2" + data[9:], "version 2 with 2 bytes"),
        (lambda data: data[:12] + b"\3" + data[13:], "version 1 with 3 bytes"),
        (lambda data: data[:-1], "damaged: 3 tokens should make 70 bytes, it has 69"),
        (lambda data: data + b"\0", "damaged: 3 tokens should make 70 bytes, it has 71"),
        (lambda data: data[:16] + bytes(8) + data[24:64], "damaged: 0 tokens"),
        (lambda data: data[:24] + b"0" * 16 + data[40:], "another tokenizer.*0000000000000000"),
        (lambda data: data[:24] + b"\xff" * 16 + data[40:], "another tokenizer"),
    ],
)
def test_a_token_file_that_is_none(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.tokens (is|was) .*{message}|{message}"):
        open_token_file(path, CHARACTERS)


def test_the_tokenizer_must_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    with pytest.raises(ValueError, match="made by another tokenizer"):
        open_token_file(path, CharTokenizer("ab\nc"))


def test_batches_from_a_file_are_those_from_memory(tmp_path: Path) -> None:
    text = "abcc\nbaa" * 100
    write_token_file(tmp_path / "a.tokens", [text], CHARACTERS)
    mapped = open_token_file(tmp_path / "a.tokens", CHARACTERS)
    memory = np.array(CHARACTERS.encode(text), dtype=np.uint16)
    for _ in range(3):
        one, other = (
            BatchSource(tokens, batch=4, context_length=7, order="epochs")
            for tokens in (mapped, memory)
        )
        assert same(next(one), next(other))
    pairs = zip(
        evaluation_batches(mapped, batch=4, context_length=7),
        evaluation_batches(memory, batch=4, context_length=7),
        strict=True,
    )
    assert all(same(one, other) for one, other in pairs)


# Boundaries of documents


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=4))
def test_boundary_masks_by_their_definition(rows: list[list[int]]) -> None:
    inputs, end = torch.tensor(rows), 3
    mask = document_mask(inputs, end)
    targets = torch.arange(len(rows) * 7).reshape(-1, 7)
    skipped = skip_first_targets(inputs, targets, end)
    for row, ids in enumerate(rows):
        for query in range(7):
            for key in range(7):
                visible = key <= query and end not in ids[key:query]
                assert mask[row, query, key] == visible
            assert skipped[row, query] == (-100 if ids[query] == end else targets[row, query])
    assert targets[0, 0] == 0  # not changed in place


def test_skipped_targets_do_not_count_in_the_loss() -> None:
    inputs, targets = torch.tensor([[1, 5, 2]]), torch.tensor([[5, 2, 3]])
    logits = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(0))
    skipped = skip_first_targets(inputs, targets, 5)
    loss = torch.nn.functional.cross_entropy(logits[0], skipped[0])
    losses = torch.nn.functional.cross_entropy(logits[0], targets[0], reduction="none")
    torch.testing.assert_close(loss, (losses[0] + losses[2]) / 2)


# The exercises' checks


def window(tokens, start, context_length):  # type: ignore[no-untyped-def]
    if start + context_length + 1 > len(tokens):
        return None
    piece = tokens[start : start + context_length + 1]
    return piece[:-1], piece[1:]


def in_both(training, validation, context_length, extra=1):  # type: ignore[no-untyped-def]
    def positions(starts):  # type: ignore[no-untyped-def]
        return {start + place for start in starts for place in range(context_length + extra)}

    kept = positions(validation)
    return len(kept & positions(training)) / len(kept)


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.data.inputs_and_targets,
            [
                lambda t, s, c: (t[s : s + c], t[s : s + c]),
                lambda t, s, c: (t[s : s + c], t[s + 1 : s + c + 1]),
                lambda t, s, c: window(t, s, c) if s + c + 1 < len(t) else None,
                lambda t, s, c: (window(t, s, c) or (None, None))[0],
            ],
            window,
        ),
        (
            checks.data.share_seen,
            [
                lambda batches, batch, context, length: batches * batch * context / length,
                lambda batches, batch, context, length: 1 - (1 - context / length) ** batches,
                lambda batches, batch, context, length: (1 - context / length) ** (batches * batch),
            ],
            lambda batches, batch, context, length: 1 - (1 - context / length) ** (batches * batch),
        ),
        (
            checks.data.leaked,
            [
                lambda training, validation, context: in_both(training, validation, context, 0),
                lambda training, validation, context: in_both(validation, training, context),
                lambda training, validation, context: float(bool(set(training) & set(validation))),
            ],
            in_both,
        ),
    ],
)
def test_exercise_checks(check, wrong, right, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    for answer in (lambda *_: None, *wrong):
        check(answer)
        assert capsys.readouterr().out.startswith("not yet: ")
    check(right)
    assert capsys.readouterr().out.startswith("correct: ")
