"""The book in another language: what there is to translate, how far it is, and whether it fits.

    python tools/translation.py                      how far each page is, and what has gone stale
    python tools/translation.py update 02_bpe ...    write what these pages say into their .po files
    python tools/translation.py check                faults of the translations, one line each

A translation is a file `locale/zh_CN/LC_MESSAGES/book/NAME.po`: pairs of a paragraph as it stands
in the book and what it is in the other language. Only files with translations are kept; `update`
makes the others when somebody wants to begin. When a paragraph changes, its translation becomes
"fuzzy": the page shows the English until somebody has looked at it. `locale/zh_CN/STYLE.md` says
how to write, `translation_check.py` what a translation must keep.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import yaml
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from chapters import ROOT, chapters, contents
from chapters import pages as all_pages
from translation_check import faults

LANGUAGE = "zh_CN"
TITLE = "A GPT from scratch"
PLACE = "{{ repository }}"
LINE = 100
COMMAND = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
GETTEXT = ["--builder", "custom", "--custom-builder", "gettext"]
# Buttons and titles of exercises, which Sphinx does not hand to translators.
OUTSIDE = re.compile(
    r"(?m)^`{3,}\{(?:exercise(?:-start)?\} (.+)|button-ref\}.*\n(?::.*\n)+([^:`\n]+))$"
)
DATED = re.compile(r'"(POT-Cre|PO-Rev|Last-Tr|Generated|Language-Team|Project-Id|Report-Msgid)')


class State(NamedTuple):
    """How far a page is: its paragraphs, those translated, those to look at again, those gone."""

    page: str
    whole: int
    translated: int
    fuzzy: int
    gone: int

    @property
    def share(self) -> float:
        return self.translated / self.whole if self.whole else 0.0


def folder(root: Path = ROOT) -> Path:
    return root / "locale" / LANGUAGE / "LC_MESSAGES"


def pages(root: Path = ROOT) -> list[str]:
    """The pages that have a file of translations, in the book's order."""
    return [page for page in all_pages(root) if (folder(root) / f"{page}.po").is_file()]


# ---- what there is to translate ------------------------------------------------------------------


def excerpt(root: Path, wanted: Sequence[str], copy: Path) -> None:
    """A copy of the book that has these pages only, and all that its extensions read."""
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(root / name, copy)
    for name in ("book/_ext", "book/_static", "book/questions", "tools"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        root / "mini_gpt", copy / "mini_gpt", ignore=shutil.ignore_patterns("__pycache__", "*.json")
    )
    for path in [*(root / "book").glob("*.bib"), *(root / "book").glob("*.yml")]:
        shutil.copy(path, copy / "book")
    for path in (root / "book").glob("[0-9]*.ipynb"):  # the cover's table looks at all of them
        (copy / "book" / path.name).symlink_to(path)
    for page in wanted:
        if (path := root / f"{page}.md").is_file():
            shutil.copy(path, copy / "book")
    listed = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    for part in listed["parts"]:
        part["chapters"] = [entry for entry in part["chapters"] if entry["file"] in wanted]
    listed["parts"] = [part for part in listed["parts"] if part["chapters"]]
    if listed["root"] not in wanted:
        (copy / f"{listed['root']}.md").write_text("# A book\n", encoding="utf-8")
    (copy / "_toc.yml").write_text(yaml.safe_dump(listed, sort_keys=False), encoding="utf-8")


def extract(wanted: Sequence[str], root: Path = ROOT) -> dict[str, Catalog]:
    """What pages say, as Sphinx sees it, paragraph by paragraph.

    Raises:
        RuntimeError: if Sphinx stops.
    """
    with tempfile.TemporaryDirectory() as place:
        copy, output = Path(place, "copy"), Path(place, "output")
        copy.mkdir()
        (copy / "book").mkdir()
        excerpt(root, wanted, copy)
        done = subprocess.run(
            [*COMMAND, "--path-output", str(output), *GETTEXT],
            cwd=copy,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        if done.returncode:
            raise RuntimeError(f"the pages cannot be read:\n{(done.stdout + done.stderr)[-3000:]}")
        url = str(yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]["url"])
        found = {}
        for page in wanted:
            written = (output / "_build" / "gettext" / f"{page}.pot").read_text(encoding="utf-8")
            # The address is another one in each fork; `build` fills it in.
            with BytesIO(written.replace(url, PLACE).encode("utf-8")) as file:
                found[page] = read_po(file)
    for key, caption in contents(root):
        if key == "caption":  # these are in interface.po
            for catalog in found.values():
                catalog.delete(caption)
    return found


def interface(root: Path = ROOT) -> Catalog:
    """What the book's own extensions say: sentences of chapters, labels, words between `say()`."""
    found = Catalog()
    for chapter in chapters(root):
        found.add(chapter.sentence())
    live = yaml.safe_load((root / "book" / "live.yml").read_text(encoding="utf-8"))
    for page in pages(root):
        for part in live.get(page, []):
            for kind in ("title", "asks", "still"):
                found.add(part[kind])
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    found.add(config["title"])
    found.add(config["sphinx"]["config"]["html_theme_options"]["search_bar_text"])
    for key, caption in contents(root):
        if key == "caption":
            found.add(caption)
    for page in pages(root):
        for match in OUTSIDE.finditer(markdown(root, page)):
            found.add((match[1] or match[2]).strip())
    for path in sorted((root / "book" / "_ext").glob("*.py")):
        for words in said(ast.parse(path.read_text(encoding="utf-8"))):
            found.add(words)
    return found


def markdown(root: Path, page: str) -> str:
    """What a page is written in: of a notebook, its Markdown cells."""
    if (path := root / f"{page}.md").is_file():
        return path.read_text(encoding="utf-8")
    cells = json.loads((root / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "markdown")


def said(tree: ast.Module) -> Iterator[str]:
    """The words that a module has translated: in `say("...")`, `speaker(...)("...")`, LABELS."""
    names: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) == 1:
            asked = node.func.func if isinstance(node.func, ast.Call) else node.func
            called = asked.id if isinstance(asked, ast.Name) else ""
            if called == ("speaker" if isinstance(node.func, ast.Call) else "say"):
                words = node.args[0]
                if isinstance(words, ast.Constant) and isinstance(words.value, str):
                    yield words.value
    labels = names.get("LABELS")
    for label in labels.elts if isinstance(labels, ast.Tuple) else []:
        yield ast.literal_eval(names[label.id] if isinstance(label, ast.Name) else label)


# ---- files of translations -----------------------------------------------------------------------


def read(path: Path) -> Catalog:
    """A file of translations."""
    with path.open("rb") as file:
        return read_po(file, locale=LANGUAGE)


def write(path: Path, catalog: Catalog) -> None:
    """Write a file of translations: no dates and no places, which would change without a reason."""
    catalog.fuzzy = False
    catalog.header_comment = (
        f"# {TITLE}: translation into {LANGUAGE}. See STYLE.md beside this folder."
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with BytesIO() as file:
        write_po(file, catalog, width=LINE, ignore_obsolete=False, sort_output=False)
        text = file.getvalue().decode("utf-8")
    kept = [line for line in text.splitlines() if not DATED.match(line)]
    path.write_text("\n".join(kept).rstrip("\n") + "\n", encoding="utf-8")


def update(wanted: Sequence[str], root: Path = ROOT) -> None:
    """Bring the files of pages up to what the book says today; what has changed becomes fuzzy."""
    found = {f"{page}.po": catalog for page, catalog in extract(wanted, root).items()}
    found["interface.po"] = interface(root)
    for name, source in found.items():
        path = folder(root) / name
        catalog = read(path) if path.is_file() else Catalog(locale=LANGUAGE)
        catalog.update(source, update_header_comment=False)
        write(path, catalog)


# ---- how far it is ----------------------------------------------------------


def state(page: str, catalog: Catalog, source: Catalog) -> State:
    """How far a file is, compared with what its page says today."""
    wanted = {message.id for message in source if message.id}
    kept = {message.id: message for message in catalog if message.id}
    done = {name for name, message in kept.items() if message.string and not message.fuzzy}
    fuzzy = {name for name, message in kept.items() if message.fuzzy}
    gone = (set(kept) - wanted) | set(catalog.obsolete)
    return State(page, len(wanted), len(done & wanted), len(fuzzy), len(gone))


# ---- building ------------------------------------------------------------------------------------


def build(output: Path, root: Path = ROOT) -> int:
    """Render the book in both languages, the Chinese below the English, each page with a switch."""
    environment = {**os.environ, "BOOK_LANGUAGES": f"en {LANGUAGE}", "PYTHONIOENCODING": "utf-8"}
    strict = ["--all", "-W", "-n", "--keep-going"]
    first = [*COMMAND, "--path-output", str(output), *strict]
    if status := subprocess.call(first, cwd=root, env=environment):
        return status
    with tempfile.TemporaryDirectory() as place:
        locale = Path(place, "locale")
        shutil.copytree(folder(root).parent, locale / LANGUAGE)
        url, _ = address_of(root)
        for path in locale.rglob("*.po"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(PLACE, url), encoding="utf-8")
        settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        # Sphinx's own index for Chinese takes minutes, and the site has another (book_search.py).
        changed = {"language": LANGUAGE, "html_search_language": "en", "locale_dirs": [str(locale)]}
        settings["sphinx"]["config"] |= changed
        # Paths of extensions count from the file's own folder.
        local = settings["sphinx"]["local_extensions"]
        settings["sphinx"]["local_extensions"] = {name: str(root / local[name]) for name in local}
        config = Path(place, "_config.yml")
        config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        second = [*COMMAND, "--path-output", place, "--config", str(config), *strict]
        if status := subprocess.call(second, cwd=root, env=environment):
            return status
        site = output / "_build" / "html" / LANGUAGE
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(Path(place, "_build", "html"), site)
    return 0


def address_of(root: Path) -> tuple[str, str]:
    """The repository's address and branch, as the book will say them."""
    sys.path.append(str(root / "book" / "_ext"))
    from book_repository import UNNAMED, address, github_remote

    named = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    url = (UNNAMED in named["url"] and github_remote(root)) or named["url"]
    return address(url, named["branch"], os.environ)


def report(root: Path = ROOT) -> Iterator[str]:
    """A table of all pages: how many paragraphs, how many translated, what has gone stale."""
    kept = pages(root)
    sources = extract(kept, root)
    yield f"{'page':<28}{'paragraphs':>11}{'translated':>12}{'share':>7}{'fuzzy':>7}{'gone':>6}"
    for page in all_pages(root):
        if page in kept:
            one = state(page, read(folder(root) / f"{page}.po"), sources[page])
            counts = f"{one.whole:>11}{one.translated:>12}{one.share:>7.0%}"
            yield f"{page:<28}{counts}{one.fuzzy:>7}{one.gone:>6}"
        else:
            yield f"{page:<28}{'':>11}{'none':>12}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "job", nargs="?", default="report", choices=("report", "update", "check", "build")
    )
    parser.add_argument("names", nargs="*", metavar="PAGE", help="such as 02_bpe")
    given = parser.parse_args()
    if given.job == "update":
        known = {Path(page).name: page for page in all_pages()}
        if unknown := [name for name in given.names if name not in known]:
            raise SystemExit(f"translation: no page is called {' or '.join(unknown)}; see _toc.yml")
        update([known[name] for name in given.names] or pages())
    elif given.job == "check":
        found = faults(folder())
        print("\n".join(found) or "every translation keeps what it must keep")
        return bool(found)
    elif given.job == "build":
        return build(ROOT / "build" / "book")
    else:
        print(*report(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
