"""The listing of sessions: kept in the index as they change, made again from the logs when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime

import msgspec

from perdure.kernel.errors import PerdureError, StorageError
from perdure.kernel.events import SessionId
from perdure.kernel.state import State, evolve
from perdure.storage import Index, SessionRow, SessionStore

from .views import SessionView


class Listing:
    """The index is derived: when it cannot be written, a listing is only older than it could be."""

    def __init__(self, index: Index, store: SessionStore, epoch: datetime) -> None:
        """`epoch`: shown for a session whose log does not say when it began."""
        self._index, self._store, self._epoch = index, store, epoch
        self._due: dict[SessionId, SessionRow] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, view: SessionView) -> None:
        """A session is now like this. Written soon, off the event loop."""
        self._due[view.id] = _row_of(view)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="listing")

    async def page(self, limit: int, before: str | None, agent: str | None) -> list[SessionView]:
        """Newest first. Raises StorageError."""
        await self._settled()
        last = SessionId(before) if before else None

        def look() -> list[SessionRow]:
            if self._index.incomplete:
                self._index.rebuild(self._rows())
            return self._index.list(limit, last, agent)

        rows = await asyncio.to_thread(look)
        return [msgspec.convert(msgspec.to_builtins(row), SessionView) for row in rows]

    async def forget(self, session: SessionId) -> None:
        self._due.pop(session, None)
        await self._settled()
        with contextlib.suppress(StorageError):
            await asyncio.to_thread(self._index.delete, session)

    async def close(self) -> None:
        await self._settled()
        await asyncio.to_thread(self._index.close)

    async def _settled(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        try:
            while self._due:
                rows, self._due = list(self._due.values()), {}
                with contextlib.suppress(StorageError):
                    await asyncio.to_thread(self._upsert, rows)
        finally:
            self._writing = None

    def _upsert(self, rows: list[SessionRow]) -> None:
        for row in rows:
            self._index.upsert(row)

    def _rows(self) -> Iterator[SessionRow]:
        for id_ in self._store.ids():
            with contextlib.suppress(PerdureError):
                state = State()
                for record in self._store.open_readonly(id_).read():
                    evolve(state, record)
                yield _row_of(view_of(state, self._epoch))


def view_of(state: State, epoch: datetime) -> SessionView:
    """What a session's state says of it, while nothing runs it."""
    return SessionView(
        id=state.session,
        agent=state.agent,
        title=state.title,
        workdir=state.workdir,
        model=state.model,
        created=state.created or epoch,
        updated=state.updated or epoch,
        seq=state.seq,
        status=(
            "waiting"
            if state.approvals
            else "running"
            if state.turn is not None or state.inbox
            else "failed"
            if state.failed
            else "idle"
        ),
        messages=state.messages,
        turns=state.turns,
        cost_usd=state.cost_usd,
        unpriced=state.unpriced,
        usage=state.usage,
        parent=state.parent,
        error=state.failed,
    )


def _row_of(view: SessionView) -> SessionRow:
    fields = {name: getattr(view, name) for name in SessionRow.__struct_fields__}
    return SessionRow(**fields)
