"""`mini-gpt chat`: it keeps to the template, answers each line, and refuses in words."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from test_sample_command import complaint
from torch import nn

from mini_gpt import from_pretrained, save_pretrained
from mini_gpt.commands.cli import main
from mini_gpt.finetuning import LoRALinear, add_lora
from mini_gpt.support.adapter_file import save_adapter
from mini_gpt.support.instructions import answers, chat_model
from mini_gpt.tokenizer import BPETokenizer
from tiny import tiny_gpt


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """What `mini-gpt finetune` leaves: a base model, an adapter for it, a merged model."""
    tokenizer = BPETokenizer([bytes([byte]) for byte in range(256)])
    base = tiny_gpt(vocab_size=tokenizer.vocab_size, context_length=60, position="rotary")
    save_pretrained(base, tokenizer, tmp_path / "base")
    base, _ = from_pretrained(tmp_path / "base")
    model, grown = chat_model(base, tokenizer)
    add_lora(model, rank=2)
    for part in model.modules():
        if isinstance(part, LoRALinear):
            nn.init.normal_(part.up, std=0.5)
    (tmp_path / "chat").mkdir()
    adapter = tmp_path / "chat" / "adapter.safetensors"
    save_adapter(model, base, adapter, base_name=str(tmp_path / "base"))
    torch.save(answers(model.eval(), grown, ["sort: b a", "say x"]), tmp_path / "said.pt")
    return tmp_path


def typed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


class TestChat:
    @pytest.mark.parametrize("name", ["chat", "chat/adapter.safetensors"])
    def test_answers_each_line_as_the_template_says(
        self,
        taught: Path,
        name: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        typed("sort: b a\n\n  say x \n", monkeypatch)
        words = ["chat", str(taught / name), "--max-new-tokens", "40", "--device", "cpu"]
        assert main(words) == 0
        expected = torch.load(taught / "said.pt", weights_only=True)
        found = capsys.readouterr().out
        assert [part.strip() for part in expected if part] != []
        assert found.replace(" ", "") == "".join(f"{x}\n" for x in expected).replace(" ", "")

    def test_a_line_that_is_too_long_is_refused_and_the_next_one_answered(
        self, taught: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        typed("a" * 70 + "\nsay x\n", monkeypatch)
        assert main(["chat", str(taught / "chat"), "--device", "cpu"]) == 0
        captured = capsys.readouterr()
        assert "does not fit the context of 60" in captured.err
        assert captured.out

    def test_bad_input_ends_with_one_line(
        self, taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = complaint(["chat", str(tmp_path / "none")], capsys)
        assert "make one with: mini-gpt finetune" in said
        said = complaint(["chat", str(taught / "base")], capsys)
        assert "was not taught to answer: its tokenizer has no <|assistant|>, <|user|>" in said
        model, _ = from_pretrained(taught / "base")
        with torch.no_grad():
            model.decoder.final_norm.weight += 1
        tokenizer = BPETokenizer([bytes([byte]) for byte in range(256)])
        save_pretrained(model, tokenizer, taught / "base")
        said = complaint(["chat", str(taught / "chat")], capsys)
        assert "as they were then" in said
