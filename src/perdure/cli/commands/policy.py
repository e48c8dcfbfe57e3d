"""`perdure policy …`: what the owner's policy files say, and why."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from perdure.cli.common import drive, place_of
from perdure.cli.problems import DONE, FAILED, Problem
from perdure.cli.view.clean import one_line

if TYPE_CHECKING:
    from perdure.cli.place import Place
    from perdure.guard.cases import Case
    from perdure.guard.policy import Policy
    from perdure.guard.query import Decision, Origin, Query, Step
    from perdure.guard.seams import Prepared
    from perdure.kernel.events import Json
    from perdure.tools.base import CriticalKind

ORIGINS = ("interactive", "schedule", "webhook", "gateway", "subagent")
TESTS = "policy.tests.yaml"
_VERDICTS = {"runs": "green", "asks": "yellow", "refused": "red"}
_COLORS = {"allow": "green", "deny": "red", "ask": "yellow", "none": "yellow"}


@click.group()
def policy() -> None:
    """Check, explain and test the policy files. Works without a server."""


@policy.command("check")
@click.pass_context
def check(ctx: click.Context) -> int:
    """Check all policy files, for all agents: errors, and rules to look at.

    Exit code: 0 all can be read (warnings do not count), 1 some cannot: their agents may do nothing.
    """
    place = place_of(ctx)
    wrong = False
    seen: set[str] = set()
    for name, found in policies(place):
        if isinstance(found, str):
            wrong = True
            click.echo(click.style("✗ ", fg="red") + name)
            click.echo("  " + found.replace("\n", "\n  "))
            continue
        counts = f"{len(found.deny)} deny, {len(found.ask)} ask, {len(found.allow)} allow"
        mode = click.style(found.mode, fg="red" if found.mode == "dangerous" else None, bold=True)
        named = f" ({found.mode_from})" if found.mode_from else ""
        click.echo(click.style("✓ ", fg="green") + f"{name}: mode {mode}{named}; {counts}")
        for warning in map(str, found.warnings):
            if warning not in seen:
                seen.add(warning)
                click.echo(click.style("  • ", fg="yellow") + warning)
    return FAILED if wrong else DONE


def policies(place: Place) -> Iterator[tuple[str, Policy | str]]:
    """Each agent's, or what is wrong with it."""
    from perdure.agents import Agents, open_workspace
    from perdure.guard import PolicyFiles
    from perdure.kernel.errors import PerdureError

    workspace = open_workspace(place.root)
    for name in Agents(workspace).names():
        try:
            yield name, PolicyFiles(workspace.private, name).current()
        except PerdureError as error:
            yield name, str(error)


@policy.command("explain")
@click.argument("tool")
@click.argument("arguments", required=False, metavar="[ARGS-JSON]")
@click.option(
    "-c", "--command", metavar="TEXT", help="The tool's argument `command`, without JSON."
)
@click.option("-a", "--agent", metavar="NAME", help="Default: the workspace's default agent.")
@click.option(
    "--origin", type=click.Choice(ORIGINS), default="interactive", help="What starts the run."
)
@click.pass_context
def explain(
    ctx: click.Context,
    tool: str,
    arguments: str | None,
    command: str | None,
    agent: str | None,
    origin: str,
) -> int:
    """Say whether a call would run, ask or be refused, and why, rule by rule. Runs nothing.

    As in a new session in the workspace's folder in which you yourself wrote the call's arguments. What no
    rule settles ("none") is decided by the mode, by where the call works and where its data goes.
    """
    from typing import cast

    from perdure.agents import open_workspace
    from perdure.runtime.foretelling import foretell

    values = _arguments(arguments, tool)
    if command is not None:
        values["command"] = command
    place = place_of(ctx)
    found, name = _policy(place, agent)
    query = _query(place, name, tool, values, origin)
    foretold = drive(
        foretell(
            open_workspace(place.root),
            name,
            tool,
            cast("dict[str, Json]", values),
            origin=cast("Origin", origin),
        )
    )
    word = click.style(foretold.verdict, fg=_VERDICTS[foretold.verdict], bold=True)
    click.echo(f"{word}: {one_line(foretold.why)}")
    query, decision = foretold.seen or (query, found.weigh(query, full=True))
    for line in _lines(query, decision):
        click.echo(line)
    return DONE


@policy.command("test")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.pass_context
def test(ctx: click.Context, file: str | None) -> int:
    """Try the cases of a YAML file. Default: .perdure/policy.tests.yaml. Runs nothing.

    \b
    - {command: "git status", expect: runs}
    - {command: "git push", expect: asks, rules: ask}

    `expect` is runs, asks or refused: what would happen, as `explain` says it. `rules` is allow, ask, deny or
    none: what the policy files alone say. A case has one of them or both.

    Exit code: 0 all as expected, 1 some are not.
    """
    from pathlib import Path

    from perdure.guard.cases import read

    place = place_of(ctx)
    path = Path(file) if file else place.state / TESTS
    if not path.is_file():
        raise Problem(f"there is no file {path}", hint="What it looks like: docs/guides/policy.md")
    wrong = 0
    cases = read(path)
    for case in cases:
        differences = list(_differences(place, case))
        if differences:
            wrong += 1
            click.echo(click.style("✗ ", fg="red") + f"{path.name}:{case.line}: {case.shown}")
            for expected, found in differences:
                click.echo(f"  - {expected}")
                click.echo(f"  + {one_line(found)}")
    right = len(cases) - wrong
    click.echo(f"{right} of {len(cases)} as expected")
    return FAILED if wrong else DONE


def _differences(place: Place, case: Case) -> Iterator[tuple[str, str]]:
    """What was expected and what it is, where that is something else."""
    from typing import cast

    from perdure.agents import open_workspace
    from perdure.runtime.foretelling import foretell

    policy, name = _policy(place, case.agent or None)
    if case.expect is not None:
        arguments = cast("dict[str, Json]", dict(case.arguments))
        workspace = open_workspace(place.root)
        would = drive(foretell(workspace, name, case.tool, arguments, origin=case.origin))
        if would.verdict != case.expect:
            yield case.expect, f"{would.verdict}: {would.why}"
    if case.rules is not None:
        said = policy.weigh(_query(place, name, case.tool, dict(case.arguments), case.origin))
        if said.effect != case.rules:
            yield f"rules: {case.rules}", f"rules: {said.effect}: {said.reason}"


def _arguments(text: str | None, tool: str) -> dict[str, object]:
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        meant = f" Is it a command? perdure policy explain bash -c {shlex.quote(str(text))}"
        hint = meant if tool == "bash" else ""
        raise click.UsageError(f"the arguments are not JSON: {error}.{hint}") from None
    if not isinstance(values, dict):
        raise click.UsageError("the arguments must be a JSON object")
    return values


def _policy(place: Place, agent: str | None) -> tuple[Policy, str]:
    """Raises ConfigError, NotFound."""
    from perdure.agents import Agents, open_workspace
    from perdure.guard import PolicyFiles

    workspace = open_workspace(place.root)
    agents = Agents(workspace)
    name = agent or agents.default
    agents.get(name)
    return PolicyFiles(workspace.private, name).current(), name


def _query(place: Place, agent: str, tool: str, arguments: dict[str, object], origin: str) -> Query:
    """The call as the gate would see it, as far as that is known without running anything. A tool that is
    not known is taken by its name and arguments."""
    import os
    from pathlib import Path
    from typing import cast

    from perdure.guard.query import Query
    from perdure.guard.targets import reached_by
    from perdure.kernel.events import ToolResult
    from perdure.tools import CORE_TOOLS, Toolbox
    from perdure.tools.critical import critical_values, defaults_of, sink_of
    from perdure.tools.http_request import HttpRequest
    from perdure.tools.schema import validate
    from perdure.tools.web_fetch import WebFetch
    from perdure.tools.web_search import WebSearch

    values = cast("dict[str, Json]", arguments)
    folders = (place.state / "tools", place.state / "agents" / agent / "tools")
    toolbox = Toolbox(core=(*CORE_TOOLS, WebFetch, WebSearch, HttpRequest), folders=folders)
    toolbox.refresh()
    home = Path(os.path.realpath(place.root))
    known = toolbox.get(tool)
    if known is None:
        command = values.get("command")
        return Query(
            tool=tool,
            workdir=home,
            workspace=home,
            arguments=values,
            effects=("network",),
            undeclared=True,
            command=command if isinstance(command, str) else None,
            origin=cast("Origin", origin),
        )
    checked = validate(known, values)
    if isinstance(checked, ToolResult):
        raise click.UsageError("\n".join(getattr(part, "text", "") for part in checked.parts))
    acts = checked.acts()
    effects = () if acts <= {"reads"} else tuple(sorted(acts))
    sink, declared = sink_of(checked, effects), type(checked).sink is not None
    seen = _Seen(sink, critical_values(checked, sink, values), declared=declared)
    hosts, recipients = reached_by(cast("Prepared", seen))
    return Query(
        tool=tool,
        workdir=home,
        workspace=home,
        arguments={**defaults_of(checked), **values},
        effects=effects,
        command=checked.shell(),
        touches=tuple(checked.touches(home)),
        hosts=hosts,
        recipients=recipients,
        undeclared=sink is not None and not declared,
        origin=cast("Origin", origin),
    )


class _Seen:
    """What a call says about whom it would talk to."""

    def __init__(
        self, sink: object, values: list[tuple[str, CriticalKind, str]], *, declared: bool
    ) -> None:
        self.sink, self.declared, self._values = sink, declared, values

    def values(self) -> list[tuple[str, CriticalKind, str]]:
        return self._values


def _lines(query: Query, decision: Decision) -> Iterator[str]:
    word = click.style(decision.effect, fg=_COLORS[decision.effect], bold=True)
    yield f"rules: {word}: {decision.reason}"
    for step in decision.trace:
        yield _step(step)
    if query.parsed is None:
        return
    yield "commands:"
    for one in query.views:
        notes = [one.command.program or ("the shell itself" if one.command.builtin else "")]
        notes += [f"run by {' '.join(one.command.via)}"] if one.command.via else []
        notes += [one.command.foreign] if not one.command.builtin else []
        notes += [f"runs {one.command.executes}"] if one.command.executes else []
        notes += [one.command.loose]
        notes += [f"opens {path}" for path in one.command.opens]
        yield f"  {one.shown}" + click.style(f"  {'; '.join(filter(None, notes))}", dim=True)
    for reason in query.parsed.unknown:
        yield click.style(f"  not understood: {reason}", fg="yellow")


def _step(step: Step) -> str:
    if step.rule is None:
        return f"  mode {step.why}"
    sign = {"yes": "●", "maybe": "◐", "no": "○"}[step.fits]
    where = f"  {step.rule.where}" if step.rule.where else ""
    why = f": {step.why}" if step.why else ""
    return f"  {sign} {step.kind} {step.rule}" + click.style(f"{where}{why}", dim=True)
