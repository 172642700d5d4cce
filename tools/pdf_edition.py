"""The book as one PDF, printed by Chromium from the built site, with contents, outline and links.

    python tools/pdf_edition.py                          build/editions/mini_gpt.pdf
    python tools/pdf_edition.py book/09_attention ...    some pages only

It is printed twice: the first time to learn on which pages the chapters begin, the second time with
these numbers in the table of contents. Before that, it is looked whether anything is wider than the
paper. Fonts are those of the system: where none has Chinese characters, chapter 1 shows boxes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

import pikepdf
from playwright.sync_api import Browser, sync_playwright

from chapters import ROOT
from manuscript import Page, document, manuscript

SITE = ROOT / "build" / "book" / "_build" / "html"
EDITIONS = ROOT / "build" / "editions"
STYLE = ROOT / "tools" / "editions" / "print.css"
TITLE = "A GPT from scratch"
SUBTITLE = "The book that builds a GPT-2-style language model, and the package mini_gpt"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
AUTHOR = "The mini_gpt authors"
MINUTES = 5
TEXT_WIDTH = 642  # pixels: A4 without its margins (print.css), 170 mm
MATHJAX = """\
<script>window.MathJax = {
  options: {enableMenu: false, processHtmlClass: "math", ignoreHtmlClass: "chapter"},
  chtml: {displayAlign: "left", displayIndent: "1.5em"},
};</script>
<script defer src="%s.js"></script>
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a network.

    Raises:
        SystemExit: if there is none.
    """
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        raise SystemExit(
            f"no Chromium on the PATH (looked for {', '.join(CHROMIUM)}); install it, on Debian "
            "with `apt-get install chromium`"
        )
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers lack; only our own pages are opened.
        arguments = ["--no-sandbox", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield running
        running.close()


def css_text(words: str) -> str:
    """Words as a string of a style sheet."""
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"') + '"'


def running_heads(pages: Sequence[Page]) -> str:
    """For each chapter a kind of page with its title at the top."""
    font = 'font: 9pt "Liberation Sans", Arial, sans-serif; color: #555;'
    rules = []
    for page in pages:
        kind = f"p-{page.name}"
        rules.append(f"[id='{page.name}'] {{ page: {kind}; }}")
        rules.append(f"@page {kind} {{ @top-left {{ content: {css_text(page.title)}; {font} }} }}")
    return "\n".join(rules)


def front(pages: Sequence[Page], numbers: dict[str, int]) -> str:
    """The title page and the contents, with the numbers that are known."""
    rows = []
    last = ""
    for page in pages:
        if page.part != last:
            last = page.part
            rows.append(f'<p class="in-part">{escape(page.part)}</p>')
        number = numbers.get(page.name, 0)
        rows.append(
            f'<p><a href="#{page.name}"><span>{escape(page.title)}</span>'
            f'<span class="dots"></span><span class="number">{number or ""}</span></a></p>'
        )
    return (
        f'<section class="title-page"><p class="title">{escape(TITLE)}</p>'
        f'<p class="below">{escape(SUBTITLE)}</p></section>'
        f'<section class="contents"><h1>Contents</h1>{"".join(rows)}</section>'
    )


def printable(site: Path, pages: Sequence[Page], numbers: dict[str, int]) -> str:
    """The whole as HTML; its pictures and scripts are those of the site."""
    home = site.resolve().as_uri()
    head = (
        f'<link rel="stylesheet" href="{home}/_static/pygments.css">'
        f"<style>{STYLE.read_text(encoding='utf-8')}\n{running_heads(pages)}</style>"
        + MATHJAX
        % f"{home}/_static/mathjax/tex-chtml"
    )
    # No <base>: with one, links inside the document would lead to a file on this disk.
    html = document(pages, TITLE, head, front(pages, numbers))
    return re.sub(r'(<img\b[^>]*? src=")(?!\w+:)', rf"\1{home}/", html)


# What is wider than the text, in a window as wide as the text on paper.
WIDER = """
() => [...document.querySelectorAll("img, svg, pre, table, mjx-container, code, p, h1, h2, h3")]
  .filter((part) => part.getBoundingClientRect().right > document.body.clientWidth + 1)
  .map((part) => [part.closest("section.chapter")?.id ?? "front", part.tagName.toLowerCase(),
                  part.textContent.trim().slice(0, 60)].join(": "))
"""


def print_pages(browser: Browser, html: str, output: Path) -> list[str]:
    """Print a document, once its formulas are set; returns what is cut off at the right."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "book.html")
        source.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": TEXT_WIDTH, "height": 900})
        page.set_default_timeout(MINUTES * 60_000)
        page.emulate_media(media="print")
        page.goto(source.as_uri())
        page.evaluate("() => window.MathJax.startup.promise")
        wider = list(page.evaluate(WIDER))
        page.pdf(
            path=output, prefer_css_page_size=True, outline=True, tagged=True, print_background=True
        )
        page.close()
    return wider


def squeezed(title: str) -> str:
    """A title without its spaces: in an outline one goes where a line was broken."""
    return "".join(title.split())


def first_pages(printed: Path, pages: Sequence[Page]) -> dict[str, int]:
    """On which page each chapter begins, by the outline."""
    begins: dict[str, int] = {}
    names = {squeezed(page.title): page.name for page in pages}
    with pikepdf.open(printed) as pdf, pdf.open_outline() as outline:
        numbers = {page.obj.objgen: number for number, page in enumerate(pdf.pages, 1)}
        entries = list(outline.root)
        for entry in entries:
            entries.extend(entry.children)
            if (name := names.get(squeezed(entry.title))) and entry.destination is not None:
                begins.setdefault(name, numbers[entry.destination[0].objgen])
    return begins


def finish(printed: Path) -> int:
    """Pack a PDF to half its size, and have it open with its outline; returns its pages."""
    with pikepdf.open(printed, allow_overwriting_input=True) as pdf:
        pdf.Root.PageMode = pikepdf.Name.UseOutlines
        pdf.docinfo["/Author"] = AUTHOR
        pdf.save(printed, object_stream_mode=pikepdf.ObjectStreamMode.generate)
        return len(pdf.pages)


def make(
    site: Path, output: Path, names: Sequence[str] | None = None, root: Path = ROOT
) -> tuple[int, list[str]]:
    """Write the PDF; returns its number of pages, and what is cut off on them.

    Raises:
        ValueError: if the site lacks a page, or a chapter is not in the outline.
    """
    pages = manuscript(site, names, root)
    output.parent.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        print_pages(browser, printable(site, pages, {}), output)
        numbers = first_pages(output, pages)
        if missing := [page.title for page in pages if page.name not in numbers]:
            raise ValueError(f"the outline lacks {', '.join(missing)}")
        wider = print_pages(browser, printable(site, pages, numbers), output)
    if first_pages(output, pages) != numbers:
        raise ValueError("the pages moved when their numbers were filled in; report this")
    return finish(output), wider


def asked(description: str | None, kind: str) -> argparse.Namespace:
    """What the command line of an edition asks for: some pages or all, from where, to where."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="PAGE", help="such as book/09_attention")
    parser.add_argument("--site", type=Path, default=SITE, help="the folder with the built pages")
    parser.add_argument("--output", type=Path, default=EDITIONS / f"mini_gpt.{kind}")
    return parser.parse_args()


def main() -> int:
    given = asked(__doc__, "pdf")
    start = time.monotonic()
    try:
        count, wider = make(given.site, given.output, given.names or None)
    except ValueError as fault:
        raise SystemExit(f"pdf: {fault}") from None
    size = given.output.stat().st_size / 1e6
    seconds = time.monotonic() - start
    print(f"{given.output}: {count} pages, {size:.1f} MB, {seconds:.0f} s")
    print("\n".join(wider) or "nothing is wider than the paper")
    return bool(wider)


if __name__ == "__main__":
    sys.exit(main())
