"""The console: what it cannot show must not end a command."""

from __future__ import annotations

import io
import sys


def substitute_unshown() -> None:
    """From here on, print a question mark for each character that a console lacks.

    Consoles of Windows know 256 characters, and those of some servers 128.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it may be closed, or another's
            stream.reconfigure(errors="replace")
