"""Token folders: one row of all shards, mapped, and what is wrong with one named at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt.characters import CharTokenizer
from mini_gpt.data import BatchLoader
from mini_gpt.support.shard_file import new_shard
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_folder import open_token_folder
from mini_gpt.support.token_manifest import (
    MANIFEST,
    UNFINISHED,
    corpus_digest,
    is_token_folder,
    read_manifest,
    write_manifest,
)
from mini_gpt.support.token_shards import TokenShards
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import BPETokenizer
from token_folders import write_folder

BPE = BPETokenizer.train("the cat the hat the", 260)
LETTERS = CharTokenizer("abcä\n")
TRAINING, VALIDATION = ["abca" * 40, "ccba" * 30, "b"], ["äbac" * 20, "ca"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "tokens", LETTERS, TRAINING, VALIDATION)
    return tmp_path / "tokens"


@pytest.mark.parametrize("tokenizer", [BPE, LETTERS])
def test_its_shards_are_the_rows_of_the_text(
    tokenizer: BPETokenizer | CharTokenizer, tmp_path: Path
) -> None:
    rows = write_folder(tmp_path / "tokens", tokenizer, TRAINING, VALIDATION, shards=4)
    opened = open_token_folder(tmp_path / "tokens")
    assert np.array_equal(np.asarray(opened.training), rows[0])
    assert np.array_equal(np.asarray(opened.validation), rows[1])
    assert opened.tokenizer.to_dict() == tokenizer.to_dict()
    assert opened.validation_bytes == count_text_bytes(tokenizer, rows[1][1:])
    assert isinstance(opened.training, TokenShards)
    assert all(isinstance(shard, np.memmap) for shard in opened.training.shards)


def test_one_shard_is_an_ordinary_array(tmp_path: Path) -> None:
    write_folder(tmp_path / "tokens", LETTERS, TRAINING, VALIDATION, shards=1)
    assert type(open_token_folder(tmp_path / "tokens").training) is np.memmap


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    shards=st.integers(1, 9), order=st.sampled_from(["random", "epochs"]), seed=st.integers(0, 9)
)
def test_batches_are_those_from_memory(
    shards: int, order: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("shards") / "tokens"
    row, _ = write_folder(path, LETTERS, TRAINING, VALIDATION, shards=shards)
    sizes = {"batch_size": 4, "context_length": 13, "order": order, "seed": seed}
    ours = BatchLoader(open_token_folder(path).training, **sizes)
    theirs = BatchLoader(row, **sizes)
    for _ in range(12):
        assert all(map(torch.equal, next(ours), next(theirs)))


def test_where_it_lies_is_not_what_it_is(folder: Path) -> None:
    before = open_token_folder(folder).digest
    content = read_manifest(folder)
    write_manifest(folder, {**content, "source": {"name": "/elsewhere"}})
    moved = folder.rename(folder.with_name("moved"))
    assert open_token_folder(moved).digest == before
    content["validation"]["tokens"] += 1
    assert corpus_digest(content) != before


def test_what_is_a_token_folder(folder: Path, tmp_path: Path) -> None:
    assert is_token_folder(folder)
    (folder / MANIFEST).unlink()
    assert not is_token_folder(folder)
    (folder / UNFINISHED).mkdir()
    assert is_token_folder(folder)
    with pytest.raises(ValueError, match=r"tokens is not prepared to its end.*prepare goes on"):
        open_token_folder(folder)
    assert not is_token_folder(tmp_path / "nothing")


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "training-00001.tokens").unlink()
    with pytest.raises(ValueError, match=r"training-00001\.tokens is missing.*of training"):
        open_token_folder(folder)


@pytest.mark.slow
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_bit_that_flips_anywhere_is_noticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "tokens"
    rows = write_folder(path, LETTERS, TRAINING[1:], VALIDATION, shards=2)
    file = data.draw(st.sampled_from(sorted(path.iterdir())))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        opened = open_token_folder(path)
    except ValueError as fault:
        assert file.name in str(fault)  # noqa: PT017
    else:  # a blank line of the tokenizer's file, say, or a header's padding is no loss
        assert opened.tokenizer.to_dict() == LETTERS.to_dict()
        assert np.array_equal(np.asarray(opened.training), rows[0])
        assert np.array_equal(np.asarray(opened.validation), rows[1])


def test_a_shard_of_another_corpus_is_refused(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", LETTERS, ["ccccbb"], VALIDATION)
    name = "training-00002.tokens"
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(ValueError, match=f"{name} is not the shard that .* names"):
        open_token_folder(folder)


def test_a_tokenizer_of_another_corpus_is_refused(folder: Path) -> None:
    CharTokenizer("cbaä\n").save(folder / "mini_gpt_tokenizer.json")
    with pytest.raises(ValueError, match="is another tokenizer than the one that the tokens"):
        open_token_folder(folder)
    (folder / "mini_gpt_tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"mini_gpt_tokenizer\.json is missing"):
        open_token_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "of version 2, this program reads"),
        ({"format": "other"}, "this program reads mini_gpt token folders"),
        ({"training": {"shards": [{"name": "training-00000.tokens"}]}}, "not as mini-gpt prepare"),
        ({"training": {}}, "not as mini-gpt prepare writes it"),
        ({"validation": {"shards": []}}, "not as mini-gpt prepare writes it"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    change: dict[str, object], message: str, folder: Path
) -> None:
    write_manifest(folder, {**read_manifest(folder), **change})
    with pytest.raises(ValueError, match=message):
        open_token_folder(folder)


def test_no_file_outside_the_folder_is_opened(folder: Path) -> None:
    content = read_manifest(folder)
    outside = folder.parent / "outside.tokens"
    shutil.copy(folder / "training-00000.tokens", outside)
    content["training"]["shards"][0]["name"] = "../outside.tokens"
    write_manifest(folder, content)
    with pytest.raises(ValueError, match=r"tokens/outside\.tokens is missing"):
        open_token_folder(folder)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from mini_gpt.data import BatchLoader, evaluation_batches
from mini_gpt.support.data_checks import check_splits
from mini_gpt.support.token_folder import open_token_folder

def peak():  # mapped files count, and what was before this program does not
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

sizes = {"batch_size": 4, "context_length": 256}  # of each window 2 MB may be mapped
next(BatchLoader(np.zeros(300, dtype=int), **sizes))  # torch itself is read from a file
Path("/proc/self/clear_refs").write_text("5")  # from now on
before = peak()
folder = open_token_folder(sys.argv[1])
check_splits(folder.training, folder.validation, folder.tokenizer.vocab_size)
batches = BatchLoader(folder.training, **sizes, order="epochs")
for _ in range(300):
    next(batches)
for _ in evaluation_batches(folder.training, batch_size=64, context_length=1024):
    pass
print(len(folder.training) * 2 / 2**20, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_corpus_is_never_all_in_memory(tmp_path: Path) -> None:
    """200 MB of tokens are checked, trained on and measured in a fraction of that."""
    folder = tmp_path / "tokens"
    write_folder(folder, LETTERS, TRAINING, VALIDATION, shards=1)
    with new_shard(folder / "large.tokens", 5, fingerprint(LETTERS)) as shard:
        shard.add(np.arange(8 << 20) % 4)
    assert shard.written is not None
    content = read_manifest(folder)
    entry = {"name": "large.tokens", **shard.written._asdict()}
    content["training"]["shards"] = [entry] * 13  # one file, mapped so often
    write_manifest(folder, content)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    size, grown = map(float, json.loads(f"[{done.stdout.strip().replace(' ', ',')}]"))
    assert size > 195
    assert grown < 40, f"{grown:.0f} MB for {size:.0f} MB of tokens"
