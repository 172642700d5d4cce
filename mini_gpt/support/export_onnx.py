"""The two programs of `export_programs` as ONNX, with one file of weights for both."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mini_gpt.characters import Tokenizer
from mini_gpt.model import GPT
from mini_gpt.support.export_programs import (
    INPUTS,
    OUTPUTS,
    Program,
    Scored,
    trace_programs,
    write_export,
)

WEIGHTS = "weights.data"
FILES = ("prefill.onnx", "step.onnx", WEIGHTS)
# Names of the sizes that may vary; each is given once, where it first stands.
SIZES: dict[str, dict[str, dict[int, str]]] = {
    "prefill": {"ids": {0: "batch", 1: "time"}},
    "step": {"ids": {0: "batch"}, "keys": {3: "past"}, "values": {}},
}


def write_onnx_programs(model: GPT, tokenizer: Tokenizer, folder: Path) -> None:
    """Write `prefill.onnx` and `step.onnx`, and `weights.data`, which both read.

    Errors are those of `trace_programs` and `write_export`.

    Raises:
        ValueError: also if what writes or runs ONNX is not installed.
    """
    try:
        import onnx_ir
        import onnxruntime
        import onnxscript  # noqa: F401, what torch writes ONNX with
    except ImportError as fault:
        raise ValueError(
            f"ONNX needs packages more ({fault}): pip install 'mini-gpt[onnx]'"
        ) from None

    def write(partial: Path) -> dict[str, Program]:
        for name, program in trace_programs(model).items():
            with _quiet():
                translated = torch.onnx.export(
                    program,
                    dynamo=True,
                    verbose=False,
                    input_names=INPUTS[name],
                    output_names=OUTPUTS[name],
                    dynamic_shapes=SIZES[name],
                )
            assert translated is not None
            # The second program writes the same bytes again. If it did not, the logits
            # of the first one, which are compared below, would be others.
            path = partial / f"{name}.onnx"
            onnx_ir.save(translated.model, path, external_data=WEIGHTS)
        return {
            name: _runner(partial / f"{name}.onnx", INPUTS[name]) for name in INPUTS
        }

    def _runner(path: Path, names: list[str]) -> Program:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> Scored:
            given = {n: x.numpy() for n, x in zip(names, inputs, strict=True)}
            logits, keys, values = map(torch.from_numpy, session.run(None, given))
            return logits, keys, values

        return run

    write_export(model.cpu(), tokenizer, folder, FILES, write)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without notes about parts of torch that are old, or not installed, or unused."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
