"""`perdure completions SHELL`: the script that a shell loads to complete commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from perdure.cli.problems import DONE, USAGE, Problem

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.pass_context
def completions(ctx: click.Context, shell: str | None) -> int:
    """Print a shell's completion script.

    \b
    bash   perdure completions bash > ~/.local/share/bash-completion/completions/perdure
    zsh    perdure completions zsh > ~/.zfunc/_perdure       (a folder in $fpath)
    fish   perdure completions fish > ~/.config/fish/completions/perdure.fish
    """
    from click.shell_completion import get_completion_class

    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        raise Problem("which shell?", hint="perdure completions bash|zsh|fish", code=USAGE)
    click.echo(_source(kind, ctx))
    return DONE


def _source(kind: type[ShellComplete], ctx: click.Context) -> str:
    made = kind(ctx.find_root().command, {}, "perdure", "_PERDURE_COMPLETE")
    # click's own `source()` first runs the shell to see its version, which may not be here.
    return made.source_template % made.source_vars()
