"""`mini-gpt train` on prepared tokens, and on a text that it has encoded before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mini_gpt import BPETokenizer, CharTokenizer, bits_per_byte, evaluate, from_pretrained
from mini_gpt.commands.cli import main
from mini_gpt.support.documents import split_documents
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_manifest import MANIFEST, UNFINISHED
from mini_gpt.trainer import Trainer
from token_folders import write_folder
from training_command import SHAPE, SHORT, SMALL, TEXT, complaint, metrics, quick_run

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--validation-tokens", "50", "--sample-tokens", "0"]
DOCUMENTS = [TEXT, TEXT[::-1], TEXT.upper(), TEXT[5:] * 2]
BPE = BPETokenizer.train(TEXT, 280)
LETTERS = CharTokenizer.train("\n\n".join(DOCUMENTS))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    split = split_documents(DOCUMENTS)
    write_folder(tmp_path / "tokens", LETTERS, split.training, split.validation)
    return tmp_path / "tokens"


@pytest.fixture
def learned(tmp_path: Path) -> Path:
    write_folder(tmp_path / "learned", BPE, DOCUMENTS[:2], DOCUMENTS[2:])
    return tmp_path / "learned"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return from_pretrained(run / "checkpoint")[0].state_dict()


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


class TestPrepared:
    @pytest.mark.slow
    def test_gives_the_model_of_the_text(
        self, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """To the last bit, in the best loss, in bits per byte."""
        text = tmp_path / "texts"
        text.mkdir()
        for number, document in enumerate(DOCUMENTS):
            (text / f"{number}.txt").write_text(document, encoding="utf-8")
        runs = [tmp_path / "by-text", tmp_path / "by-tokens"]
        for run, corpus in zip(runs, (text, prepared), strict=True):
            quick_run(corpus, run, "--sample-tokens", "0")
        said = capsys.readouterr().out
        assert same(*runs)
        ends = [metrics(run)[-1] for run in runs]
        for name in ("validation_loss", "bits_per_byte"):
            assert ends[0][name] == ends[1][name]
        assert f"corpus {prepared}: " in said
        assert "documents: 7 to train on, 7 to validate on" in said

    @pytest.mark.slow
    def test_what_prepare_writes_gives_the_model_of_the_text(self, tmp_path: Path) -> None:
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("<|endoftext|>".join(DOCUMENTS), encoding="utf-8")
        words = ["prepare", str(corpus), "--tokenizer", "characters", "--processes", "1"]
        words += ["--validation-fraction", "0.1", "--shard-megabytes", "0.001"]
        assert main([*words, "--out", str(tmp_path / "tokens")]) == 0
        assert len([*(tmp_path / "tokens").glob("train-*.tokens")]) > 2
        options = ["--order", "epochs", "--sample-tokens", "0"]
        by_text = quick_run(corpus, tmp_path / "by-text", *options)
        by_tokens = quick_run(tmp_path / "tokens", tmp_path / "by-tokens", *options)
        assert same(by_text, by_tokens)
        ends = [metrics(run)[-1] for run in (by_text, by_tokens)]
        for name in ("validation_loss", "bits_per_byte"):
            assert ends[0][name] == ends[1][name]

    @pytest.mark.slow
    @pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
    def test_two_processes_have_the_losses_of_one(self, learned: Path, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        words = ["train", "--corpus", str(learned), *SHAPE, *SHORT, *QUICK, "--batch-size", "6"]
        words += ["--optimizer", "adamw", "--learning-rate", "0.01", "--order", "epochs"]
        assert main([*words, "--out", str(one)]) == 0
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        done = subprocess.run(
            [sys.executable, *torchrun, "-m", "mini_gpt", *words, "--out", str(two)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f"corpus {learned}: ") == 1
        for first, second in zip(metrics(one), metrics(two), strict=True):
            for name in ("training_loss", "validation_loss"):
                assert first[name] == pytest.approx(second[name], abs=1e-5)

    @pytest.mark.slow
    def test_needs_no_tokenizer_and_keeps_its_own(self, learned: Path, tmp_path: Path) -> None:
        run = quick_run(learned, tmp_path / "run", *QUICK)
        model, tokenizer = from_pretrained(run / "checkpoint")
        assert tokenizer.to_dict() == BPE.to_dict()
        assert model.config.vocab_size == BPE.vocab_size
        settings = read_settings(run / "settings.toml")
        assert settings["tokenizer"] == "bpe"
        assert settings["corpus"] == str(learned)

    @pytest.mark.slow
    def test_a_run_goes_on_wherever_the_folder_lies(
        self, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped after four steps of six and gone on with: as if never stopped."""
        whole, paused = (tmp_path / name for name in ("whole", "paused"))
        quick_run(prepared, whole, "--order", "epochs", *QUICK)
        before = Trainer.step

        def step(trainer: Trainer) -> torch.Tensor:
            if trainer.steps_done == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return before(trainer)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step", step)
            options = ["--order", "epochs", *SMALL, *SHORT, *QUICK]
            train = ["train", "--corpus", str(prepared), "--out", str(paused)]
            assert main([*train, *options]) == 130
        moved = prepared.rename(tmp_path / "moved")
        assert main(["train", "--resume", str(paused), "--corpus", str(moved)]) == 0
        assert same(whole, paused)

    @pytest.mark.slow
    def test_another_corpus_is_no_way_to_go_on(
        self, prepared: Path, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = quick_run(prepared, tmp_path / "run", *QUICK)
        before = (run / "settings.toml").read_text()
        options = ["--corpus", str(learned), "--tokenizer", "bpe"]
        said = complaint(["train", "--resume", str(run), *options], capsys)
        assert "is no longer the text that" in said
        assert (run / "settings.toml").read_text() == before

    @pytest.mark.slow
    def test_validation_can_be_bounded(
        self, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = quick_run(learned, tmp_path / "run", *QUICK)
        said = capsys.readouterr().out
        assert "loss on the first 50 tokens of the validation split: " in said
        model, _ = from_pretrained(run / "checkpoint")
        row = np.array([*BPE.encode(DOCUMENTS[2]), BPE.end_of_text])[:51]
        loss = evaluate(model, row, context_length=7)
        final = metrics(run)[-1]
        assert final["validation_loss"] == pytest.approx(loss, rel=1e-5)
        bits = bits_per_byte(loss, 50, count_text_bytes(BPE, row[1:]))
        assert final["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
        assert read_settings(run / "settings.toml")["validation_tokens"] == 50

    def test_what_is_wrong_with_it_is_named_before_anything_is_written(
        self, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "run"
        train = ["train", "--corpus", str(prepared), "--out", str(out)]
        said = complaint([*train, "--tokenizer", "bpe"], capsys)
        assert "of another tokenizer (characters" in said
        assert "leave --tokenizer out" in said
        assert "at least 1" in complaint([*train, "--validation-tokens", "0"], capsys)
        shard = prepared / "training-00001.tokens"
        content = shard.read_bytes()
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 8]))
        assert f"{shard} is damaged" in complaint(train, capsys)
        shard.unlink()
        assert f"{shard} is missing" in complaint(train, capsys)
        (prepared / MANIFEST).unlink()
        (prepared / UNFINISHED).mkdir()
        assert "tokens is not prepared to its end" in complaint(train, capsys)
        assert not out.exists()

    @pytest.mark.slow
    def test_a_model_of_another_tokenizer_is_refused(
        self,
        prepared: Path,
        learned: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run = quick_run(learned, tmp_path / "run", *QUICK)
        options = ["--initialize-from", str(run), "--out", str(tmp_path / "other")]
        for corpus in (prepared, self.of_others(tmp_path)):
            said = complaint(["train", "--corpus", str(corpus), *options], capsys)
            assert f"{corpus} was prepared with another tokenizer" in said
            assert f"than that of {run}" in said
            assert f"prepare the text again with --tokenizer {run}" in said
        assert not (tmp_path / "other").exists()
        assert main(["train", "--corpus", str(learned), "--steps", "1", *options, *QUICK]) == 0

    def of_others(self, tmp_path: Path) -> Path:
        others = BPETokenizer.train(TEXT[::-1], 280)
        write_folder(tmp_path / "others", others, DOCUMENTS[:2], DOCUMENTS[2:])
        return tmp_path / "others"


class TestEncodedBefore:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["characters", "bpe"])
    def test_a_second_start_and_a_resume_encode_nothing(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "cache"))
        calls: list[str] = []

        def counted(owner: type[Any], name: str) -> None:
            before = getattr(owner, name)

            def call(first: Any, *others: Any, **named: Any) -> Any:
                if len(others[0] if name == "encode" else first) > 10:  # no line break
                    calls.append(name)
                return before(first, *others, **named)

            function = call if name == "encode" else staticmethod(call)
            monkeypatch.setattr(owner, name, function)

        for owner in (CharTokenizer, BPETokenizer):
            counted(owner, "encode")
            counted(owner, "train")
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("<|endoftext|>".join(DOCUMENTS * 20), encoding="utf-8")
        options = [*QUICK, "--tokenizer", kind, *["--vocab-size", "280"] * (kind == "bpe")]
        first = quick_run(corpus, tmp_path / "first", *options)
        assert calls.count("encode") == 80
        assert calls.count("train") == 1
        calls.clear()
        second = quick_run(corpus, tmp_path / "second", *options)
        assert main(["train", "--resume", str(first), "--steps", "8"]) == 0
        assert calls == []
        shutil.rmtree(tmp_path / "cache")
        third = quick_run(corpus, tmp_path / "third", *options)
        assert calls.count("encode") == 80
        assert same(second, third)
