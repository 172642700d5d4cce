"""The options of the command, as its parser has them: `{command-options}`, without content.

Each command of `mini-gpt` becomes a section: what it does, its options in groups, and which of them
its short help shows. The parser that is asked is the one that the command itself uses, so the page
cannot be older than the command.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book_entries import plain
from book_reference import note

HELP = re.compile(r"^(?P<words>.*?) ?\((?P<kind>default|required)(?:: (?P<default>.*))?\)$", re.S)
OPTION = re.compile(r"(?<![`\w-])(--[a-z][\w-]*)")  # an option that a text speaks of
TITLES = {"positional arguments": "What is named without a dash", "options": "Options"}


def parser_of(command: Any) -> argparse.ArgumentParser:
    """The parser of a command, with the explanations that its help shows."""
    import tyro
    from mini_gpt.commands.help_texts import _shown
    from mini_gpt.commands.train_options import Train, default_train

    default = default_train([]) if command.options is Train else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other way yet
        return tyro.extras.get_parser(_shown(command.options, default, None))


def explained(actions: list[argparse.Action], essential: set[str]) -> Iterator[str]:
    """Options as entries of a Markdown list of definitions."""
    for action in actions:
        if "--help" in action.option_strings:
            continue
        names = [name for name in action.option_strings if not name.startswith("--no-")]
        switch = len(action.option_strings) > len(names)
        called = ", ".join(names) or str(action.metavar)
        takes = "" if switch or not names else f" {value_of(str(action.metavar))}"
        match = HELP.match(str(action.help or ""))
        words, default = (match["words"], match["default"]) if match else (action.help or "", "")
        shown = f" · default `{default}`" if default not in ("", None, "None", "False") else ""
        name = max(names, key=len, default="").lstrip("-").replace("-", "_")
        said = OPTION.sub(r"`\1`", plain(words)) or "—"
        mark = " °" if essential and names and name not in essential else ""
        yield f"`{called}{takes}`{mark}{shown}\n: {said}"


def value_of(metavar: str) -> str:
    """What an option takes: `{None}|INT` is called INT."""
    return metavar.replace("{None}|", "").replace("|", "/")


def sections(command: Any) -> Iterator[tuple[str, str]]:
    """The groups of a command's options, each with its list."""
    essential = set(command.essentials)
    for group in parser_of(command)._action_groups:
        found = list(explained(group._group_actions, essential))
        if found:
            title = TITLES.get(group.title or "", (group.title or "").capitalize())
            yield title, "\n\n".join(found)


class CommandOptions(SphinxDirective):
    """`{command-options}`: all commands with all of their options."""

    def run(self) -> list[nodes.Node]:
        root = str(self.env.srcdir)
        if root not in sys.path:
            sys.path.insert(0, root)
        from mini_gpt.commands.cli import COMMANDS

        for path in Path(root, "mini_gpt", "commands").glob("*.py"):
            self.env.note_dependency(str(path))
        found = []
        for name, command in COMMANDS.items():
            section = nodes.section(ids=[f"mini-gpt-{name}"], names=[f"mini-gpt-{name}"])
            section += nodes.title("", "", nodes.literal("", f"mini-gpt {name}"))
            note(self.env, f"mini-gpt-{name}", f"mini-gpt-{name}", f"mini-gpt {name}")
            text = [plain(" ".join((command.options.__doc__ or "").split()))]
            for title, listed in sections(command):
                text += [f"**{title}**", listed]
            section += self.parse_text_to_nodes("\n\n".join(text))
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
