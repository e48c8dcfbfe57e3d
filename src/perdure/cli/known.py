"""Names of tools and agents, as a person types them: one that is not there is refused with the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

COMMAND = "command"
"""What rules call what a command in the sandbox sends."""


def agents(private: Path) -> list[str]:
    """By their folders, so that it is known while perdure.yaml is wrong."""
    return sorted(file.parent.name for file in (private / "agents").glob("*/agent.yaml"))


def tools(private: Path) -> list[str]:
    """All that some agent can have, and `command`."""
    from perdure.tools import CORE_TOOLS, Tool, Toolbox
    from perdure.tools.http_request import HttpRequest
    from perdure.tools.web_fetch import WebFetch
    from perdure.tools.web_search import WebSearch

    own = (private / "agents" / name / "tools" for name in agents(private))
    core: list[type[Tool]] = [*CORE_TOOLS, WebFetch, WebSearch, HttpRequest]
    toolbox = Toolbox(core=core, folders=(private / "tools", *own))
    toolbox.refresh()
    return [*toolbox.names(), COMMAND]


def check(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises UsageError. `what`: tool, agent."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            say = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known) or 'none'}"
            raise click.UsageError(f"There is no {what} {name[:60]!r}.{say}")
