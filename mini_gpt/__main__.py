"""`python -m mini_gpt` is the `mini-gpt` command."""

import sys

from mini_gpt.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
