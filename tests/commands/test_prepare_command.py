"""`mini-gpt prepare`: tokens on disk, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mini_gpt.commands.cli import main
from mini_gpt.support.shard_file import open_shard
from mini_gpt.support.token_manifest import MANIFEST, read_manifest
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.tokenizer import load_tokenizer
from training_command import complaint

TEXTS = [f"the {n}th cat sat on the {n}th hat\n" * 3 for n in range(12)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [json.dumps({"body": text}) for text in TEXTS]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def prepare(corpus: Path, *options: str) -> list[str]:
    fixed = ["--text-field", "body", "--processes", "1", "--tokenizer", "bpe"]
    return ["prepare", str(corpus), *fixed, "--vocab-size", "280", *options]


def test_a_corpus_becomes_tokens(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tokens"
    command = prepare(corpus, "--out", str(out), "--validation-fraction", "0.2")
    assert main([*command, "--shard-megabytes", "0.0003"]) == 0
    captured = capsys.readouterr()
    manifest = read_manifest(out)
    kept = manifest["validation"]
    assert f"validation: {kept['tokens']:,} tokens of {kept['documents']} doc" in captured.out
    assert f"in {len(manifest['training']['shards'])} files" in captured.out
    assert f"mini-gpt train --corpus {out}" in captured.out
    assert "B/s" in captured.err
    assert manifest["settings"]["shard_bytes"] == 300
    tokenizer = load_tokenizer(out / TOKENIZER_FILE)
    assert tokenizer.vocab_size == 280
    ids = open_shard(out / kept["shards"][0]["name"], manifest["fingerprint"]).tokens
    assert tokenizer.decode(ids).split("<|endoftext|>") == [*TEXTS[-kept["documents"] :], ""]


def test_the_same_command_again_looks_whether_all_is_there(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tokens"
    command = prepare(corpus, "--out", str(out))
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.startswith(f"{out} is complete")
    assert {line for line in first.splitlines() if "tokens of" in line} < {*again.splitlines()}
    shard = out / "train-00000.tokens"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard} is damaged" in complaint(command, capsys)
    (out / MANIFEST).write_text("{}")
    assert "prepared.json" in complaint(command, capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--validation-fraction", "0"], "validation_fraction 0.0 must be above 0"),
        (["--subset", "x"], "--subset and --split are for data sets on the hub; write hub: before"),
        (["--tokenizer", "gpt2"], "vocab_size 280 is for the tokenizer bpe"),
        (["--text-field", "text"], "has no field 'text'; its fields are: body; name one with"),
        (["--processes", "0"], "processes 0 must be at least 1"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    options: list[str],
    message: str,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "tokens"
    assert message in complaint(prepare(corpus, "--out", str(out), *options), capsys)
    assert not out.exists()


def test_a_corpus_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", str(tmp_path / "no.txt"), "--out", str(tmp_path / "out")]
    said = complaint([*command, "--tokenizer", "characters"], capsys)
    assert "no corpus" in said
    assert "hub:" in said
