"""`perdure`, whose chat takes a key for an answer as soon as the question is there. Run as a program."""

from __future__ import annotations

from perdure.cli import main
from perdure.cli.chat import live

if __name__ == "__main__":
    live.CALM_SECONDS = 0.0
    main()
