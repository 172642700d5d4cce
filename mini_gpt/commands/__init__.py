"""What each word after `mini-gpt` does: one module a command, put together in
`mini_gpt.cli`.
"""
