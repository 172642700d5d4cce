# %%
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from mini_gpt.corpus import shakespeare_documents


# %%
def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 text file; a byte-order mark is dropped and Windows line ends become plain ones.

    Args:
        path: The file.

    Raises:
        ValueError: naming the file and the offset of the first byte that is not UTF-8.
        OSError: if the file cannot be read.
    """
    return decode_text(Path(path).read_bytes(), str(path))


def decode_text(data: bytes, name: str) -> str:
    """Decode UTF-8 as `read_text` does.

    Args:
        data: The bytes.
        name: Where they come from, for the error message.

    Raises:
        ValueError: naming the source and the offset of the first byte that is not UTF-8.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"{name} is not UTF-8: byte {data[fault.start]:#04x} at offset {fault.start}; convert it first"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


# %%
def load_documents(source: str | os.PathLike[str] = "shakespeare") -> list[str]:
    """The texts of a corpus, one string a document.

    Args:
        source: "shakespeare" (fetched once, then cached), a text file (one document), or a folder whose `.txt`
            files, also in subfolders, are the documents in the order of their paths.

    Raises:
        ValueError: if there is no text in it, or a file is not UTF-8.
        FileNotFoundError: if there is no such file or folder.
        OSError: if a corpus cannot be fetched or read.
    """
    path = Path(source)
    if str(source) == "shakespeare":
        documents = [decode_text(data, name) for name, data in shakespeare_documents().items()]
    elif path.is_dir():
        documents = [read_text(file) for file in sorted(path.rglob("*.txt"))]
    elif path.exists():
        documents = [read_text(path)]
    else:
        raise FileNotFoundError(
            f"no corpus {str(source)!r}: give 'shakespeare', a text file, or a folder of .txt files"
        )
    if not any(document.strip() for document in documents):
        raise ValueError(f"corpus {str(source)!r} holds no text")
    return documents


def load_corpus(source: str | os.PathLike[str] = "shakespeare") -> str:
    """All documents of a corpus as one text, an empty line between them.

    Args:
        source: As for `load_documents`, with the same errors.
    """
    return "\n\n".join(load_documents(source))


# %%
def split_tokens(
    tokens: Integer[np.ndarray, " tokens"], validation_fraction: float = 0.1
) -> tuple[Integer[np.ndarray, " training"], Integer[np.ndarray, " validation"]]:
    """Cut a row of tokens once: the end is for validation.

    One cut, not a random choice of windows: windows overlap, so that nearly every window of a random choice
    would also have been trained on.

    Args:
        tokens: Token ids of a whole corpus.
        validation_fraction: Share that is kept for validation, between 0 and 1.

    Raises:
        ValueError: if the fraction is not strictly between 0 and 1.
    """
    if not 0 < validation_fraction < 1:
        raise ValueError(
            f"validation_fraction {validation_fraction} must lie between 0 and 1, for instance 0.1"
        )
    cut = len(tokens) - round(len(tokens) * validation_fraction)
    return tokens[:cut], tokens[cut:]


# %%
class BatchSource:
    """An endless supply of training batches: random windows, each with itself shifted by one.

    Deterministic: batch number n depends on the seed and on n alone, so a run that stops and goes on
    sees exactly the batches that it would have seen.

    Args:
        tokens: Token ids, in memory or memory-mapped.
        batch: Windows in a batch ($B$).
        context_length: Tokens that the model reads in each window ($T$).
        seed: Seed of the choice.

    Raises:
        ValueError: if the text is too short for one window and its targets.
    """

    def __init__(
        self,
        tokens: Integer[np.ndarray, " tokens"],
        *,
        batch: int,
        context_length: int,
        seed: int = 0,
    ) -> None:
        if batch < 1 or context_length < 1:
            raise ValueError(
                f"batch {batch} and context_length {context_length} must be at least 1"
            )
        if len(tokens) < context_length + 1:
            raise ValueError(
                f"{len(tokens)} tokens are too few for a context of {context_length}: "
                f"at least {context_length + 1} are needed; give more text or a shorter context"
            )
        self.tokens = tokens
        self.batch = batch
        self.context_length = context_length
        self.seed = seed
        self.drawn = 0

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]]:
        return self

    def __next__(self) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
        """The next batch: inputs, and targets that are the inputs' right neighbours."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, self.drawn]))
        starts = random.integers(len(self.tokens) - self.context_length, size=(self.batch, 1))
        windows = self.tokens[starts + np.arange(self.context_length + 1)].astype(np.int64)
        self.drawn += 1
        return torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(windows[:, 1:].copy())

    def state_dict(self) -> dict[str, int]:
        """Where this source stands; give it to `load_state_dict` to go on from here."""
        return {"seed": self.seed, "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another source with the same tokens and sizes stood."""
        self.seed, self.drawn = state["seed"], state["drawn"]


# %%
def evaluation_batches(
    tokens: Integer[np.ndarray, " tokens"], *, batch: int, context_length: int
) -> Iterator[tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]]:
    """Every token of a split but the first as a target, exactly once, in order.

    Windows stand side by side; the last may be shorter and then comes alone.

    Args:
        tokens: Token ids of the split.
        batch: Most windows in a batch.
        context_length: Tokens in a full window.

    Raises:
        ValueError: if there are fewer than two tokens.
    """
    if len(tokens) < 2:
        raise ValueError(
            f"{len(tokens)} tokens hold no pair of a token and its successor; give more text"
        )
    targets = len(tokens) - 1
    full = targets // context_length
    for first in range(0, full, batch):
        rows = min(batch, full - first)
        window = tokens[first * context_length : (first + rows) * context_length + 1].astype(
            np.int64
        )
        inputs = torch.from_numpy(window[:-1].reshape(rows, context_length))
        yield inputs, torch.from_numpy(window[1:].reshape(rows, context_length))
    if targets % context_length:
        rest = tokens[full * context_length :].astype(np.int64)
        yield torch.from_numpy(rest[None, :-1].copy()), torch.from_numpy(rest[None, 1:].copy())
