"""Your own GPT package. Each chapter that you finish adds its module.

What is finished stands in for the book's: after `import my_gpt`, `mini_gpt.attention` is your
`my_gpt.attention`, also for the parts of `mini_gpt` that you did not write, so that drawings, files
and the model as a whole work with your code. Chapters that you have not finished are the book's.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
PROGRESS = FOLDER.parent / "progress.json"


def finished() -> list[str]:
    """The chapters whose modules stand in: those that are done, and those under test."""
    kept = json.loads(PROGRESS.read_text(encoding="utf-8")) if PROGRESS.is_file() else {}
    under_test = os.environ.get("MY_GPT_UNDER_TEST", "").split()
    stems = [*kept.get("done", {}), *under_test]
    return [stem for stem in stems if (FOLDER / f"{stem}.py").is_file()]


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers an import of `mini_gpt.STEM` with `my_gpt.STEM`."""

    def __init__(self, stems: list[str]) -> None:
        self.stems = stems
        self.specs: dict[str, importlib.machinery.ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, stem = name.partition(".")
        if package == "mini_gpt" and stem in self.stems:
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"my_gpt.{spec.name.partition('.')[2]}")
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: it was run under its own name, which it gets back."""
        standing_in = f"mini_gpt.{module.__name__.partition('.')[2]}"
        module.__spec__ = self.specs.pop(standing_in)


class NotYet(importlib.abc.MetaPathFinder):
    """Says what to do where a chapter's module is not there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        package, _, stem = name.partition(".")
        notebooks = sorted(FOLDER.parent.glob(f"[0-9]*_{stem}.ipynb"))
        if package == "my_gpt" and notebooks:
            raise ModuleNotFoundError(
                f"my_gpt has no {stem} yet: write it in {notebooks[0].name} and run `python "
                f"check.py {stem}`, or take the book's: `python check.py --use-solution {stem}`"
            )


if "mini_gpt" in sys.modules:
    raise ImportError("import my_gpt before mini_gpt, so that your code stands in for the book's")
sys.meta_path.insert(0, StandIn(finished()))
sys.meta_path.append(NotYet())
importlib.import_module("mini_gpt")
