"""`mini-gpt export`: a model for programs that know nothing of mini_gpt."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import to_huggingface
from mini_gpt.support.export_gguf import gguf_obstacles
from mini_gpt.support.export_onnx import write_onnx_programs
from mini_gpt.support.export_programs import write_torch_programs
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.tokenizer import BPETokenizer


@dataclass(frozen=True)
class Export:
    """Write a trained model for other programs: as transformers reads it, or as
    programs that run without mini_gpt.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run, the folder of a model, a name on the Hugging Face hub, or shakespeare, the
    model that comes with the package.
    """
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The folder to write; an older export of the same kind is replaced."""
    to: Literal["huggingface", "torch", "onnx"] = "huggingface"
    """"huggingface": a folder for transformers, and for llama.cpp's converter. "torch":
    prefill.pt2 and step.pt2 for torch.export.load. "onnx": prefill.onnx and step.onnx.
    A prefill reads a prompt, a step one more token with what it kept.
    """


def run_export(command: Export) -> None:
    """Write the folder whole, or nothing, and say what reads it."""
    # What is in half precision is small on disk; programs run in single precision.
    dtype = None if command.to == "huggingface" else torch.float32
    model, tokenizer = from_pretrained(command.model, dtype=dtype)
    if command.to == "huggingface":
        to_huggingface(model, tokenizer, command.out)
        print(after_huggingface(command.out, model.config, tokenizer))
        return
    write = write_torch_programs if command.to == "torch" else write_onnx_programs
    write(model, tokenizer, command.out)
    names = ", ".join(sorted(os.listdir(command.out)))
    print(f"{command.out} holds {names}")
    print("both programs were read again, and give the model's logits")


def after_huggingface(
    folder: Path, config: GPTConfig, tokenizer: CharTokenizer | BPETokenizer
) -> str:
    """What can be done with a folder for transformers, and what llama.cpp would say."""
    quoted = json.dumps(str(folder), ensure_ascii=False)
    lines = [
        f"transformers reads it: AutoModelForCausalLM.from_pretrained({quoted})",
    ]
    if obstacles := gguf_obstacles(config, tokenizer):
        lines.append(f"llama.cpp has no GGUF for it: {'; '.join(obstacles)}")
    else:
        file = json.dumps(f"{folder}.gguf", ensure_ascii=False)
        lines.append(
            "llama.cpp's converter makes a GGUF file of it: "
            f"python convert_hf_to_gguf.py {quoted} --outfile {file}"
        )
    return "\n".join(lines)
