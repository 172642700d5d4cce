"""Models in folders: saved and read back bit by bit, or one clear error and nothing done."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import from_huggingface
from mini_gpt.model import GPT
from mini_gpt.support import model_folder
from mini_gpt.support.model_folder import CHECKPOINT_FILES, from_pretrained, save_pretrained
from mini_gpt.tokenizer import BPETokenizer
from peers import (
    TEXT,
    TOKENIZER,
    build,
    build_peer,
    gpt2_like_tokenizer,
    ids_for,
    transformers,
    write_huggingface,
    write_two_files,
)
from shapes import configs, shaken
from tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
TINY = tiny_config(vocab_size=11)


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
        with pytest.raises(ValueError, match="add_prefix_space of pre_tokenizer is True"):
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

    @pytest.mark.slow
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


DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


class TestRoundTrip:
    @settings(
        deadline=None,
        max_examples=15,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(configs(vocab_size=9, dropout=0.25), DTYPES)
    def test_gives_back_the_model_bit_by_bit(
        self, tmp_path: Path, config: GPTConfig, dtype: torch.dtype
    ) -> None:
        self.check(tmp_path, config, dtype)

    @pytest.mark.slow
    @settings(
        deadline=None,
        max_examples=100,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(configs(vocab_size=9), DTYPES)
    def test_gives_back_the_model_bit_by_bit_in_many_shapes(
        self, tmp_path: Path, config: GPTConfig, dtype: torch.dtype
    ) -> None:
        self.check(tmp_path, config, dtype)

    def check(self, tmp_path: Path, config: GPTConfig, dtype: torch.dtype) -> None:
        model = shaken(GPT(config)).to(dtype)
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
        save_pretrained(build(position=position).half(), TOKENIZER, tmp_path / "model")
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
        model = build(vocab_size=259)
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

    def test_reads_a_large_tensor_in_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Parts of one row each give the same model as one part for all."""
        model = build()
        save_pretrained(model, TOKENIZER, tmp_path / "model")
        monkeypatch.setattr("mini_gpt.support.weights.AT_ONCE", 1)
        restored = from_pretrained(tmp_path / "model")[0]
        for name, tensor in restored.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name]), name


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

        monkeypatch.setattr(model_folder, "save_tokenizer", fail)  # the last of the three files
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
            token_embedding__weight=torch.zeros(11, 12, dtype=torch.int64),
            surprise=torch.zeros(3),
        )
        with pytest.raises(ValueError) as fault:
            from_pretrained(folder)
        for part in (
            "decoder.final_norm.bias is missing, expected (12,)",
            "positions.weight has shape (9, 12), expected (8, 12)",
            "token_embedding.weight holds I64, expected one of F64, F32, F16, BF16",
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
            ({"layers": "2"}, r"config\.json is no configuration that we know"),
            ({"version": 1}, "version 1 of our format, this program reads 2; it was written by"),
            ({"version": None}, "version None of our format, this program reads 2"),
            ({"format": "other"}, "this is not a GPT-2: n_positions is missing"),
            ({"color": "blue"}, "color"),
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

    def test_a_folder_of_the_first_edition(self, folder: Path) -> None:
        """Its fields have other names, which the version explains before they do."""
        content = json.loads((folder / "config.json").read_text())
        content |= {"version": 1, "normalisation": content.pop("normalization")}
        content["vocab_multiple"] = content.pop("pad_vocab_to_multiple")
        (folder / "config.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"config\.json has version 1 of our format") as fault:
            from_pretrained(folder)
        assert "train the model anew" in str(fault.value)
        assert "normalisation" not in str(fault.value)

    def test_an_older_configuration_takes_the_defaults(self, folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        del content["dropout"], content["hidden_width"]
        (folder / "config.json").write_text(json.dumps(content))
        assert from_pretrained(folder)[0].config == TINY
