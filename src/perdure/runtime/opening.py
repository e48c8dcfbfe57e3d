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

from .labelling import file_labels
from .runtime import Runtime
from .secrecy import Secrecy
from .services import ModelSource, Services
from .team import Team
from .vetting import Vetting


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
    boot = boot_id()
    labels = file_labels(private, boot)
    vet = Vetting(labels, private / "processes")
    vet.author(found)
    agents = Agents(Watched(found, vet, _told))
    commands = SupervisedCommands(
        # Whether it has touched perdure.yaml can be told as long as its traces are there.
        private / "processes", boot=boot, before_forgetting=lambda: agents.workspace,
    )  # fmt: skip
    services = Services(
        clock=clock,
        ids=ids or TimeIds(),
        committer=committer,
        store=SessionStore(private, committer, clock),
        index=Index(private / "index.sqlite"),
        models=(models or registry)(found),
        commands=commands,
        boot=boot,
    )
    runtime = Runtime(
        found,
        agents,
        Team(agents, services, commands, labels, tools=tools, secrecy=secrecy),
        services,
    )
    await runtime.start()
    return runtime


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
