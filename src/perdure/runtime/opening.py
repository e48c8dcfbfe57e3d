"""Opening a workspace: every port gets its implementation here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.agents import Agents, Workspace, open_workspace
from perdure.kernel.ports import Clock, Ids
from perdure.sandbox import SupervisedCommands, boot_id
from perdure.storage import Committer, Disk, Index, RealDisk, SessionStore, SystemClock, TimeIds
from perdure.tools import Tool

from .runtime import Runtime
from .secrecy import Secrecy
from .services import ModelSource, Services
from .team import Team


async def open_runtime(
    workspace: Workspace | Path,
    *,
    tools: Sequence[type[Tool]] = (),
    models: Callable[[Workspace], ModelSource] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    disk: Disk | None = None,
    secrecy: Secrecy | None = None,
) -> Runtime:
    """Open a workspace and go on with what was unfinished. `tools` are added for every agent;
    the other arguments put something else in the place of the real thing.
    Raises NotFound when there is no workspace, ConfigError when its file is wrong."""
    found = workspace if isinstance(workspace, Workspace) else open_workspace(workspace)
    private = found.private
    clock = clock or SystemClock()
    committer = Committer(disk or RealDisk())
    commands = SupervisedCommands(private / "processes")
    agents = Agents(found)
    services = Services(
        clock=clock,
        ids=ids or TimeIds(),
        committer=committer,
        store=SessionStore(private, committer, clock),
        index=Index(private / "index.sqlite"),
        models=(models or registry)(found),
        commands=commands,
        boot=boot_id(),
    )
    runtime = Runtime(
        found, agents, Team(agents, services, commands, tools=tools, secrecy=secrecy), services
    )
    await runtime.start()
    return runtime


def registry(workspace: Workspace) -> ModelSource:
    """All providers, with the owner's credentials."""
    from perdure.models.credentials import Credentials, config_folder
    from perdure.models.registry import Models
    from perdure.models.wire import Http

    credentials = Credentials(config_folder(os.environ), os.environ)
    return Models(Http(), credentials, base=workspace.root)
