"""Fail when the built site lacks a page of _toc.yml, or a page's links lead to another repository.

python tools/check_site.py build/book/_build/html
python tools/check_site.py build/book/_build/html --repository https://github.com/me/my-fork
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chapters import pages


def faults(site: Path, names: Sequence[str], repository: str | None = None) -> list[str]:
    """What is wrong with the site, one line each.

    Args:
        names: the pages that must be there, such as `book/index`.
        repository: the address that the links of every page must start with.
    """
    found = []
    for name in names:
        path = (site / name).with_suffix(".html")
        html = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "</h1>" not in html:
            found.append(f"{name}: missing or without a heading, looked for {path}")
        elif repository and f'"{repository}/' not in html:
            found.append(f"{name}: no link to {repository}")
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
    names = pages()
    found = faults(arguments.site, names, arguments.repository)
    print("\n".join(found) or f"{len(names)} pages are there")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
