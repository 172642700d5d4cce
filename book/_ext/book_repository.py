"""The repository's address, from one place to wherever the book shows it.

`_config.yml` names the address and the branch (`repository.url`, `repository.branch`). Where
GitHub's runners build the book, the repository that is being built takes their place, so that a
fork publishes right links without an edit; elsewhere the checkout's own `origin` does, while
`_config.yml` names nobody. The theme's buttons, the Colab links, the links of
exported cells and the words `{{ repository }}` and `{{ branch }}` in Markdown pages all follow
from here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

BRANCH_PREFIX = "refs/heads/"
UNNAMED = "/OWNER/"  # what _config.yml says until the project has a home


def address(url: str, branch: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The address and branch that links should use.

    Args:
        url: the address that `_config.yml` names.
        branch: the branch that `_config.yml` names.
        environment: environment variables. `GITHUB_REPOSITORY` (`owner/name`) replaces the
            address, on the server `GITHUB_SERVER_URL` (default `https://github.com`). With it,
            `GITHUB_REF` replaces the branch, if it is one: a pull request is no place to link to.

    Returns:
        The address without a slash at its end, and the branch.

    Raises:
        ValueError: if `GITHUB_REPOSITORY` is not of the form `owner/name`.
    """
    repository = environment.get("GITHUB_REPOSITORY", "")
    if repository:
        if repository.count("/") != 1 or not all(repository.split("/")):
            raise ValueError(
                f"GITHUB_REPOSITORY is {repository!r}; give it as owner/name, or unset it"
            )
        server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
        url = f"{server.rstrip('/')}/{repository}"
        reference = environment.get("GITHUB_REF", "")
        if reference.startswith(BRANCH_PREFIX):
            branch = reference.removeprefix(BRANCH_PREFIX)
    return url.rstrip("/"), branch


def github_remote(folder: Path) -> str | None:
    """The address of a checkout's `origin`, if it is on GitHub; None where git cannot tell."""
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.fullmatch(
        r"(?:https://|git@|ssh://git@)github\.com[/:]([\w.-]+/[\w.-]+)", found.strip()
    )
    return f"https://github.com/{match[1].removesuffix('.git')}" if match else None


def source_address(config: Config, path: str) -> str:
    """Where a reader sees a file of the repository, `path` counting from its root."""
    return f"{config.book_repository_url}/blob/{config.book_repository_branch}/{path}"


def settle_address(app: Sphinx, config: Config) -> None:
    """Put the address where the theme and the other extensions look for it."""
    options = config.html_theme_options
    url = options["repository_url"]
    if UNNAMED in url:
        url = github_remote(Path(app.srcdir)) or url
    url, branch = address(url, options["repository_branch"], os.environ)
    options.update(repository_url=url, repository_branch=branch, repository_provider="github")
    config.book_repository_url, config.book_repository_branch = url, branch


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace `{{ repository }}` and `{{ branch }}` in Markdown pages, in their code blocks too."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        source[0] = (
            source[0]
            .replace("{{ repository }}", app.config.book_repository_url)
            .replace("{{ branch }}", app.config.book_repository_branch)
        )


def setup(app: Sphinx) -> dict[str, bool]:
    # "env": pages are read again when the address changes.
    app.add_config_value("book_repository_url", "", "env", [str])
    app.add_config_value("book_repository_branch", "", "env", [str])
    app.connect("config-inited", settle_address, priority=100)
    app.connect("source-read", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
