"""Train what `make demo` trains, and store what the cover shows of it.

    python tools/first_run.py            some minutes on two cores

Written is book/_static/first_run.json: the losses on the way, and what the same model writes from
the same seed before its first step and after its last. The cover draws them (book/_ext).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from mini_gpt import GPT, SampleConfig, from_pretrained, generate
from mini_gpt.diagnostics import count_parameters

RESULT = Path(__file__).resolve().parent.parent / "book" / "_static" / "first_run.json"
COMMAND = ["train", "--corpus", "shakespeare", "--eval-every", "50", "--sample-tokens", "0"]
PROMPT, SEED = "ROMEO.\n", 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "mini_gpt", *COMMAND, "--out", str(out)]
        subprocess.run(command, check=True)
        lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        model, tokenizer = from_pretrained(out)
    measured = [entry for entry in map(json.loads, lines) if "step" in entry]
    settings = SampleConfig(max_new_tokens=260, seed=SEED, past_context="slide")
    torch.manual_seed(0)
    texts = {
        name: generate(writer, tokenizer, [PROMPT], settings)[0].text
        for name, writer in (("before", GPT(model.config).eval()), ("after", model.eval()))
    }
    result = {
        "command": "make demo",
        "parameters": count_parameters(model),
        "prompt": PROMPT,
        **texts,
        "losses": [
            {
                name: round(entry[name], 3) if name != "step" else entry[name]
                for name in ("step", "training_loss", "validation_loss")
            }
            for entry in measured
        ],
    }
    text = json.dumps(result, ensure_ascii=False, indent=1)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
