"""`mini-gpt export`: what other programs make of a model, with no mini_gpt to help them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.cli import main
from mini_gpt.generation import generate
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from shapes import without_shape_checks
from tiny import tiny_gpt

PAGE = (Path(__file__).resolve().parents[2] / "book" / "larger.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PROMPT = "badge"


@pytest.fixture(scope="module", autouse=True)
def symbols_for_sizes() -> Iterator[None]:
    with without_shape_checks():
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    gpt = tiny_gpt(context_length=24, position="rotary", heads=2, pad_vocab_to_multiple=8)
    for weight in gpt.parameters():
        weight.data *= 5  # else it repeats a letter
    save_pretrained(gpt, CharTokenizer("abcdefghijklmnopq"), folder)
    return folder


def shapes_of(path: Path) -> dict[str, list[int | str]]:
    """The sizes of what an ONNX program takes; those that may vary by their names."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return {given.name: given.shape for given in session.get_inputs()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_the_pages_script_writes_what_the_package_writes(
    kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a process in which mini_gpt cannot be imported; nor torch, for ONNX."""
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    out = tmp_path / "served" / kind
    out.parent.mkdir()
    assert main(["export", str(model), str(out), "--to", kind]) == 0
    said = capsys.readouterr()
    assert "both programs were read again, and give the model's logits" in said.out
    assert said.err == ""
    if kind == "onnx":
        named = {"ids": ["batch", 1], "keys": [2, "batch", 2, "past", 6]}
        assert shapes_of(out / "step.onnx") == {**named, "values": named["keys"]}
        assert shapes_of(out / "prefill.onnx") == {"ids": ["batch", "time"]}
        names = {"export.json", "tokenizer.json", "tokenizer_config.json", "weights.data"}
        assert {path.name for path in out.iterdir()} == names | {"prefill.onnx", "step.onnx"}
    (script,) = [text for text in SCRIPTS if f"served/{kind}" in text]
    script = script.replace(r'"ROMEO.\n"', repr(PROMPT))
    assert PROMPT in script
    absent = ["mini_gpt"] + ["torch"] * (kind == "onnx")
    head = f"import sys\nfor name in {absent}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", head + script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    gpt, tokenizer = from_pretrained(model)
    greedy = SampleConfig(max_new_tokens=60, temperature=0.0)
    (expected,) = generate(gpt, tokenizer, [PROMPT], greedy)
    # The package writes the token after a full context too; the script ends before it.
    written = (PROMPT + expected.text)[:24]
    assert len(set(written)) > 3
    assert done.stdout == f"{written}\n"


@pytest.mark.slow
def test_for_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    folder, out = tmp_path / "model", tmp_path / "out"
    gpt = tiny_gpt().eval()
    save_pretrained(gpt, CharTokenizer("abcdefghijklmnopq"), folder)
    assert main(["export", str(folder), str(out)]) == 0
    said = capsys.readouterr().out
    assert f'AutoModelForCausalLM.from_pretrained("{out}")' in said.replace("\\\\", "\\")
    assert "llama.cpp has no GGUF for it: its tokenizer is not GPT-2's" in said
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(out)
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, gpt(ids), atol=1e-5, rtol=1e-5)


def test_bad_input_writes_nothing(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    out = tmp_path / "out"
    for words, complaint in (
        (["nowhere/at/all", out], "there is no folder"),
        ([model, full, "--to", "torch"], "notes.txt"),
        ([model, out], "position is 'rotary'"),
        ([model, out, "--to", "onnx"], "pip install 'mini-gpt[onnx]'"),
    ):
        assert main(["export", *map(str, words)]) == 2
        message = capsys.readouterr().err
        assert complaint in message
        assert message.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [full]
    assert [path.name for path in full.iterdir()] == ["notes.txt"]


def test_the_next_command_is_said_for_gpt2s_tokenizer() -> None:
    from mini_gpt.commands.export import after_huggingface
    from mini_gpt.config import GPTConfig
    from mini_gpt.tokenizer import BPETokenizer

    said = after_huggingface(Path("a b"), GPTConfig(), BPETokenizer.gpt2())
    assert 'python convert_hf_to_gguf.py "a b" --outfile "a b.gguf"' in said
