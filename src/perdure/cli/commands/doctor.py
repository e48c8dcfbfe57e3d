"""`perdure doctor`: what is well, what is not, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from perdure.cli import checks, server_process
from perdure.cli.checks import Finding, Mark, of_error
from perdure.cli.place import Place, locate_server
from perdure.cli.problems import DONE, FAILED

if TYPE_CHECKING:
    from perdure.runtime.views import RuntimeStatus, SessionView

LOW_DISK_MB = 500


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """Check this installation and workspace.

    Exit code: 0 all well (notes do not count), 1 something needs to be done.
    """
    from perdure.cli.common import place_of

    findings: list[Finding] = []

    def report(one: Finding) -> None:
        if one in findings:
            return  # several checks read the same file
        findings.append(one)
        sign, color = {"ok": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "red")}[one.mark]
        click.echo(click.style(sign, fg=color) + " " + one.what)
        for line in one.todo.splitlines():
            click.echo("    → " + line)

    for one in _installation():
        report(one)
    todo: tuple[Callable[[Place], Iterator[Finding]], ...] = (
        _disk,
        checks.clock,
        _agents,
        _models,
        _policy,
        checks.trust,
        checks.secrets,
        checks.tokens,
        checks.ways_out,
        _sandbox,
        _server,
    )
    try:
        place = place_of(ctx)
    except Exception as error:
        report(of_error(error))
        option = ctx.find_root().obj
        try:
            place = locate_server(option if isinstance(option, str) else None)
        except Exception:
            return FAILED  # there is none, or it is somebody else's
        # Those that need no perdure.yaml.
        todo = (_disk, checks.clock, checks.trust, checks.secrets, checks.tokens, _server)
    else:
        report(Finding("ok", f"workspace {place.root}"))
    for check in todo:
        try:
            for one in check(place):
                report(one)
        except Exception as error:
            report(of_error(error))
    return FAILED if any(one.mark == "bad" for one in findings) else DONE


def _installation() -> Iterator[Finding]:
    from perdure import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"perdure {__version__}, Python {python}, {sys.platform}")
    if sys.stdout.encoding.lower().replace("-", "") != "utf8":
        yield Finding(
            "note",
            f"the terminal's encoding is {sys.stdout.encoding}: some signs will be shown as ?",
            "export LANG=C.UTF-8",
        )
    if shutil.which("bash") is None:
        yield Finding("bad", "there is no bash: the bash tool cannot run", "Install bash.")


def _disk(place: Place) -> Iterator[Finding]:
    probe = place.state / f".doctor-{os.getpid()}"
    try:
        place.state.mkdir(exist_ok=True)
        probe.write_bytes(b"x")
        written = probe.stat().st_mtime
        probe.unlink()
    except OSError as error:
        yield Finding(
            "bad",
            f"{place.state} cannot be written: {error.strerror}",
            "Check its owner and permissions, and the space on its disk.",
        )
        return
    free = shutil.disk_usage(place.state).free // 1_000_000
    if free < LOW_DISK_MB:
        yield Finding("bad", f"only {free} MB are free on the workspace's disk", "Make room.")
    else:
        yield Finding("ok", f"storage can be written, {free:,} MB free")
    yield from checks.disk_clock(place, written)


def _agents(place: Place) -> Iterator[Finding]:
    from perdure.agents import Agents, open_workspace
    from perdure.cli.commands.agent import problems_of

    agents = Agents(open_workspace(place.root))
    entries = agents.list()
    broken = set()
    seen: set[str] = set()
    for entry in entries:
        for wrong in [entry.error] if entry.error else problems_of(agents, entry.name):
            broken.add(entry.name)
            if wrong in seen:
                continue  # a file of the workspace, which every agent reads
            seen.add(wrong)
            yield Finding(
                "bad",
                f"agent {entry.name}: {wrong.splitlines()[0]}",
                "\n".join(line.strip() for line in wrong.splitlines()[1:]),
            )
    if not any(entry.name == agents.default for entry in entries):
        yield Finding(
            "bad",
            f"the default agent '{agents.default}' does not exist",
            f"perdure agent create {agents.default}\nor set default_agent in perdure.yaml",
        )
    else:
        good = [entry.name for entry in entries if entry.name not in broken]
        if good:
            yield Finding("ok", f"agents: {', '.join(good)}")


def _models(place: Place) -> Iterator[Finding]:
    from perdure.agents import Agents, open_workspace
    from perdure.cli.commands.agent import opened

    agents = Agents(open_workspace(place.root))
    for entry in agents.list():
        if entry.agent is None:
            continue
        if not entry.agent.models:
            yield Finding(
                "note",
                f"{entry.name} has no model: the built-in rehearsal answers",
                "perdure login PROVIDER, then `model: provider/name` in perdure.yaml",
            )
            continue
        for reference, error in opened(agents, entry.agent):
            if error is None:
                yield Finding("ok", f"{entry.name}: {reference}")
            else:
                yield Finding("bad", f"{entry.name} uses {reference}: {error.args[0]}", error.hint)


async def _ask(
    server: server_process.ServerFile,
) -> tuple[RuntimeStatus, list[SessionView]]:
    """How it is, and which of its latest sessions are held."""
    from perdure.cli.client import Client

    async with Client(server.url, server.token) as client:
        views = await client.sessions(limit=200)
        return await client.status(), [view for view in views if view.status == "held"]


def _policy(place: Place) -> Iterator[Finding]:
    for path in (place.state / "policy.yaml", place.state / "policy.local.yaml"):
        if path.exists() and path.stat().st_mode & 0o022:
            yield Finding("bad", f"{path} can be changed by other users", f"chmod go-w {path}")
    from perdure.cli.commands.policy import policies

    seen: set[str] = set()
    for name, found in policies(place):
        if isinstance(found, str):
            continue  # told with the agent
        for warning in map(str, found.warnings):
            if warning not in seen:
                seen.add(warning)
                yield Finding("note", f"policy of {name}: {warning}", "perdure policy check")
        if found.mode != "ask":
            mark: Mark = "note" if found.mode in ("dangerous", "auto") else "ok"
            yield Finding(mark, f"{name} works in mode {found.mode}")


def _sandbox(place: Place) -> Iterator[Finding]:
    from perdure.agents import Agents, open_workspace
    from perdure.kernel.errors import PerdureError
    from perdure.runtime.confining import confines_of, uncontained
    from perdure.sandbox.environment import clean_environment
    from perdure.sandbox.means import Choice

    agents = Agents(open_workspace(place.root))
    choice = Choice(place.state / "run" / "sandbox.json", clean_environment(os.environ))
    found: set[str] = set()
    for entry in agents.list():
        if entry.agent is None:
            continue
        if what := uncontained(agents, entry.name):
            todo = "sandbox: {backend: auto, network: proxy}"
            yield Finding("note", f"{entry.name}: {what}", todo)
        confines = confines_of(entry.agent.sandbox)
        if confines.backend == "none":
            continue
        try:
            found.add(choice.means(confines).name)
        except PerdureError as error:
            yield Finding("bad", f"{entry.name}: {error.message}", error.hint)
    if found:
        more = "; what it enforces: perdure sandbox status"
        yield Finding("ok", f"commands are contained by {', '.join(sorted(found))}{more}")


def _server(place: Place) -> Iterator[Finding]:
    from perdure import __version__
    from perdure.cli.common import drive

    found = server_process.look(place)
    if found.held and (
        found.file is None or not found.alive or not drive(server_process.answers(found.file))
    ):
        yield of_error(server_process.unreachable(place, found))
        return
    if found.file is None:
        checks.port(place)
        yield Finding("ok", "the server does not run; it is started when needed")
        return
    if not found.alive:
        end = server_process.log_end(place).splitlines()[-5:]
        yield Finding(
            "note",
            "the server crashed; the next command starts it again",
            "\n".join([f"its log: {place.server_log}", *end]),
        )
        return
    if found.file.version and found.file.version != __version__:
        yield Finding(
            "note",
            f"the server is version {found.file.version}, this command {__version__}",
            "perdure serve stop   (the next command starts the new one)",
        )
    yield Finding("ok", f"the server listens at {found.file.url}")
    status, waiting = drive(_ask(found.file))
    if status.trouble:
        first = status.trouble.splitlines()[0]
        yield Finding("bad", f"the server goes on with what perdure.yaml said before: {first}")
    if status.restart:
        keys = ", ".join(status.restart)
        yield Finding("note", f"{keys}: counts from the server's next start", "perdure serve stop")
    for view in waiting:
        yield Finding(
            "note",
            f"session {view.id} is held: {view.error.partition(', so it waits')[0]}",
            f"perdure session resume {view.id}",
        )
    if place.server_file.stat().st_mode & 0o077:
        yield Finding(
            "bad",
            f"{place.server_file} can be read by other users",
            f"chmod 600 {place.server_file}",
        )
