"""The command tree. Commands are named here and loaded when they run, so `--help` stays cheap."""

from __future__ import annotations

import importlib
import sys

import click

from perdure import __version__
from perdure.cli import problems

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Create a workspace."),
    "chat": ("chat", "Talk to an agent."),
    "attach": ("chat", "Go back to a session, from any terminal."),
    "run": ("run", "Ask one thing, print the answer, leave."),
    "serve": ("serve", "Run the workspace's server; status, stop, reload."),
    "agent": ("agent", "Create, list, show and check agents."),
    "policy": ("policy", "Check, explain and test what agents may do."),
    "session": ("session", "List, show, fork, export, verify, stop and delete sessions."),
    "approvals": ("approvals", "See what waits for your approval, and answer."),
    "outbox": ("outbox", "See answers that have not arrived, and send them again."),
    "doubts": ("doubts", "See and settle calls that a crash left in doubt."),
    "sandbox": ("sandbox", "See what keeps commands inside here, and try it."),
    "egress": ("egress", "See what left this machine, and what may."),
    "rewind": ("rewind", "Go back to before a turn: files, conversation, or both."),
    "backup": ("backup", "Copy the workspace, check a copy, restore one."),
    "trust": ("trust", "See and change whom agents may write to without asking."),
    "label": ("label", "See what is known of files' origin, and vouch for them."),
    "context": ("context", "Show what a model call contained."),
    "budget": ("budget", "Show what was spent, and what may be."),
    "token": ("token", "Hand out, list and revoke tokens for the server."),
    "login": ("login", "Store a model provider's key, encrypted."),
    "secrets": ("secrets", "Keys that agents use without seeing them."),
    "completions": ("completions", "Print a shell's completion script."),
    "doctor": ("doctor", "Check this installation and workspace."),
}
"""Command → module under `perdure.cli.commands`, and its line in `--help`."""


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"perdure.cli.commands.{COMMANDS[name][0]}")
        command = getattr(module, name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            say = f" Did you mean '{near[0]}'?" if near else f' To ask it: perdure run "{args[0]}"'
            raise click.UsageError(f"There is no command '{args[0]}'.{say}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 approval needed, 4 no workspace or wrong "
    "configuration, 5 server unreachable, 130 stopped.",
)
@click.option(
    "-w",
    "--workspace",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The workspace to use. Default: the nearest perdure.yaml upwards, then $PERDURE_HOME, "
    "then ~/perdure.",
)
@click.version_option(__version__, "-V", "--version", message="perdure %(version)s")
@click.pass_context
def perdure(ctx: click.Context, workspace: str | None) -> int | None:
    """A personal agent on your machine that loses nothing.

    Without a command: talk to the workspace's default agent.
    """
    ctx.obj = workspace
    if ctx.invoked_subcommand is None:
        from perdure.cli.commands.chat import chat

        code: int = ctx.invoke(chat)
        return code
    return None


def run(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code. Every error of ours ends as a message."""
    sys.exit(invoke(args))


def invoke(args: list[str] | None = None) -> int:
    try:
        result = perdure.main(args=args, prog_name="perdure", standalone_mode=False)
    except click.Abort:
        click.echo("", err=True)
        return problems.STOPPED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return problems.USAGE
    except problems.Problem as error:
        error.show()
        return error.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return problems.STOPPED
    except BrokenPipeError:
        _close_stdout()
        return problems.DONE
    except Exception as error:
        problem = problems.problem_of(error)
        if problem is None:
            raise
        problem.show()
        return problem.code
    return result if isinstance(result, int) else problems.DONE


def _close_stdout() -> None:
    """The reader went away (`perdure … | head`): keep the interpreter from complaining at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
