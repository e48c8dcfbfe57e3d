"""What stands behind the ports of a session: the parts each agent brings, and their wiring."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from perdure.agents import Agent, Agents
from perdure.agents.config import NAME_PATTERN
from perdure.budgets import Ledger, SessionBudgets
from perdure.checkpoints import Checkpoints, Limits, TurnCheckpoints
from perdure.context import AgentPrefix, ContextBudget, SessionContext
from perdure.guard import Flow, Loops, Places, PolicyFiles, PolicyGate, TrustFile
from perdure.hooks import CommandHook, HookRunner, HookSet
from perdure.kernel.errors import ConfigError, Damaged, NotFound, PerdureError, StorageError
from perdure.kernel.events import CheckpointTaken, RequestId, SessionId, SessionStarted, TurnId
from perdure.kernel.labels import SELF, UNKNOWN, Label
from perdure.memory import MemoryFiles
from perdure.outbox import Channel, CommandOutbox, Letters
from perdure.sandbox import Process, ProcessWatch, SupervisedCommands
from perdure.storage import FileLabels, OpenedSession
from perdure.tools import CORE_TOOLS, Bench, Tool, Toolbox
from perdure.tools.labelling import printed_label

from .cast import EMBEDDED, Cast
from .confining import Containing, cannot_reach_out
from .live import Live, Parts
from .outside import Outside
from .reading import SessionReader
from .saving import restore
from .secrecy import ScreenedOutbox, Secrecy
from .services import Services
from .spending import CapsNow, Quotes, overview
from .views import SpendingView

CHARS_PER_TOKEN = 3
"""For the cut of tool results, on the safe side of what tokenizers give for text and code."""


class Kit(msgspec.Struct, frozen=True, kw_only=True):
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
        labels: FileLabels,
        *,
        tools: Sequence[type[Tool]] = (),
        secrecy: Secrecy | None = None,
    ) -> None:
        """`tools`: brought by the program that embeds Perdure, for every agent."""
        self._agents, self._services, self._commands = agents, services, commands
        self._core = (*CORE_TOOLS, *tools)
        self._kits: dict[str, Kit] = {}
        self.labels = labels
        self.checkpoints = Checkpoints(
            agents.workspace.private / "checkpoints",
            services.clock,
            services.ids,
            self._checkpoint_limits,
            labels=self.labels,
        )
        self.letters = Letters(agents.workspace.private / "outbox")
        self.ledger = Ledger(agents.workspace.private / "budgets", services.clock)
        self.trust = TrustFile(agents.workspace.private / "trust.yaml")
        self.secrecy = secrecy or Secrecy.of(agents.workspace)
        self._contexts: dict[str, Callable[[], Label]] = {}
        """By session that was opened: the label of what it holds."""
        self.outside = Outside(
            agents, self.secrecy, self._heard, self._label, self.labels.running_in
        )
        outbox = CommandOutbox(self.channels, commands, self.letters, agents.workspace.root)
        self._outbox = ScreenedOutbox(outbox, self.secrecy, outbox.begun)
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
        walls = Containing(self._agents, self.outside, opened.id, agent, workdir)
        budgets = self._budgets(opened.id, agent, lambda: state.model)
        bench = Bench(
            toolbox=kit.toolbox,
            session=opened.id,
            workdir=workdir,
            artifacts=opened.artifacts,
            commands=self._commands.within(walls.containment, walls.confines),
            scratch=self._root_private / "processes",
            max_result_chars=context.budget.max_result_tokens * CHARS_PER_TOKEN,
            labels=self.labels,
            context=lambda: state.label,
            reader=SessionReader(
                lambda: cast.alone(state.model), services.ids, budgets, lambda: state
            ),
            screen=self.secrecy,
            doors=self.outside.egress.door(opened.id, agent),
            search=self.outside.search,
            refusals=self.outside.refusals.of(opened.id),
            spent=lambda usage, cost_usd: budgets.paid(
                state, RequestId(services.ids.new("r")), usage, cost_usd
            ),
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
            bench,
            kit.policy,
            places,
            session=opened.id,
            ids=services.ids,
            clock=services.clock,
            flow=Flow(
                earlier=opened.log.read,
                tools=kit.toolbox.get,
                directory=self.trust.current,
                admits=lambda url, tool: self.outside.admits(url, tool, agent),
                control=lambda path: places.zone(path, write=True) == "control",
                contained=lambda: cannot_reach_out(walls.confines()),
            ),
            loops=Loops(),
            environment=self._commands.environment,
            earlier=opened.log.read,
            boot=services.boot,
        )
        state = restore(opened, context, cast)
        self._contexts[opened.id] = lambda: state.label
        await self.warm(agent, state.model)
        parts = Parts(
            context=context,
            cast=cast,
            gate=gate,
            hooks=HookRunner(kit.hooks, opened.id),
            outbox=self._outbox,
            checkpointer=_Checkpointer(self._agents, self.checkpoints, opened.id, workdir),
            screen=self.secrecy.event,
            budgets=budgets,
        )
        return Live(opened, state, parts, services, rested)

    def _budgets(self, session: SessionId, agent: str, chosen: Callable[[], str]) -> SessionBudgets:
        def found() -> Agent:
            return self._agents.get(agent)

        return SessionBudgets(
            self.ledger,
            CapsNow(found, lambda: self._agents.workspace.config),
            Quotes(found, chosen),
            self._services.clock,
            agent=agent,
            session=session,
        )

    def spending(self) -> SpendingView:
        """Raises StorageError."""
        return overview(self.ledger, self._agents, self._services.clock.now())

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

    def _checkpoint_limits(self) -> Limits:
        """As perdure.yaml is now."""
        found = self._agents.workspace.config.checkpoints
        return Limits(
            files=found.files,
            file_bytes=found.file_mb << 20,
            bytes=found.total_mb << 20,
            seconds=found.seconds,
            keep=found.keep,
        )

    def remember(self, agent: str, rule: str) -> None:
        """The owner said "always". Raises PerdureError when it cannot be stored."""
        self._kit(agent).policy.remember(rule)

    def mode(self, agent: str) -> str:
        """Of the agent's policy as its files say now; `broken` where they cannot be read."""
        try:
            return self._kit(agent).policy.current().mode
        except PerdureError:
            return "broken"

    def wrong(self, agent: str) -> list[str]:
        """With files that are read anew for each call, and what follows from it."""
        found: list[str] = []
        try:
            self._kit(agent).policy.current()
        except PerdureError as error:
            found.append(f"{error}\nUntil it is mended, no tool runs.")
        try:
            self.trust.current()
        except PerdureError as error:
            found.append(f"{error}\nUntil it is mended, nothing in it counts as approved.")
        return found

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

    def person(self, source: str, sender: str) -> str:
        """Whom the owner knows by this sender of messages, as trust.yaml is now; empty: nobody."""
        try:
            return self.trust.current().person(source, sender)
        except ConfigError:
            return ""

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
        return ProcessWatch(
            self._commands.background, notify, exists=exists, ended=self._process_ended
        )

    async def process_label(self, session: SessionId, process: str, context: Label) -> Label:
        """Of what a background process prints. `context`: of its session, which holds no less."""
        try:
            found = await self._commands.background.find(session, process)
        except NotFound:
            return SELF.join(context)
        return printed_label(found, self.labels, context)

    def _label(self, session: str) -> Label:
        """Of what a session holds; that of one which is not open since the last start is not known."""
        context = self._contexts.get(session)
        return UNKNOWN if context is None else context()

    def _heard(self, session: str, host: str) -> None:
        """Commands of a session are about to get something from there. In a thread of its own."""
        self.labels.heard(session, host)

    async def _process_ended(self, process: Process) -> None:
        """What it may have written is labelled; where that fails, the time it ran stays noted."""
        printed_label(process, self.labels, SELF)
        with contextlib.suppress(StorageError):
            await asyncio.to_thread(self.labels.end, process.key)

    async def end_processes(self, session: SessionId) -> None:
        """A session is deleted: what it left running ends."""
        await self._commands.background.stop_all(session)
        await self.outside.ended(session)

    def release(self) -> None:
        """Before a shutdown: running commands go on, to be joined at the next start."""
        self._commands.release()

    async def close(self) -> None:
        for kit in self._kits.values():
            kit.hooks.close()
        await self._commands.close()
        await self.outside.close()
        self.labels.close()
        with contextlib.suppress(StorageError):
            self.ledger.flush()
        self.ledger.close()

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
                toolbox=Toolbox(
                    core=self._core,
                    folders=(private / "tools", own / "tools"),
                    also=self.outside.tools,
                ),
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
            labels=self.labels.of,
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
        if not self._agents.workspace.config.checkpoints.enabled:
            return None
        return await self._turns.take(turn, seq)
