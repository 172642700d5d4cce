"""What each word after `mini-gpt` does: one module a command, in `cli.COMMANDS`."""
