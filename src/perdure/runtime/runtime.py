"""The façade: everything that terminal, server and gateways may do with a workspace."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

from perdure import __version__
from perdure.agents import Agents, Workspace
from perdure.checkpoints import Changes, Checkpoint, Checkpoints, Restored
from perdure.kernel.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PerdureError,
    StorageError,
)
from perdure.kernel.events import (
    AnyDelta,
    ApprovalAnswer,
    ApprovalId,
    ApprovalScope,
    ArtifactId,
    DeliveryId,
    Image,
    Json,
    MessageId,
    MessageMode,
    Part,
    Record,
    SessionId,
    SessionStarted,
    Text,
)
from perdure.outbox import Letter

from .listing import Listing
from .live import Live
from .resuming import DEATHS, Resuming
from .services import Services
from .team import Team
from .views import (
    Accepted,
    AgentView,
    OpenApproval,
    OpenDoubt,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    TurnOutcome,
)

IDLE_SECONDS = 300.0
"""A session that nobody used for so long is closed; the next use opens it again."""
RESUMING_AT_ONCE = 8
"""Unfinished sessions that are opened together at the start."""
STEADY_SECONDS = 5.0
"""A session that was resumed and has not brought the process down for so long is innocent."""
HELD = (
    "The runtime died {deaths} times in a row while resuming this session, so it waits for you. "
    "Send it a message, or: perdure session resume {session}"
)
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds between attempts to reopen a session that the disk refused."""
MOST_TEXT = 4_000_000
"""Characters of one message."""


class Runtime:
    """One workspace, opened by this process. Made by `perdure.runtime.opening.open_runtime`."""

    def __init__(
        self, workspace: Workspace, agents: Agents, team: Team, services: Services
    ) -> None:
        self.workspace = workspace
        self._agents, self._team, self._services = agents, team, services
        self._live: dict[SessionId, Live] = {}
        self._opening: dict[SessionId, asyncio.Task[Live]] = {}
        self._reopening: dict[SessionId, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._held: set[SessionId] = set()
        self._resuming = Resuming(workspace.private / "resuming")
        self._checkpoints = Checkpoints(
            workspace.private / "checkpoints", services.clock, services.ids
        )
        self._started = services.clock.now()
        self._listing = Listing(services.index, services.store, self._started)
        self._closing = False

    async def start(self) -> None:
        """Resume what was unfinished, and from then on let go of what nobody uses."""
        unfinished = sorted(self._services.store.unfinished.ids(), reverse=True)
        deaths = {id_: self._resuming.deaths(id_) for id_ in unfinished}
        self._held = {id_ for id_ in unfinished if deaths[id_] >= DEATHS}
        self._tasks.append(asyncio.create_task(self._resume_all(deaths), name="resume"))
        self._tasks.append(asyncio.create_task(self._sweep(), name="sweep"))

    async def close(self) -> None:
        """Stop working; running turns and commands go on at the next start."""
        self._closing = True
        self._team.release()
        tasks = [*self._tasks, *self._reopening.values(), *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(live.close() for live in self._live.values()))
        self._live.clear()
        self._services.store.unfinished.sweep()
        await self._team.close()
        await self._services.models.close()
        await self._listing.close()
        await asyncio.to_thread(self._services.committer.close)

    # Sessions -----------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        agent: str | None = None,
        workdir: str | None = None,
        title: str = "",
        model: str = "",
    ) -> SessionView:
        found = self._agents.get(agent or "")
        place = self._workdir(workdir)
        id_ = SessionId(self._services.ids.new("s"))
        opened = await self._services.store.create(id_)
        live = await self._team.live(opened, found.name, place, self._rested)
        try:
            await live.begin(
                SessionStarted(session=id_, agent=found.name, workdir=str(place), title=title)
            )
            if model:
                await live.configure(model=model, title=None)
        except BaseException:
            await live.close()
            with contextlib.suppress(PerdureError):
                await self._services.store.delete(id_)
            raise
        self._live[id_] = live
        self._listing.note(live.view())
        return live.view()

    async def session(self, session: SessionId) -> SessionView:
        return (await self._open(session)).view()

    async def sessions(
        self, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        """Newest first; `before` is the id the page before ended with."""
        page = await self._listing.page(limit, before, agent)
        return [live.view() if (live := self._live.get(v.id)) else v for v in page]

    async def fork(self, session: SessionId, at: int | None = None) -> SessionView:
        services = self._services
        if at is not None and at < 1:
            raise InvalidInput("a fork begins after a record's number, from 1 on")
        live = self._live.get(session)
        if live is not None:
            await live.settled()
        opened = await services.store.fork(session, at, SessionId(services.ids.new("s")))
        forked = await self._team.open(opened, self._rested)
        self._live[forked.id] = forked
        self._listing.note(forked.view())
        with contextlib.suppress(PerdureError):  # a fork without checkpoints is one all the same
            upto = forked.state.seq if at is None else at
            await asyncio.to_thread(self._checkpoints.fork, session, forked.id, upto)
        return forked.view()

    async def delete(self, session: SessionId) -> None:
        if session in self._live or session in self._opening:
            live = await self._open(session)
            if live.state.turn is not None and not live.error:
                await live.stop(by="owner", reason="the session is deleted")
                await live.at_rest(5.0)
            del self._live[session]
            await live.close()
        await self._services.store.delete(session)
        await self._listing.forget(session)
        with contextlib.suppress(PerdureError):  # what stays behind goes with the next one
            await asyncio.to_thread(self._checkpoints.forget, session)

    async def configure(
        self, session: SessionId, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        live = await self._open(session)
        await live.configure(model=model, title=title)
        return live.view()

    # Messages -----------------------------------------------------------------------------------

    async def submit(
        self,
        session: SessionId,
        parts: tuple[Part, ...],
        *,
        mode: MessageMode = "steer",
        source: str = "api",
        sender: str = "",
        key: str = "",
        deliver: str = "",
    ) -> Accepted:
        """Returns once the message is on disk (D1). `deliver`: channel of the outbox for the answer.
        Raises InvalidInput when there is no such channel."""
        if deliver and deliver not in (channels := self._team.channels()):
            known = ", ".join(channels) or "none"
            raise InvalidInput(
                f"there is no outbox {deliver!r}", hint=f"perdure.yaml has: {known}."
            )
        checked = _checked(parts)
        live = await self._open(session)
        self._release(session)
        receipt = await live.submit(
            checked, mode=mode, source=source, sender=sender, key=key, deliver=deliver
        )
        return Accepted(message=receipt.message, seq=receipt.seq, duplicate=receipt.duplicate)

    async def wait(
        self, session: SessionId, message: MessageId, timeout: float
    ) -> TurnOutcome | None:
        """How the turn that took the message ended; None when `timeout` seconds ran out first."""
        return await (await self._open(session)).wait(message, timeout)

    @asynccontextmanager
    async def subscribe(
        self, session: SessionId, after: int = 0
    ) -> AsyncIterator[AsyncIterator[Record | AnyDelta]]:
        """Records after `after` without gap or repeat, then live, with deltas between them."""
        live = await self._open(session)
        async with live.watch(after) as stream:
            yield stream

    async def records(self, session: SessionId, after: int = 0, limit: int = 500) -> list[Record]:
        live = await self._open(session)
        return await asyncio.to_thread(
            lambda: list(islice(live.opened.log.read(after=after), limit))
        )

    async def store_image(self, session: SessionId, media_type: str, data: bytes) -> Image:
        live = await self._open(session)
        ext = media_type.rpartition("/")[2].split("+")[0]
        artifact = await asyncio.to_thread(live.opened.artifacts.put, data, f".{ext}")
        return Image(media_type=media_type, artifact=artifact)

    async def stop(self, session: SessionId, *, by: str = "owner", reason: str = "") -> bool:
        """False when no turn was running."""
        return await (await self._open(session)).stop(by=by, reason=reason)

    async def compact(self, session: SessionId, focus: str = "") -> None:
        await (await self._open(session)).compact(focus)

    async def approvals(self, session: SessionId | None = None) -> list[OpenApproval]:
        """Open ones, of one session or of all that are open or unfinished."""
        if session is not None:
            return (await self._open(session)).approvals()
        waiting = [live for live in self._live.values() if live.state.approvals]
        return [approval for live in waiting for approval in live.approvals()]

    async def decide(
        self,
        session: SessionId,
        approval: ApprovalId,
        answer: ApprovalAnswer,
        scope: ApprovalScope = "once",
        by: str = "owner",
        note: str = "",
    ) -> None:
        live = await self._open(session)
        request = await live.decide(approval, answer, scope=scope, by=by, note=note)
        if answer == "allow" and scope == "always":
            await asyncio.to_thread(self._team.remember, live.state.agent, request.rule)

    async def doubts(self, session: SessionId) -> list[OpenDoubt]:
        """Calls that were under way at a crash, and that the owner has not settled."""
        return (await self._open(session)).doubts()

    async def settle(
        self, session: SessionId, key: str, answer: Literal["happened", "again"], by: str = "owner"
    ) -> Accepted:
        """Say what became of a call in doubt. Raises NotFound."""
        receipt = await (await self._open(session)).settle(key, answer, by=by)
        return Accepted(message=receipt.message, seq=receipt.seq, duplicate=receipt.duplicate)

    async def letters(self) -> list[Letter]:
        """Answers that have not arrived at their channel, dead letters included; oldest first."""
        return await asyncio.to_thread(lambda: list(self._team.letters.all()))

    async def redeliver(self, delivery: DeliveryId, by: str = "owner") -> None:
        """Send a dead letter again. Raises NotFound, or Conflict when it is on its way already."""
        for letter in await self.letters():
            if letter.delivery == delivery:
                await (await self._open(letter.session)).redeliver(delivery, by=by)
                return
        raise NotFound(f"there is no delivery {delivery}", hint="It arrived, or never was.")

    async def resume(self, session: SessionId) -> SessionView:
        """Let a held session go on. Raises Conflict when it is not held."""
        live = await self._open(session)
        if not live.held:
            raise Conflict(f"session {session} is not held")
        self._release(session)
        live.let_go()
        return live.view()

    async def context(self, session: SessionId, request: str | None = None) -> dict[str, Json]:
        """What a model call contained (C5); the last one when `request` is None."""
        from perdure.context import context_report

        live = await self._open(session)
        await live.settled()
        return await asyncio.to_thread(live.report, context_report, request)

    def artifact_path(self, session: SessionId, artifact: ArtifactId) -> Path:
        live = self._live.get(session)
        store = self._services.store
        artifacts = live.opened.artifacts if live else store.artifacts(session)
        path = artifacts.path(artifact)
        if not path.is_file():
            raise NotFound(f"session {session} has no artifact {artifact}")
        return path

    # Checkpoints --------------------------------------------------------------------------------

    async def checkpoints(self, session: SessionId) -> list[Checkpoint]:
        """Of its working folder, newest first."""
        await self._open(session)
        return await asyncio.to_thread(self._checkpoints.list, session)

    async def checkpoint_changes(self, session: SessionId, checkpoint: str) -> Changes:
        """What restoring it now would do to the folder."""
        await self._open(session)
        return await asyncio.to_thread(self._checkpoints.changes, session, checkpoint)

    async def restore_checkpoint(self, session: SessionId, checkpoint: str) -> Restored:
        """Put the folder back, after a checkpoint of how it is now. Raises Conflict while a turn works
        in that folder; one that begins meanwhile waits before it changes anything."""
        live = await self._open(session)
        found = await asyncio.to_thread(self._checkpoints.get, session, checkpoint)
        folder = Path(found.workdir)
        for other in self._live.values():
            place = Path(other.state.workdir)
            near = place == folder or place in folder.parents or folder in place.parents
            if near and (other.running or other.state.turn is not None):
                raise Conflict(
                    f"session {other.id} is in the middle of a turn in {place}",
                    hint=f"Stop it first: perdure session stop {other.id}",
                )
        seq = live.state.seq
        return await asyncio.to_thread(
            lambda: self._checkpoints.restore(session, checkpoint, seq=seq)
        )

    # Agents and the process -----------------------------------------------------------------------

    def agents(self) -> Sequence[AgentView]:
        views = []
        for entry in self._agents.list():
            agent = entry.agent
            views.append(
                AgentView(
                    name=entry.name,
                    description=agent.description if agent else "",
                    model=self._team.model_name(agent) if agent else "",
                    error=entry.error,
                )
            )
        return views

    async def reload(self) -> ReloadReport:
        """Read all agents' files, tools, hooks and policies again."""
        reloaded = await asyncio.to_thread(self._agents.reload)
        self.workspace = self._agents.workspace
        errors = (*reloaded.errors, *self._team.reload())
        return ReloadReport(agents=reloaded.agents, errors=tuple(dict.fromkeys(errors)))

    def status(self) -> RuntimeStatus:
        return RuntimeStatus(
            version=__version__,
            workspace=str(self.workspace.root),
            pid=os.getpid(),
            started=self._started,
            sessions_open=len(self._live),
            sessions_running=sum(live.running for live in self._live.values()),
            memory_mb=_memory_mb(),
        )

    # Inside -------------------------------------------------------------------------------------

    async def _open(self, session: SessionId) -> Live:
        if self._closing:
            raise StorageError("the runtime is shutting down")
        live = self._live.get(session)
        if live is not None:
            if live.error:
                await self._reopen_now(session, live)
                return await self._open_once(session)
            live.touch()
            return live
        return await self._open_once(session)

    async def _open_once(self, session: SessionId) -> Live:
        """Several callers share one opening; one that gives up does not take it from the others."""
        task = self._opening.get(session)
        if task is None:
            task = self._opening[session] = asyncio.create_task(self._load(session))
            task.add_done_callback(lambda _: self._opening.pop(session, None))
        return await asyncio.shield(task)

    async def _load(self, session: SessionId) -> Live:
        live = self._live.get(session)
        if live is None:
            opened = await self._services.store.open(session)
            try:
                live = await self._team.open(opened, self._rested)
            except BaseException:
                await opened.log.close()
                raise
            self._live[session] = live
            held = session in self._held
            live.resume(HELD.format(deaths=DEATHS, session=session) if held else "")
            self._listing.note(live.view())
        return live

    def _rested(self, live: Live) -> None:
        """A session came to rest, or broke."""
        self._listing.note(live.view())
        if live.error and not self._closing and live.id not in self._reopening:
            task = asyncio.create_task(self._reopen(live), name=f"reopen {live.id}")
            self._reopening[live.id] = task
            task.add_done_callback(lambda _: self._reopening.pop(live.id, None))

    async def _reopen(self, live: Live) -> None:
        """D9: what the disk refused is tried again, by itself, until it goes."""
        delay = FIRST_RETRY
        while True:
            await self._services.clock.sleep(delay)
            if self._live.get(live.id) is not live:
                return
            try:
                await self._reopen_now(live.id, live)
                await self._open_once(live.id)
                return
            except PerdureError:
                delay = min(LONGEST_RETRY, delay * 2)
                if live.id not in self._live:
                    self._live[live.id] = live

    async def _reopen_now(self, session: SessionId, live: Live) -> None:
        if self._live.get(session) is live:
            del self._live[session]
            await live.close()

    async def _resume_all(self, deaths: dict[SessionId, int]) -> None:
        """D4, newest conversation first; those at which the process died before come last, alone."""
        gate = asyncio.Semaphore(RESUMING_AT_ONCE)

        async def resume(session: SessionId) -> None:
            async with gate:
                await self._resume(session)

        await asyncio.gather(*(resume(id_) for id_, died in deaths.items() if not died))
        for id_, died in deaths.items():
            if died and id_ not in self._held:
                await self._resume(id_)

    def _release(self, session: SessionId) -> None:
        """The owner wants it to go on."""
        if session in self._held:
            self._held.discard(session)
            self._resuming.over(session)

    async def _resume(self, session: SessionId) -> None:
        """Returns once it is going, or it is clear that it will not."""
        gone = asyncio.Event()
        try:
            await asyncio.to_thread(self._resuming.begin, session)
            live = await self._open(session)
        except PerdureError as error:
            self._resuming.over(session)
            if isinstance(error, NotFound):
                self._services.store.unfinished.clear(session)
            return  # anything else is shown when the session is asked for
        if not live.running:
            self._services.store.unfinished.clear(session)
        elif live.progressed is None:
            live.progressed = gone.set
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STEADY_SECONDS):
                    await gone.wait()
        self._resuming.over(session)

    async def _sweep(self) -> None:
        clock = self._services.clock
        while True:
            await clock.sleep(IDLE_SECONDS / 5)
            now = clock.monotonic()
            for live in list(self._live.values()):
                if live.idle and not live.error and now - live.used > IDLE_SECONDS:
                    del self._live[live.id]
                    await live.close()

    def _workdir(self, workdir: str | None) -> Path:
        if workdir is None:
            return self.workspace.root
        path = Path(workdir).expanduser()
        if not path.is_absolute():
            raise InvalidInput(f"workdir {workdir!r} is not an absolute path")
        try:
            place = path.resolve(strict=True)
        except OSError as error:
            raise InvalidInput(f"workdir {workdir!r}: {error.strerror}") from error
        if not place.is_dir():
            raise InvalidInput(f"workdir {workdir!r} is no folder")
        return place


def _checked(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Clean text that every codec takes, and some of it."""
    kept: list[Part] = []
    size = 0
    for part in parts:
        if isinstance(part, Text):
            text = part.text.encode("utf-8", "replace").decode()
            size += len(text)
            if text.strip():
                kept.append(Text(text=text))
        else:
            kept.append(part)
    if not kept:
        raise InvalidInput("the message is empty")
    if size > MOST_TEXT:
        raise InvalidInput(
            f"the message has {size:,} characters; {MOST_TEXT:,} are allowed",
            hint="Put it into a file and name the file.",
        )
    return tuple(kept)


def _memory_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except OSError:
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
