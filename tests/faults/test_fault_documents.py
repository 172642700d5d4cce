"""Documents: the end of one is a token, never text; parts, attention and samples keep to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mini_gpt import (
    BPETokenizer,
    CharTokenizer,
    SampleConfig,
    TrainConfig,
    evaluate,
    from_pretrained,
    generate,
    load_corpus,
    load_documents,
    save_pretrained,
    train,
    train_val_split,
)
from mini_gpt.commands.cli import main
from mini_gpt.data import document_mask
from mini_gpt.generation import generate_stream
from mini_gpt.speculative import speculative_generate
from mini_gpt.support.documents import encode_row, encode_split, split_documents
from mini_gpt.support.prompts import encode_prompt
from mini_gpt.support.settings_file import read_settings
from mini_gpt.tokenizer import END_OF_TEXT
from mini_gpt.trainer import Stepper, Trainer
from tiny import tiny_gpt
from training_command import SHORT, SMALL, complaint
from writing import lively_model

STORIES = [f"Tale {number}: the fox ran, and the hen ran after it.\n" for number in range(30)]
BPE = ["--tokenizer", "bpe", "--vocab-size", "280"]
WORDS = BPETokenizer.train("\n\n".join(STORIES), 280)
LETTERS = CharTokenizer.train("".join(STORIES))


@pytest.fixture(params=["markers in a file", "files in a folder"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Thirty documents, in one of the two forms."""
    path = tmp_path / "corpus"
    if request.param == "markers in a file":
        path.write_text(f"\n{END_OF_TEXT}\n".join(STORIES) + END_OF_TEXT, encoding="utf-8")
        return path
    path.mkdir()
    for number, story in enumerate(STORIES):
        (path / f"{number:02}.txt").write_text(story, encoding="utf-8")
    return path


def trained(corpus: Path, out: Path, *options: str) -> Path:
    """A run of a few steps."""
    words = ["train", "--corpus", str(corpus), "--out", str(out), *SMALL, *SHORT, *options]
    assert main(words) == 0
    return out


# The marker was learned as text, and a sample never stopped.


def test_the_marker_was_learned_as_text(corpus: Path, tmp_path: Path) -> None:
    model, tokenizer = from_pretrained(trained(corpus, tmp_path / "run", *BPE) / "checkpoint")
    assert isinstance(tokenizer, BPETokenizer)
    assert tokenizer.special_tokens == (END_OF_TEXT,)
    assert tokenizer.vocab_size == model.config.vocab_size == 280
    assert not any(b"<|" in token or b"|>" in token for token in tokenizer.tokens)
    assert all(b"endof" not in token for token in tokenizer.tokens)


@pytest.mark.slow
def test_a_sample_never_stopped_at_the_end_of_a_document(corpus: Path, tmp_path: Path) -> None:
    options = ["--steps", "150", "--context-length", "40", "--eval-every", "150"]
    options += ["--learning-rate", "0.02", "--width", "24"]
    out = trained(corpus, tmp_path / "run", *BPE, *options)
    model, tokenizer = from_pretrained(out / "checkpoint")
    config = SampleConfig(max_new_tokens=200, temperature=0.0, past_context="slide")
    (written,) = generate(model, tokenizer, [""], config)
    assert written.finish_reason == "end of text"
    assert written.text.startswith("Tale ")
    assert END_OF_TEXT not in written.text


def test_markers_in_a_file_part_its_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{END_OF_TEXT}\none\n{END_OF_TEXT}\n\n two {END_OF_TEXT}{END_OF_TEXT}\n")
    assert load_documents(path) == ["one", " two "]
    assert load_corpus(path) == "one\n\n two "
    path.write_text("\none\n")
    assert load_documents(path) == ["\none\n"]  # no marker: not a letter is lost
    path.write_text(END_OF_TEXT)
    with pytest.raises(ValueError, match="holds no text"):
        load_documents(path)


@pytest.mark.slow
def test_characters_have_no_end_and_an_empty_line_stands_between(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, tokenizer = from_pretrained(trained(corpus, tmp_path / "run") / "checkpoint")
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.end_of_text is None
    assert not set("<|>") & set(tokenizer.alphabet)
    assert "documents: 27 to train on, 3 to validate on" in capsys.readouterr().out
    assert LETTERS.decode(encode_row(["a", "n"], LETTERS)) == "a\n\nn"


@pytest.mark.slow
def test_a_single_document_has_no_end_to_learn(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(STORIES), encoding="utf-8")
    _, tokenizer = from_pretrained(trained(path, tmp_path / "run", *BPE) / "checkpoint")
    assert tokenizer.end_of_text is None


@pytest.mark.slow
def test_a_corpus_whose_documents_are_divided_otherwise_is_another_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(STORIES), encoding="utf-8")
    out = trained(path, tmp_path / "run")
    path.write_text(END_OF_TEXT.join(STORIES), encoding="utf-8")
    assert "no longer the text" in complaint(["train", "--resume", str(out)], capsys)


# The parts: a document is in one of them.


def test_a_split_cut_a_document_in_two() -> None:
    training, validation, inside = split_documents(["a" * 30, "b" * 55, "c" * 17])
    assert (training, validation, inside) == (["a" * 30, "b" * 55], ["c" * 17], False)
    ids = encode_row(["fox", "hen"], WORDS)
    assert ids.dtype == np.uint16
    assert ids.tolist().count(WORDS.end_of_text or 0) == 2
    assert ids[-1] == WORDS.end_of_text


def test_shakespeare_was_cut_inside_a_play() -> None:
    works = load_documents("shakespeare")
    split = split_documents(works)
    assert [*split.training, *split.validation] == works
    assert (len(split.training), len(split.validation), split.inside) == (38, 4, False)
    share = sum(map(len, split.validation)) / sum(map(len, works))
    assert share == pytest.approx(0.1, abs=0.01)


def test_a_document_is_cut_where_the_parts_would_be_too_uneven() -> None:
    text = "".join(STORIES)
    split = split_documents([text])
    assert ([split.training, split.validation], split.inside) == (
        [[part] for part in train_val_split(text)],
        True,
    )
    for documents in (["a", text], [text, "a"], ["", text], [text, ""]):
        split = split_documents(documents)
        assert split.inside
        assert "".join([*split.training, *split.validation]) == "".join(documents)
        sizes = [sum(map(len, part)) for part in split[:2]]
        assert sizes[1] == pytest.approx(sum(sizes) / 10, rel=0.01)
        training, validation = encode_split(split, WORDS)
        end = WORDS.end_of_text
        assert training[-1] != end  # the document goes on
        assert validation[-1] == end
        assert (training == end).sum() + (validation == end).sum() == len(documents)


@given(st.lists(st.text("ab\n", max_size=40), min_size=1, max_size=12))
def test_a_split_loses_nothing(documents: list[str]) -> None:
    split = split_documents(documents)
    joined = "".join([*split.training, *split.validation])
    assert joined == "".join(documents)
    if not split.inside:
        assert [*split.training, *split.validation] == documents
        assert len("".join(split.training)) * 2 >= len(joined)
    rows = encode_split(split, WORDS)
    assert WORDS.decode(np.concatenate(rows)) == "".join(d + END_OF_TEXT for d in documents)


# Attention keeps to a document, if asked.


def test_the_end_may_open_the_next_document() -> None:
    ids = torch.tensor([[5, 9, 6, 7, 9]])
    mask = document_mask(ids, 9, opens_next=True)[0].int().tolist()
    assert mask == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],  # the end alone says that a document begins
        [0, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


CONFIG: dict[str, Any] = {"steps": 3, "batch_size": 4, "warmup_steps": 1, "device": "cpu"}


def test_a_document_looked_into_the_one_before() -> None:
    """The loss of a window of two documents is that of each alone; without the mask it is not."""
    end = WORDS.end_of_text
    assert end is not None
    rows = [WORDS.encode(story)[:9] for story in STORIES[:2]]
    ids = np.array([end, *rows[0], end, *rows[1], end])
    # Rotary positions: what a position sees depends on distances only.
    model = lively_model("rotary", 280, context_length=30)
    losses = [
        evaluate(model, np.array([end, *row, end]), context_length=30, batch_size=1) for row in rows
    ]
    apart = evaluate(model, ids, context_length=30, batch_size=1, end_of_text=end)
    together = evaluate(model, ids, context_length=30, batch_size=1)
    assert apart == pytest.approx(sum(losses) / 2, rel=1e-4)
    assert together != pytest.approx(sum(losses) / 2, rel=1e-3)
    config = TrainConfig(**CONFIG, separate_documents=True)
    trainer = Trainer(model, np.tile(ids, 3), ids, config, end)
    assert trainer.evaluate(ids) == pytest.approx(apart, rel=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_learns_from_documents_alone(parts: int) -> None:
    """The loss of a step is the mean over its windows, each with the mask of its documents."""
    ids = encode_row(STORIES[:8], WORDS)
    config = TrainConfig(**CONFIG, separate_documents=True, accumulation_steps=parts)
    stepper = Stepper(tiny_gpt(vocab_size=280), ids, config, WORDS.end_of_text)
    assert stepper.border == WORDS.end_of_text
    places = stepper.batches.starts(0)
    windows = torch.from_numpy(ids[places[:, None] + np.arange(9)].astype(np.int64))
    model = tiny_gpt(vocab_size=280)
    mask = document_mask(windows[:, :-1], WORDS.end_of_text or 0, opens_next=True)
    logits = model(windows[:, :-1], mask=mask)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert not mask[:, -1].all()  # one of the windows holds a border
    assert stepper.step().item() == pytest.approx(loss.item(), rel=1e-5)


def test_documents_without_an_end_cannot_be_kept_apart(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(**CONFIG, separate_documents=True)
    ids = encode_row(STORIES, LETTERS)
    model = tiny_gpt(vocab_size=LETTERS.vocab_size)
    with pytest.raises(ValueError, match=r"separate_documents needs a token .* --tokenizer bpe"):
        train(model, ids, ids[:90], LETTERS, config, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    words = ["train", "--corpus", str(corpus), "--out", str(tmp_path / "run"), *SMALL, *SHORT]
    line = complaint([*words, "--separate-documents"], capsys)
    assert "separate_documents needs a token that ends documents" in line
    out = trained(corpus, tmp_path / "other", *BPE, "--separate-documents")
    assert read_settings(out / "settings.toml")["training"]["separate_documents"] is True


# A prompt may hold special tokens, if allowed.


def test_a_prompt_could_not_hold_the_end_of_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end, prompt = WORDS.end_of_text, f"hen{END_OF_TEXT}Tale"
    typed = encode_prompt(WORDS, prompt)
    meant = encode_prompt(WORDS, prompt, SampleConfig(allow_special=True))
    assert end not in typed
    assert meant == [*WORDS.encode("hen"), end, *WORDS.encode("Tale")]
    assert WORDS.decode(typed) == WORDS.decode(meant) == prompt
    model = lively_model(vocab_size=280, context_length=40)
    found = []
    for allowed in (False, True):
        config = SampleConfig(12, temperature=0.0, allow_special=allowed)
        (written,) = generate(model, WORDS, [prompt], config)
        assert "".join(generate_stream(model, WORDS, prompt, config)) == written.text
        assert speculative_generate(model, model, WORDS, prompt, config).ids == written.ids
        found.append(written.text)
    assert found[0] != found[1]
    save_pretrained(model, WORDS, tmp_path / "model")
    words = ["sample", str(tmp_path / "model"), "--prompt", prompt, "--max-new-tokens", "12"]
    words += ["--temperature", "0", "--device", "cpu"]
    for options, text in zip(([], ["--allow-special"]), found, strict=True):
        assert main([*words, *options]) == 0
        assert capsys.readouterr().out == f"{prompt}{text}\n"


def test_a_tokenizer_without_special_tokens_reads_a_prompt_as_text() -> None:
    config = SampleConfig(allow_special=True)
    assert encode_prompt(LETTERS, "hen", config) == LETTERS.encode("hen")
    plain = BPETokenizer.train("the hen, the hen", 258, special_tokens=())
    assert encode_prompt(plain, END_OF_TEXT, config) == plain.encode(END_OF_TEXT)
