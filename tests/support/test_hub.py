"""Models of the Hugging Face hub: what its cache on this machine holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mini_gpt.support.hub import SHIPPED, cached_folder, local_folder

HUB_NAME = "openai-community/gpt2"


class TestCachedFolder:
    @pytest.fixture
    def snapshot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A stand-in for the hub's cache, with the three files of one model."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        cache = tmp_path / "models--openai-community--gpt2"
        snapshot = cache / "snapshots" / "0a1b2c"
        snapshot.mkdir(parents=True)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("0a1b2c")
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (snapshot / name).write_text("some text")
        return snapshot

    def test_finds_a_complete_model(self, snapshot: Path) -> None:
        assert cached_folder(HUB_NAME) == snapshot
        assert cached_folder("openai-community/gpt2-medium") is None

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_an_incomplete_one_is_none(self, name: str, snapshot: Path) -> None:
        (snapshot / name).unlink()
        assert cached_folder(HUB_NAME) is None

    def test_a_file_known_not_to_exist_is_none(self, snapshot: Path) -> None:
        (snapshot / "tokenizer.json").unlink()
        known = snapshot.parents[1] / ".no_exist" / snapshot.name
        known.mkdir(parents=True)
        (known / "tokenizer.json").touch()
        assert cached_folder(HUB_NAME) is None

    def test_without_the_hub_s_package_is_none(
        self, snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert cached_folder(HUB_NAME) is None


def test_folders_come_before_names_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shakespeare").mkdir()
    assert local_folder("shakespeare") == SHIPPED
    assert local_folder("./shakespeare") == Path("shakespeare")
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert local_folder("owner/model") == Path("owner/model")
    with pytest.raises(ValueError, match="there is no folder owner/other; a model on the hub"):
        local_folder("owner/other")
