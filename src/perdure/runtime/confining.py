"""What the commands of a session may reach, from the owner's files as they are at that moment."""

from __future__ import annotations

from pathlib import Path

from perdure.agents import Agents
from perdure.agents.config import SandboxSettings
from perdure.kernel.errors import PerdureError
from perdure.sandbox import Confines, Containment
from perdure.sealing import config_folder

from .outside import Outside


def confines_of(settings: SandboxSettings) -> Confines:
    return Confines(**{name: getattr(settings, name) for name in type(settings).model_fields})


def uncontained(agents: Agents, agent: str) -> str:
    """What the commands of an agent can do by its owner's choice; empty: what a sandbox lets them."""
    try:
        settings = agents.get(agent).sandbox
    except PerdureError:
        return ""
    if settings.backend == "none":
        return "commands run without a sandbox, and can do whatever you can"
    return "commands reach the whole network, unseen" if settings.network == "open" else ""


class Containing:
    """Of the commands of one session, for every command anew. Both raise PerdureError when the agent's
    files say nothing that can be used: then nothing runs."""

    def __init__(
        self, agents: Agents, outside: Outside, session: str, agent: str, workdir: Path
    ) -> None:
        self._agents, self._outside = agents, outside
        self._session, self._agent, self._workdir = session, agent, workdir
        self._settings: SandboxSettings | None = None
        self._confines = Confines()

    def confines(self) -> Confines:
        settings = self._agents.get(self._agent).sandbox
        if settings is not self._settings:
            self._confines, self._settings = confines_of(settings), settings
        return self._confines

    def containment(self) -> Containment:
        confines, workspace = self.confines(), self._agents.workspace
        proxied = confines.network == "proxy" and confines.backend != "none"
        return Containment(
            session=self._session,
            workdir=self._workdir,
            control=(workspace.private, workspace.file),
            hidden=(config_folder(workspace.env),),
            confines=confines,
            proxy_socket=self._outside.socket(self._session, self._agent) if proxied else None,
            certificate=self._outside.certificate if proxied else None,
        )


def cannot_reach_out(confines: Confines) -> bool:
    """Commands run walled in, and what they send passes the egress or does not leave. Where no wall can be
    had, they do not run at all."""
    return confines.backend != "none" and confines.network != "open"
