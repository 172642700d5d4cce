"""Numbers 22 and 23: checkpoints as others write them load with equal logits, by any name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mini_gpt import (
    GPT,
    GPTConfig,
    crop_context,
    from_huggingface,
    from_pretrained,
    resize_vocab,
    save_pretrained,
    to_huggingface,
)
from mini_gpt.commands.train_options import default_train
from mini_gpt.config import PRESETS
from peers import (
    TOKENIZER,
    build,
    build_peer,
    gpt2_like_tokenizer,
    ids_for,
    transformers,
    write_huggingface,
    write_two_files,
)


def change_config(folder: Path, *dropped: str, **changes: Any) -> None:
    """Drop and change fields of a folder's `config.json`."""
    content = json.loads((folder / "config.json").read_text()) | changes
    content = {name: value for name, value in content.items() if name not in dropped}
    (folder / "config.json").write_text(json.dumps(content))


def assert_same_logits(folder: Path, **options: Any) -> GPT:
    """Ours and that of `transformers`, in double precision."""
    ours = from_huggingface(folder, **options)
    peer = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    ids = ids_for(ours.config.vocab_size, 3, min(7, ours.config.context_length))
    with torch.no_grad():
        expected, found = peer(ids).logits, ours.double()(ids)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    return ours


class TestOthersCheckpoints:
    """Number 22: equal logits, or the reason why not."""

    @pytest.mark.slow
    @settings(
        deadline=None,
        max_examples=15,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_of_any_activation_and_epsilon(self, tmp_path: Path, data: st.DataObject) -> None:
        heads = data.draw(st.integers(1, 3), "heads")
        fields = {
            "activation_function": data.draw(
                st.sampled_from(["gelu_new", "gelu", "gelu_pytorch_tanh"]), "activation"
            ),
            "layer_norm_epsilon": data.draw(st.sampled_from([1e-6, 1e-5, 1e-3]), "epsilon"),
            "n_embd": heads * data.draw(st.integers(1, 5), "head width"),
            "n_head": heads,
            "n_layer": data.draw(st.integers(1, 3), "layers"),
        }
        folder = write_huggingface(build_peer(**fields), tmp_path / "peer")
        ours = assert_same_logits(folder)
        assert ours.config.norm_epsilon == fields["layer_norm_epsilon"]
        assert (ours.config.activation == "gelu") == (fields["activation_function"] == "gelu")
        self.check_export(ours, tmp_path / "exported")

    def check_export(self, model: GPT, folder: Path) -> None:
        """And back: what we write computes the same there, activation and epsilon too."""
        to_huggingface(model, TOKENIZER, folder)
        assert assert_same_logits(folder).config == model.config

    def test_only_the_head_is_stored(self, tmp_path: Path) -> None:
        peer = build_peer()
        folder = write_huggingface(peer, tmp_path / "peer")
        tensors = load_file(folder / "model.safetensors")
        table = tensors.pop("transformer.wte.weight")
        save_file({**tensors, "lm_head.weight": table}, folder / "model.safetensors")
        ids = ids_for(17)
        torch.testing.assert_close(from_huggingface(folder)(ids), peer(ids).logits)

    @pytest.mark.parametrize(
        ("kinds", "clear"),
        [
            ({torch.float16, torch.float32}, torch.float32),
            ({torch.bfloat16, torch.float32}, torch.float32),
            ({torch.bfloat16, torch.float16, torch.float32}, torch.float32),
            ({torch.float32, torch.float64}, torch.float64),
            ({torch.bfloat16, torch.float16}, None),
        ],
    )
    def test_mixed_number_formats(
        self, kinds: set[torch.dtype], clear: torch.dtype | None, tmp_path: Path
    ) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "peer")
        tensors = load_file(folder / "model.safetensors")
        order = sorted(kinds, key=str)
        for place, name in enumerate(sorted(tensors)):
            tensors[name] = tensors[name].to(order[place % len(order)])
        save_file(tensors, folder / "model.safetensors")
        for dtype in (torch.float32, "float64"):
            model = assert_same_logits(folder, dtype=torch.float64)
            assert model.token_embedding.weight.dtype == torch.float64
            assert from_huggingface(folder, dtype=dtype).config.layers == 3
        if clear is None:
            with pytest.raises(ValueError, match=r"choose, for instance dtype=torch\.float32"):
                from_huggingface(folder)
        else:
            assert from_huggingface(folder).token_embedding.weight.dtype == clear

    @pytest.mark.parametrize("dtype", ["float8", "int64", torch.int64])
    def test_a_number_format_that_is_none(self, dtype: Any, tmp_path: Path) -> None:
        save_pretrained(build(), TOKENIZER, tmp_path / "ours")
        with pytest.raises(ValueError, match=r"dtype .* must be one of float64, float32, float16"):
            from_pretrained(tmp_path / "ours", dtype=dtype)

    def test_three_dropouts_became_one(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(attn_pdrop=0.0, resid_pdrop=0.2), tmp_path / "a")
        config = assert_same_logits(folder).config
        rates = config.dropout, config.embedding_dropout, config.attention_dropout
        assert rates == (0.2, 0.1, 0.0)
        self.check_export(assert_same_logits(folder), tmp_path / "exported")
        theirs = transformers.GPT2Config.from_pretrained(tmp_path / "exported")
        assert (theirs.resid_pdrop, theirs.embd_pdrop, theirs.attn_pdrop) == (0.2, 0.1, 0.0)
        change_config(folder, "embd_pdrop")  # left out, it is 0.1 there
        assert from_huggingface(folder).config == config
        change_config(folder, "resid_pdrop", embd_pdrop=None, attn_pdrop=0.1)
        plain = from_huggingface(folder).config
        rates = plain.dropout, plain.embedding_dropout, plain.attention_dropout
        assert rates == (0.1, None, None)

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize(
        "rates",
        [
            {"embd_pdrop": 0.4, "attn_pdrop": 0.0, "resid_pdrop": 0.0},
            {"embd_pdrop": 0.0, "attn_pdrop": 0.4, "resid_pdrop": 0.0},
            {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.4},
            {"embd_pdrop": 0.1, "attn_pdrop": 0.6, "resid_pdrop": 0.3},
        ],
    )
    def test_each_dropout_acts_where_theirs_does(
        self, rates: dict[str, float], attention: str, tmp_path: Path
    ) -> None:
        """With one seed both drop the same numbers: equal logits while training."""
        folder = write_huggingface(build_peer(**rates), tmp_path / "peer")
        peer = transformers.GPT2LMHeadModel.from_pretrained(
            folder, dtype=torch.float64, attn_implementation=attention
        ).train()
        ours = from_huggingface(folder, dtype="float64").train()
        ids = ids_for(17)
        found = []
        for model in (ours, lambda ids: peer(ids).logits):
            torch.manual_seed(3)
            found.append(model(ids))
        torch.testing.assert_close(*found, atol=1e-9, rtol=1e-9)
        assert not torch.allclose(found[0], ours.eval()(ids), atol=1e-2)

    def test_a_dropout_that_is_chosen_is_that_of_every_place(self, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(vocab_size=280, attn_pdrop=0.3), tmp_path / "a")
        write_two_files(gpt2_like_tokenizer(), folder)
        model, tokenizer = from_pretrained(folder, dropout=0.0)
        config = model.config
        rates = config.dropout, config.embedding_dropout, config.attention_dropout
        assert rates == (0.0, None, None)
        ids = ids_for(280)
        assert torch.equal(model.train()(ids), model.eval()(ids))
        config = from_pretrained(folder, dropout=0.25, embedding_dropout=0.5)[0].config
        rates = config.dropout, config.embedding_dropout, config.attention_dropout
        assert rates == (0.25, 0.5, None)
        config = from_pretrained(folder, attention_dropout=0.0)[0].config
        assert (config.dropout, config.attention_dropout) == (0.1, 0.0)
        save_pretrained(from_pretrained(folder)[0], tokenizer, tmp_path / "ours")
        assert from_pretrained(tmp_path / "ours")[0].config.attention_dropout == 0.3

    def test_also_on_the_command_line_and_in_a_file(self, tmp_path: Path) -> None:
        model = build(dropout=0.1, attention_dropout=0.3)
        save_pretrained(model, TOKENIZER, tmp_path / "ours")
        start = ["--initialize-from", str(tmp_path / "ours")]
        assert default_train(start).model.attention_dropout == 0.3
        assert default_train([*start, "--dropout", "0.2"]).model.attention_dropout is None
        settings = tmp_path / "settings.toml"
        settings.write_text("[model]\ndropout = 0.2\n", encoding="utf-8")
        shape = default_train([*start, "--config", str(settings)]).model
        assert (shape.dropout, shape.attention_dropout) == (0.2, None)
        settings.write_text("[model]\ndropout = 0.2\nattention_dropout = 0.0\n", encoding="utf-8")
        shape = default_train([*start, "--config", str(settings)]).model
        assert (shape.dropout, shape.attention_dropout) == (0.2, 0.0)

    @pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
    @pytest.mark.parametrize("name", ["embd_pdrop", "attn_pdrop"])
    def test_a_dropout_that_cannot_be(self, name: str, rate: Any, tmp_path: Path) -> None:
        folder = write_huggingface(build_peer(), tmp_path / "a")
        change_config(folder, **{name: rate})
        place = {"embd_pdrop": "embedding_dropout", "attn_pdrop": "attention_dropout"}[name]
        with pytest.raises(ValueError, match=f"{place} .* must be .*{place} is {name}"):
            from_huggingface(folder)

    def test_one_more_row_for_a_pad_token(self, tmp_path: Path) -> None:
        peer = build_peer(vocab_size=280)
        peer.resize_token_embeddings(281)
        folder = write_huggingface(peer, tmp_path / "peer")
        write_two_files(gpt2_like_tokenizer(), folder)
        model, tokenizer = from_pretrained(folder)
        assert model.config.vocab_size == 281
        assert tokenizer.vocab_size == 280
        assert_same_logits(folder)

    @pytest.mark.parametrize(
        "dropped",
        [
            ("model_type",),
            ("model_type", "architectures", "activation_function", "layer_norm_epsilon"),
            ("model_type", "n_positions", "n_inner", "resid_pdrop"),
        ],
    )
    def test_a_config_that_leaves_out_what_is_usual(
        self, dropped: tuple[str, ...], tmp_path: Path
    ) -> None:
        peer = build_peer()
        folder = write_huggingface(peer, tmp_path / "peer")
        change_config(folder, *dropped, n_ctx=9)
        ids = ids_for(17)
        torch.testing.assert_close(from_huggingface(folder)(ids), peer(ids).logits)

    def test_the_shape_of_distilgpt2(self, tmp_path: Path) -> None:
        """Half of GPT-2's layers, and a config with fields of a task, as it is released."""
        peer = build_peer(n_layer=6, n_embd=24, n_head=12)
        folder = write_huggingface(peer, tmp_path / "peer")
        change_config(
            folder,
            _num_labels=1,
            id2label={"0": "LABEL_0"},
            n_ctx=9,
            summary_type="cls_index",
            task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
        )
        tensors = load_file(folder / "model.safetensors")
        for layer in range(6):
            tensors[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 9, 9).tril()
        save_file(tensors, folder / "model.safetensors")
        assert assert_same_logits(folder).config.layers == 6

    def test_an_export_says_what_others_look_for(self, tmp_path: Path) -> None:
        tokenizer = gpt2_like_tokenizer()
        to_huggingface(build(vocab_size=280), tokenizer, tmp_path / "shared")
        content = json.loads((tmp_path / "shared" / "config.json").read_text())
        assert content["n_ctx"] == content["n_positions"] == 8
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "shared")
        assert theirs.model_max_length == 8
        generation = transformers.GenerationConfig.from_pretrained(tmp_path / "shared")
        assert generation.eos_token_id == generation.bos_token_id == tokenizer.end_of_text == 279

    def test_pickled_weights_are_named_and_can_be_converted(self, tmp_path: Path) -> None:
        peer = build_peer()
        folder = write_huggingface(peer, tmp_path / "peer")
        (folder / "model.safetensors").unlink()
        torch.save(peer.state_dict(), folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle") as fault:
            from_huggingface(folder)
        recipe = str(fault.value).split("without running any: ")[1]
        assert "weights_only=True" in recipe
        recipe = recipe.replace("pytorch_model.bin", str(folder / "pytorch_model.bin"))
        recipe = recipe.replace("'model.safetensors'", f"'{folder / 'model.safetensors'}'")
        import safetensors.torch

        exec(recipe, {"torch": torch, "safetensors": safetensors})
        ids = ids_for(17)
        torch.testing.assert_close(from_huggingface(folder)(ids), peer(ids).logits)


class TestNamesAndOptions:
    """Number 23."""

    @pytest.fixture
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What the hub is asked for; it always gives one small model."""
        folder = write_huggingface(build_peer(vocab_size=280), tmp_path / "cache")
        write_two_files(gpt2_like_tokenizer(), folder)
        questions: list[Any] = []

        def snapshot_download(name: str, *, allow_patterns: list[str], **options: Any) -> str:
            questions.append((name, options))
            return str(folder)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        monkeypatch.chdir(tmp_path)
        return questions

    @pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("gpt2")])
    def test_short_names(self, name: str, asked: list[Any]) -> None:
        assert from_pretrained(name)[0].config.vocab_size == 280
        assert from_huggingface(name).config.vocab_size == 280
        assert asked == [(f"openai-community/{name}", {})] * 2

    def test_a_folder_of_that_name_comes_first(self, asked: list[Any]) -> None:
        save_pretrained(build(), TOKENIZER, "gpt2")
        assert from_pretrained("gpt2")[0].config == build().config
        assert asked == []

    def test_options_reach_the_hub(self, asked: list[Any]) -> None:
        options = {"revision": "abc", "token": "secret", "local_files_only": True}
        from_pretrained("distilgpt2", **options)
        from_huggingface("gpt2", **options)
        assert asked == [("distilbert/distilgpt2", options), ("openai-community/gpt2", options)]

    def test_fields_can_be_changed(self, tmp_path: Path) -> None:
        model = build(position="rotary")
        save_pretrained(model, TOKENIZER, tmp_path / "ours")
        loaded, _ = from_pretrained(tmp_path / "ours", dropout=0.25, context_length=20)
        assert (loaded.config.dropout, loaded.config.context_length) == (0.25, 20)
        assert loaded.decoder.blocks[0].feed_forward.dropout.p == 0.25
        ids = ids_for(11)
        torch.testing.assert_close(loaded(ids), model(ids))
        assert loaded(ids_for(11, 1, 20)).shape == (1, 20, 11)

    @pytest.mark.parametrize(
        ("change", "kind", "message"),
        [
            ({"droput": 0.1}, TypeError, "droput"),
            ({"dropout": "much"}, TypeError, "dropout"),
            ({"dropout": 1.5}, ValueError, "dropout 1.5"),
            ({"layers": 3}, ValueError, r"blocks\.2\..* is missing"),
            ({"context_length": 9}, ValueError, r"positions\.weight has shape \(8, 12\)"),
        ],
    )
    def test_a_change_that_cannot_be(
        self, change: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
    ) -> None:
        save_pretrained(build(), TOKENIZER, tmp_path / "ours")
        with pytest.raises(kind, match=message):
            from_pretrained(tmp_path / "ours", **change)


class TestResizing:
    def test_more_tokens_are_neither_likely_nor_unlikely(self) -> None:
        model = build()
        larger = resize_vocab(model, 14)
        ids = ids_for(11)
        logits = larger(ids)
        torch.testing.assert_close(logits[..., :11], model(ids))
        torch.testing.assert_close(logits[..., 13], model(ids).mean(-1))
        assert larger.config.vocab_size == 14
        assert model.config.vocab_size == 11

    def test_fewer_tokens(self) -> None:
        model, ids = build(), ids_for(5)
        torch.testing.assert_close(resize_vocab(model, 5)(ids), model(ids)[..., :5])

    @pytest.mark.parametrize("multiple", [4, 16])
    def test_padding_is_kept_at_zero(self, multiple: int) -> None:
        model = build(pad_vocab_to_multiple=multiple)
        resized = resize_vocab(model, 13)
        assert len(resized.token_embedding.weight) == 16
        assert not resized.token_embedding.weight[13:].any()
        torch.testing.assert_close(resized(ids_for(11))[..., :11], model(ids_for(11)))

    def test_padding_of_before_is_no_token(self) -> None:
        model = build(pad_vocab_to_multiple=16)
        resized = resize_vocab(model, 12)
        mean = model.token_embedding.weight[:11].mean(0)
        torch.testing.assert_close(resized.token_embedding.weight[11], mean)

    @pytest.mark.parametrize("position", ["learned", "sinusoidal", "rotary", "none"])
    def test_a_cropped_context(self, position: Any) -> None:
        model = build(position=position)
        cropped = crop_context(model, 5)
        ids = ids_for(11, 3, 5)
        torch.testing.assert_close(cropped(ids), model(ids))
        assert cropped.config.context_length == 5
        with pytest.raises(ValueError, match="do not fit the context of 5"):
            cropped(ids_for(11, 3, 6))

    def test_a_copy_in_its_own_memory_and_of_its_own_kind(self) -> None:
        model = build().double().train()
        for copy in (crop_context(model, 8), resize_vocab(model, 11)):
            assert copy.training
            before = copy.token_embedding.weight.clone()
            assert torch.equal(before, model.token_embedding.weight)
            assert before.dtype == torch.float64
            for name, parameter in model.named_parameters():
                assert dict(copy.named_parameters())[name].data_ptr() != parameter.data_ptr()

    @pytest.mark.parametrize("length", [0, 9, 2.0, -1])
    def test_a_context_that_cannot_be(self, length: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="context_length"):
            crop_context(build(), length)

    @pytest.mark.parametrize("size", [0, 2.0])
    def test_a_vocabulary_that_cannot_be(self, size: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="vocab_size"):
            resize_vocab(build(), size)


def test_every_field_survives_our_own_folder(tmp_path: Path) -> None:
    config = GPTConfig(7, 8, layers=1, heads=2, width=8, activation="gelu", norm_epsilon=1e-6)
    save_pretrained(GPT(config), TOKENIZER, tmp_path / "ours")
    assert from_pretrained(tmp_path / "ours")[0].config == config
