"""The chat: one conversation, shown live in a terminal or line by line where there is none.

`conversation` knows the session and the server, `commands` what may be typed after a slash; both are
the same for `live` (prompt_toolkit) and `plain`. Does not belong here: how blocks look
(`perdure.cli.view`), what a turn is (the kernel).
"""
