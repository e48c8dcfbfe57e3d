"""The session so far, as far as flow is concerned: the owner's words, what results held, what was made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from perdure.kernel.events import (
    AnyEvent,
    CallId,
    Json,
    MessageReceived,
    ModelResponded,
    Record,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
)
from perdure.kernel.labels import UNKNOWN

from . import days, forms
from .fold import fold
from .seen import LONGEST, Result, Seen
from .view import Declared
from .words import Words, deleting, urls_in

WAITING = 8_000_000
"""Characters of results, their data included, that wait to be looked at; beyond it what a quarter of them
hold, the oldest, is dropped, and can endorse nothing then. Calls and messages stay: without them the model's
own words would pass for others'."""
AT_ONCE, LITTLE = 20, 100_000
"""Records, and characters of results in them, that are looked at in between."""
WRITTEN = 500_000
"""Characters of one argument that are searched for URLs."""
SETTLED = "settled"
"""Source of messages that the runtime words; older logs have the model's arguments in them, unlabelled."""
_EVENTS = (MessageReceived, ModelResponded, ToolStarted, ToolFinished)
_NODE = 8
"""Characters for which a number, a list or a record in a result's data counts."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    earlier: Callable[[], Iterable[Record]]
    tools: Callable[[str], Declared | None]
    words: Words = field(default_factory=Words)
    going: Words = field(default_factory=Words)
    """Of the messages that ask for something to go: to speak of a thing is not to want it gone."""
    seen: Seen = field(default_factory=Seen)
    created: dict[tuple[str, str], str] = field(default_factory=dict)
    paid: dict[tuple[str, str], int] = field(default_factory=dict)
    """Tool and arguments of what was paid."""
    told: dict[str, str] = field(default_factory=dict)
    """URLs in messages of people whom the owner knows, and who that was."""
    _calls: dict[CallId, ToolCall] = field(default_factory=dict)
    _first: int = 0
    """Number of the first record that was fed; what comes before is in the log."""
    _waiting: deque[Record] = field(default_factory=deque)
    _size: int = 0
    _read: bool = False
    _unread_urls: deque[str] = field(default_factory=deque)
    _authored: set[str] = field(default_factory=set)
    _flooded: bool = False
    """The model wrote more than can be looked through: any URL may be its own."""
    _arriving: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def feed(self, record: Record) -> None:
        """Cheap: it is looked at when something is to be weighed."""
        self._first = self._first or record.seq
        needed = _needed(record)
        if needed is None:
            return
        size = _size(needed.event.result) if isinstance(needed.event, ToolFinished) else 0
        with self._arriving:
            self._waiting.append(needed)
            if size:
                self._size += size
                if self._size > WAITING:
                    self._forget()

    def _forget(self) -> None:
        kept: deque[Record] = deque()
        for record in self._waiting:
            event = record.event
            if self._size > WAITING * 3 // 4 and isinstance(event, ToolFinished):
                self._size -= _size(event.result)
                # That it was made, and paid, is known all the same.
                record = _with(
                    record, replace(event, result=replace(event.result, parts=(), data={}))
                )
            kept.append(record)
        self._waiting = kept

    def behind(self) -> bool:
        """Does more wait than should be looked at on the way of others?"""
        unread = not self._read and self._first != 1
        return unread or len(self._waiting) > AT_ONCE or self._size > LITTLE

    def catch_up(self) -> None:
        """Look at all that was recorded. May be called in a thread while records are fed; whoever else calls
        it waits. Raises what `earlier` raises, and tries again the next time."""
        with self._looking:
            self._catch_up()

    def _catch_up(self) -> None:
        if not self._read:
            # Into fresh books, so that a failure half-way leaves no half of them.
            fresh = Ledger(earlier=tuple, tools=self.tools)
            for record in self.earlier():
                if self._first and record.seq >= self._first:
                    break
                if isinstance(record.event, _EVENTS):
                    fresh._take(record)
            self.words, self.going, self.seen = fresh.words, fresh.going, fresh.seen
            self.created, self.paid, self.told = fresh.created, fresh.paid, fresh.told
            self._calls, self._authored = fresh._calls, fresh._authored
            self._unread_urls, self._flooded = fresh._unread_urls, fresh._flooded
            self._read = True
        while self._waiting:
            with self._arriving:
                batch, self._waiting, self._size = self._waiting, deque(), 0
            try:
                while batch:
                    self._take(batch[0])
                    batch.popleft()
            finally:
                if batch:  # one that fails stays: what is not known asks, for good
                    self._back(batch)

    def _back(self, batch: deque[Record]) -> None:
        with self._arriving:
            self._waiting.extendleft(reversed(batch))
            finished = (r.event for r in self._waiting if isinstance(r.event, ToolFinished))
            self._size = sum(_size(event.result) for event in finished)

    def authored(self, known: str) -> bool:
        """Was this URL in a call of the model's before it stood in any result?"""
        self._note_all()
        return self._flooded or known in self._authored

    def _note_all(self) -> None:
        while self._unread_urls:
            self._note_urls(self._unread_urls.popleft())

    def _note_urls(self, text: str) -> None:
        self._flooded = self._flooded or len(text) > WRITTEN
        for found in urls_in(text[:WRITTEN]):
            known = forms.url(found)
            if (
                known
                and known not in self.told
                and not any(True for _ in self.seen.holding_url(known, found))
            ):
                self._authored.add(known)

    def _take(self, record: Record) -> None:
        event = record.event
        if isinstance(event, MessageReceived):
            if event.source != SETTLED and (event.label is None or event.label.trust == "owner"):
                text = "\n".join(p.text for p in event.parts if isinstance(p, Text))
                self.words.hear(text, record.at)
                if deleting(text):
                    self.going.hear(text, record.at, len(self.words.said))
            elif event.label is not None and event.label.trust == "known":
                self._note_all()  # before the message, which may only repeat what the model wrote
                who = ", ".join(event.label.origins[:1]) or "somebody"
                for part in event.parts:
                    for found in urls_in(part.text[:WRITTEN]) if isinstance(part, Text) else ():
                        if known := forms.url(found):
                            self.told.setdefault(known, who)
        elif isinstance(event, ModelResponded):
            for call in event.calls:
                self._calls[call.id] = call
                for text in strings(call.arguments):
                    if "." in text or ":" in text or "/" in text:
                        self._unread_urls.append(text)
        elif isinstance(event, ToolStarted):
            if event.arguments is not None and (asked := self._calls.get(event.call)):
                self._calls[event.call] = ToolCall(
                    id=asked.id, name=asked.name, arguments=event.arguments
                )
        elif isinstance(event, ToolFinished):
            self._finished(event)

    def _finished(self, event: ToolFinished) -> None:
        result, call = event.result, self._calls.get(event.call)
        if result.status != "ok":
            return
        self._note_all()  # before the result, which may only repeat what the call said
        declared = self.tools(event.tool)
        origin = declared.origin if declared is not None else ""
        sink = declared.sink if declared is not None else None
        arguments = call.arguments if call is not None else {}
        self.seen.keep(
            result,
            Result(
                tool=event.tool,
                origin=origin,
                label=result.label or UNKNOWN,
                text=result.text,
                asked=call is not None and _only_reads(declared) and self._asked(arguments),
                echo=frozenset(fold(text) for text in strings(arguments) if len(text) <= LONGEST),
                search=sink is not None and "query" in sink.critical.values(),
            ),
        )
        if declared is not None and declared.creates:
            for made in _made(result, declared.creates):
                self.created[origin, made] = event.tool
        if sink is not None and sink.kind == "pay":
            key = (event.tool, payment(arguments, sink.critical))
            self.paid[key] = self.paid.get(key, 0) + 1

    def _asked(self, arguments: Json) -> bool:
        """All texts of a look-up are the owner's, or days."""
        return all(
            self.words.text(text) is not None
            or self.words.identifier(text) is not None
            or bool(days.days(fold(text)))
            for value in (arguments.values() if isinstance(arguments, dict) else ())
            for text in strings(value)
            if text.strip()
        )


def payment(arguments: Json, critical: Iterable[str]) -> str:
    """A payment's critical arguments, in one form."""
    if not isinstance(arguments, dict):
        return ""
    return "\n".join(
        f"{name}={forms.amount(str(v)) or forms.account(str(v)) or fold(str(v))}"
        for name in sorted(critical)
        if (v := arguments.get(name)) is not None
    )


def _only_reads(declared: Declared | None) -> bool:
    """What a tool makes or changes is named by the model, and names nothing."""
    return declared is not None and declared.effects <= {"reads", "network"}


def strings(value: Json) -> Iterator[str]:
    """All texts in it, names of fields too."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list | tuple):
            stack.extend(one)
        elif isinstance(one, dict):
            stack.extend(one)
            stack.extend(one.values())


def _needed(record: Record) -> Record | None:
    """What `_take` reads of it: no pictures, no thoughts, nothing in a provider's own format."""
    event = record.event
    if isinstance(event, ModelResponded):
        calls = event.calls
        if not calls:
            return None
        whole = len(calls) == len(event.parts) and event.native is None
        return record if whole else _with(record, replace(event, parts=calls, native=None))
    if isinstance(event, ToolFinished):
        result = event.result
        if result.status != "ok":
            return None
        texts = _texts(result.parts)
        if len(texts) == len(result.parts):
            return record
        return _with(record, replace(event, result=replace(result, parts=texts)))
    if isinstance(event, MessageReceived):
        texts = _texts(event.parts)
        return (
            record if len(texts) == len(event.parts) else _with(record, replace(event, parts=texts))
        )
    return record if isinstance(event, ToolStarted) and event.arguments is not None else None


def _texts(parts: Iterable[object]) -> tuple[Text, ...]:
    return tuple(p for p in parts if isinstance(p, Text))


def _with(record: Record, event: AnyEvent) -> Record:
    return replace(record, event=event)


def _size(result: ToolResult) -> int:
    size = sum(len(text.text) for text in _texts(result.parts))
    waiting: list[Json] = [*result.data, *result.data.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            size += len(one)
            continue
        size += _NODE
        if isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one)
            waiting.extend(one.values())
    return size


def _made(result: ToolResult, key: str) -> Iterator[str]:
    value = result.data.get(key)
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str | int) and not isinstance(one, bool) and str(one):
            yield str(one)
