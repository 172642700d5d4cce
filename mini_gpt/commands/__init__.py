"""What each word after `mini-gpt` does: one module a command, listed in `cli.COMMANDS`."""
