"""`mini-gpt evaluate`: where a model stands among compressors and counting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from mini_gpt.data import train_val_split
from mini_gpt.evaluation import CopyFinder
from mini_gpt.support.console import in_words
from mini_gpt.support.corpus import (
    SHAKESPEARE,
    corpus_path,
    load_corpus,
    load_documents,
)
from mini_gpt.support.device import resolve_device
from mini_gpt.support.documents import split_documents
from mini_gpt.support.files import atomic_file, read_text, shown_name
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.hub import SHIPPED_NAME
from mini_gpt.support.ladder import HEADING, Rung, climb, draw_ladder, exam_of, row
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.run_folder import SETTINGS
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.threads import fitting_threads
from mini_gpt.support.token_folder import open_token_folder
from mini_gpt.support.token_manifest import is_token_folder

FEWEST = 1000  # characters; below, no number would mean anything
MOST_TOKENS = 1_000_000  # of prepared ones that are read as text
RUN, MANY = 8, 0.1  # words that seldom recur by chance, and a share to be told of


@dataclass(frozen=True)
class Evaluate:
    """Place a model on the ladder: bits per byte of a text, beside compressors and
    counting, which may read the model's training text first where it is known.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = (
        SHIPPED_NAME
    )
    """Folder of a run or of a model; or shakespeare, the model that comes with the
    package.
    """
    on: Path | None = None
    """Text file to measure on. If not given, what the model's training held out.
    """
    characters: int = 120_000
    """Most characters of the text that are read."""
    out: Path = Path("ladder.png")
    """The picture to write (PNG); it needs matplotlib."""
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""


def run_evaluate(command: Evaluate) -> None:
    """Measure, print each rung as it is there, draw the ladder."""
    if command.characters < FEWEST:
        raise ValueError(f"--characters {command.characters} must be at least {FEWEST}")
    model, tokenizer = from_pretrained(command.model, resolve_device(command.device))
    training, held_out = texts_of(command.model)
    if command.on is not None:
        text, source = read_text(command.on), shown_name(command.on)
    elif held_out is not None:
        text, source = held_out, "text that its training held out"
    else:
        raise ValueError(
            f"what {command.model} was trained on is not known here; name a text to "
            "measure on with --on FILE"
        )
    text = text[: command.characters]
    if len(text) < FEWEST:
        raise ValueError(
            f"{source} has {len(text):,} characters; a measurement needs {FEWEST:,}"
        )
    tokenizer.encode(text)  # refuse now, not at the end, what the model cannot read
    print(f"{len(text):,} characters of {source}, in bits per byte")
    print(_said_of(training))
    if training is not None:
        print(_copied(text, training), flush=True)
    print(HEADING)
    rungs = []
    with fitting_threads(model, model.config.context_length):
        for rung in climb(text, training, {"the model": (model, tokenizer)}):
            print(row(rung), flush=True)
            rungs.append(rung)
    print(_drawn(rungs, command.out))


def texts_of(name: str) -> tuple[str | None, str | None]:
    """What a model was trained on, and what was held out; None where it is not known.

    Args:
        name: A folder, or the model that comes with the package.
    """
    if name == SHIPPED_NAME:
        training, unseen = train_val_split(load_corpus(SHAKESPEARE))
        return training, exam_of(unseen)
    folder = Path(name)
    settings = next(
        (f / SETTINGS for f in (folder, folder.parent) if (f / SETTINGS).is_file()),
        None,
    )
    if settings is None:
        return None, None
    kept = read_settings(settings)
    try:
        if is_token_folder(prepared := corpus_path(str(kept["corpus"]))):
            print(
                f"{name} was trained on prepared tokens; compressors do not read them"
            )
            return None, _validation_text(prepared)
        documents = load_documents(str(kept["corpus"]))
        fraction = float(kept.get("validation_fraction", 0.1))
        split = split_documents(documents, fraction)
    except (KeyError, OSError, ValueError) as fault:
        print(f"the training text of {name} cannot be read: {in_words(fault)}")
        return None, None
    return "\n\n".join(split.training), "\n\n".join(split.validation)


def _validation_text(prepared: Path) -> str:
    """The beginning of what was kept for validation in a folder of tokens."""
    folder = open_token_folder(prepared, verify=False)
    text = folder.tokenizer.decode(np.asarray(folder.validation[:MOST_TOKENS]))
    return text.replace(END_OF_TEXT, "\n\n")


def _said_of(training: str | None) -> str:
    if training is None:
        return "alone: nothing read before; what the model was trained on is not known"
    size = len(training.encode())
    return f"alone: nothing read before; taught: after {size:,} bytes of training text"


def _copied(text: str, training: str) -> str:
    """How much of a text stands in the training text, word for word."""
    copied = CopyFinder(training).copied(text, RUN)
    share = float(copied.mean()) if len(copied) else 0.0
    known = f"{share:.1%} of its runs of {RUN} words stand in the training text"
    return f"{known}: what is measured is partly memory" if share > MANY else known


def _drawn(rungs: list[Rung], path: Path) -> str:
    """Draw the ladder; says where it is, or what to install."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "no ladder is drawn without matplotlib (pip install matplotlib)"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mini_gpt.support import figures

    with mpl.rc_context():  # leave the caller's style as it is
        figures.use_style()
        figure = Figure(figsize=(6.4, 1.2 + 0.26 * len(rungs)), layout="constrained")
        FigureCanvasAgg(figure)
        draw_ladder(figure.subplots(), rungs)
        with atomic_file(path) as partial:
            figure.savefig(partial, format="png")
    return f"the ladder is drawn in {path}"
