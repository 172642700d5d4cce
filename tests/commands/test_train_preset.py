"""`mini-gpt train --preset`: a model and its training by one word, and what goes before it."""

from __future__ import annotations

import pytest

from mini_gpt.commands.train_options import RECIPES, Train, default_train
from mini_gpt.support.recipes import GPT2_TRAINING
from training_command import complaint


def test_a_preset_is_its_recipe() -> None:
    for name, (model, training) in RECIPES.items():
        train = default_train(["--preset", name])
        assert (train.model, train.training) == (model, training)
    assert default_train(["--preset=gpt2"]).training == GPT2_TRAINING


def test_several_processes_share_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    training = default_train(["--preset", "gpt2"]).training
    assert training.accumulation_steps == GPT2_TRAINING.accumulation_steps // 8
    assert training.batch_size == GPT2_TRAINING.batch_size, "of all processes together"


def test_its_help_names_every_recipe() -> None:
    from mini_gpt.commands.help_texts import explanations

    said = explanations(Train)["preset"]
    assert '"gpt2"' in said
    assert "124 million parameters" in said


def test_a_run_goes_on_with_its_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--preset", "gpt2", "--resume", "runs/old"]
    assert "leave --preset out" in complaint(words, capsys)


def test_an_unknown_preset_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    from mini_gpt.commands.cli import main

    with pytest.raises(SystemExit):
        main(["train", "--preset", "gpt3"])
    message = capsys.readouterr().err
    assert all(name in message for name in RECIPES)
