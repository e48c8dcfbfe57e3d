"""How a session looks in a terminal: the fold of its records into blocks, and their painting.

Belongs here: what `chat`, `attach`, `run` and `session show` share. Does not belong here: input,
key bindings and the live region (`perdure.cli.chat`), and anything that talks to the server.
"""
