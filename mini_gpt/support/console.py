"""The console: what it cannot show must not end a command, and faults in words."""

from __future__ import annotations

import io
import sys

from mini_gpt.support.files import shown_name


def substitute_unshown() -> None:
    """From here on, print a question mark for each character that a console lacks.

    Consoles of Windows know 256 characters, and those of some servers 128.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it may be closed, or another's
            stream.reconfigure(errors="replace")


def in_words(fault: BaseException) -> str:
    """What went wrong, without the number that an operating system has for it."""
    if not isinstance(fault, OSError) or fault.strerror is None:
        return str(fault)
    names = [shown_name(n) for n in (fault.filename, fault.filename2) if n is not None]
    return f"{' to '.join(names)}: {fault.strerror}" if names else fault.strerror
