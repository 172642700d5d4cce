"""Take the picture that a chat window shows of the book: its cover, 1200 by 630 pixels.

    python tools/preview.py [SITE]       SITE is build/book/_build/html if not given

Run it when the cover has changed; it writes book/_static/preview.png. Needs Chromium, as the
browser tests do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PLAIN = """
  document.querySelectorAll(".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article")
    .forEach((box) => box.remove());
  document.querySelector(".cover-buttons").remove();
"""


def main(site: Path) -> None:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        size = {"width": 800, "height": 420}  # as wide as its text; 1200 by 630 pixels in the file
        page = browser.new_page(viewport=size, device_scale_factor=1.5)
        page.goto((site / "book" / "index.html").as_uri())
        page.evaluate(PLAIN)
        page.screenshot(path=ROOT / "book" / "_static" / "preview.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "book" / "_build" / "html")
