"""The model that comes with the package: what its card says, and that it writes with no network."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import numpy as np
import pretrain
import pytest
import torch
from safetensors import safe_open

from mini_gpt import evaluate, from_pretrained, generate, load_corpus, train_val_split
from mini_gpt.commands.cli import main
from mini_gpt.commands.train_options import default_train
from mini_gpt.support.hub import SHIPPED
from mini_gpt.support.settings_file import read_settings

MEASURED = json.loads((SHIPPED / "measured.json").read_text(encoding="utf-8"))
CARD = (SHIPPED / "README.md").read_text(encoding="utf-8")


class TestWhatIsShipped:
    def test_it_is_small_and_whole(self) -> None:
        assert {path.name for path in SHIPPED.iterdir()} == set(pretrain.FILES)
        assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 8_000_000
        with safe_open(SHIPPED / "model.safetensors", "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds == {"F16"}

    def test_it_was_made_by_the_recipe_that_is_here(self) -> None:
        recipe = read_settings(pretrain.RECIPE)
        assert pretrain.agrees(recipe, read_settings(SHIPPED / "settings.toml"))
        recipe["training"]["steps"] += 1
        assert not pretrain.agrees(recipe, read_settings(SHIPPED / "settings.toml"))

    def test_the_command_understands_its_settings(self) -> None:
        for path in (SHIPPED / "settings.toml", pretrain.RECIPE):
            command = default_train(["--config", str(path)])
            assert command.model.width == 256
            assert command.training.steps == 5500
            assert command.keep_checkpoints == 2

    def test_the_card_gives_what_was_measured(self) -> None:
        assert f"**{MEASURED['bits_per_byte']:.4f} bits per byte**" in CARD
        assert f"{MEASURED['parameters']:,} parameters" in CARD

    def test_the_card_shows_what_the_model_writes(self) -> None:
        model, tokenizer = from_pretrained("shakespeare")
        config = pretrain.SampleConfig(max_new_tokens=12, temperature=0.8)
        written = generate(model, tokenizer, ["ROMEO.\n"], config)[0].text
        shown = re.sub(r"^ {4}", "", CARD, flags=re.MULTILINE)
        assert written.splitlines()[0] in shown

    @pytest.mark.slow
    def test_it_is_about_as_good_as_the_card_says(self) -> None:
        """Over a twentieth of the validation part."""
        model, tokenizer = from_pretrained("shakespeare")
        validation = train_val_split(load_corpus("shakespeare"))[1]
        ids = np.array(tokenizer.encode(validation[: len(validation) // 20]))
        loss = evaluate(model, ids, context_length=model.config.context_length, batch_size=16)
        assert loss == pytest.approx(MEASURED["nats_per_token"], abs=0.2)  # another text

    @pytest.mark.slow
    def test_it_is_as_good_as_the_card_says(self) -> None:
        """Over the whole validation part, as anybody would load it."""
        found = pretrain.measure(SHIPPED, "shakespeare")
        assert found.pop("bits_per_byte") == pytest.approx(MEASURED["bits_per_byte"], abs=2e-4)
        assert found.pop("nats_per_token") == pytest.approx(MEASURED["nats_per_token"], abs=2e-4)
        assert found == {name: MEASURED[name] for name in found}


class TestLoading:
    def test_it_is_widened_and_ready_to_write(self) -> None:
        model, tokenizer = from_pretrained("shakespeare")
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert not model.training
        assert tokenizer.vocab_size == model.config.vocab_size

    def test_another_format_can_be_asked_for(self) -> None:
        model, _ = from_pretrained("shakespeare", dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}

    def test_a_folder_of_that_name_is_told_apart(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "shakespeare").mkdir()
        assert from_pretrained("shakespeare")[0].config.vocab_size > 256
        for folder in ("./shakespeare", Path("shakespeare")):
            with pytest.raises(ValueError, match=r"config\.json"):
                from_pretrained(folder)

    def test_the_command_writes_with_no_network(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("the network was asked")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        options = ["--max-new-tokens", "20", "--device", "cpu", "--seed", "7"]
        assert main(["sample", "--prompt", "JULIET.\n", *options]) == 0
        first = capsys.readouterr().out
        assert first.startswith("JULIET.\n")
        assert len(first) > len("JULIET.\n") + 20
        assert main(["sample", "shakespeare", "--prompt", "JULIET.\n", *options]) == 0
        assert capsys.readouterr().out == first


class TestMakingIt:
    """The whole of `make pretrain`, with a recipe of a second."""

    OPTIONS = (
        *("--vocab-size", "280", "--context-length", "16", "--layers", "1", "--width", "8"),
        *("--batch-size", "3", "--steps", "4", "--decay-steps", "2", "--warmup-steps", "1"),
        *("--eval-every", "2", "--sample-tokens", "0", "--heads", "2", "--device", "cpu"),
    )

    @pytest.fixture
    def arguments(self, tmp_path: Path) -> list[str]:
        text = tmp_path / "corpus.txt"
        text.write_text("ROMEO.\nIs the day so young?\n\nBENVOLIO.\nBut new struck nine.\n\n" * 60)
        folders = ["--run", str(tmp_path / "run"), "--into", str(tmp_path / "made")]
        return [*folders, "--corpus", str(text), *self.OPTIONS]

    def test_what_it_ships_can_be_used(self, arguments: list[str], tmp_path: Path) -> None:
        assert pretrain.main(arguments) == 0
        made = tmp_path / "made"
        assert {path.name for path in made.iterdir()} == set(pretrain.FILES)
        model, tokenizer = from_pretrained(made)
        assert model.token_embedding.weight.dtype == torch.float16
        assert tokenizer.vocab_size == 280
        measured = json.loads((made / "measured.json").read_text())
        final = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
        assert measured["bits_per_byte"] == pytest.approx(final["bits_per_byte"], abs=1e-3)

    def test_the_model_in_the_package_is_not_replaced_by_a_trial(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            pretrain.main(["--steps", "3"])
        assert "--into" in capsys.readouterr().err

    def test_an_unfinished_run_is_not_shipped(
        self, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert pretrain.main(arguments) == 0
        metrics = tmp_path / "run" / "metrics.jsonl"
        metrics.write_text("\n".join(metrics.read_text().splitlines()[:-1]) + "\n")
        before = (tmp_path / "made" / "README.md").read_bytes()
        with pytest.raises(ValueError, match="not finished"):
            pretrain.ship(tmp_path / "run", tmp_path / "made")
        assert (tmp_path / "made" / "README.md").read_bytes() == before

    def test_weights_that_half_precision_spoils_are_refused(
        self, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert pretrain.main(arguments) == 0
        worse = {"bits_per_byte": 9.0}
        monkeypatch.setattr(pretrain, "measure", lambda folder, corpus: dict(worse))
        with pytest.raises(ValueError, match="no rounding"):
            pretrain.ship(tmp_path / "run", tmp_path / "other")
        assert not (tmp_path / "other").exists()
