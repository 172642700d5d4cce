"""Files as strangers and failing disks leave them, for everything in the package that reads one.

    python tests/faults/hostile.py READER EXAMPLES

A `Reader` writes good files and reads them; `attack` spoils one of them and looks at what comes: a
result, or an error of the three kinds that names the file, and soon. Run as a program, since the
tests check annotations, and then a wrong kind is met by their words and not by ours.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from learning import QUICK, TRAINING, VALIDATION, small
from learning import TOKENIZER as LETTERS
from mini_gpt import (
    BPETokenizer,
    from_huggingface,
    from_pretrained,
    load_documents,
    save_pretrained,
    to_huggingface,
    train,
)
from mini_gpt.commands.cli import main
from mini_gpt.commands.train_options import default_train
from mini_gpt.support.files import text_digest
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.huggingface_tokenizer import write_huggingface_tokenizer
from mini_gpt.support.state_file import read_state, write_state
from mini_gpt.support.token_file import open_token_file, write_token_file
from mini_gpt.tokenizer import load_tokenizer
from peers import TOKENIZER, build, gpt2_like_tokenizer, write_two_files
from tiny import tiny_gpt

LIMIT = 5.0  # seconds
REFUSALS = (ValueError, TypeError, OSError)
ODD: list[Any] = [None, True, 0, -1, 1.0, 2.5, 1e308, float("nan"), float("inf"), 2**63, 10**30]
ODD += [10**4000, "", "2", "x" * 10**6, "\ud800", "\x1b[31m", "../../etc/passwd", "\x00"]
ODD += [[], {}, [[]], [None], ["a", 1], {"a": {}}, {"": None}, [0.5] * 9]
NESTED = ["[" * 200_000, '{"a":' * 200_000, "a: [" * 30_000, "a = [" + "[" * 30_000, "- " * 30_000]


class Reader(NamedTuple):
    """Something that reads files.

    Attributes:
        write: Writes good files into an empty folder.
        read: Reads them.
        mend: Makes digests right again after a change, so that it is not them that refuse.
    """

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    mend: Callable[[Path], Any] = lambda folder: None


def command(*words: object) -> None:
    """The command; what it refuses in one line becomes a ValueError again."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:
            raise AssertionError(f"the command ended by itself: {said.getvalue()}") from end
    if status:
        lines = said.getvalue().strip().splitlines()
        assert status == 2, lines
        assert lines[-1].startswith("mini-gpt: "), lines
        raise ValueError(lines[-1])


def bpe() -> BPETokenizer:
    return BPETokenizer.train("to be or not to be " * 9, 262)


def added() -> BPETokenizer:
    """With special tokens first and in the middle, and ordinary text that is one token."""
    special, text = {"<end>": 1, "<pad>": 0, "<user>": 100}, {"or not": 264, "b": None}
    tokens = BPETokenizer.train("to be or not to be " * 9, 261, special_tokens=()).tokens
    return BPETokenizer(tokens, special_tokens=special, added_tokens=text)


def write_state_folder(folder: Path) -> None:
    memory = {0: {"exp_avg": torch.arange(6.0), "step": torch.tensor(3.0)}}
    state = {"steps_done": 3, "optimizers": [{"state": memory}], "names": ("a", None, 0.5)}
    write_state(folder, state)


def write_run(folder: Path) -> None:
    train(small(), TRAINING, VALIDATION, LETTERS, QUICK, out=folder / "run")


def go_on(folder: Path) -> None:
    longer = replace(QUICK, steps=8)
    train(small(), TRAINING, VALIDATION, LETTERS, longer, out=folder / "run", resume=True)


def mend_states(folder: Path) -> None:
    for path in folder.rglob("state.json"):
        with contextlib.suppress(Exception):
            content = json.loads(path.read_text(encoding="utf-8"))
            content["sha256"]["state"] = text_digest(json.dumps(content["state"]))
            path.write_text(json.dumps(content), encoding="utf-8")


def forget_digests(folder: Path) -> None:
    """A model whose configuration promises nothing, as an older or another program's."""
    for path in folder.rglob("config.json"):
        with contextlib.suppress(Exception):
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("sha256", None)
            path.write_text(json.dumps(content), encoding="utf-8")


def write_metrics(folder: Path) -> None:
    entries = [
        {"step": step, "training_loss": 3.0 / step, "validation_loss": 3.1 / step}
        | {"learning_rate": 0.1, "tokens_per_second": 99.5, "skipped_steps": 0}
        for step in (1, 2, 3)
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in [*entries, {"final": True}])
    (folder / "metrics.jsonl").write_text(text)


SETTINGS = {
    "corpus": "shakespeare",
    "keep_checkpoints": 3,
    "timeout": 1.5,
    "model": {"layers": 2, "heads": 2, "width": 8, "dropout": 0.5},
    "training": {"steps": 9, "learning_rate": 0.1, "optimizer": "muon", "compile": False},
}
TOML = """corpus = "shakespeare"
keep_checkpoints = 3
timeout = 1.5
[model]
layers = 2
dropout = 0.5
[training]
steps = 9
learning_rate = 1e-1
optimizer = "muon"
compile = false
"""
YAML = """corpus: shakespeare
keep_checkpoints: 3
model: {layers: 2, dropout: 0.5}
training:
  steps: 9
  learning_rate: 1e-1
  optimizer: muon
  compile: false
"""


def read_settings_file(name: str) -> Callable[[Path], Any]:
    return lambda folder: default_train(["--config", str(folder / name)])


def write_prompt(folder: Path) -> None:
    save_pretrained(tiny_gpt(vocab_size=LETTERS.vocab_size), LETTERS, folder / "model")
    (folder / "prompt.txt").write_text("the fox", encoding="utf-8")


SAMPLE = ["--max-new-tokens", "3", "--past-context", "slide", "--device", "cpu"]


def write_model(folder: Path) -> None:
    save_pretrained(build(), TOKENIZER, folder)


def write_huggingface_folder(folder: Path) -> None:
    tokenizer = gpt2_like_tokenizer()
    to_huggingface(build(vocab_size=tokenizer.vocab_size), tokenizer, folder)


def write_gpt2_folder(folder: Path) -> None:
    write_huggingface_folder(folder)
    (folder / "tokenizer.json").unlink()
    write_two_files(gpt2_like_tokenizer(), folder)


READERS = {
    "characters": Reader(
        lambda folder: LETTERS.save(folder / "t.json"),
        lambda folder: load_tokenizer(folder / "t.json"),
    ),
    "bpe": Reader(
        lambda folder: bpe().save(folder / "t.json"),
        lambda folder: load_tokenizer(folder / "t.json"),
    ),
    "bpe with ids of its own": Reader(
        lambda folder: added().save(folder / "t.json"),
        lambda folder: load_tokenizer(folder / "t.json"),
    ),
    "tokenizer.json with added tokens": Reader(
        lambda folder: write_huggingface_tokenizer(added(), folder),
        read_huggingface_tokenizer,
    ),
    "vocab.json and merges.txt": Reader(
        lambda folder: write_two_files(gpt2_like_tokenizer(), folder),
        lambda folder: BPETokenizer.gpt2(folder / "vocab.json", folder / "merges.txt"),
    ),
    "our model": Reader(write_model, from_pretrained, forget_digests),
    "our model with digests": Reader(write_model, from_pretrained),
    "Hugging Face's model": Reader(write_huggingface_folder, from_pretrained),
    "GPT-2's files": Reader(write_gpt2_folder, from_pretrained),
    "weights alone": Reader(write_huggingface_folder, from_huggingface),
    "state": Reader(write_state_folder, read_state, mend_states),
    "run": Reader(write_run, go_on, mend_states),
    "token file": Reader(
        lambda folder: write_token_file(folder / "a.tokens", ["the fox. " * 30], LETTERS),
        lambda folder: open_token_file(folder / "a.tokens", LETTERS),
    ),
    "TOML": Reader(
        lambda folder: (folder / "a.toml").write_text(TOML), read_settings_file("a.toml")
    ),
    "YAML": Reader(
        lambda folder: (folder / "a.yaml").write_text(YAML), read_settings_file("a.yaml")
    ),
    "JSON": Reader(
        lambda folder: (folder / "a.yaml").write_text(json.dumps(SETTINGS)),
        read_settings_file("a.yaml"),
    ),
    "metrics": Reader(
        write_metrics, lambda folder: command("plot", folder, "--out", folder / "losses.png")
    ),
    "prompt": Reader(
        write_prompt,
        lambda folder: command(
            "sample", folder / "model", "--prompt-file", folder / "prompt.txt", *SAMPLE
        ),
        forget_digests,
    ),
    "corpus": Reader(
        lambda folder: (folder / "a.txt").write_text("to be<|endoftext|>or not\n"), load_documents
    ),
}


# What is done to them.


def places(value: Any) -> list[tuple[Any, ...]]:
    """The paths to all values in nested lists and dictionaries; at most some of each list."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:4]
    else:
        return [()]
    return [(), *((key, *rest) for key, inner in items for rest in places(inner))]


def change_json(content: Any, data: st.DataObject) -> Any:
    """One value replaced by an odd one, left out, or put under another name."""
    content = copy.deepcopy(content)
    *way, last = data.draw(st.sampled_from([path for path in places(content) if path] or [(0,)]))
    inner = content
    for key in way:
        inner = inner[key]
    act = data.draw(st.sampled_from(["odd", "odd", "odd", "lost", "renamed"]))
    if not isinstance(inner, dict | list) or not inner:
        return data.draw(st.sampled_from(ODD))
    if act == "odd":
        inner[last] = data.draw(st.sampled_from(ODD), "value")
    elif act == "lost" or isinstance(inner, list):
        del inner[last]
    else:
        inner[f"{last}x"] = inner.pop(last)
    return content


def dumped(content: Any) -> bytes:
    return json.dumps(content).encode()


def change_structure(path: Path, good: bytes, data: st.DataObject) -> bytes:
    """A value changed in a file of JSON, of lines of JSON, or in the header of safetensors."""
    if path.suffix == ".safetensors":
        (size,) = struct.unpack("<Q", good[:8])
        header = dumped(change_json(json.loads(good[8 : 8 + size]), data))
        return struct.pack("<Q", len(header)) + header + good[8 + size :]
    if path.suffix == ".jsonl":
        lines = good.splitlines()
        number = data.draw(st.integers(0, len(lines) - 1), "line")
        lines[number] = dumped(change_json(json.loads(lines[number]), data))
        return b"\n".join([*lines, b""])
    try:
        content = json.loads(good)
    except ValueError:
        words = good.split()  # of another format: a word becomes another one
        word = data.draw(st.sampled_from(words or [b""]), "word")
        other = data.draw(st.sampled_from(ODD), "value")
        return good.replace(word, dumped(other), 1)
    return dumped(change_json(content, data))


def spoil(path: Path, data: st.DataObject) -> None:
    """Do something to a file that a disk, a user or a stranger might."""
    good = path.read_bytes()
    size = len(good)
    place = data.draw(st.integers(0, max(0, size - 1)), "place")
    act = data.draw(
        st.sampled_from(
            ["structure"] * 5 + ["flip"] * 3 + ["cut", "zero", "nest", "noise", "gone", "folder"]
        ),
        "act",
    )
    if act in ("gone", "folder"):
        path.unlink()
        if act == "folder":
            path.mkdir()
        return
    bad = bytearray(good)
    if act == "structure":
        bad = bytearray(change_structure(path, good, data))
    elif act == "flip" and size:
        for _ in range(data.draw(st.integers(1, 3), "bits")):
            where = data.draw(st.integers(0, size - 1))
            bad[where] ^= 1 << data.draw(st.integers(0, 7))
    elif act == "cut":
        bad = bad[:place]
    elif act == "zero":
        length = min(data.draw(st.integers(1, 400), "length"), size - place)
        bad[place : place + length] = bytes(length)
    elif act == "nest":
        deep = data.draw(st.sampled_from(NESTED)).encode()
        bad = bytearray(deep) if data.draw(st.booleans(), "alone") else bad[:place] + deep
    elif act == "noise":
        bad = bytearray(data.draw(st.binary(max_size=200), "noise"))
    path.write_bytes(bad)


def attack(name: str, examples: int, *, names_the_file: bool) -> None:
    """Spoil the files of a reader again and again.

    Raises:
        AssertionError: if anything but a result or a clear refusal came of it, or not soon.
    """
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as place:
        good = Path(place) / "good"
        good.mkdir()
        reader.write(good)
        reader.read(good)  # also what is loaded once, and takes its time
        files = sorted(
            path.relative_to(good)
            for path in good.rglob("*")
            if path.is_file() and path.suffix not in (".png", ".v2")
        )

        @settings(
            deadline=None,
            max_examples=examples,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def once(data: st.DataObject) -> None:
            folder = Path(tempfile.mkdtemp(dir=place)) / "it"
            shutil.copytree(good, folder)
            try:
                file = data.draw(st.sampled_from(files), "file")
                spoil(folder / file, data)
                reader.mend(folder)
                check(reader, folder, file, names_the_file)
            finally:
                shutil.rmtree(folder.parent)

        once()


def check(reader: Reader, folder: Path, file: Path, names_the_file: bool) -> None:
    """Read a folder in which one file is spoiled."""
    start, message = time.monotonic(), None
    try:
        reader.read(folder)
    except HypothesisException:
        raise
    except REFUSALS as fault:
        message = str(fault)
    except Exception as fault:
        raise AssertionError(f"{type(fault).__name__} is no refusal: {fault}") from fault
    taken = time.monotonic() - start
    assert taken < LIMIT, f"it took {taken:.1f} s"
    if message is None or not names_the_file:
        return
    assert str(folder) in message or file.name in message, f"names no file: {message}"
    assert len(message) < 3000, f"{len(message)} letters: {message[:300]}"
    assert "\x1b" not in message
    assert "Traceback" not in message


if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]), names_the_file=True)
