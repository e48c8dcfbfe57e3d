"""What started the run that a call belongs to: the owner at a keyboard, or something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perdure.kernel.events import (
    CallId,
    MessageId,
    MessageReceived,
    MessagesTaken,
    Record,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)

from .query import Origin

_BY_KIND: dict[str, Origin] = {
    "terminal": "interactive",
    "api": "interactive",
    "settled": "interactive",
    "schedule": "schedule",
    "webhook": "webhook",
    "subagent": "subagent",
}
"""By the kind of a message; any other is a gateway."""
PROCESS = "process"
"""Kind of what a background process tells its session, and the tool that starts processes."""
_STRICTEST: tuple[Origin, ...] = ("webhook", "gateway", "subagent", "schedule", "interactive")


def origin_of(message: MessageReceived) -> Origin:
    """What it began, where it is no process's. What somebody else says is never the owner's, whoever has
    passed it on."""
    origin = _BY_KIND.get(message.kind, "gateway")
    others = message.label is not None and message.label.tainted
    return "gateway" if origin == "interactive" and others else origin


class Origins:
    """One session's. Messages of several origins in a turn: the one trusted least counts."""

    def __init__(self, earlier: Callable[[], Iterable[Record]]) -> None:
        """`earlier`: the session's records, read only if a turn was under way when it was opened."""
        self._earlier = earlier
        self._messages: dict[MessageId, Origin] = {}
        self._now: Origin | None = None
        """None: the turn began before anything was fed."""
        self._processes = _Processes()
        self._past: _Processes | None = None
        """Those of the records from before; read when a process has something to say."""

    def feed(self, record: Record) -> None:
        event = record.event
        if isinstance(event, MessageReceived):
            self._messages[event.message] = (
                self._of_process(event.key.partition(":")[2])
                if event.kind == PROCESS
                else origin_of(event)
            )
        elif isinstance(event, TurnStarted):
            self._now = self._of(event.messages)
        elif isinstance(event, MessagesTaken):
            self._now = _strictest(self.now(), self._of(event.messages))
        elif isinstance(event, ToolStarted | ToolFinished) and event.tool == PROCESS:
            self._processes.feed(event, self.now())

    def now(self) -> Origin:
        if self._now is None:
            before = self._before()
            self._now, self._messages = before._now, before._messages | self._messages
        return self._now or "interactive"

    def _of_process(self, process: str) -> Origin:
        if self._past is None:
            self._past = self._before()._processes
        return self._processes.joined(self._past).of(process)

    def _before(self) -> Origins:
        """As the earlier records leave it."""
        before = Origins(tuple)
        for record in self._earlier():
            before.feed(record)
        return before

    def _of(self, messages: tuple[MessageId, ...]) -> Origin:
        if any(m not in self._messages for m in messages):
            for record in self._earlier():  # accepted before the session was opened
                if isinstance(record.event, MessageReceived):
                    self.feed(record)
        origins = [self._messages.pop(m, "gateway") for m in messages]
        return _strictest(*origins) if origins else "interactive"


class _Processes:
    """On whose behalf background processes run: of what started them, and of what was sent to them."""

    def __init__(self) -> None:
        self._known: dict[str, Origin] = {}
        self._open: dict[CallId, Origin] = {}
        """Of calls which have not told yet what they worked on."""
        self._all: set[Origin] = set()

    def feed(self, event: ToolStarted | ToolFinished, now: Origin) -> None:
        """`now`: of the turn. Calls without effects only look."""
        if isinstance(event, ToolStarted):
            if event.effects:
                self._open[event.call] = now
                self._all.add(now)
        elif event.call in self._open and isinstance(id_ := event.result.data.get("id"), str):
            origin = self._open.pop(event.call)
            self._known[id_] = _strictest(origin, self._known.get(id_, origin))

    def joined(self, other: _Processes) -> _Processes:
        both = _Processes()
        both._known = other._known | self._known
        for id_ in self._known.keys() & other._known.keys():
            both._known[id_] = _strictest(self._known[id_], other._known[id_])
        both._open = other._open | self._open
        both._all = other._all | self._all
        return both

    def of(self, process: str) -> Origin:
        """That of one nobody is known to have started: the strictest in question."""
        known = self._known.get(process)
        found = {*self._open.values(), *([known] if known else self._all)}
        return _strictest(*found) if found else "gateway"


def _strictest(*origins: Origin) -> Origin:
    return min(origins, key=_STRICTEST.index)
