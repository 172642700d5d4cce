"""The book as one EPUB 3, from the built site: formulas as MathML, drawings as SVG, no scripts.

    python tools/epub_edition.py                          build/editions/mini_gpt.epub
    python tools/epub_edition.py book/09_attention ...    some pages only

Chromium opens the whole once: MathJax turns each formula into MathML there, and what the browser
has parsed is written out as XHTML. The same pages give the same file, to the last byte. At the end
`check_epub.py` looks at it.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import yaml
from playwright.sync_api import Browser

import check_epub
from chapters import ROOT
from manuscript import Page, document, manuscript
from pdf_edition import MATHJAX, MINUTES, SUBTITLE, TITLE, asked, chromium

STYLE = ROOT / "tools" / "editions" / "epub.css"
LIGHT = re.compile(r'^html\[data-theme="light"\] (?P<rule>\.highlight.*)$', re.MULTILINE)
SAME_DAY = (1980, 1, 1, 0, 0, 0)  # what a zip says of each file, so that the day changes nothing
KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}

# Formulas become MathML, with their LaTeX as the alternative text; then all is written as XML.
TO_XHTML = r"""
async () => {
  await MathJax.startup.promise;
  const parser = new DOMParser(), writer = new XMLSerializer();
  for (const node of document.querySelectorAll(".math")) {
    const said = node.textContent.trim(), shown = said.startsWith("\\[");
    const tex = said.replace(/^\\[(\[]/, "").replace(/\\[)\]]$/, "").trim();
    const made = parser.parseFromString(MathJax.tex2mml(tex, {display: shown}), "text/xml");
    const math = made.documentElement;
    math.setAttribute("alttext", tex.replace(/\s+/g, " "));
    for (const part of [math, ...math.querySelectorAll("*")])
      for (const {name} of [...part.attributes])
        if (name.startsWith("data-") || name === "class") part.removeAttribute(name);
    node.replaceChildren(document.importNode(math, true));
  }
  const written = {}, inner = ":scope > section > section, :scope > section.answers";
  for (const chapter of document.querySelectorAll("section.chapter"))
    written[chapter.id] = {
      body: writer.serializeToString(chapter),
      sections: [...chapter.querySelectorAll(inner)]
        .filter((one) => one.id && one.querySelector(":scope > h2"))
        .map((one) => [one.id, one.querySelector(":scope > h2").textContent.trim()]),
    };
  return written;
}
"""

XHTML = """\
<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" \
lang="en" xml:lang="en">
<head><meta charset="utf-8"/><title>{title}</title>\
<link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{body}</body>
</html>
"""
CONTAINER = """\
<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="EPUB/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
"""
PACKAGE = """\
<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>
<dc:title>{title}</dc:title>
<dc:language>en</dc:language>
<dc:creator>{author}</dc:creator>
<dc:rights>{license}</dc:rights>
<meta property="dcterms:modified">{date}T00:00:00Z</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta>
<meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityHazard">none</meta>
<meta property="schema:accessibilitySummary">Figures have alternative text.</meta>
</metadata>
<manifest>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""


def to_xhtml(browser: Browser, site: Path, pages: Sequence[Page]) -> dict[str, dict[str, object]]:
    """Each page's body as XML, and its sections as pairs of id and heading."""
    script = f"{site.resolve().as_uri()}/_static/mathjax/tex-chtml"
    head = MATHJAX.replace("chtml:", "startup: {typeset: false},\n  chtml:") % script
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "book.html")
        source.write_text(document(pages, TITLE, head), encoding="utf-8")
        page = browser.new_page()
        page.set_default_timeout(MINUTES * 60_000)
        page.goto(source.as_uri())
        written = page.evaluate(TO_XHTML)
        page.close()
    return dict(written)


def split_links(body: str) -> str:
    """Links of one document as links between the files of its chapters."""
    return re.sub(
        r' href="#(?P<page>[^"]+?)(?P<rest>--[^"]*)?"',
        lambda match: (
            f' href="{match["page"]}.xhtml'
            + (f'#{match["page"]}{match["rest"]}"' if match["rest"] else '"')
        ),
        body,
    )


def contents(pages: Sequence[Page], sections: dict[str, list[tuple[str, str]]]) -> str:
    """The table of contents: parts, chapters, sections."""
    groups: dict[str, list[str]] = {}
    for page in pages:
        inner = "".join(
            f'<li><a href="{page.name}.xhtml#{anchor}">{escape(title)}</a></li>'
            for anchor, title in sections[page.name]
        )
        below = f"<ol>{inner}</ol>" if inner else ""
        row = f'<li><a href="{page.name}.xhtml">{escape(page.title)}</a>{below}</li>'
        groups.setdefault(page.part, []).append(row)
    rows = [
        f"<li><span>{escape(part)}</span><ol>{''.join(group)}</ol></li>" if part else "".join(group)
        for part, group in groups.items()
    ]
    inside = f'<nav epub:type="toc" id="toc"><h1>Contents</h1><ol>{"".join(rows)}</ol></nav>'
    return XHTML.format(title="Contents", body=inside)


def style(site: Path) -> str:
    """Our style sheet, and the site's colors of code in its light form."""
    colors = (site / "_static" / "pygments.css").read_text(encoding="utf-8")
    rules = [match["rule"] for match in LIGHT.finditer(colors)]
    return STYLE.read_text(encoding="utf-8") + "\n" + "\n".join(rules) + "\n"


def item(name: str, kind: str, properties: str = "") -> str:
    """A line of the manifest."""
    key = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    more = f' properties="{properties}"' if properties else ""
    return f'<item id="i-{key}" href="{name}" media-type="{kind}"{more}/>'


def properties(body: str) -> str:
    """What a reader must be able to do for a chapter."""
    return " ".join(kind for kind, mark in (("mathml", "<math"), ("svg", "<svg")) if mark in body)


def package(pages: Sequence[Page], bodies: dict[str, str], pictures: Sequence[str]) -> str:
    """The list of all files, and the order of reading."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    xhtml = "application/xhtml+xml"
    manifest = [item("nav.xhtml", xhtml, "nav"), item("title.xhtml", xhtml)]
    manifest += [item(f"{page.name}.xhtml", xhtml, properties(bodies[page.name])) for page in pages]
    manifest += [item("book.css", "text/css")]
    manifest += [item(name, KINDS[Path(name).suffix]) for name in pictures]
    order = ["title.xhtml", "nav.xhtml", *(f"{page.name}.xhtml" for page in pages)]
    spine = [f'<itemref idref="i-{name}"/>' for name in order]
    return PACKAGE.format(
        identifier=uuid.uuid5(uuid.NAMESPACE_URL, f"mini_gpt {citation['version']}"),
        title=escape(TITLE),
        author=escape(citation["authors"][0]["name"]),
        license=escape(citation["license"]),
        date=citation["date-released"],
        manifest="\n".join(manifest),
        spine="\n".join(spine),
    )


def make(site: Path, output: Path, names: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the EPUB; returns its number of chapters.

    Raises:
        ValueError: if the site lacks a page.
    """
    pages = manuscript(site, names, root)
    with chromium() as browser:
        written = to_xhtml(browser, site, pages)
    bodies = {page.name: split_links(str(written[page.name]["body"])) for page in pages}
    sections = {page.name: written[page.name]["sections"] for page in pages}
    found = {
        name for body in bodies.values() for name in re.findall(r'<img[^>]* src="([^"]+)"', body)
    }
    pictures = {name: f"images/{Path(name).name}" for name in sorted(found)}
    files: dict[str, bytes | str] = {
        "META-INF/container.xml": CONTAINER,
        "EPUB/book.opf": package(pages, bodies, sorted(pictures.values())),
        "EPUB/nav.xhtml": contents(pages, sections),  # type: ignore[arg-type]
        "EPUB/book.css": style(site),
        "EPUB/title.xhtml": XHTML.format(
            title=escape(TITLE),
            body=f'<div class="title-page"><h1>{escape(TITLE)}</h1><p>{escape(SUBTITLE)}</p></div>',
        ),
    }
    for page in pages:
        body = bodies[page.name]
        for name, place in pictures.items():
            body = body.replace(f'src="{name}"', f'src="{place}"')
        files[f"EPUB/{page.name}.xhtml"] = XHTML.format(title=escape(page.title), body=body)
    files |= {f"EPUB/{place}": (site / name).read_bytes() for name, place in pictures.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        # First and not compressed, so that the file's kind can be read off its beginning.
        kind = zipfile.ZipInfo("mimetype", SAME_DAY)
        archive.writestr(kind, check_epub.KIND, zipfile.ZIP_STORED)
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, SAME_DAY), content, zipfile.ZIP_DEFLATED)
    return len(pages)


def main() -> int:
    given = asked(__doc__, "epub")
    start = time.monotonic()
    try:
        count = make(given.site, given.output, given.names or None)
    except ValueError as fault:
        raise SystemExit(f"epub: {fault}") from None
    found = check_epub.faults(given.output)
    size = given.output.stat().st_size / 1e6
    seconds = time.monotonic() - start
    print(f"{given.output}: {count} chapters, {size:.1f} MB, {seconds:.0f} s")
    print("\n".join(found) or "every page parses, every reference leads somewhere")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
