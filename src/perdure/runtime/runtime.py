"""The façade: everything that terminal, server and gateways may do with a workspace."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from perdure import __version__
from perdure.agents import Agents, Workspace
from perdure.checkpoints import Changes, Checkpoint, Restored
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
    ApprovalDecided,
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
from perdure.kernel.labels import Label
from perdure.kernel.state import UNATTENDED
from perdure.outbox import Letter

from .confining import uncontained
from .listing import Listing
from .live import Live
from .resuming import Resuming
from .rooms import Rooms
from .services import Services
from .speakers import speaker
from .team import Team
from .views import (
    Accepted,
    AgentView,
    OpenApproval,
    OpenDoubt,
    ReloadReport,
    RuntimeStatus,
    SessionView,
    SpendingView,
    TurnOutcome,
)

MOST_TEXT = 4_000_000
"""Characters of one message."""


NAMED = 20
"""Files that a notice to the model names."""


class Runtime:
    """One workspace, opened by this process. Made by `perdure.runtime.opening.open_runtime`."""

    def __init__(
        self, workspace: Workspace, agents: Agents, team: Team, services: Services
    ) -> None:
        self._agents, self._team, self._services = agents, team, services
        self._checkpoints = team.checkpoints
        self._started = services.clock.now()
        self._served = workspace.config.server
        self._listing = Listing(services.index, services.store, self._started)
        resuming = Resuming(workspace.private / "resuming")
        self._rooms = Rooms(team, services, self._listing, resuming)
        self._watch = team.watch(self._tell, lambda s: services.store.exists(SessionId(s)))

    @property
    def workspace(self) -> Workspace:
        return self._agents.workspace

    async def start(self) -> None:
        """Resume what was unfinished, and from then on let go of what nobody uses."""
        self._team.outside.start()
        await self._rooms.start()
        await self._watch.start()

    async def close(self) -> None:
        """Stop working; running turns and commands go on at the next start."""
        self._team.release()
        await self._watch.close()
        await self._rooms.close()
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
        try:
            live = await self._team.live(opened, found.name, place, self._rooms.rested)
        except BaseException:
            await opened.log.close()
            with contextlib.suppress(PerdureError):
                await self._services.store.delete(id_)
            raise
        try:
            await live.begin(
                SessionStarted(session=id_, agent=found.name, workdir=str(place), title=title)
            )
            if model:
                await self._team.warm(found.name, model)
                await live.configure(model=model, title=None)
        except BaseException:
            await live.close()
            with contextlib.suppress(PerdureError):
                await self._services.store.delete(id_)
            raise
        self._rooms.enter(live)
        return live.view()

    async def session(self, session: SessionId) -> SessionView:
        view = (await self._open(session)).view()
        return msgspec.structs.replace(
            view,
            mode=self._team.mode(view.agent),
            wrong=self._wrong(view.agent),
            sandbox=uncontained(self._agents, view.agent),
        )

    async def sessions(
        self, limit: int = 50, before: str | None = None, agent: str | None = None
    ) -> list[SessionView]:
        """Newest first; `before` is the id the page before ended with."""
        page = await self._listing.page(limit, before, agent)
        return [self._as_now(view) for view in page]

    async def fork(self, session: SessionId, at: int | None = None) -> SessionView:
        services = self._services
        if at is not None and at < 1:
            raise InvalidInput("a fork begins after a record's number, from 1 on")
        if (live := self._rooms.get(session)) is not None:
            await live.settled()
        opened = await services.store.fork(session, at, SessionId(services.ids.new("s")))
        try:
            forked = await self._team.open(opened, self._rooms.rested)
        except BaseException:
            await opened.log.close()
            raise
        self._rooms.enter(forked)
        with contextlib.suppress(PerdureError):  # a fork without checkpoints is one all the same
            upto = forked.state.seq if at is None else at
            await asyncio.to_thread(self._checkpoints.fork, session, forked.id, upto)
        return forked.view()

    async def delete(self, session: SessionId) -> None:
        async with self._rooms.emptied(session):
            await self._services.store.delete(session)
            await self._team.end_processes(session)
        await self._listing.forget(session)
        with contextlib.suppress(PerdureError):  # what stays behind goes with the next one
            await asyncio.to_thread(self._checkpoints.forget, session)

    async def configure(
        self, session: SessionId, *, model: str | None = None, title: str | None = None
    ) -> SessionView:
        live = await self._open(session)
        if model:
            await self._team.warm(live.state.agent, model)
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
        label: Label | None = None,
    ) -> Accepted:
        """Returns once the message is on disk (D1). `deliver`: channel of the outbox for the answer.
        `label`: of what it says; by default told from source and sender. A session that is held goes on
        if the owner says it, and no other's message lets it. Raises InvalidInput when there is no such
        channel."""
        if deliver and deliver not in (channels := self._team.channels()):
            known = ", ".join(channels) or "none"
            raise InvalidInput(
                f"there is no outbox {deliver!r}", hint=f"perdure.yaml has: {known}."
            )
        checked = self._team.secrecy.said(_checked(parts))
        live = await self._open(session)
        said = label or speaker(source, sender, self._team.person)
        owner = said.trust == "owner" and source.partition(":")[0] not in UNATTENDED
        if owner:
            await self._rooms.release(session)
        await live.warn(self._wrong(live.state.agent))
        receipt = await live.submit(
            checked,
            mode=mode,
            source=source,
            sender=sender,
            key=key,
            deliver=deliver,
            label=said,
            release=owner,
        )
        return Accepted(
            message=receipt.message,
            seq=receipt.seq,
            duplicate=receipt.duplicate,
            held=live.held,
        )

    async def wait(
        self, session: SessionId, message: MessageId, timeout: float
    ) -> TurnOutcome | None:
        """How the turn that took the message ended; None when `timeout` seconds ran out first."""
        clock = self._services.clock
        until = clock.monotonic() + timeout
        live = await self._open(session)
        while (found := await live.wait(message, max(0.0, until - clock.monotonic()))) is None:
            if clock.monotonic() >= until or not live.outcomes.closed:
                return None
            # The disk failed it, and it was closed: go on waiting where it is opened again (D9).
            try:
                live = await self._open(session)
            except StorageError:
                await clock.sleep(0.5)
        return found

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
        waiting = [live for live in self._rooms if live.state.approvals]
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
        given = ApprovalDecided(approval=approval, answer=answer, scope=scope, by=by, note=note)
        await self.decide_all(session, [given])

    async def decide_all(self, session: SessionId, answers: Sequence[ApprovalDecided]) -> None:
        """Answer several at once: all of it counts, or nothing. Raises NotFound for one that is not open,
        Conflict for one that has expired or a scope that was not offered."""
        live = await self._open(session)
        requests = await live.decide(answers)
        for given, request in zip(answers, requests, strict=True):
            if given.answer == "allow" and given.scope == "always":
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
        await self._rooms.release(session)
        live.let_go()
        return live.view()

    async def context(self, session: SessionId, request: str | None = None) -> dict[str, Json]:
        """What a model call contained (C5); the last one when `request` is None."""
        from perdure.context import context_report

        live = await self._open(session)
        await live.settled()
        return await asyncio.to_thread(live.report, context_report, request)

    async def artifact_path(self, session: SessionId, artifact: ArtifactId) -> Path:
        live = self._rooms.get(session)
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
        for other in self._rooms:
            place = Path(other.state.workdir)
            near = place == folder or place in folder.parents or folder in place.parents
            # Who only sends a letter, or sums up, changes no file.
            begins = other.running and bool(other.state.inbox)
            if near and (begins or other.state.turn is not None):
                raise Conflict(
                    f"session {other.id} is in the middle of a turn in {place}",
                    hint=f"Stop it first: perdure session stop {other.id}",
                )
        coming = await asyncio.to_thread(self._checkpoints.changes, session, checkpoint)
        if coming.changes:
            # First, so that no crash leaves a model that believes in files as they no longer are.
            await live.tell_model(_put_back(coming, found.at))
        seq, label = live.state.seq, live.state.label

        return await asyncio.to_thread(
            self._checkpoints.restore, session, checkpoint, seq=seq, unlabelled=label
        )

    # Agents and the process -----------------------------------------------------------------------

    async def spending(self) -> SpendingView:
        return await asyncio.to_thread(self._team.spending)

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
                    mode=self._team.mode(entry.name),
                )
            )
        return views

    async def reload(self) -> ReloadReport:
        """Read all agents' files, tools, hooks and policies again."""
        reloaded = await asyncio.to_thread(self._agents.reload)
        errors = (*reloaded.errors, *await asyncio.to_thread(self._team.reload))
        return ReloadReport(agents=reloaded.agents, errors=tuple(dict.fromkeys(errors)))

    def status(self) -> RuntimeStatus:
        return RuntimeStatus(
            version=__version__,
            workspace=str(self.workspace.root),
            pid=os.getpid(),
            started=self._started,
            sessions_open=sum(1 for _ in self._rooms),
            sessions_running=sum(live.running for live in self._rooms),
            memory_mb=_memory_mb(),
            dangerous=tuple(
                v.name for v in self._agents.list() if self._team.mode(v.name) == "dangerous"
            ),
            uncontained=tuple(
                f"{v.name}: {what}"
                for v in self._agents.list()
                if (what := uncontained(self._agents, v.name))
            ),
            unread=self._team.secrecy.unread(),
            trouble=self._agents.trouble(),
            restart=self._restart(),
        )

    def _wrong(self, agent: str) -> str:
        """With the owner's files that sessions of the agent go by."""
        trouble = self._agents.trouble(agent)
        kept = [f"{trouble}\nWhat it said before stays in use."] if trouble else []
        return "\n".join([*kept, *self._team.wrong(agent)])

    def _restart(self) -> tuple[str, ...]:
        """What was read once, when the server began to listen."""
        now = self.workspace.config.server
        return tuple(
            f"server.{key}"
            for key in type(now).model_fields
            if getattr(now, key) != getattr(self._served, key)
        )

    # Inside -------------------------------------------------------------------------------------

    async def _open(self, session: SessionId) -> Live:
        return await self._rooms.open(session)

    async def _tell(self, session: str, text: str, key: str) -> None:
        """A background process has something to say to its session."""
        id_ = SessionId(session)
        state = (await self._open(id_)).state
        label = await self._team.process_label(id_, key.removeprefix("process:"), state.label)
        parts = (Text(text=text),)
        await self.submit(id_, parts, source="process", sender="process", key=key, label=label)

    def _as_now(self, view: SessionView) -> SessionView:
        """What the listing says, corrected by what is known of the session at this moment."""
        if (live := self._rooms.get(view.id)) is not None:
            return live.view()
        if view.id in self._rooms.held:
            return msgspec.structs.replace(view, status="held", error=self._rooms.why(view.id))
        return view

    def _workdir(self, workdir: str | None) -> Path:
        if workdir is None:
            return self.workspace.root
        try:
            path = Path(workdir).expanduser()
            if not path.is_absolute():
                raise InvalidInput(f"workdir {workdir!r} is not an absolute path")
            place = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:  # no such user, a loop of links, a NUL
            why = getattr(error, "strerror", None) or str(error)
            raise InvalidInput(f"workdir {workdir!r}: {why}") from error
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


def _put_back(coming: Changes, at: datetime) -> str:
    """What the model must know of files that changed behind its back."""
    names = [c.path for c in coming.changes]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return (
        f"The owner has files in {coming.workdir} put back to how they were at "
        f"{at:%Y-%m-%d %H:%M:%S} UTC: {', '.join(names[:NAMED])}{more}. "
        "Read them again before you rely on what you saw or wrote since."
    )
