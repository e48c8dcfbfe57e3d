"""What stands behind the ports of a session: the parts each agent brings, and their wiring."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.agents import Agent, Agents
from perdure.agents.config import NAME_PATTERN
from perdure.checkpoints import Checkpoints, TurnCheckpoints
from perdure.context import AgentPrefix, ContextBudget, SessionContext
from perdure.guard import Places, PolicyFiles, PolicyGate
from perdure.hooks import CommandHook, HookRunner, HookSet
from perdure.kernel.errors import Damaged, PerdureError
from perdure.kernel.events import CheckpointTaken, SessionId, SessionStarted, TurnId
from perdure.memory import MemoryFiles
from perdure.outbox import Channel, CommandOutbox, Letters
from perdure.sandbox import ProcessWatch, SupervisedCommands
from perdure.storage import OpenedSession
from perdure.tools import CORE_TOOLS, Bench, Tool, Toolbox

from .cast import EMBEDDED, Cast
from .live import Live, Parts, restore
from .services import Services

CHARS_PER_TOKEN = 3
"""For the cut of tool results, on the safe side of what tokenizers give for text and code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kit:
    """What the sessions of one agent share."""

    toolbox: Toolbox
    policy: PolicyFiles
    hooks: HookSet


class Team:
    def __init__(
        self,
        agents: Agents,
        services: Services,
        commands: SupervisedCommands,
        *,
        tools: Sequence[type[Tool]] = (),
    ) -> None:
        """`tools`: brought by the program that embeds Perdure, for every agent."""
        self._agents, self._services, self._commands = agents, services, commands
        self._core = (*CORE_TOOLS, *tools)
        self._kits: dict[str, Kit] = {}
        self.checkpoints = Checkpoints(
            agents.workspace.private / "checkpoints", services.clock, services.ids
        )
        self.letters = Letters(agents.workspace.private / "outbox")
        self._outbox = CommandOutbox(self.channels, commands, self.letters, agents.workspace.root)
        self._warming: dict[tuple[str, str], asyncio.Future[int]] = {}

    async def open(self, opened: OpenedSession, rested: Callable[[Live], None]) -> Live:
        """A session with what its log says. Its agent may be gone: then turns fail, and say so."""
        head = next(opened.log.read(through=1), None)
        if head is None or not isinstance(head.event, SessionStarted):
            raise Damaged(f"session {opened.id} does not begin with session_started")
        if not re.fullmatch(NAME_PATTERN, head.event.agent):  # it becomes part of paths
            raise Damaged(f"session {opened.id} names no possible agent: {head.event.agent[:80]!r}")
        return await self.live(opened, head.event.agent, Path(head.event.workdir), rested)

    async def live(
        self, opened: OpenedSession, agent: str, workdir: Path, rested: Callable[[Live], None]
    ) -> Live:
        services, kit = self._services, self._kit(agent)
        cast = Cast(lambda: self._agents.get(agent), services.models)
        context = self._context(opened, agent, kit, cast)
        bench = Bench(
            toolbox=kit.toolbox,
            session=opened.id,
            workdir=workdir,
            artifacts=opened.artifacts,
            commands=self._commands,
            scratch=self._root_private / "processes",
            max_result_chars=context.budget.max_result_tokens * CHARS_PER_TOKEN,
        )
        places = Places(
            workspace=self._root,
            workdir=workdir,
            agent=agent,
            commands=lambda: [
                *(h.command for h in self._commands_of(agent)),
                *(c.command for c in self.channels().values()),
            ],
        )
        gate = PolicyGate(
            bench, kit.policy, places, session=opened.id, ids=services.ids, boot=services.boot
        )
        state = restore(opened, context)
        await self.warm(agent, state.model)
        parts = Parts(
            context=context,
            cast=cast,
            gate=gate,
            hooks=HookRunner(kit.hooks, opened.id),
            outbox=self._outbox,
            checkpointer=_Checkpointer(self._agents, self.checkpoints, opened.id, workdir),
        )
        return Live(opened, state, parts, services, rested)

    async def warm(self, agent: str, chosen: str) -> None:
        """What is known of a cloud's models takes half a second to load, once: not on the event loop.
        `chosen`: the owner's model for a session, or empty."""
        with contextlib.suppress(PerdureError):
            for spec in Cast.specs(self._agents.get(agent), chosen):
                key = (spec.provider, spec.name)
                if key not in self._warming:
                    look = asyncio.to_thread(self._services.models.window, spec)
                    self._warming[key] = asyncio.ensure_future(look)
                await asyncio.shield(self._warming[key])

    def remember(self, agent: str, rule: str) -> None:
        """The owner said "always". Raises PerdureError when it cannot be stored."""
        self._kit(agent).policy.remember(rule)

    def reload(self) -> list[str]:
        """Read the policies, hooks and tools of all agents again; what is wrong with them. Runs the
        owner's files: not for the event loop."""
        errors: list[str] = []
        for kit in [self._kit(name) for name in self._agents.names()]:
            kit.toolbox.refresh()
            errors += map(str, kit.toolbox.errors)
            errors += kit.hooks.reload()
            try:
                kit.policy.current()
            except PerdureError as error:
                errors.append(str(error))
        return errors

    @staticmethod
    def model_name(agent: Agent) -> str:
        return agent.model or EMBEDDED.provider

    def channels(self) -> dict[str, Channel]:
        """Of the outbox, by name, as perdure.yaml is now."""
        return {
            name: Channel(name=name, command=c.command, timeout=c.timeout)
            for name, c in self._agents.workspace.config.outbox.items()
        }

    def watch(
        self, notify: Callable[[str, str, str], Awaitable[object]], exists: Callable[[str], bool]
    ) -> ProcessWatch:
        """Tells sessions of their background processes; see `ProcessWatch`."""
        return ProcessWatch(self._commands.background, notify, exists=exists)

    async def end_processes(self, session: SessionId) -> None:
        """A session is deleted: what it left running ends."""
        await self._commands.background.stop_all(session)

    def release(self) -> None:
        """Before a shutdown: running commands go on, to be joined at the next start."""
        self._commands.release()

    async def close(self) -> None:
        for kit in self._kits.values():
            kit.hooks.close()
        await self._commands.close()

    @property
    def _root(self) -> Path:
        return self._agents.workspace.root

    @property
    def _root_private(self) -> Path:
        return self._agents.workspace.private

    def _kit(self, agent: str) -> Kit:
        kit = self._kits.get(agent)
        if kit is None:
            private = self._root_private
            own = private / "agents" / agent
            kit = self._kits[agent] = Kit(
                toolbox=Toolbox(core=self._core, folders=(private / "tools", own / "tools")),
                policy=PolicyFiles(private, agent),
                hooks=HookSet((private / "hooks", own / "hooks"), lambda: self._commands_of(agent)),
            )
        return kit

    def _commands_of(self, agent: str) -> Sequence[CommandHook]:
        """Command hooks that the agent's and the workspace's files name."""
        try:
            settings = self._agents.get(agent).hooks
        except PerdureError:
            return ()
        return tuple(
            CommandHook(on=h.on, command=h.command, fail=h.fail, timeout=h.timeout, tools=h.tools)
            for h in settings
        )

    def _context(self, opened: OpenedSession, name: str, kit: Kit, cast: Cast) -> SessionContext:
        services = self._services

        def agent() -> Agent:
            return self._agents.get(name)

        def memory() -> MemoryFiles | None:
            found = agent()
            if not found.memory.enabled:
                return None
            return MemoryFiles(
                found.memory_folder,
                days=found.memory.daily_days,
                max_chars=found.memory.max_tokens * CHARS_PER_TOKEN,
            )

        try:
            budget = cast.first_budget()
        except PerdureError:
            budget = ContextBudget()
        source = AgentPrefix(
            name=name,
            agent=agent,
            memory=memory,
            tools=kit.toolbox.schemas,
            clock=services.clock,
            workspace=str(self._root),
        )
        return SessionContext(
            source,
            opened.artifacts,
            budget,
            services.clock,
            images=opened.artifacts,
        )


class _Checkpointer:
    """Implements ports.Checkpointer; perdure.yaml can turn it off."""

    def __init__(
        self, agents: Agents, checkpoints: Checkpoints, session: SessionId, workdir: Path
    ) -> None:
        self._agents = agents
        self._turns = TurnCheckpoints(checkpoints, session, workdir)

    async def take(self, turn: TurnId, seq: int) -> CheckpointTaken | None:
        if not self._agents.workspace.config.checkpoints:
            return None
        return await self._turns.take(turn, seq)
