"""The tests speak of `mini_gpt`; what you have written stands in for it."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_configure(config: object) -> None:
    if "MY_GPT_UNDER_TEST" not in os.environ:  # check.py imports your package itself
        import my_gpt  # noqa: F401
