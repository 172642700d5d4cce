"""Where a model lies: in a folder, in the package, or in the hub's cache."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mini_gpt.config import PRESETS
from mini_gpt.support.files import printable
from mini_gpt.support.workspace import finish_replacement

# What a released GPT-2 consists of. Other formats of the same weights are not fetched.
HUB_FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "mini_gpt_tokenizer.json",
]

# The released models by their short names.
SHORT_NAMES = {
    **{name: f"openai-community/{name}" for name in PRESETS if name.startswith("gpt2")},
    "distilgpt2": "distilbert/distilgpt2",
}

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")

# The trained model that comes with the package; `make pretrain` writes it.
SHIPPED_NAME = "shakespeare"
SHIPPED = Path(__file__).parent.parent / "pretrained" / SHIPPED_NAME


def local_folder(
    name_or_folder: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """A model's folder; a model of the Hugging Face hub is fetched once, then cached.

    Where it is cached, and how to stay offline (`HF_HUB_OFFLINE=1`), is up to
    `huggingface_hub`.

    Args:
        name_or_folder: A folder of a model, or of a run, whose model is meant; or
            "shakespeare", the model that comes with the package (give a folder of that
            name as "./shakespeare"); or a name on the hub: owner, slash, model, or for
            the released models the short one, for instance "gpt2".
        revision: On the hub: a branch, a tag or a commit.
        token: For the hub; True means the one that is stored on this machine.
        local_files_only: Whether to look into the cache only.

    Raises:
        ValueError: if it is neither, or `huggingface_hub` is not installed.
        OSError: if the model cannot be fetched.
    """
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    if name_or_folder == SHIPPED_NAME:  # the name, not a path
        return SHIPPED
    finish_replacement(folder)
    if folder.exists():
        return model_in(folder)
    name = SHORT_NAMES.get(name, name)
    if Path(name).parent.exists() or not _HUB_NAME.fullmatch(name):
        raise ValueError(
            f"there is no folder {printable(name)}; a model on the hub has a name "
            "like openai-community/gpt2"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"there is no folder {name}; to fetch a model of that name from the "
            "Hugging Face hub: pip install huggingface_hub"
        ) from None
    options: dict[str, Any] = {"revision": revision, "token": token}
    given = {name: value for name, value in options.items() if value is not None}
    if local_files_only:
        given["local_files_only"] = True
    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, **given))
    except (OSError, ValueError) as fault:
        reason = str(fault).strip().split("\n")[0]
        raise OSError(
            f"{name} is no folder here, and cannot be fetched from the Hugging Face "
            f"hub ({reason})"
        ) from fault


def on_hub(name: str) -> bool:
    """Whether this can be the name of a model on the hub, and not that of a folder."""
    owner, slash, _ = name.partition("/")
    if not slash:
        return name in SHORT_NAMES
    return _HUB_NAME.fullmatch(name) is not None and not Path(owner).exists()


def model_in(folder: Path) -> Path:
    """The folder itself, or where it is that of a run, the model that the run keeps."""
    kept = folder / "checkpoint"
    if (folder / "config.json").exists():
        return folder
    finish_replacement(kept)
    return kept if kept.is_dir() else folder


def cached_folder(name: str) -> Path | None:
    """The folder of a model in the hub's cache on this machine; no network is used.

    Args:
        name: A name on the hub: owner, slash, model.

    Returns:
        A folder that has at least the shape, the weights in one file, and the
        tokenizer; None where the cache lacks one of them.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    found = [try_to_load_from_cache(name, file) for file in wanted]
    # What is known to be missing is reported by an object that is no path.
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(wanted) else None
