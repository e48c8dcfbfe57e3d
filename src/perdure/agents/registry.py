"""The agents of a workspace, read when first asked for and again when their files changed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from perdure.kernel.errors import ConfigError, NotFound, PerdureError

from .agent import FILE, Agent, Stamp, load_agent, stamp_of
from .config import NAME_PATTERN
from .workspace import Workspace, open_workspace

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentEntry:
    name: str
    agent: Agent | None
    """The last good version; None when there never was one."""
    error: str
    """Why its files cannot be used now; empty when they can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reloaded:
    agents: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    agent: Agent | None
    error: ConfigError | None
    stamp: Stamp


class Agents:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[str, _Known] = {}

    @property
    def workspace(self) -> Workspace:
        """As last read."""
        return self._workspace

    @property
    def default(self) -> str:
        return self._workspace.config.default_agent

    def names(self) -> list[str]:
        """Folders that hold an agent.yaml, sorted."""
        try:
            folders = list(self._workspace.agents.iterdir())
        except FileNotFoundError:
            return []
        return sorted(f.name for f in folders if _NAME.fullmatch(f.name) and _there(f / FILE))

    def get(self, name: str = "") -> Agent:
        """The agent as its files are now; with broken files, as they last were when they were good.
        Empty: the default agent. Raises NotFound, or ConfigError when it was never good."""
        known = self._look(name or self.default)
        if known.agent is not None:
            return known.agent
        assert known.error is not None
        raise known.error

    def entry(self, name: str) -> AgentEntry:
        """Raises NotFound."""
        known = self._look(name)
        return AgentEntry(name=name, agent=known.agent, error=str(known.error or ""))

    def list(self) -> list[AgentEntry]:
        return [self.entry(name) for name in self.names()]

    def reload(self) -> Reloaded:
        """Read perdure.yaml and every agent again, whatever their times of change say."""
        errors: list[str] = []
        try:
            self._workspace = open_workspace(self._workspace.root, self._workspace.env)
        except PerdureError as error:
            errors.append(str(error))
        names = self.names()
        for gone in self._known.keys() - set(names):
            del self._known[gone]
        for name in names:
            error_now = self._read(name, self._known.get(name)).error
            if error_now is not None:
                errors.append(str(error_now))
        return Reloaded(agents=tuple(names), errors=tuple(errors))

    def _look(self, name: str) -> _Known:
        folder = self._workspace.agents / name
        if not _NAME.fullmatch(name) or not _there(folder / FILE):
            raise self._not_found(name)
        known = self._known.get(name)
        if known is not None and known.stamp == self._stamp(name, known.agent):
            return known
        return self._read(name, known)

    def _read(self, name: str, before: _Known | None) -> _Known:
        last_good = before.agent if before else None
        stamp = self._stamp(name, last_good)
        try:
            agent = load_agent(self._workspace.agents / name, self._workspace)
            known = _Known(agent, None, agent.files)
        except ConfigError as error:
            known = _Known(last_good, error, stamp)
        self._known[name] = known
        return known

    def _stamp(self, name: str, agent: Agent | None) -> Stamp:
        named = [agent.folder / f for f in agent.named] if agent else []
        return stamp_of(self._workspace.agents / name, named)

    def _not_found(self, name: str) -> NotFound:
        names = self.names()
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
        return NotFound(f"there is no agent {name!r}", hint=hint)


def _there(file: Path) -> bool:
    """Whatever it is: what cannot be read as an agent's file is told, not overlooked."""
    return os.path.lexists(file)
