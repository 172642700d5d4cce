"""What llama.cpp's converter looks for in our Hugging Face folders, and what we say of it.

The converter itself is not run here: it is no package of its authors. These are the names that it
reads, and the table of weights' names in `gguf`, which it takes them by.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import to_huggingface
from mini_gpt.model import GPT
from mini_gpt.support.export_gguf import GPT2_TOKENS, gguf_obstacles, tokens_digest
from mini_gpt.support.gpt2_vocabulary import read_gpt2_vocabulary
from mini_gpt.tokenizer import BPETokenizer
from texts import learn

SHAPE = GPTConfig(context_length=16, layers=2, heads=2, width=8, pad_vocab_to_multiple=64)


@pytest.fixture(scope="module")
def gpt2() -> BPETokenizer:
    return BPETokenizer.gpt2()


@pytest.fixture(scope="module")
def folder(gpt2: BPETokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gguf") / "model"
    to_huggingface(GPT(SHAPE), gpt2, out)
    return out


def test_the_digest_is_of_gpt2s_vocabulary() -> None:
    assert tokens_digest(read_gpt2_vocabulary()) == GPT2_TOKENS
    assert tokens_digest([b"ab", b"c"]) != tokens_digest([b"a", b"bc"])


def test_a_model_of_gpt2s_kind_has_no_obstacle(gpt2: BPETokenizer) -> None:
    assert gguf_obstacles(SHAPE, gpt2) == []


def test_each_obstacle_is_named(gpt2: BPETokenizer) -> None:
    other = GPTConfig(width=12, heads=2, hidden_width=20, activation="gelu")
    two = gguf_obstacles(other, gpt2)
    assert len(two) == 2
    assert "hidden_width is 20, and is taken there for 48" in two[0]
    assert "activation is gelu" in two[1]
    own = BPETokenizer(learn("the owl sang to the other owl " * 9, 262))
    for tokenizer in (CharTokenizer("abc"), own, BPETokenizer(gpt2.tokens, pattern=r"\S+|\s+")):
        (one,) = gguf_obstacles(SHAPE, tokenizer)
        assert one.startswith("its tokenizer is not GPT-2's")


@pytest.mark.slow
def test_the_converter_finds_what_it_reads(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert content["architectures"] == ["GPT2LMHeadModel"]
    wanted = {"n_ctx": 16, "n_embd": 8, "n_head": 2, "n_layer": 2, "layer_norm_epsilon": 1e-5}
    assert {name: content[name] for name in wanted} == wanted
    assert content["vocab_size"] == 50_257, "its list of tokens is as long"
    assert content["eos_token_id"] == 50_256


@pytest.mark.slow
def test_weights_have_the_names_that_gguf_knows(folder: Path) -> None:
    gguf = pytest.importorskip("gguf")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, SHAPE.layers)
    with safe_open(folder / "model.safetensors", "pt") as file:
        found = [names.get_name(key, (".weight", ".bias")) for key in file.keys()]  # noqa: SIM118
    assert None not in found
    assert len(set(found)) == len(found) == 4 + 12 * SHAPE.layers


@pytest.mark.slow
def test_a_text_has_gpt2s_ids(folder: Path, gpt2: BPETokenizer) -> None:
    """The converter knows a tokenizer by the ids of a text with spaces, digits and emoji."""
    from tokenizers import Tokenizer

    text = "\n \n\n \t\t  3 33 333 I've 'TOLD you; 🦉🦉 \u200d ნაწილი  ......!!! 我想 ''''''"
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert theirs.encode(text).ids == gpt2.encode(text)
