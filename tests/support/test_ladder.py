"""The ladder: bits per byte of one text by many ways of prediction."""

from __future__ import annotations

import gzip
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.evaluation import predict
from mini_gpt.loss import NGramModel
from mini_gpt.support import ladder
from mini_gpt.support.compressors import adaptive_loss
from mini_gpt.support.demo_seeds import demo_bits
from mini_gpt.support.stored_results import stored_result
from tiny import tiny_gpt

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "to be or not to be: that is the question. " * 50
TEXT = "whether 'tis nobler in the mind to suffer; " * 60 + "é"


@pytest.fixture(scope="module")
def rungs() -> dict[str, ladder.Rung]:
    tokenizer = CharTokenizer.train(TRAINING + TEXT)
    models = {"tiny": (tiny_gpt(vocab_size=tokenizer.vocab_size), tokenizer)}
    return {rung.name: rung for rung in ladder.climb(TEXT, TRAINING, models)}


def test_each_rung_is_its_programs_own_number(rungs: dict[str, ladder.Rung]) -> None:
    size = len(TEXT.encode())
    packed = len(gzip.compress(TEXT.encode(), mtime=0))
    assert rungs["gzip"].alone == pytest.approx(8 * packed / size)
    both = len(gzip.compress((TRAINING + TEXT).encode(), mtime=0))
    before = len(gzip.compress(TRAINING.encode(), mtime=0))
    assert rungs["gzip"].taught == pytest.approx(8 * (both - before) / size)
    assert rungs["gzip"].interval is None
    data = np.frombuffer((TRAINING + TEXT).encode(), np.uint8)
    taught = adaptive_loss(data, len(TRAINING), 256, ladder.LONGEST) / math.log(2)
    assert rungs["PPM's idea"].taught == pytest.approx(taught)
    counts = NGramModel(data[: len(TRAINING)], 256, 1)
    chances = counts.probabilities([]).numpy()
    mean = -np.log2(chances[data[len(TRAINING) :]]).mean()
    assert rungs["unigram"].taught == pytest.approx(mean)
    assert rungs["uniform"].best == 8


def test_counting_goes_on_over_the_border_of_the_texts(rungs: dict[str, ladder.Rung]) -> None:
    data = np.frombuffer((TRAINING + TEXT).encode(), np.uint8)
    model = NGramModel(data[: len(TRAINING)], 256, 3)
    nats = -model.log_probs(data)[len(TRAINING) - 1 :]
    assert rungs["3-gram of bytes"].taught == pytest.approx(nats.mean() / math.log(2))


def test_a_model_is_measured_for_the_bytes_that_it_predicts(
    rungs: dict[str, ladder.Rung],
) -> None:
    tokenizer = CharTokenizer.train(TRAINING + TEXT)
    nats = predict(tiny_gpt(vocab_size=tokenizer.vocab_size), tokenizer.encode(TEXT)).nats
    bits = nats.sum() / math.log(2) / (len(TEXT.encode()) - 1)  # the first has one byte
    rung = rungs["tiny"]
    assert rung.best == pytest.approx(bits)
    assert rung.interval is not None
    assert rung.interval.low < bits < rung.interval.high


def test_an_unknown_training_text_leaves_what_needs_none() -> None:
    names = [rung.name for rung in ladder.climb(TEXT, None, {})]
    assert names == ["uniform", "gzip", "bzip2", "xz", "PPM's idea"]


def test_blocks_are_the_same_for_other_tokens() -> None:
    """Bytes of the characters in each block, by two tokenizers of which one knows pairs."""
    tokenizer = CharTokenizer.train(TRAINING + TEXT)
    ids = np.array(tokenizer.encode(TRAINING))
    counting = NGramModel(ids, tokenizer.vocab_size, 2)
    bits, sizes = ladder.bits_in_blocks(counting, tokenizer, TEXT)
    assert sizes.tolist() == [999, 1000, len(TEXT.encode()) - 2000]
    assert len(bits) == 3
    assert ladder.byte_sizes(tokenizer, np.array(tokenizer.encode("aé")[-1:])).tolist() == [2]


def test_a_row_reads_as_its_rung() -> None:
    rung = ladder.Rung("gzip", 3.124, 3.1, None)
    assert ladder.row(rung).split() == ["gzip", "3.12", "3.10"]
    assert len(ladder.HEADING.split("taught")[0]) == ladder.row(rung).index("3.10") - 2


def test_the_blocks_of_the_demos_runs_make_up_their_bits_per_byte() -> None:
    runs = stored_result("evaluation")["runs"]
    assert [run["seed"] for run in runs] == [1, 2, 3]
    for run in runs:
        bits, sizes = demo_bits(run["seed"])
        assert bits.tolist() == run["bits_in_blocks"]
        assert sizes.sum() == 4 * ladder.PART - 1
        assert bits.sum() / sizes.sum() == pytest.approx(run["bits_per_byte"], abs=1e-3)


@pytest.mark.slow
def test_the_benchmark_writes_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])  # bench/ is not installed
    from bench import evaluation

    threads = torch.get_num_threads()
    try:
        assert evaluation.main(["--quick", "--out", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(threads)
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert content["steps"] == 5
    assert [run["seed"] for run in content["runs"]] == [1, 2]
    first, second = (run["bits_in_blocks"] for run in content["runs"])
    assert len(first) == 4
    assert first != second
    for run in content["runs"]:
        mean = sum(run["bits_in_blocks"]) / 3999
        assert run["bits_per_byte"] == pytest.approx(mean, abs=1e-3)
