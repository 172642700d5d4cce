"""Fail when the built site lacks a page of _toc.yml, or a page's links lead to another repository.

python tools/check_site.py build/book/_build/html
python tools/check_site.py build/book/_build/html --repository https://github.com/me/my-fork
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def pages(contents: object) -> Iterator[str]:
    """Every page that a table of contents names, wherever it is nested."""
    if isinstance(contents, list):
        for entry in contents:
            yield from pages(entry)
    elif isinstance(contents, dict):
        for key, value in contents.items():
            if key in ("root", "file"):
                yield str(value)
            else:
                yield from pages(value)


def faults(site: Path, contents: object, repository: str | None = None) -> list[str]:
    """What is wrong with the site, one line each."""
    found = []
    for page in pages(contents):
        path = (site / page).with_suffix(".html")
        html = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "</h1>" not in html:
            found.append(f"{page}: missing or without a heading, looked for {path}")
        elif repository and f'"{repository}/' not in html:
            found.append(f"{page}: no link to {repository}")
    if not (site / "index.html").is_file():
        found.append(f"index.html: missing in {site}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("site", type=Path, help="the folder with the built pages")
    parser.add_argument(
        "--repository", help="the address that the links of every page must start with"
    )
    arguments = parser.parse_args()
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = faults(arguments.site, contents, arguments.repository)
    print("\n".join(found) or f"{len(list(pages(contents)))} pages are there")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
