"""GPT-2's weights in our model and ours in its files: equal logits, or one clear error."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import gpt2_outputs
import nbformat
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mini_gpt import checks, gpt2
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import generate_ids
from mini_gpt.gpt2 import (
    CONV1D_WEIGHTS,
    HUGGINGFACE_FILES,
    differences,
    first_difference,
    from_gpt2_names,
    from_huggingface,
    gpt2_config,
    gpt2_names,
    gpt2_parameters,
    to_huggingface,
    trace,
)
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.hub import cached_folder, local_folder
from mini_gpt.support.model_folder import from_pretrained, load_config, save_pretrained
from mini_gpt.tokenizer import BPETokenizer
from peers import (
    TOKENIZER,
    build,
    build_peer,
    greedy_text,
    ids_for,
    transformers,
    write_huggingface,
)
from shapes import shaken
from tiny import tiny_config

ROOT = Path(__file__).resolve().parent.parent
TINY = tiny_config(vocab_size=11)


def batch_loss(model: nn.Module, ids: Tensor) -> Tensor:
    return next_token_loss(model(ids[:, :-1]), ids[:, 1:])


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
    @settings(deadline=None, max_examples=12)
    @given(st.data())
    def test_logits_are_those_of_transformers(self, data: st.DataObject) -> None:
        self.check_logits(data)

    @pytest.mark.slow
    @settings(deadline=None, max_examples=100)
    @given(st.data())
    def test_logits_are_those_of_transformers_in_many_shapes(self, data: st.DataObject) -> None:
        self.check_logits(data)

    def check_logits(self, data: st.DataObject) -> None:
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
        # In double precision: a normalization over few features magnifies rounding.
        peer = build_peer(data.draw(st.integers(0, 1000), "seed"), **shape).double()
        model = GPT(gpt2_config(peer.config.to_dict())).double().eval()
        model.load_state_dict(from_gpt2_names(peer.state_dict(), layers))
        ids = ids_for(shape["vocab_size"], 3, data.draw(st.integers(1, context_length), "time"))
        with torch.no_grad():
            torch.testing.assert_close(model(ids), peer(ids).logits, atol=1e-9, rtol=1e-9)

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
        peer = build_peer(n_positions=40, vocab_size=50, n_embd=20, seed=5)
        model = from_huggingface(write_huggingface(peer, tmp_path / "peer"))
        prompt = torch.tensor([[3, 1, 4, 1, 5]])
        theirs = greedy_text(peer, prompt, 30)
        source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
        ours = [next(source) for _ in range(30)]
        assert ours == theirs
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
            ({"activation_function": "relu"}, "activation_function is 'relu'"),
            ({"activation_function": ["gelu"]}, "activation_function is "),
            ({"layer_norm_epsilon": -1e-5}, "norm_epsilon -1e-05 must be above 0"),
            ({"n_layer": 1.0}, "(?s)this is not a GPT-2: .*layers is n_layer"),
            ({"n_embd": None}, "n_embd is missing"),
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
        kept = gpt2_parameters({**stored, "wte.weight": 4})
        assert kept == {"h.0.attn.c_attn.bias": 3, "wte.weight": 4}
        assert gpt2_parameters(stored) == {"h.0.attn.c_attn.bias": 3, "wte.weight": 2}


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

    @pytest.mark.slow
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
            pad_vocab_to_multiple=data.draw(st.sampled_from([1, 64]), "multiple"),
        )
        model = shaken(GPT(config), seed=data.draw(st.integers(0, 1000), "seed"))
        to_huggingface(model, TOKENIZER, tmp_path / "shared")
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shared").eval()
        assert type(peer).__name__ == "GPT2LMHeadModel"
        ids = ids_for(config.vocab_size, 3, config.context_length)
        again, tokenizer = from_pretrained(tmp_path / "shared")
        assert again.config == dataclasses.replace(config, pad_vocab_to_multiple=1)
        with torch.no_grad():  # in double precision, where rounding cannot grow
            expected = model.double()(ids)
            torch.testing.assert_close(peer.double()(ids).logits, expected, atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(again.double()(ids), expected, atol=1e-9, rtol=1e-9)
        assert tokenizer.to_dict() == TOKENIZER.to_dict()

    @pytest.mark.parametrize("kind", TOKENIZERS)
    def test_ids_of_transformers_are_ours(self, kind: str, tmp_path: Path) -> None:
        tokenizer = TOKENIZERS[kind]
        model = build(vocab_size=tokenizer.vocab_size)
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
        torch.manual_seed(2)
        model = shaken(GPT(config), seed=2)
        to_huggingface(model, tokenizer, tmp_path / "shared")
        peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shared").eval()
        prompt = torch.tensor([tokenizer.encode("to be")])
        theirs = greedy_text(peer, prompt, 30)
        source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
        ours = [next(source) for _ in range(30)]
        assert ours == theirs
        assert len(set(ours)) > 3, "a text that repeats one token would prove little"

    def test_transformers_writes_and_we_read_what_we_wrote_and_it_read(
        self, tmp_path: Path
    ) -> None:
        """Ours, theirs, ours again: through their save as well."""
        tokenizer = TOKENIZERS["byte pairs"]
        model = build(vocab_size=tokenizer.vocab_size)
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
            ({"normalization": "rms"}, ["normalization is 'rms', GPT-2's is 'layer'"]),
            ({"bias": False}, ["bias is False, GPT-2's is True"]),
            ({"key_value_heads": 1}, ["key_value_heads is 1, GPT-2's is that of heads"]),
            (
                {"position": "rotary", "normalization": "rms", "bias": False},
                ["position is 'rotary'", "normalization is 'rms'", "bias is False"],
            ),
        ],
    )
    def test_refuses_what_gpt2_cannot_express(
        self, changes: dict[str, Any], parts: list[str], tmp_path: Path
    ) -> None:
        model = build(**changes)
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


def exact_gelu(model: GPT) -> None:
    model.decoder.blocks[1].feed_forward.activation = nn.GELU()


def epsilon(model: GPT) -> None:
    model.decoder.blocks[2].feed_forward_norm.eps = 1e-3


def untransposed(model: GPT) -> None:
    weight = model.decoder.blocks[1].attention.output.weight
    weight.data = weight.data.t()


def other_scale(model: GPT) -> None:
    part = model.decoder.blocks[0].attention
    project = part.project

    def doubled(stream: Tensor, offset: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = project(stream, offset)
        return 2 * query, key, value

    part.project = doubled


def no_positions(model: GPT) -> None:
    model.positions = None


def no_final_norm(model: GPT) -> None:
    model.decoder.final_norm = nn.Identity()


def other_head(model: GPT) -> None:
    table = model.token_embedding.weight.detach() * 1.01
    model.token_embedding.logits = lambda stream: stream @ table.t()


class TestFirstDifference:
    @pytest.fixture
    def peer(self) -> Any:
        return build_peer().eval()

    @pytest.fixture
    def ours(self, peer: Any) -> GPT:
        model = GPT(GPTConfig(17, 9, layers=3, heads=2, width=12)).eval()
        model.load_state_dict(from_gpt2_names(peer.transformer.state_dict(), layers=3))
        return model

    ids = ids_for(17)

    def test_there_is_none_between_equal_models(self, ours: GPT, peer: Any) -> None:
        assert first_difference(ours, peer, self.ids, 1e-5) is None
        assert first_difference(peer, ours, self.ids, 1e-5) is None
        assert first_difference(ours, ours, self.ids, tolerance=0.0) is None

    def test_every_part_is_compared_in_the_order_of_computation(self, ours: GPT, peer: Any) -> None:
        found = list(differences(ours, peer, self.ids))
        block = ["attention_norm", "attention.query_key_value", "attention.mixed"]
        block += ["attention.output", "feed_forward_norm", "feed_forward.expand"]
        block += ["feed_forward.activation", "feed_forward.contract", ""]
        inside = [
            f"decoder.blocks.{layer}.{part}".rstrip(".") for layer in range(3) for part in block
        ]
        assert found[:3] == ["ids", "token_embedding", "positions"]
        assert found[3:] == [*inside, "decoder.final_norm", "logits"]
        assert list(differences(peer, ours, self.ids)) == found

    @pytest.mark.parametrize(
        ("fault", "place"),
        [
            (exact_gelu, "decoder.blocks.1.feed_forward.activation"),
            (epsilon, "decoder.blocks.2.feed_forward_norm"),
            (untransposed, "decoder.blocks.1.attention.output"),
            (other_scale, "decoder.blocks.0.attention.mixed"),
            (no_positions, "positions"),
            (no_final_norm, "decoder.final_norm"),
            (other_head, "logits"),
        ],
    )
    def test_each_fault_is_named_at_its_cause(
        self, ours: GPT, peer: Any, fault: Any, place: str
    ) -> None:
        fault(ours)
        found = first_difference(ours, peer, self.ids)
        assert found is not None
        assert found[0] == place
        assert found[1] > 1e-4
        assert (
            first_difference(ours, peer, self.ids, tolerance=1e9 if found[1] < 1e9 else math.inf)
            is None
        )

    def test_not_a_number_is_a_difference(self, ours: GPT, peer: Any) -> None:
        with torch.no_grad():
            ours.decoder.blocks[1].feed_forward_norm.bias[3] = math.nan
        found = first_difference(ours, peer, self.ids)
        assert found is not None
        assert found[0] == "decoder.blocks.1.feed_forward_norm"

    def test_a_golden_trace_is_stored_and_loaded(
        self, ours: GPT, peer: Any, tmp_path: Path
    ) -> None:
        save_file(trace(peer, self.ids), tmp_path / "golden.safetensors")
        golden = load_file(tmp_path / "golden.safetensors")
        assert first_difference(ours, golden, self.ids) is None
        assert first_difference(golden, ours, self.ids) is None
        untransposed(ours)
        found = first_difference(ours, golden, self.ids)
        assert found is not None
        assert found[0] == "decoder.blocks.1.attention.output"
        with pytest.raises(ValueError, match="made from other ids"):
            first_difference(ours, golden, self.ids.flip(0))

    def test_a_trace_leaves_the_model_as_it_was(self, ours: GPT) -> None:
        ours.train()
        seen = trace(ours, self.ids)
        assert ours.training
        assert not any(module._forward_hooks for module in ours.modules())
        assert not any(module._forward_pre_hooks for module in ours.modules())
        torch.testing.assert_close(seen["logits"], ours.eval()(self.ids))
        kept = seen["decoder.blocks.0"].clone()
        ours(self.ids.flip(0))
        assert torch.equal(seen["decoder.blocks.0"], kept)

    def test_a_trace_has_the_numbers_of_the_parts(self, ours: GPT) -> None:
        seen = trace(ours, self.ids)
        stream = ours.token_embedding(self.ids) + ours.positions(7)
        torch.testing.assert_close(
            seen["decoder.blocks.0.attention_norm"],
            ours.decoder.blocks[0].attention_norm(stream),
        )
        mixed = seen["decoder.blocks.2.attention.mixed"]
        torch.testing.assert_close(
            ours.decoder.blocks[2].attention.output(mixed),
            seen["decoder.blocks.2.attention.output"],
        )


def test_the_outputs_of_the_released_model_are_left_alone_where_it_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> Path:
        raise OSError(f"{name} cannot be fetched")

    notebook = tmp_path / "chapter.ipynb"
    notebook.write_text("as it was")
    monkeypatch.setattr(gpt2_outputs, "local_folder", refuse)
    assert gpt2_outputs.refresh(notebook) == 1
    assert notebook.read_text() == "as it was"
    said = capsys.readouterr().out
    assert said == "nothing was changed: openai-community/gpt2 cannot be fetched\n"


def test_outputs_of_another_model_are_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = nbformat.v4.new_code_cell("print('A small random model stands in for them.')")
    notebook = tmp_path / "chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    before = notebook.read_bytes()
    monkeypatch.setattr(gpt2_outputs, "local_folder", lambda name: tmp_path)
    monkeypatch.setattr(gpt2_outputs.notebooks, "execute", lambda path: None)
    assert gpt2_outputs.refresh(notebook) == 1
    assert notebook.read_bytes() == before
    cell.outputs = [nbformat.v4.new_output("stream", text="These are the released weights.\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    assert gpt2_outputs.refresh(notebook) == 0
    assert "shows what the released weights say" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.network
def test_the_chapter_speaks_with_the_released_weights(tmp_path: Path) -> None:
    """As `make gpt2-outputs` does it, on a copy."""
    notebook = tmp_path / "14_gpt2.ipynb"
    notebook.write_bytes((ROOT / "book" / "14_gpt2.ipynb").read_bytes())
    assert gpt2_outputs.refresh(notebook) == 0
    cells = nbformat.read(notebook, as_version=4).cells
    said = "".join(o.get("text", "") for cell in cells for o in cell.get("outputs", []))
    assert "124,439,808 parameters" in said
    assert "random stand-in" not in said


@pytest.mark.network
def test_the_released_model() -> None:
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
    theirs = greedy_text(peer, prompt, 20, tokenizer.end_of_text)
    source = generate_ids(model, prompt[0].tolist(), SampleConfig(temperature=0.0))
    assert [next(source) for _ in theirs] == theirs


class TestTheChapterTakesTheReleasedWeights:
    """The two cells of the chapter, with stand-ins for what the hub's cache holds."""

    SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog does not mind."

    def run(self, workplace: Path, fetch: bool = False) -> dict[str, Any]:
        """Run the cells as on a machine that is not Colab; the chapter's names afterwards."""
        notebook = nbformat.read(ROOT / "book" / "14_gpt2.ipynb", as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        (steps,) = (c.split("\n\n\n")[0] for c in cells if c.startswith("def greedy("))
        (place,) = (place for place, c in enumerate(cells) if c.startswith("fetch = "))
        cell = "\n".join(cells[place : place + 2])
        names = {**vars(gpt2), "math": math, "sys": sys, "workplace": workplace}
        names |= {"cached_folder": cached_folder, "local_folder": local_folder}
        names |= {"next_token_loss": next_token_loss, "from_pretrained": from_pretrained}
        names |= {"count_parameters": count_parameters}
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
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            batch_loss(model, ids).backward()
            optimizer.step()
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


def printed(capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
    check(answer)
    return capsys.readouterr().out


def our_name(theirs: str) -> str:
    place, kind = theirs.rsplit(".", 1)
    parts = place.split(".")
    layer = parts[1] if parts[0] == "h" else None
    if layer is not None:
        parts[1] = "{layer}"
    return f"{gpt2.GPT2_NAMES['.'.join(parts)]}.{kind}".format(layer=layer)


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


def load(tensors: dict[str, Tensor], heads: int, turned: bool = True) -> GPT:
    sizes = *tensors["wte.weight"].shape, len(tensors["wpe.weight"])
    vocab_size, width, context = sizes
    layers = sum(name.endswith("ln_1.bias") for name in tensors)
    model = GPT(GPTConfig(vocab_size, context, layers, heads, width))
    state = from_gpt2_names(tensors, layers)
    if not turned:
        name = "decoder.blocks.0.attention.output.weight"
        state[name] = state[name].t()
    model.load_state_dict(state)
    return model


class TestChecks:
    @pytest.mark.parametrize(
        ("check", "wrong"),
        [
            (checks.gpt2.our_name, lambda name: None),
            (checks.gpt2.our_name, lambda name: name),
            (checks.gpt2.our_name, lambda name: gpt2.GPT2_NAMES[name]),
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
            (checks.gpt2.load, lambda tensors, heads: None),
            (checks.gpt2.load, lambda tensors, heads: load(tensors, 1)),
            (checks.gpt2.load, lambda tensors, heads: load(tensors, heads, turned=False)),
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
            (checks.gpt2.load, load),
        ],
    )
    def test_is_content_with_the_right_one(
        self, check: Any, right: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, right).startswith("correct: ")
