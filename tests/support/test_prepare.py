"""Corpora become folders of tokens: exact, the same in any way, whole after any kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mini_gpt.characters import CharTokenizer
from mini_gpt.support import prepare as module
from mini_gpt.support import prepare_encode, prepare_folder, prepare_split, prepare_work
from mini_gpt.support.corpus import load_documents
from mini_gpt.support.documents import encode_split, split_documents
from mini_gpt.support.prepare import Settings, Source, prepare_tokens
from mini_gpt.support.shard_file import open_shard
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.tokenizer import END_OF_TEXT, BPETokenizer, load_tokenizer

TEXTS = [
    f"The cat number {n} sat.\nIt was {n * 7} o'clock; the hat\n" * (n % 5 + 1) for n in range(24)
]
QUIET: dict[str, Any] = {"shown": False}


def corpus(folder: Path, texts: list[str], name: str = "a.txt") -> Source:
    path = folder / name
    path.write_text(f"\n{END_OF_TEXT}\n".join(texts), encoding="utf-8")
    return Source(str(path))


@pytest.fixture
def learned(tmp_path: Path) -> str:
    """A tokenizer's file: one that is there before the corpus."""
    path = tmp_path / "own.json"
    BPETokenizer.train("".join(TEXTS), 300).save(path)
    return str(path)


def side(folder: Path, manifest: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """All tokens of training or validation, and where its documents begin."""
    tokens, starts, before = [], [], 0
    for shard in manifest[name]["shards"]:
        found = open_shard(folder / shard["name"], manifest["fingerprint"])
        assert len(found.tokens) == shard["tokens"]
        assert len(found.starts) == shard["documents"]
        assert found.sha256 == shard["sha256"]
        tokens.append(np.asarray(found.tokens))
        starts.append(found.starts + before)
        before += len(found.tokens)
    assert before == manifest[name]["tokens"]
    return np.concatenate(tokens), np.concatenate(starts)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("tokenizer", ["characters", "bpe", "own"])
@pytest.mark.parametrize("shard_bytes", [400, 1500, None])
@pytest.mark.parametrize("number", [1, 4, 24])
def test_few_documents_are_what_training_would_make_of_them(
    tokenizer: str, shard_bytes: int | None, number: int, tmp_path: Path, learned: str
) -> None:
    """The place of the split, the ids, what stands between, and the count of bytes."""
    source = corpus(tmp_path, [TEXTS[4]] if number == 1 else TEXTS[:number])
    settings = Settings(
        tokenizer=learned if tokenizer == "own" else tokenizer,
        vocab_size=280 if tokenizer == "bpe" else None,
        validation_fraction=0.1,
        shard_bytes=shard_bytes,
    )
    manifest = prepare_tokens(source, tmp_path / "out", settings, **QUIET)
    documents = load_documents(source.name)
    used = load_tokenizer(tmp_path / "out" / TOKENIZER_FILE)
    split = split_documents(documents, 0.1)
    if tokenizer == "characters":
        assert used.to_dict() == CharTokenizer.train("\n\n".join(documents)).to_dict()
    elif tokenizer == "bpe":
        special = (END_OF_TEXT,) if number > 1 else ()
        text = "\n\n".join(split.training)
        assert shard_bytes is not None or (
            used.to_dict() == BPETokenizer.train(text, 280, special_tokens=special).to_dict()
        )
    expected = encode_split(split, used)
    for name, ids, texts in zip(("training", "validation"), expected, split[:2], strict=True):
        tokens, starts = side(tmp_path / "out", manifest, name)
        assert tokens.tolist() == ids.tolist()
        assert manifest[name]["text_bytes"] == count_text_bytes(used, ids)
        assert len(starts) == len(texts)
        if used.end_of_text is not None:
            ends = np.flatnonzero(tokens == used.end_of_text) + 1
            assert starts.tolist() == [0, *ends.tolist()][: len(starts)]
    assert len(manifest["validation"]["shards"]) == 1
    assert (len(manifest["training"]["shards"]) > 1) == (
        shard_bytes is not None and shard_bytes < sum(map(len, documents)) * 0.8
    )
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        TOKENIZER_FILE,
        "prepared.json",
        *(s["name"] for name in ("training", "validation") for s in manifest[name]["shards"]),
    }


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """From six documents on, each is given to a side by its key."""
    monkeypatch.setattr(prepare_split, "_ENOUGH", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_of_many_documents_each_falls_by_how_it_begins(tmp_path: Path, learned: str) -> None:
    texts = [f"{n} is a number, and so is {n + 1}" for n in range(400)]
    source = corpus(tmp_path, [*texts, *texts[:200]])
    settings = Settings(tokenizer=learned, validation_fraction=0.2, shard_bytes=4000)
    manifest = prepare_tokens(source, tmp_path / "out", settings, **QUIET)
    used = load_tokenizer(learned)
    found = {}
    for name in ("training", "validation"):
        tokens, starts = side(tmp_path / "out", manifest, name)
        assert tokens[-1] == used.end_of_text
        pieces = np.split(tokens, starts[1:].astype(np.int64))
        assert all(piece[-1] == used.end_of_text for piece in pieces)
        found[name] = [used.decode(piece[:-1]) for piece in pieces]
    assert Counter(found["training"] + found["validation"]) == Counter([*texts, *texts[:200]])
    assert not {*found["training"]} & {*found["validation"]}  # what occurs twice is on one side
    assert 80 < len(found["validation"]) < 160
    assert manifest["split"] == {"rule": "hash"}
    assert len(manifest["training"]["shards"]) > 2
    shuffled = corpus(tmp_path, texts[::-1], "b.txt")
    other = prepare_tokens(shuffled, tmp_path / "other", settings, **QUIET)
    again, starts = side(tmp_path / "other", other, "validation")
    assert used.decode(again).count(END_OF_TEXT) == len({*found["validation"]})


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_a_document_longer_than_a_shard_is_on_one_side_and_its_ids_are_those_of_the_whole(
    tmp_path: Path, learned: str
) -> None:
    long = [f"{word} " + "".join(f"{n} cats, " for n in range(400)) for word in "abcdefgh"]
    settings = Settings(tokenizer=learned, validation_fraction=0.4, shard_bytes=1500)
    source = corpus(tmp_path, long)
    manifest = prepare_tokens(source, tmp_path / "out", settings, **QUIET)
    used, found = load_tokenizer(learned), {}
    for name in ("training", "validation"):
        tokens, starts = side(tmp_path / "out", manifest, name)
        found[name] = [p.tolist() for p in np.split(tokens, starts[1:].astype(np.int64))]
    assert len(manifest["training"]["shards"]) > 6
    expected = [[*used.encode(text), used.end_of_text] for text in load_documents(source.name)]
    assert sorted(found["training"] + found["validation"]) == sorted(expected)
    assert len(found["validation"]) in range(1, 7)


def test_the_source_may_be_of_any_kind(tmp_path: Path, learned: str) -> None:
    settings = Settings(tokenizer=learned, validation_fraction=0.1)
    text = corpus(tmp_path, TEXTS)
    expected = prepare_tokens(text, tmp_path / "from-text", settings, **QUIET)
    rows = [{"text": text} for text in load_documents(text.name)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = Source(str(tmp_path / "a.jsonl"))
    manifest = prepare_tokens(source, tmp_path / "from-lines", settings, **QUIET)
    assert manifest["training"] == expected["training"]
    assert manifest["validation"] == expected["validation"]
    assert (manifest["source"]["kind"], expected["source"]["kind"]) == ("jsonl", "text")


@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(tmp_path: Path, learned: str) -> None:
    settings = Settings(tokenizer="characters", validation_fraction=0.1, shard_bytes=500)
    source = corpus(tmp_path, TEXTS)
    for processes in (1, 2):
        out = tmp_path / str(processes)
        prepare_tokens(source, out, settings, processes=processes, **QUIET)
    assert files(tmp_path / "1") == files(tmp_path / "2")


@pytest.mark.slow
def test_a_fault_in_one_of_several_processes_ends_all_and_is_told(
    tmp_path: Path, learned: str
) -> None:
    source = corpus(tmp_path, TEXTS)
    with open(source.name, "ab") as file:
        file.write(b"\xff")
    settings = Settings(tokenizer=learned, shard_bytes=500, validation_fraction=0.4)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(prepare_split, "_ENOUGH", 1)  # else it is met before
        with pytest.raises(ValueError, match=r"a\.txt is not UTF-8: byte 0xff"):
            prepare_tokens(source, tmp_path / "out", settings, processes=2, **QUIET)
    assert not (tmp_path / "out" / "prepared.json").exists()


class Interrupted(Exception):
    """Stands for whatever ends a program in the middle."""


def interrupted_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next preparation fail at its n-th document."""
    real, count = prepare_encode.Encoder.encode, iter(range(calls))

    def encode(self: Any, piece: Any) -> Iterator[np.ndarray]:
        if next(count, None) is None:
            raise Interrupted
        return real(self, piece)

    monkeypatch.setattr(prepare_encode.Encoder, "encode", encode)


@pytest.fixture
def half(tmp_path: Path, learned: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Source, Settings]:
    """A preparation into `out` that was interrupted at the 13th of 24 documents."""
    source = corpus(tmp_path, TEXTS)
    settings = Settings(tokenizer=learned, shard_bytes=500, validation_fraction=0.1)
    with monkeypatch.context() as patch:
        interrupted_after(12, patch)
        with pytest.raises(Interrupted):
            prepare_tokens(source, tmp_path / "out", settings, **QUIET)
    return source, settings


@pytest.mark.slow
def test_it_goes_on_and_gives_the_same_bytes(half: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = {p.name: p.stat().st_ino for p in out.glob("*.tokens")}
    assert len(before) > 2
    assert not (out / "prepared.json").exists()
    prepare_tokens(half[0], out, half[1], **QUIET)
    after = {p.name: p.stat().st_ino for p in out.glob("*.tokens")}
    assert before.items() <= after.items()  # what was there is not written again
    prepare_tokens(half[0], tmp_path / "whole", half[1], **QUIET)
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.slow
def test_a_shard_that_was_damaged_meanwhile_is_made_again(half: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second, third, *_ = sorted(out.glob("*.tokens"))
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    second.write_bytes(b"")
    third.unlink()
    next((out / ".prepare").glob("00002*.json")).write_text("{")
    prepare_tokens(half[0], out, half[1], **QUIET)
    prepare_tokens(half[0], tmp_path / "whole", half[1], **QUIET)
    assert files(out) == files(tmp_path / "whole")


def test_other_settings_or_another_source_are_refused(half: Any, tmp_path: Path) -> None:
    out, (source, settings) = tmp_path / "out", half
    before = files(out)
    other = Settings(settings.tokenizer, shard_bytes=500, validation_fraction=0.2)
    with pytest.raises(ValueError, match=r"out was begun with something else \(validation_fr.*0.2"):
        prepare_tokens(source, out, other, **QUIET)
    with open(source.name, "a") as file:
        file.write("and more")
    with pytest.raises(ValueError, match=r"\(bytes was [\d]+, now [\d]+\); delete it, or choose"):
        prepare_tokens(source, out, settings, **QUIET)
    assert files(out) == before


def test_a_finished_folder_is_looked_through(tmp_path: Path, learned: str) -> None:
    source, out = corpus(tmp_path, TEXTS), tmp_path / "out"
    settings = Settings(tokenizer=learned, shard_bytes=500)
    manifest = prepare_tokens(source, out, settings, **QUIET)
    before = files(out)
    assert prepare_tokens(source, out, settings, **QUIET) == manifest
    assert files(out) == before
    with pytest.raises(ValueError, match="out holds the tokens of something else"):
        prepare_tokens(source, out, Settings(learned, shard_bytes=600), **QUIET)
    path = out / "train-00001.tokens"
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with pytest.raises(ValueError, match=r"train-00001\.tokens is damaged"):
        prepare_tokens(source, out, settings, **QUIET)


def test_a_kill_while_it_cleared_away_leaves_nothing(tmp_path: Path, learned: str) -> None:
    source, out = corpus(tmp_path, TEXTS), tmp_path / "out"
    prepare_tokens(source, out, Settings(learned), **QUIET)
    before = files(out)
    (out / ".prepare").mkdir()
    (out / ".prepare" / "00000.000.json").write_text("{}")
    prepare_tokens(source, out, Settings(learned), **QUIET)
    assert files(out) == before
    assert not (out / ".prepare").exists()


@pytest.mark.parametrize("place", ["begun.json", TOKENIZER_FILE])
def test_a_kill_before_the_first_shard_takes_over_no_other_tokenizer(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two files is the last that was written."""
    source, out = corpus(tmp_path, TEXTS), tmp_path / "out"
    real = prepare_folder.atomic_file

    def killed(path: Path) -> Any:
        if path.name == place:
            raise Interrupted
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_folder, "atomic_file", killed)
        patch.setattr("mini_gpt.support.tokenizer_file.atomic_file", killed)
        with pytest.raises(Interrupted):
            prepare_tokens(source, out, Settings("bpe", 270), **QUIET)
    if place == "begun.json":
        manifest = prepare_tokens(source, out, Settings("bpe", 280), **QUIET)
        assert manifest["vocab_size"] == 280
    else:
        with pytest.raises(ValueError, match=r"\(vocab_size was 270, now 280\)"):
            prepare_tokens(source, out, Settings("bpe", 280), **QUIET)
        assert prepare_tokens(source, out, Settings("bpe", 270), **QUIET)["vocab_size"] == 270


def test_a_folder_of_others_is_left_as_it_is(tmp_path: Path, learned: str) -> None:
    source = corpus(tmp_path, TEXTS)
    with pytest.raises(FileExistsError, match=r"holds other files; choose a new folder"):
        prepare_tokens(source, tmp_path, Settings(learned), **QUIET)
    with pytest.raises(FileExistsError, match=r"a\.txt is a file; choose another --out"):
        prepare_tokens(source, Path(source.name), Settings(learned), **QUIET)


def test_two_at_a_time_are_refused(half: Any, tmp_path: Path) -> None:
    with (
        module.locked_folder(tmp_path / "out"),
        pytest.raises(OSError, match=r"another process is preparing .*out; wait until"),
    ):
        prepare_tokens(half[0], tmp_path / "out", half[1], **QUIET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 0.0}, "validation_fraction 0.0 must be above 0 and at most 0.5"),
        ({"validation_fraction": 0.6}, "validation_fraction 0.6 must be"),
        ({"vocab_size": 300}, "vocab_size 300 is for the tokenizer bpe"),
        ({"sample_bytes": 0}, "sample_bytes 0 must be at least 1"),
        ({"shard_bytes": 0}, "shard_bytes 0 must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_nothing_is_written_where_it_cannot_work(tmp_path: Path, learned: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="there is no folder"):
        prepare_tokens(corpus(tmp_path, TEXTS), out, Settings("no-such"), **QUIET)
    settings = Settings("bpe", vocab_size=100_000)
    with pytest.raises(ValueError, match=r"gives \d+ tokens, not 99999"):
        prepare_tokens(corpus(tmp_path, TEXTS), out, settings, **QUIET)
    with pytest.raises(ValueError, match="there is no text in it"):
        prepare_tokens(corpus(tmp_path, [" ", "\n"]), out, Settings(learned), **QUIET)
    with pytest.raises(ValueError, match="processes 0 must be at least 1"):
        prepare_tokens(corpus(tmp_path, TEXTS), out, Settings(learned), processes=0)
    assert not out.exists()


def test_a_character_that_the_tokenizer_lacks_is_named_with_its_document(tmp_path: Path) -> None:
    CharTokenizer("abc \n").save(tmp_path / "own.json")
    source = corpus(tmp_path, ["a b", "c a", "b x a", "c"])
    with pytest.raises(ValueError, match=r"does not know 'x' .*; it stands in a document with b x"):
        prepare_tokens(source, tmp_path / "out", Settings(str(tmp_path / "own.json")), **QUIET)


class TestRolledShards:
    """A data set of unknown length becomes as many shards as it takes."""

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        source = corpus(tmp_path, TEXTS)
        monkeypatch.setattr(prepare_work, "rolls", lambda part: True)
        real = prepare_work.read_part

        def read(part: Any, skip: int = 0) -> Iterator[Any]:
            for number, fragment in enumerate(real(part)):
                if number >= skip:
                    yield fragment

        monkeypatch.setattr(prepare_work, "read_part", read)
        plan = module.make_plan
        monkeypatch.setattr(
            module,
            "make_plan",
            lambda source, size: module.dataclasses.replace(plan(source, None), shard_bytes=size),
        )
        return source

    @pytest.mark.slow
    def test_the_tokens_are_the_same_and_it_goes_on(
        self, source: Source, tmp_path: Path, learned: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = Settings(learned, validation_fraction=0.1, shard_bytes=500)
        whole = prepare_tokens(source, tmp_path / "whole", settings, **QUIET)
        names = [shard["name"] for shard in whole["training"]["shards"]]
        assert names[:2] == ["train-00000.tokens", "train-00000.001.tokens"]
        assert len(names) > 3
        used = load_tokenizer(learned)
        expected = encode_split(split_documents(load_documents(source.name), 0.1), used)
        for name, ids in zip(("training", "validation"), expected, strict=True):
            assert side(tmp_path / "whole", whole, name)[0].tolist() == ids.tolist()
        with monkeypatch.context() as patch:
            interrupted_after(12, patch)
            with pytest.raises(Interrupted):
                prepare_tokens(source, tmp_path / "out", settings, **QUIET)
        assert len(list((tmp_path / "out").glob("*.tokens"))) > 2
        prepare_tokens(source, tmp_path / "out", settings, **QUIET)
        assert files(tmp_path / "out") == files(tmp_path / "whole")


# Being killed


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from mini_gpt.support.prepare import Settings, Source, prepare_tokens
settings = Settings({tokenizer!r}, validation_fraction=0.1, shard_bytes=6000)
source, out = Source({corpus!r}), Path({out!r})
prepare_tokens(source, Path({out!r} + "-whole"), settings, shown=False)
chance, kills, finished = random.Random(0), 0, []
while True:
    finished.append(len(list((out / ".prepare").glob("[0-9]*.json"))))
    child = os.fork()
    if not child:
        try:
            prepare_tokens(source, out, settings, shown=False)
            os._exit(0)
        except BaseException as fault:
            print("fault", repr(fault), flush=True)
            os._exit(1)
    if kills < 20:
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
    elif status == 0 and kills >= 20:
        break
    elif status == 0:  # finished before it could be killed: begin again
        shutil.rmtree(out)
    else:
        sys.exit("it did not go on")
print(kills, finished)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be quick")
def test_twenty_kills_lose_nothing(tmp_path: Path, learned: str) -> None:
    """SIGKILL at random moments, also while a shard or the manifest is being written."""
    source = corpus(tmp_path, [f"{n} {TEXTS[n % 24]}" for n in range(700)])
    out = tmp_path / "killed"
    script = KILLED.format(tokenizer=learned, corpus=source.name, out=str(out))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    kills, finished = ran.stdout.split(" ", 1)
    assert int(kills) == 20
    assert len(set(json.loads(finished))) > 4, finished  # it went on from many places
    assert files(out) == files(tmp_path / "killed-whole")
