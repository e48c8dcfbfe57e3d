"""Opening a workspace: every port gets its implementation here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.agents import Agents, Watched, Workspace, open_workspace
from perdure.kernel.errors import ConfigError
from perdure.kernel.ports import Clock, Ids
from perdure.sandbox import SupervisedCommands, boot_id
from perdure.storage import Committer, Disk, Index, RealDisk, SessionStore, SystemClock, TimeIds
from perdure.tools import Tool

from .outside import rules_of
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
    agents = Agents(Watched(found, vet, _told))
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


def vet(workspace: Workspace) -> None:
    """Whether a perdure.yaml that was changed while it is in use may count. Raises ConfigError."""
    from perdure.storage.attributes import read

    label = read(str(workspace.file))
    if label is not None and label.tainted:
        raise ConfigError(
            "was written with what others said at hand",
            file=str(workspace.file),
            hint=f"If you trust it: perdure label clear {workspace.file}",
        )
    rules_of(workspace.config.egress, workspace.config.web)


def _told(wrong: ConfigError | None) -> None:
    logger = logging.getLogger("perdure")
    if wrong is None:
        logger.info("perdure.yaml has changed and was read again")
    else:
        logger.error("%s; what it said before stays in use", wrong)


def registry(workspace: Workspace) -> ModelSource:
    """All providers, with the owner's credentials."""
    from perdure.models.credentials import Credentials, config_folder
    from perdure.models.registry import Models
    from perdure.models.wire import Http

    credentials = Credentials(config_folder(os.environ), os.environ)
    return Models(Http(), credentials, base=workspace.root)
