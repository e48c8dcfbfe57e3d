"""Exit codes, and how an error is shown to a person: what is wrong, then what to do.

0    done
1    failed: the turn failed, a check found problems, the answer could not be had
2    the command line itself is wrong (click's own)
3    `run`: the agent waits for an approval
4    no workspace, or one of its files is wrong
5    the workspace's server could not be started or reached
130  stopped with Ctrl-C, or the turn was stopped
"""

from __future__ import annotations

import click

DONE = 0
FAILED = 1
USAGE = 2
NEEDS_APPROVAL = 3
WORKSPACE = 4
SERVER = 5
STOPPED = 130


class Problem(click.ClickException):
    """An error for a person, with the exit code of its kind."""

    def __init__(self, message: str, *, hint: str = "", code: int = FAILED, log: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
        self.log = log
        """The end of a log file that says more, shown between message and hint."""

    def show(self, file: object = None) -> None:
        del file
        click.echo(click.style("Error: ", fg="red", bold=True) + self.message, err=True)
        for line in self.log.splitlines():
            click.echo(click.style("  │ ", dim=True) + line, err=True)
        for line in self.hint.splitlines():
            click.echo(click.style("  → ", fg="cyan") + line, err=True)


def no_workspace() -> Problem:
    return Problem(
        "there is no workspace here.",
        hint="Create one in this folder: perdure init\n"
        "Or name an existing one: perdure --workspace DIR … (or set PERDURE_HOME)",
        code=WORKSPACE,
    )


def problem_of(error: BaseException) -> Problem | None:
    """What a person should read about an error of ours; None for anything unforeseen."""
    from perdure.kernel.errors import ConfigError, PerdureError

    if isinstance(error, Problem):
        return error
    if isinstance(error, PerdureError):
        code = WORKSPACE if isinstance(error, ConfigError) else FAILED
        return Problem(
            error.message if not isinstance(error, ConfigError) else error.args[0],
            hint=error.hint,
            code=code,
        )
    if isinstance(error, PermissionError):
        return Problem(
            f"not allowed: {error.filename or error}",
            hint="Check who owns that file and its permissions.",
        )
    if isinstance(error, OSError):
        return Problem(
            f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        )
    return None
