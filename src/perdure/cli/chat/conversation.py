"""One conversation: what was said and happens, and everything a person can do about it.

It keeps the story of the session up to date from the server's events and tells its display by
`changed`. It prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from perdure import __version__
from perdure.cli.chat.files import message_parts
from perdure.cli.chat.start import Start
from perdure.cli.client import Connected
from perdure.cli.common import resolve, title_of
from perdure.cli.link import Link, Lost, message_key
from perdure.cli.problems import Problem, problem_of
from perdure.cli.view.answers import Given
from perdure.cli.view.blocks import Asked, Block, Level, Note
from perdure.cli.view.question import question_of
from perdure.cli.view.story import Story
from perdure.kernel.errors import NotFound, PerdureError
from perdure.kernel.events import (
    ApprovalRequested,
    MessageMode,
    Record,
    TurnStarted,
)
from perdure.runtime.views import AgentView, SessionView

HISTORY = 400
"""Records of the past that are shown when one attaches."""


@dataclass(kw_only=True, slots=True)
class Outgoing:
    """Typed, and on its way to the server."""

    text: str
    mode: MessageMode
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server has it, or surely will not."""


class Conversation:
    def __init__(self, link: Link, start: Start) -> None:
        self.link = link
        self.start = start
        self.story = Story()
        self.session: SessionView | None = None
        self.agent: AgentView | None = None
        """As its files are; None until `open`."""
        self.outgoing: list[Outgoing] = []
        self.connected = True
        self.changed: Callable[[], None] = lambda: None
        """Set by the display; called on the event loop whenever something is to be shown."""
        self._viewed: set[str] = set()
        self._single: set[str] = set()
        """Questions that came with others and are to be answered one by one."""
        self._blocks: list[Block] = []
        self._follower: asyncio.Task[None] | None = None
        self._creating = asyncio.Lock()
        self._following = asyncio.Event()

    # Beginning and end ----------------------------------------------------------------------------

    async def open(self) -> None:
        """Find the session or the agent. Raises PerdureError or Problem."""
        server = self.link.server
        if server.version and server.version != __version__:
            self.note(
                f"The server is version {server.version}, this terminal {__version__}. "
                "To renew it: perdure serve stop",
                "warning",
            )
        agents = await self.link.client.agents()
        if self.start.session is not None:
            self.session = await resolve(self.link.client, self.start.session)
            await self._past(self.session)
        self.agent = _agent(agents, self.name)
        if self.session is None:
            self.note(f"Perdure {__version__} · /help says what you can do · {self.workdir}")
        if self.agent is not None and self.agent.error:
            self.note(
                f"The files of agent {self.agent.name} cannot be used as they are now:\n"
                f"{self.agent.error}",
                "warning",
            )

    async def _past(self, view: SessionView) -> None:
        after = max(0, view.seq - HISTORY)
        self.story = Story()
        shown = after == 0
        if not shown:
            self.note(f"… the beginning: perdure session show {view.id}")
        async for record in self.link.client.records(view.id, after):
            if not shown and isinstance(record.event, TurnStarted):
                shown = True
            self.story.feed(record)
            blocks = self.story.take()
            if shown:
                self._blocks += blocks
        if after:
            for one in await self.link.client.approvals(view.id):
                self.story.approvals.setdefault(one.request.approval, one.request)
            self.story.agent, self.story.workdir = view.agent, view.workdir
            self.story.cost_usd, self.story.unpriced = view.cost_usd, view.unpriced
            self.story.usage = view.usage
        # One that is older than what is shown cannot be decided on unseen.
        shown_ones = {b.request.approval for b in self._blocks if isinstance(b, Asked)}
        for request in self.story.approvals.values():
            if request.approval not in shown_ones:
                self._blocks.append(Asked(request=request))

    def follow(self) -> None:
        """Begin to follow the session, if there is one."""
        if self.session is not None and self._follower is None:
            self._follower = asyncio.create_task(self._follow(self.session.id))

    async def close(self) -> None:
        """Leave the session; it goes on without this terminal."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
            self._following.clear()

    async def _follow(self, session: str) -> None:
        try:
            async for thing in self.link.follow(session, self.story.seq):
                if isinstance(thing, Lost):
                    self.connected = False
                    self.story.lost_connection()
                elif isinstance(thing, Connected):
                    self.connected = True
                    self.story.connected(datetime.now(UTC))
                    self._following.set()
                elif isinstance(thing, Record):
                    self.story.feed(thing)
                else:
                    self.story.delta(thing)
                self.changed()
        except NotFound:
            self.note("This session was deleted.", "error")
        except (PerdureError, Problem) as error:
            self.fail(error)

    # What is to be shown ----------------------------------------------------------------------------

    def take(self) -> list[Block]:
        """Blocks finished since the last call, in order."""
        blocks, self._blocks = self._blocks, []
        return blocks + self.story.take()

    def note(self, text: str, level: Level = "dim") -> None:
        self._blocks += self.story.take()
        self._blocks.append(Note(text=text, level=level))
        self.changed()

    def fail(self, error: Exception) -> None:
        """Tell the person about an error of ours. Raises anything else."""
        problem = problem_of(error)
        if problem is None:
            raise error
        text = "\n".join(filter(None, (problem.message, problem.log, problem.hint)))
        self.note(text, "error")

    @property
    def name(self) -> str:
        """Of the agent."""
        if self.session is not None:
            return self.session.agent
        return self.start.agent or self.link.place.default_agent

    @property
    def model(self) -> str:
        return (
            self.story.model
            or (self.session.model if self.session else "")
            or self.start.model
            or (self.agent.model if self.agent else "")
        )

    @property
    def workdir(self) -> str:
        return self.session.workdir if self.session else self.start.workdir

    @property
    def busy(self) -> bool:
        return self.story.busy or bool(self.outgoing) or bool(self.story.pending)

    @property
    def waiting(self) -> list[ApprovalRequested]:
        """The questions of the turn, in the order of their calls."""
        return list(self.story.approvals.values())

    @property
    def questions(self) -> list[ApprovalRequested]:
        """Those to be answered now: all that came together, or the first of them."""
        waiting = self.waiting
        single = any(request.approval in self._single for request in waiting)
        return waiting[:1] if single else waiting

    def one_by_one(self) -> None:
        """The person wants to answer the present questions each for itself."""
        self._single |= {request.approval for request in self.waiting}
        self.changed()

    @property
    def approval(self) -> ApprovalRequested | None:
        """The one that has waited longest."""
        return next(iter(self.story.approvals.values()), None)

    def unseen(self, request: ApprovalRequested) -> str:
        """What of a question the person has not been shown, as a sentence. It can be allowed once
        nothing is left, after `viewed`."""
        return "" if request.approval in self._viewed else question_of(request).cut

    def viewed(self, request: ApprovalRequested) -> None:
        """The person was shown all of it."""
        self._viewed.add(request.approval)
        self.changed()

    # What a person does -----------------------------------------------------------------------------

    async def send(self, text: str, mode: MessageMode = "steer") -> bool:
        """Returns once the server has it on disk. False: it does not have it; the person was told."""
        outgoing = Outgoing(text=text, mode=mode)
        self.outgoing.append(outgoing)
        self.changed()
        try:
            parts = message_parts(text, self.workdir)
            session = await self._session(text)
            key = message_key()
            accepted = await self.link.call(
                lambda client: client.send(session.id, parts, mode=mode, key=key)
            )
            outgoing.settled.set()
            # Shown as pending from now on by its own record, which may have been here first.
            await self._seen(accepted.seq)
        except (PerdureError, Problem, OSError) as error:
            self.fail(error)
            return False
        finally:
            outgoing.settled.set()
            self.outgoing.remove(outgoing)
            self.changed()
        return True

    async def _seen(self, seq: int) -> None:
        """Until the record has come in, but no longer than a moment: the display would jump."""
        for _ in range(20):
            if self.story.seq >= seq:
                return
            await asyncio.sleep(0.01)

    async def _session(self, title: str) -> SessionView:
        async with self._creating:
            if self.session is None:
                self.session = await self.link.call(
                    lambda client: client.create_session(
                        agent=self.start.agent,
                        workdir=self.start.workdir or None,
                        title=title_of(title),
                        model=self.start.model,
                    ),
                    again=False,
                )
                self.follow()
                with contextlib.suppress(TimeoutError):
                    # So that the first answer is seen from its first word.
                    await asyncio.wait_for(self._following.wait(), 1.0)
            return self.session

    async def stop(self) -> None:
        """The turn that runs, or that what was sent is about to begin."""
        for outgoing in tuple(self.outgoing):
            await outgoing.settled.wait()
        if self.session is not None:
            session = self.session.id
            await self.link.call(lambda client: client.stop(session))

    async def decide(self, answers: Sequence[Given]) -> None:
        """All of these count, or none."""
        assert self.session is not None
        session = self.session.id
        await self.link.call(lambda client: client.decide_all(session, answers))

    async def choose_model(self, model: str) -> None:
        """For this session; empty returns to the agent's own."""
        if self.session is None:
            self.start = _with_model(self.start, model)
            self.story.model = ""
            self.note(f"model: {model}" if model else "model: the agent's own")
            return
        session = self.session.id
        self.session = await self.link.call(lambda client: client.configure(session, model=model))

    async def rename(self, title: str) -> None:
        session = (await self._session(title)).id
        self.session = await self.link.call(lambda client: client.configure(session, title=title))
        self.note(f"title: {title}")

    async def compact(self, focus: str) -> None:
        if self.session is None:
            self.note("There is nothing to compact yet.")
            return
        session = self.session.id
        await self.link.call(lambda client: client.compact(session, focus))

    async def fresh(self, agent: str | None = None) -> None:
        """A new session, made with its first message. The one before goes on by itself."""
        known = _agent(await self.link.client.agents(), agent or self.name)
        before = self.session
        await self.close()
        blocks = self.take()
        self.agent, self.session, self.story = known, None, Story()
        self._blocks = blocks
        self.start = _for_agent(self.start, agent or (before.agent if before else None))
        if before is not None:
            self.note(f"New session. The one before: perdure attach {before.id}")


def _agent(agents: list[AgentView], name: str) -> AgentView:
    """Raises NotFound."""
    for agent in agents:
        if agent.name == name:
            return agent
    raise NotFound(
        f"there is no agent '{name}'",
        hint=f"There are: {', '.join(agent.name for agent in agents) or 'none'}. "
        f"Make it: perdure agent create {name}",
    )


def _with_model(start: Start, model: str) -> Start:
    return replace(start, model=model)


def _for_agent(start: Start, agent: str | None) -> Start:
    return replace(start, agent=agent, session=None)
