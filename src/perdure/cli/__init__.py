"""The terminal: what a person types, and what they see.

Belongs here: the commands, the chat, the small HTTP client they talk through, finding and starting
the workspace's background server, the words of every error a person meets, exit codes.
Does not belong here: anything a second way in would need as well (that is the server's or the
runtime's), and any decision about sessions; the terminal is one client among many.

Importing this package, and `perdure --help`, loads click and nothing heavier; `tests/cli` holds
the budget. Commands import what they need when they run.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `perdure` command. Exits the process."""
    from perdure.cli.app import run

    run()


__all__ = ["main"]
