"""The agents of a workspace, read when first asked for and again when their files changed."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec

from perdure.kernel.errors import ConfigError, NotFound

from .agent import FILE, Agent, Stamp, load_agent, places_of, stamp_at
from .config import NAME_PATTERN
from .watched import Watched
from .workspace import Workspace

_NAME = re.compile(NAME_PATTERN)


class AgentEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    agent: Agent | None
    """The last good version; None when there never was one."""
    error: str
    """Why its files cannot be used now; empty when they can."""


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    agents: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    agent: Agent | None
    error: ConfigError | None
    stamp: Stamp
    places: tuple[str, ...]
    """Whose stamps they are."""
    workspace: Workspace
    """With which it was read."""


class Agents:
    def __init__(self, workspace: Workspace | Watched) -> None:
        self._watched = workspace if isinstance(workspace, Watched) else Watched(workspace)
        self._known: dict[str, _Known] = {}

    @property
    def workspace(self) -> Workspace:
        """As its file is now; while that is broken, as it last was when it was good."""
        return self._watched.look()

    @property
    def default(self) -> str:
        return self.workspace.config.default_agent

    def trouble(self, name: str = "") -> str:
        """Why the owner's files do not count as they are now: perdure.yaml, and those of an agent."""
        found = [self._watched.error]
        if name:
            with contextlib.suppress(NotFound):
                found.append(self._look(name).error)
        return "\n".join(dict.fromkeys(str(error) for error in found if error is not None))

    def names(self) -> list[str]:
        """Folders that hold an agent.yaml, sorted."""
        try:
            folders = list(self.workspace.agents.iterdir())
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
        self._watched.read()
        errors = [str(error) for error in [self._watched.error] if error is not None]
        names = self.names()
        for gone in self._known.keys() - set(names):
            del self._known[gone]
        for name in names:
            error_now = self._read(name, self._known.get(name)).error
            if error_now is not None:
                errors.append(str(error_now))
        return Reloaded(agents=tuple(names), errors=tuple(errors))

    def _look(self, name: str) -> _Known:
        known, workspace = self._known.get(name), self.workspace
        # Files that are broken are read each time: what was missing is in no stamp.
        if known is not None and known.error is None and known.workspace is workspace:
            # The same as before, if it has an agent.yaml at all?
            there = known.stamp and known.stamp[0][0] == known.places[0]
            if there and known.stamp == stamp_at(known.places):
                return known
        folder = workspace.agents / name
        if not _NAME.fullmatch(name) or not _there(folder / FILE):
            raise self._not_found(name)
        return self._read(name, known)

    def _read(self, name: str, before: _Known | None) -> _Known:
        workspace = self.workspace
        folder = workspace.agents / name
        last_good = before.agent if before else None
        named = [folder / f for f in last_good.named] if last_good else []
        places = places_of(folder, named)
        stamp = stamp_at(places)
        try:
            agent = load_agent(folder, workspace)
            places = places_of(folder, [folder / f for f in agent.named])
            known = _Known(agent, None, agent.files, places, workspace)
        except ConfigError as error:
            known = _Known(last_good, error, stamp, places, workspace)
        self._known[name] = known
        return known

    def _not_found(self, name: str) -> NotFound:
        names = self.names()
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
        return NotFound(f"there is no agent {name!r}", hint=hint)


def _there(file: Path) -> bool:
    """Whatever it is: what cannot be read as an agent's file is told, not overlooked."""
    return os.path.lexists(file)
