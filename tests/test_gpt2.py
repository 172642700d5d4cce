"""GPT-2's weights in our model, and our own checkpoints: equal logits, or one clear error."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import nbformat
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mini_gpt import checks, gpt2
from mini_gpt.files import cached_folder, local_folder
from mini_gpt.gpt2 import (
    CHECKPOINT_FILES,
    CONV1D_WEIGHTS,
    GPT2_NAMES,
    HUGGINGFACE_FILES,
    from_gpt2_names,
    from_huggingface,
    from_pretrained,
    gpt2_config,
    gpt2_names,
    gpt2_parameters,
    load_config,
    save_pretrained,
    to_huggingface,
)
from mini_gpt.model import GPT, GPTConfig, batch_loss, count_parameters
from mini_gpt.sampling import SampleConfig, generate_ids
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer, gpt2_byte_characters

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = CharTokenizer("abcdefg")
TINY = GPTConfig(vocab_size=11, context_length=8, layers=2, heads=3, width=12)


def build(config: GPTConfig = TINY, seed: int = 0) -> GPT:
    """A model in evaluation mode whose every parameter is random."""
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def build_peer(seed: int = 0, **shape: Any) -> Any:
    """A random GPT-2 of `transformers`; its special ids lie inside the vocabulary."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 17, "n_positions": 9, "n_embd": 12, "n_layer": 3, "n_head": 2}
    config = transformers.GPT2Config(**(sizes | shape), bos_token_id=0, eos_token_id=0)
    peer = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return peer


def ids_for(vocab_size: int, batch: int = 4, time: int = 7) -> Tensor:
    return torch.randint(vocab_size, (batch, time), generator=torch.Generator().manual_seed(1))


def write_huggingface(peer: Any, folder: Path) -> Path:
    peer.save_pretrained(folder)
    return folder


class TestNames:
    @pytest.mark.parametrize("layers", [1, 3, 48])
    def test_are_a_bijection_with_our_parameters(self, layers: int) -> None:
        with torch.device("meta"):
            model = GPT(dataclasses.replace(TINY, layers=layers))
        names = gpt2_names(layers)
        assert len(set(names.values())) == len(names) == 12 * layers + 4
        assert set(names.values()) == {name for name, _ in model.named_parameters()}

    @pytest.mark.parametrize("layers", [1, 3])
    def test_are_those_of_transformers(self, layers: int) -> None:
        peer = build_peer(n_layer=layers)
        assert set(gpt2_names(layers)) == {name for name, _ in peer.transformer.named_parameters()}

    def test_every_size_has_the_shapes_of_transformers(self) -> None:
        for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
            config = GPTConfig.preset(name)
            sizes = {"n_embd": config.width, "n_layer": config.layers, "n_head": config.heads}
            with torch.device("meta"):
                ours = dict(GPT(config).named_parameters())
                peer = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
            theirs = dict(peer.transformer.named_parameters())
            for their_name, our_name in gpt2_names(config.layers).items():
                shape = tuple(theirs[their_name].shape)
                flipped = their_name.endswith(CONV1D_WEIGHTS)
                assert tuple(ours[our_name].shape) == (shape[::-1] if flipped else shape)


class TestParity:
    @settings(deadline=None, max_examples=25)
    @given(st.data())
    def test_logits_are_those_of_transformers(self, data: st.DataObject) -> None:
        heads = data.draw(st.integers(1, 5), "heads")
        layers = data.draw(st.integers(1, 4), "layers")
        context_length = data.draw(st.integers(1, 12), "context length")
        shape = {
            "vocab_size": data.draw(st.integers(2, 60), "vocabulary"),
            "n_positions": context_length,
            "n_embd": heads * data.draw(st.integers(1, 9), "head width"),
            "n_layer": layers,
            "n_head": heads,
            "n_inner": data.draw(st.none() | st.integers(1, 50), "feed-forward width"),
        }
        peer = build_peer(data.draw(st.integers(0, 1000), "seed"), **shape)
        model = GPT(gpt2_config(peer.config.to_dict())).eval()
        model.load_state_dict(from_gpt2_names(peer.state_dict(), layers))
        ids = ids_for(shape["vocab_size"], 3, data.draw(st.integers(1, context_length), "time"))
        with torch.no_grad():
            torch.testing.assert_close(model(ids), peer(ids).logits, atol=1e-5, rtol=1e-5)

    def test_gradients_are_those_of_transformers(self) -> None:
        peer, ids = build_peer(), ids_for(17)
        model = GPT(gpt2_config(peer.config.to_dict())).eval()
        model.load_state_dict(from_gpt2_names(peer.state_dict(), 3))
        model(ids).square().mean().backward()
        peer(ids).logits.square().mean().backward()
        theirs = {name: parameter.grad for name, parameter in peer.transformer.named_parameters()}
        expected = from_gpt2_names(theirs, 3)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-4, rtol=1e-4)

    def test_greedy_text_is_that_of_transformers(self, tmp_path: Path) -> None:
        peer = build_peer(n_positions=40, vocab_size=50, n_embd=20, seed=4)
        model = from_huggingface(write_huggingface(peer, tmp_path / "peer"))
        prompt = torch.tensor([[3, 1, 4, 1, 5]])
        peer.generation_config.eos_token_id = None  # go on to the end
        theirs = peer.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=30,
            pad_token_id=0,
        )
        source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
        ours = [next(source) for _ in range(30)]
        assert ours == theirs[0, 5:].tolist()
        assert len(set(ours)) > 3, "a text that repeats one token would prove little"


class TestHuggingFaceFolder:
    def test_whole(self, tmp_path: Path) -> None:
        peer = build_peer()
        model = from_huggingface(write_huggingface(peer, tmp_path / "peer"))
        assert not model.training
        assert model.config == GPTConfig(17, 9, layers=3, heads=2, width=12, dropout=0.1)
        ids = ids_for(17)
        torch.testing.assert_close(model(ids), peer(ids).logits, atol=1e-5, rtol=1e-5)

    def test_in_shards(self, tmp_path: Path) -> None:
        peer = build_peer()
        peer.save_pretrained(tmp_path / "peer", max_shard_size="5KB")
        assert len(list((tmp_path / "peer").glob("model-*.safetensors"))) > 2
        ids = ids_for(17)
        ours = from_huggingface(tmp_path / "peer")(ids)
        torch.testing.assert_close(ours, peer(ids).logits, atol=1e-5, rtol=1e-5)

    def test_a_shard_is_missing(self, tmp_path: Path) -> None:
        build_peer().save_pretrained(tmp_path / "peer", max_shard_size="5KB")
        lost = sorted((tmp_path / "peer").glob("model-*.safetensors"))[1]
        lost.unlink()
        with pytest.raises(ValueError, match=f"has no {lost.name}; its weights are missing"):
            from_huggingface(tmp_path / "peer")

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": [1]}']
    )
    def test_an_index_that_is_none(self, content: str, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "peer")
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(content)
        with pytest.raises(ValueError, match="is not an index of shards"):
            from_huggingface(folder)

    def test_an_index_cannot_point_elsewhere(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "peer")
        (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
        index = {"weight_map": {"wte.weight": "../secret.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match=r"has no secret\.safetensors"):
            from_huggingface(folder)

    def test_old_files_without_prefix_and_with_masks(self, tmp_path: Path) -> None:
        peer = build_peer()
        folder = write_huggingface(peer, tmp_path / "peer")
        tensors = {
            name.removeprefix("transformer."): tensor.clone()
            for name, tensor in load_file(folder / "model.safetensors").items()
        }
        for layer in range(3):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 9, 9, dtype=torch.uint8).tril()
            tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()
        save_file(tensors, folder / "model.safetensors")
        ids = ids_for(17)
        ours = from_huggingface(folder)(ids)
        torch.testing.assert_close(ours, peer(ids).logits, atol=1e-5, rtol=1e-5)

    def test_a_head_of_its_own_is_refused(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "peer")
        tensors = load_file(folder / "model.safetensors")
        head = tensors["transformer.wte.weight"].clone()
        head[16, 11] += 0.5
        save_file({**tensors, "lm_head.weight": head}, folder / "model.safetensors")
        with pytest.raises(ValueError, match="an output head of its own"):
            from_huggingface(folder)

    def test_lists_all_that_is_wrong_in_the_words_of_the_file(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "peer")
        tensors = load_file(folder / "model.safetensors")
        del tensors["transformer.ln_f.bias"]
        tensors["transformer.h.1.attn.c_attn.weight"] = torch.zeros(36, 12)
        tensors["transformer.h.3.ln_1.bias"] = torch.zeros(12)
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(ValueError) as fault:
            from_huggingface(folder)
        for part in (
            r"ln_f.bias is missing, expected (12,)",
            r"h.1.attn.c_attn.weight has shape (36, 12), expected (12, 36)",
            r"h.3.ln_1.bias is not expected",
        ):
            assert part in str(fault.value)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model_type": "llama"}, "model_type is 'llama', expected 'gpt2'"),
            ({"model_type": None}, "model_type is None"),
            ({"activation_function": "gelu"}, "activation_function is 'gelu'"),
            ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
            ({"scale_attn_weights": False}, "scale_attn_weights is False"),
            ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
            ({"add_cross_attention": True}, "add_cross_attention"),
            ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
            ({"n_head": 5}, "heads 5 must divide width 12"),
        ],
    )
    def test_refuses_what_is_not_gpt2(self, change: dict[str, Any], message: str) -> None:
        content = build_peer().config.to_dict() | change
        with pytest.raises(ValueError, match=message):
            gpt2_config(content)

    def test_lists_every_reason(self) -> None:
        with pytest.raises(ValueError) as fault:
            gpt2_config({"model_type": "bert", "vocab_size": 3})
        for part in ("'bert'", "n_positions", "n_layer", "n_head", "n_embd"):
            assert part in str(fault.value)
        assert "vocab_size" not in str(fault.value)


TEXT = "to be or not to be, that is the question: whether 'tis nobler in the mind to suffer " * 3


def gpt2_like_tokenizer() -> BPETokenizer:
    """A small tokenizer of GPT-2's kind: its bytes have GPT-2's order."""
    learned = BPETokenizer.train(TEXT, 280)
    return BPETokenizer(
        [bytes([b]) for b in gpt2_byte_characters().values()] + list(learned.tokens[256:])
    )


def written(token: bytes) -> str:
    characters = {byte: character for character, byte in gpt2_byte_characters().items()}
    return "".join(characters[byte] for byte in token)


def write_two_files(tokenizer: BPETokenizer, folder: Path) -> None:
    ids = {written(token): id for id, token in enumerate(tokenizer.tokens)}
    ids["<|endoftext|>"] = len(ids)
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    lines = [" ".join(map(written, pair)) for pair in merges(tokenizer)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")


def merges(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    """The pair that each learned token was merged from: what the earlier tokens make of it."""
    pairs = []
    for place in range(256, len(tokenizer.tokens)):
        earlier = BPETokenizer(tokenizer.tokens[:place], pattern=r"(?s).+")
        left, right = earlier.encode(tokenizer.tokens[place].decode())
        pairs.append((earlier.tokens[left], earlier.tokens[right]))
    return pairs


class TestModelAndTokenizer:
    """`from_pretrained` on a folder of Hugging Face's."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_huggingface(build_peer(vocab_size=280), tmp_path / "peer")

    def test_in_two_files(self, folder: Path) -> None:
        tokenizer = gpt2_like_tokenizer()
        write_two_files(tokenizer, folder)
        model, restored = from_pretrained(folder)
        assert model.config.vocab_size == 280
        assert isinstance(restored, BPETokenizer)
        assert restored.tokens == tokenizer.tokens
        assert restored.end_of_text == 279

    @pytest.mark.parametrize(
        "text", [TEXT, "Zoë's 3 \n\n\t cats  ", "не быть", "", "<|endoftext|>"]
    )
    def test_as_transformers_writes_it(self, text: str, folder: Path, tmp_path: Path) -> None:
        two = tmp_path / "two"
        two.mkdir()
        write_two_files(gpt2_like_tokenizer(), two)
        theirs = transformers.GPT2Tokenizer.from_pretrained(two)
        theirs.save_pretrained(folder)
        assert (folder / "tokenizer.json").is_file()
        ours = from_pretrained(folder)[1]
        ids = theirs.encode(text)
        assert ours.encode(text, allowed_special=ours.special_tokens) == ids
        assert ours.decode(ids) == theirs.decode(ids) == text

    def test_without_a_tokenizer(self, folder: Path) -> None:
        with pytest.raises(
            ValueError, match=r"no tokenizer\.json, nor vocab\.json and merges\.txt"
        ):
            from_pretrained(folder)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 3, "pre_tokenizer": null}'])
    def test_a_tokenizer_that_is_none(self, content: str, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(content)
        with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer like GPT-2's"):
            from_pretrained(folder)

    def test_a_tokenizer_of_another_kind(self, folder: Path) -> None:
        cut = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
        model = {"vocab": {}, "merges": []}
        content = {"pre_tokenizer": cut, "model": model, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="text is cut in another way than GPT-2's"):
            from_pretrained(folder)

    def test_a_tokenizer_of_a_larger_model(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(vocab_size=279), tmp_path / "peer")
        write_two_files(gpt2_like_tokenizer(), folder)
        with pytest.raises(ValueError, match="the tokenizer has 280 ids, the model knows 279 only"):
            from_pretrained(folder)


class TestHub:
    def test_a_name_is_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        peer = build_peer()
        folder, asked = write_huggingface(peer, tmp_path / "cache"), []

        def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
            asked.append(name)
            kept = {f.name for p in allow_patterns for f in folder.glob(p)}
            assert {"config.json", "model.safetensors"} <= kept
            return str(folder)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        ids = ids_for(17)
        model = from_huggingface("somebody/gpt2-tiny")
        torch.testing.assert_close(model(ids), peer(ids).logits, atol=1e-5, rtol=1e-5)
        assert asked == ["somebody/gpt2-tiny"]

    def test_offline_and_not_cached(self, tmp_path: Path) -> None:
        """The real library, told to stay offline, with an empty cache."""
        code = "from mini_gpt import from_pretrained; from_pretrained('nobody/no-model')"
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        variables["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert "OSError: nobody/no-model is no folder here, and cannot be fetched" in done.stderr

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(ValueError, match=r"nobody/no-model.* pip install huggingface_hub"):
            from_pretrained("nobody/no-model")

    @pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../x/y", "run s/x", "{}/missing"])
    def test_a_path_is_never_asked_for(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("the hub was asked")

        monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").mkdir()
        for path in (name.format(tmp_path), "runs/latest"):
            with pytest.raises(ValueError, match="there is no folder"):
                from_pretrained(path)

    @pytest.mark.network
    def test_the_released_model(self) -> None:
        """The real 124M parameters: English is likelier than its words out of order."""
        model, tokenizer = from_pretrained("openai-community/gpt2")
        assert count_parameters(model) == 124_439_808
        sentence = "The quick brown fox jumps over the lazy dog, and the dog does not mind."
        shuffled = " ".join(sorted(sentence.split()))
        losses = []
        for text in (sentence, shuffled):
            ids = torch.tensor([tokenizer.encode(text)])
            with torch.no_grad():
                losses.append(batch_loss(model, ids).item())
        assert losses[0] < 4.5 < losses[1]
        peer = transformers.GPT2LMHeadModel.from_pretrained("openai-community/gpt2").eval()
        ids = torch.tensor([tokenizer.encode(sentence)])
        with torch.no_grad():
            torch.testing.assert_close(model(ids), peer(ids).logits, atol=1e-3, rtol=1e-4)
            assert losses[0] == pytest.approx(peer(ids, labels=ids).loss.item(), abs=1e-3)
        their_tokenizer = transformers.AutoTokenizer.from_pretrained("openai-community/gpt2")
        for text in (sentence, shuffled, "Zoë's 3 \n\n\t cats  猫"):
            assert their_tokenizer(text)["input_ids"] == tokenizer.encode(text)
        prompt = torch.tensor([tokenizer.encode("The capital of France is")])
        theirs = peer.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=20,
            pad_token_id=tokenizer.end_of_text,
        )[0, prompt.shape[1] :].tolist()
        source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
        assert [next(source) for _ in theirs] == theirs


class TestTheChapterTakesTheReleasedWeights:
    """The cell of chapter 8, with stand-ins for what the hub's cache holds."""

    SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog does not mind."

    def run(self, workplace: Path, fetch: bool = False) -> dict[str, Any]:
        """Run the cell as on a machine that is not Colab; the chapter's names afterwards."""
        notebook = nbformat.read(ROOT / "book" / "08_gpt2.ipynb", as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        (steps,) = (c.split("\n\n\n")[0] for c in cells if c.startswith("def greedy("))
        (cell,) = (c for c in cells if c.startswith("fetch = "))
        names = {**vars(gpt2), "math": math, "sys": sys, "workplace": workplace}
        names |= {"cached_folder": cached_folder, "local_folder": local_folder}
        names |= {"batch_loss": batch_loss, "count_parameters": count_parameters}
        first, rest = cell.split("\n", 1)
        assert not eval(first.split("#")[0].removeprefix("fetch = "), names)
        exec(f"{steps}\nfetch = {fetch}\n{rest}", names)
        return names

    def write(self, folder: Path, steps: int) -> Path:
        """A folder like the released one, its model trained for so many steps on the sentence."""
        tokenizer = BPETokenizer.train("to be or not to be", vocab_size=260)
        torch.manual_seed(0)
        model = GPT(GPTConfig(tokenizer.vocab_size, 128, layers=2, heads=2, width=32))
        ids = torch.tensor([tokenizer.encode(self.SENTENCE)])
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(steps):
            optimiser.zero_grad()
            batch_loss(model, ids).backward()
            optimiser.step()
        to_huggingface(model, tokenizer, folder)
        (folder / "mini_gpt_tokenizer.json").unlink()
        return folder

    @pytest.fixture
    def workplace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The chapter's folder, beside an empty cache, with no network."""

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError("no network")

        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
        self.write(tmp_path / "work" / "stand-in", steps=0)
        return tmp_path / "work"

    def cache(self, tmp_path: Path, steps: int) -> Path:
        cache = tmp_path / "hub" / "models--openai-community--gpt2"
        (cache / "refs").mkdir(parents=True)
        (cache / "refs" / "main").write_text("0a1b2c")
        return self.write(cache / "snapshots" / "0a1b2c", steps)

    def test_which_are_not_there(self, workplace: Path, capsys: pytest.CaptureFixture) -> None:
        assert self.run(workplace)["released_folder"] is None
        said = capsys.readouterr().out
        assert "A small random model stands in" in said
        assert "released weights." not in said

    def test_which_are_cached(
        self, workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        folder = self.cache(tmp_path, steps=60)
        names = self.run(workplace)
        assert names["released_folder"] == folder
        assert names["loss"] < 0.5 * math.log(260)
        assert "These are the released weights." in capsys.readouterr().out

    def test_and_refuses_them_if_they_know_no_language(
        self, workplace: Path, tmp_path: Path
    ) -> None:
        self.cache(tmp_path, steps=0)
        with pytest.raises(AssertionError):
            self.run(workplace)

    @pytest.mark.parametrize("installed", [True, False])
    def test_which_cannot_be_fetched(
        self,
        installed: bool,
        workplace: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture,
    ) -> None:
        if not installed:
            monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert self.run(workplace, fetch=True)["released_folder"] is None
        said = capsys.readouterr().out
        assert ("no network" if installed else "pip install huggingface_hub") in said
        assert "A small random model stands in" in said

    def test_which_are_fetched_when_asked_for(
        self, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = self.write(tmp_path / "fetched", steps=60)
        monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
        assert self.run(workplace, fetch=True)["released_folder"] == folder


class TestConversion:
    def test_takes_names_with_and_without_prefix(self) -> None:
        peer = build_peer()
        with_prefix = from_gpt2_names(peer.state_dict(), 3)
        without = from_gpt2_names(peer.transformer.state_dict(), 3)
        assert with_prefix.keys() == without.keys()
        assert all(torch.equal(with_prefix[name], without[name]) for name in without)

    def test_names_what_is_missing_and_what_is_unknown(self) -> None:
        tensors = build_peer().state_dict()
        tensors["transformer.h.0.gate"] = tensors.pop("transformer.h.2.ln_2.bias")
        with pytest.raises(
            ValueError, match=r"missing \['h\.2\.ln_2\.bias'\], unknown \['h\.0\.gate'"
        ):
            from_gpt2_names(tensors, 3)

    def test_tells_a_wrong_number_of_layers(self) -> None:
        with pytest.raises(ValueError, match=r"with 2 layers: missing \[\], unknown \['h\.2\."):
            from_gpt2_names(build_peer().state_dict(), 2)

    def test_keeps_parameters_only(self) -> None:
        stored = {"transformer.h.0.attn.bias": 1, "lm_head.weight": 2, "h.0.attn.c_attn.bias": 3}
        assert gpt2_parameters(stored) == {"h.0.attn.c_attn.bias": 3}


CONFIGS = st.builds(
    lambda heads, half, **rest: GPTConfig(heads=heads, width=2 * half * heads, **rest),
    heads=st.integers(1, 3),
    half=st.integers(1, 3),
    vocab_size=st.integers(7, 20),
    context_length=st.integers(1, 9),
    layers=st.integers(1, 3),
    hidden_width=st.none() | st.integers(1, 20),
    bias=st.booleans(),
    dropout=st.sampled_from([0.0, 0.25]),
    position=st.sampled_from(["learned", "sinusoidal", "rotary", "none"]),
    normalisation=st.sampled_from(["layer", "rms"]),
    vocab_multiple=st.sampled_from([1, 8, 64]),
    key_value_heads=st.sampled_from([None, 1]),
)


class TestRoundTrip:
    @settings(
        deadline=None,
        max_examples=25,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(CONFIGS, st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    def test_gives_back_the_model_bit_by_bit(
        self, tmp_path: Path, config: GPTConfig, dtype: torch.dtype
    ) -> None:
        model = build(config).to(dtype)
        save_pretrained(model, TOKENIZER, tmp_path / "model")
        restored, tokenizer = from_pretrained(tmp_path / "model")
        assert restored.config == config
        assert not restored.training
        assert isinstance(tokenizer, CharTokenizer)
        assert tokenizer.alphabet == TOKENIZER.alphabet
        before, after = model.state_dict(), restored.state_dict()
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert after[name].dtype == dtype
            assert torch.equal(after[name], tensor), name
        for (name, here), (_, there) in zip(
            model.named_buffers(), restored.named_buffers(), strict=True
        ):
            assert torch.equal(here, there), f"{name} is not stored, but computed anew"
        ids = ids_for(config.vocab_size, 2, config.context_length)
        assert torch.equal(model(ids), restored(ids))

    @pytest.mark.parametrize("position", ["rotary", "sinusoidal"])
    def test_widened_weights_go_with_exact_tables(
        self, position: Literal["rotary", "sinusoidal"], tmp_path: Path
    ) -> None:
        """Tables of positions are computed in the wide format, not widened from a narrow one."""
        config = dataclasses.replace(TINY, position=position)
        save_pretrained(build(config).half(), TOKENIZER, tmp_path / "model")
        widened, _ = from_pretrained(tmp_path / "model", dtype=torch.float32)
        fresh = dict(GPT(config).named_buffers())
        assert fresh
        for name, table in widened.named_buffers():
            assert torch.equal(table, fresh[name])
        stored, _ = from_pretrained(tmp_path / "model")
        for (name, wide), narrow in zip(
            widened.named_parameters(), stored.parameters(), strict=True
        ):
            assert torch.equal(wide, narrow.float()), name

    def test_a_format_too_narrow_for_the_weights_is_refused(self, tmp_path: Path) -> None:
        model = build()
        with torch.no_grad():
            model.token_embedding.weight[2, 3] = 70_000.0  # float16 ends at 65,504
        save_pretrained(model, TOKENIZER, tmp_path / "model")
        with pytest.raises(ValueError, match=r"token_embedding\.weight holds numbers that are not"):
            from_pretrained(tmp_path / "model", dtype=torch.float16)
        from_pretrained(tmp_path / "model", dtype=torch.bfloat16)

    def test_keeps_a_bpe_tokenizer(self, tmp_path: Path) -> None:
        tokenizer = BPETokenizer.train("to be or not to be, that is to be", 259)
        model = build(dataclasses.replace(TINY, vocab_size=259))
        save_pretrained(model, tokenizer, tmp_path / "model")
        restored = from_pretrained(tmp_path / "model")[1]
        assert restored.encode("not to be") == tokenizer.encode("not to be")

    def test_weights_are_in_memory_of_their_own(self, tmp_path: Path) -> None:
        save_pretrained(build(), TOKENIZER, tmp_path / "model")
        first, second = (from_pretrained(tmp_path / "model")[0] for _ in range(2))
        expected = first(ids_for(11)).detach().clone()
        (tmp_path / "model" / "model.safetensors").write_bytes(b"\0" * 10_000)
        with torch.no_grad():
            for parameter in second.parameters():
                parameter.zero_()
        assert torch.equal(first(ids_for(11)), expected)

    def test_trains_on(self, tmp_path: Path) -> None:
        save_pretrained(build(), TOKENIZER, tmp_path / "model")
        model = from_pretrained(tmp_path / "model")[0]
        model(ids_for(11)).square().mean().backward()
        assert all(p.requires_grad and p.grad is not None for p in model.parameters())
        fresh = GPT(model.config)
        for ours, new in zip(model.parameters(), fresh.parameters(), strict=True):
            assert ours.stride() == new.stride()  # laid out for use, not as in the file

    def test_saves_what_torch_compile_wraps(self, tmp_path: Path) -> None:
        class Wrapped(nn.Module):
            def __init__(self, model: GPT) -> None:
                super().__init__()
                self._orig_mod = model

        model = build()
        save_pretrained(Wrapped(model), TOKENIZER, tmp_path / "model")
        ids = ids_for(11)
        assert torch.equal(from_pretrained(tmp_path / "model")[0](ids), model(ids))

    def test_never_pickles(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("pickle was used")

        for module, names in (
            (pickle, ("load", "loads", "dump", "dumps", "Pickler", "Unpickler")),
            (torch, ("load", "save")),
        ):
            for name in names:
                monkeypatch.setattr(module, name, refuse)
        save_pretrained(build(), TOKENIZER, tmp_path / "model")
        from_pretrained(tmp_path / "model")

    def test_reads_a_large_tensor_in_pieces(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pieces of one row each give the same model as one piece for all."""
        model = build()
        save_pretrained(model, TOKENIZER, tmp_path / "model")
        monkeypatch.setattr("mini_gpt.files.PIECE", 1)
        restored = from_pretrained(tmp_path / "model")[0]
        for name, tensor in restored.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name]), name


TOKENIZERS = {
    "characters": CharTokenizer.train("to be or not to be\n\t Zoë 猫"),
    "characters with a replacement": CharTokenizer.train("to be or not", replacement="?"),
    "byte pairs": BPETokenizer.train("to be or not to be, that is the question" * 3, 279),
    "byte pairs, two special tokens": BPETokenizer.train(
        "to be or not to be" * 3, 262, special_tokens=["<|endoftext|>", "<|user|>"]
    ),
}


class TestToHuggingFace:
    """What we write, `transformers` loads: the same ids, logits and text."""

    @settings(
        deadline=None,
        max_examples=12,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_logits_of_transformers_are_ours(self, tmp_path: Path, data: st.DataObject) -> None:
        heads = data.draw(st.integers(1, 4), "heads")
        config = GPTConfig(
            vocab_size=data.draw(st.integers(7, 60), "vocabulary"),
            context_length=data.draw(st.integers(1, 12), "context length"),
            layers=data.draw(st.integers(1, 3), "layers"),
            heads=heads,
            width=heads * data.draw(st.integers(1, 7), "head width"),
            hidden_width=data.draw(st.none() | st.integers(1, 40), "feed-forward width"),
            dropout=data.draw(st.sampled_from([0.0, 0.25]), "dropout"),
            vocab_multiple=data.draw(st.sampled_from([1, 64]), "multiple"),
        )
        model = build(config, data.draw(st.integers(0, 1000), "seed"))
        to_huggingface(model, TOKENIZER, tmp_path / "shared")
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shared").eval()
        assert type(peer).__name__ == "GPT2LMHeadModel"
        ids = ids_for(config.vocab_size, 3, config.context_length)
        with torch.no_grad():
            torch.testing.assert_close(peer(ids).logits, model(ids), atol=1e-5, rtol=1e-5)
        again, tokenizer = from_pretrained(tmp_path / "shared")
        assert again.config == dataclasses.replace(config, vocab_multiple=1)
        torch.testing.assert_close(again(ids), model(ids), atol=1e-6, rtol=1e-6)
        assert tokenizer.to_dict() == TOKENIZER.to_dict()

    @pytest.mark.parametrize("kind", TOKENIZERS)
    def test_ids_of_transformers_are_ours(self, kind: str, tmp_path: Path) -> None:
        tokenizer = TOKENIZERS[kind]
        model = build(dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size))
        to_huggingface(model, tokenizer, tmp_path / "shared")
        auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "shared")
        assert len(auto) == tokenizer.vocab_size
        assert auto.eos_token_id == tokenizer.end_of_text
        texts = ["", "to be", "not\n\tto  be ", "  eee"]
        if kind != "characters":
            texts += ["hamlet 3", "猫 🌹"]
        for text in texts if kind != "characters with a replacement" else ["", "to be", "xy 猫 z"]:
            ids = tokenizer.encode(text)
            assert auto(text)["input_ids"] == ids
            assert auto.decode(ids) == tokenizer.decode(ids)
        again = from_pretrained(tmp_path / "shared")[1]
        assert again.to_dict() == tokenizer.to_dict()

    def test_an_unknown_character_is_an_error_there_too(self, tmp_path: Path) -> None:
        to_huggingface(build(), TOKENIZER, tmp_path / "shared")
        auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "shared")
        with pytest.raises(Exception, match=r"(?i)unk"):
            auto("hijk")

    def test_greedy_text_is_the_same(self, tmp_path: Path) -> None:
        tokenizer = TOKENIZERS["byte pairs"]
        config = GPTConfig(tokenizer.vocab_size, 40, layers=2, heads=3, width=24)
        model = build(config, seed=2)
        to_huggingface(model, tokenizer, tmp_path / "shared")
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shared").eval()
        peer.generation_config.eos_token_id = None  # go on to the end
        prompt = torch.tensor([tokenizer.encode("to be")])
        mask = torch.ones_like(prompt)
        theirs = peer.generate(
            prompt, attention_mask=mask, do_sample=False, max_new_tokens=30, pad_token_id=0
        )
        source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
        ours = [next(source) for _ in range(30)]
        assert ours == theirs[0, prompt.shape[1] :].tolist()
        assert len(set(ours)) > 3, "a text that repeats one token would prove little"

    def test_transformers_writes_and_we_read_what_we_wrote_and_it_read(
        self, tmp_path: Path
    ) -> None:
        """Ours, theirs, ours again: through their save as well."""
        tokenizer = TOKENIZERS["byte pairs"]
        model = build(dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size))
        to_huggingface(model, tokenizer, tmp_path / "first")
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
        peer.save_pretrained(tmp_path / "second")
        again = from_huggingface(tmp_path / "second")
        assert again.config == model.config
        assert all(
            torch.equal(tensor, again.state_dict()[name])
            for name, tensor in model.state_dict().items()
        )

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_keeps_the_number_format(self, dtype: torch.dtype, tmp_path: Path) -> None:
        to_huggingface(build().to(dtype), TOKENIZER, tmp_path / "shared")
        assert from_pretrained(tmp_path / "shared")[0].positions.weight.dtype == dtype
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shared", dtype="auto")
        assert peer.dtype == dtype

    @pytest.mark.parametrize("stored", [torch.float16, torch.float32])
    @pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
    def test_another_number_format_can_be_asked_for(
        self, stored: torch.dtype, wanted: torch.dtype, tmp_path: Path
    ) -> None:
        model = build().to(stored)
        to_huggingface(model, TOKENIZER, tmp_path / "shared")
        loaded = from_pretrained(tmp_path / "shared", dtype=wanted)[0].state_dict()
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded[name], tensor.to(wanted))

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"position": "rotary"}, ["position is 'rotary', GPT-2's is 'learned'"]),
            ({"position": "sinusoidal"}, ["position is 'sinusoidal'"]),
            ({"position": "none"}, ["position is 'none'"]),
            ({"normalisation": "rms"}, ["normalisation is 'rms', GPT-2's is 'layer'"]),
            ({"bias": False}, ["bias is False, GPT-2's is True"]),
            ({"key_value_heads": 1}, ["key_value_heads is 1, GPT-2's is that of heads"]),
            (
                {"position": "rotary", "normalisation": "rms", "bias": False},
                ["position is 'rotary'", "normalisation is 'rms'", "bias is False"],
            ),
        ],
    )
    def test_refuses_what_gpt2_cannot_express(
        self, changes: dict[str, Any], parts: list[str], tmp_path: Path
    ) -> None:
        model = build(dataclasses.replace(TINY, **changes))
        with pytest.raises(ValueError, match="GPT-2 cannot express this model") as fault:
            to_huggingface(model, TOKENIZER, tmp_path / "shared")
        for part in [*parts, "keep it with save_pretrained"]:
            assert part in str(fault.value)
        assert not list(tmp_path.iterdir())

    def test_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        older = build(seed=1)
        to_huggingface(older, TOKENIZER, tmp_path / "shared")
        assert {path.name for path in (tmp_path / "shared").iterdir()} == {*HUGGINGFACE_FILES}

        def fail(*_: Any) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(gpt2, "save_tokenizer", fail)  # the last of the files
        with pytest.raises(OSError, match="no space left"):
            to_huggingface(build(seed=2), TOKENIZER, tmp_path / "shared")
        assert [path.name for path in tmp_path.iterdir()] == ["shared"]
        ids = ids_for(11)
        assert torch.equal(from_huggingface(tmp_path / "shared")(ids), older(ids))

    def test_refuses_what_cannot_be_kept(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="the model is a Linear"):
            to_huggingface(nn.Linear(2, 3), TOKENIZER, tmp_path / "shared")
        with pytest.raises(ValueError, match="12 ids, the model knows 11 only"):
            to_huggingface(build(), CharTokenizer("abcdefghijkl"), tmp_path / "shared")
        model = build()
        with torch.no_grad():
            model.decoder.final_norm.bias[3] = torch.nan
        with pytest.raises(ValueError, match=r"not finite in decoder\.final_norm\.bias"):
            to_huggingface(model, TOKENIZER, tmp_path / "shared")

        class Other:
            vocab_size, end_of_text = 3, None

            def encode(self, text: str) -> list[int]:
                return []

            def decode(self, ids: Any) -> str:
                return ""

            def to_dict(self) -> dict[str, object]:
                return {}

            def save(self, path: Any) -> None: ...

        with pytest.raises(TypeError, match="a Other cannot be written for other libraries"):
            to_huggingface(build(), Other(), tmp_path / "shared")
        assert not list(tmp_path.iterdir())

    def test_never_deletes_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(FileExistsError, match=r"holds other files \(thesis\.tex\)"):
            to_huggingface(build(), TOKENIZER, tmp_path)

    def test_the_shape_is_read_without_the_weights(self, tmp_path: Path) -> None:
        to_huggingface(build(), TOKENIZER, tmp_path / "theirs")
        save_pretrained(build(), TOKENIZER, tmp_path / "ours")
        for name in ("theirs", "ours"):
            (tmp_path / name / "model.safetensors").unlink()
            assert load_config(tmp_path / name) == TINY


class TestSaving:
    def test_replaces_an_older_checkpoint(self, tmp_path: Path) -> None:
        save_pretrained(build(seed=1), TOKENIZER, tmp_path / "model")
        newer = build(seed=2)
        save_pretrained(newer, TOKENIZER, tmp_path / "model")
        ids = ids_for(11)
        assert torch.equal(from_pretrained(tmp_path / "model")[0](ids), newer(ids))
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_a_failure_leaves_the_older_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        older = build(seed=1)
        save_pretrained(older, TOKENIZER, tmp_path / "model")

        def fail(*_: Any) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(gpt2, "save_tokenizer", fail)  # the last of the three files
        with pytest.raises(OSError, match="no space left"):
            save_pretrained(build(seed=2), TOKENIZER, tmp_path / "model")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        ids = ids_for(11)
        assert torch.equal(from_pretrained(tmp_path / "model")[0](ids), older(ids))

    def test_never_deletes_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(FileExistsError, match=r"holds other files \(thesis\.tex\)"):
            save_pretrained(build(), TOKENIZER, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_refuses_numbers_that_are_not_finite(self, value: float, tmp_path: Path) -> None:
        model = build()
        with torch.no_grad():
            model.decoder.final_norm.bias[3] = value
        with pytest.raises(ValueError, match=r"not finite in decoder\.final_norm\.bias"):
            save_pretrained(model, TOKENIZER, tmp_path / "model")
        assert not list(tmp_path.iterdir())

    def test_refuses_a_mixture_of_number_formats(self, tmp_path: Path) -> None:
        model = build()
        model.decoder.final_norm.to(torch.float64)
        with pytest.raises(ValueError, match=r"weights in torch\.float32 and torch\.float64"):
            save_pretrained(model, TOKENIZER, tmp_path / "model")

    def test_refuses_a_tokenizer_of_another_model(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="the tokenizer has 12 ids, the model knows 11 only"):
            save_pretrained(build(), CharTokenizer("abcdefghijkl"), tmp_path / "model")

    def test_refuses_what_is_no_gpt(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="the model is a Linear; only a GPT can be saved"):
            save_pretrained(nn.Linear(2, 3), TOKENIZER, tmp_path / "model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pretrained(build(), TOKENIZER, tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, **changes: Tensor | None) -> None:
    """Change, add or (None) remove tensors; underscores of the names stand for dots."""
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors")


class TestDamage:
    def test_lists_everything_at_once(self, folder: Path) -> None:
        rewrite(
            folder,
            decoder__final_norm__bias=None,
            positions__weight=torch.zeros(9, 12),
            token_embedding__weight=torch.zeros(11, 12, dtype=torch.float64),
            surprise=torch.zeros(3),
        )
        with pytest.raises(ValueError) as fault:
            from_pretrained(folder)
        for part in (
            "decoder.final_norm.bias is missing, expected (12,)",
            "positions.weight has shape (9, 12), expected (8, 12)",
            "token_embedding.weight holds F64, expected F32",
            "surprise is not expected",
        ):
            assert part in str(fault.value)

    def test_a_long_list_is_cut(self, folder: Path) -> None:
        rewrite(folder, **{f"extra_{n}": torch.zeros(1) for n in range(30)})
        with pytest.raises(ValueError, match="; and 10 more"):
            from_pretrained(folder)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_numbers_that_are_not_finite(self, value: float, folder: Path) -> None:
        weight = torch.zeros(8, 12)
        weight[7, 11] = value
        rewrite(
            folder, positions__weight=weight, decoder__final_norm__bias=torch.full((12,), value)
        )
        with pytest.raises(ValueError) as fault:
            from_pretrained(folder)
        for name in ("positions.weight", "decoder.final_norm.bias"):
            assert f"{name} holds numbers that are not finite" in str(fault.value)

    def test_whole_numbers_are_no_weights(self, folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        save_file({k: v.long() for k, v in tensors.items()}, folder / "model.safetensors")
        with pytest.raises(ValueError, match="numbers are I64, not one of F64, F32, F16, BF16"):
            from_pretrained(folder)

    @pytest.mark.parametrize("kept", [0, 4, 100, -100, -1])
    def test_a_truncated_file(self, kept: int, folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .*cut short"):
            from_pretrained(folder)

    def test_something_else_under_that_name(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(pickle.dumps({"weight": 3}) * 100)
        with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
            from_pretrained(folder)

    @pytest.mark.parametrize("name", CHECKPOINT_FILES)
    def test_a_missing_file(self, name: str, folder: Path) -> None:
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"it has no {name}"):
            from_pretrained(folder)

    def test_an_unknown_architecture(self, folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "llama", "vocab_size": 3}')
        with pytest.raises(ValueError, match="model_type is 'llama', expected 'gpt2'; n_positions"):
            from_pretrained(folder)

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
            from_pretrained(tmp_path / "nowhere")
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="is a file, not the folder"):
            from_pretrained(tmp_path / "file")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"heads": 5}, "heads 5 must divide width 12"),
            ({"layers": "2"}, r"config\.json is not a mini_gpt configuration .*'2'"),
            ({"version": 2}, "version 2 of our format; this program reads 1"),
            ({"format": "other"}, "this is not a GPT-2: model_type is None"),
            ({"colour": "blue"}, "colour"),
            ({"layers": 3}, r"decoder\.blocks\.2\.attention_norm\.weight is missing"),
            ({"width": 24}, r"has shape \(12,\), expected \(24,\)"),
            ({"position": "rotary"}, r"positions\.weight is not expected"),
            ({"bias": False}, r"decoder\.final_norm\.bias is not expected"),
            ({"vocab_size": 6}, "the tokenizer has 7 ids, the model knows 6 only"),
        ],
    )
    def test_a_configuration_of_another_model(
        self, change: dict[str, Any], message: str, folder: Path
    ) -> None:
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=f"(?s){message}"):
            from_pretrained(folder)

    @pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe", b"null"])
    def test_a_configuration_that_is_none(self, content: bytes, folder: Path) -> None:
        (folder / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json"):
            from_pretrained(folder)

    def test_an_older_configuration_takes_the_defaults(self, folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        del content["dropout"], content["hidden_width"]
        (folder / "config.json").write_text(json.dumps(content))
        assert from_pretrained(folder)[0].config == TINY


PEAK = """
import sys
from pathlib import Path
from mini_gpt.gpt2 import from_huggingface, from_pretrained

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

load = from_huggingface if sys.argv[1] == "huggingface" else from_pretrained
load(sys.argv[2])  # a small one, so that the machinery is in memory
Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
before = status("VmRSS")
kept = load(sys.argv[3])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("kind", ["pretrained", "huggingface"])
def test_there_is_never_a_second_copy_in_memory(kind: str, tmp_path: Path) -> None:
    large = GPTConfig(vocab_size=40_000, context_length=64, layers=4, heads=4, width=512)
    for name, config in (("small", TINY), ("large", large)):
        torch.manual_seed(0)
        model = GPT(config)
        if kind == "pretrained":
            save_pretrained(model, TOKENIZER, tmp_path / name)
            continue
        ours = dict(model.named_parameters())
        tensors = {
            theirs: ours[name].detach().t().contiguous()
            if theirs.endswith(CONV1D_WEIGHTS)
            else ours[name].detach()
            for theirs, name in gpt2_names(config.layers).items()
        }
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
        content = {"model_type": "gpt2", "n_layer": config.layers, "n_head": config.heads}
        content |= {"vocab_size": config.vocab_size, "n_positions": config.context_length}
        content |= {"n_embd": config.width}
        (tmp_path / name / "config.json").write_text(json.dumps(content))
    command = [sys.executable, "-c", PEAK, kind, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "large" / "model.safetensors").stat().st_size
    assert 0.9 < int(done.stdout) / size < 1.3, int(done.stdout) / size


def printed(capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
    check(answer)
    return capsys.readouterr().out


def our_name(theirs: str) -> str:
    parts = theirs.split(".")
    if parts[0] != "h":
        return GPT2_NAMES[theirs]
    parts[1], layer = "{layer}", parts[1]
    return GPT2_NAMES[".".join(parts)].format(layer=layer)


def query_weight(weights: dict[str, Tensor], layer: int, head: int, heads: int) -> Tensor:
    return weights[f"h.{layer}.attn.c_attn.weight"].chunk(3 * heads, dim=1)[head]


def with_biases(model: GPT) -> GPT:
    twin = GPT(dataclasses.replace(model.config, bias=True))
    twin.load_state_dict(model.state_dict(), strict=False)
    return twin


def shares_memory(model: GPT) -> GPT:
    twin = GPT(dataclasses.replace(model.config, bias=True))
    twin.load_state_dict(model.state_dict(), strict=False, assign=True)
    return twin


def random_biases(model: GPT) -> GPT:
    twin = with_biases(model)
    torch.nn.init.normal_(twin.decoder.blocks[1].attention.output.bias)
    return twin


def forgets_the_norms(model: GPT) -> GPT:
    twin = with_biases(model)
    torch.nn.init.ones_(twin.decoder.final_norm.weight)
    return twin


class TestChecks:
    @pytest.mark.parametrize(
        ("check", "wrong"),
        [
            (checks.gpt2.our_name, lambda name: None),
            (checks.gpt2.our_name, lambda name: name),
            (checks.gpt2.our_name, lambda name: GPT2_NAMES[name]),
            (checks.gpt2.our_name, lambda name: gpt2_names(12)[name]),
            (checks.gpt2.query_weight, lambda weights, layer, head, heads: None),
            (checks.gpt2.query_weight, lambda w, n, h, hs: w[f"h.{n}.attn.c_attn.weight"]),
            (
                checks.gpt2.query_weight,
                lambda w, n, h, hs: w[f"h.{n}.attn.c_attn.weight"].chunk(hs, 1)[h],
            ),
            (
                checks.gpt2.query_weight,
                lambda w, n, h, hs: w[f"h.{n}.attn.c_attn.weight"].chunk(3 * hs, 1)[3 * h],
            ),
            (
                checks.gpt2.query_weight,
                lambda w, n, h, hs: w[f"h.{n}.attn.c_attn.weight"].chunk(hs, 0)[h],
            ),
            (checks.gpt2.with_biases, lambda model: None),
            (checks.gpt2.with_biases, lambda model: model),
            (checks.gpt2.with_biases, lambda m: GPT(dataclasses.replace(m.config, bias=True))),
            (checks.gpt2.with_biases, shares_memory),
            (checks.gpt2.with_biases, random_biases),
            (checks.gpt2.with_biases, forgets_the_norms),
        ],
    )
    def test_is_not_content_with_a_wrong_answer(
        self, check: Any, wrong: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, wrong).startswith("not yet: ")

    @pytest.mark.parametrize(
        ("check", "right"),
        [
            (checks.gpt2.our_name, our_name),
            (checks.gpt2.query_weight, query_weight),
            (checks.gpt2.with_biases, with_biases),
        ],
    )
    def test_is_content_with_the_right_one(
        self, check: Any, right: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, right).startswith("correct: ")
