"""A session's flow without a runtime: what was said and read, and calls to weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from perdure.guard.flow import Directory, Finding, Flow
from perdure.kernel.events import (
    AnyEvent,
    CallId,
    MessageId,
    MessageReceived,
    ModelResponded,
    Record,
    RequestId,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
)
from perdure.kernel.labels import OWNER, Label
from perdure.tools.base import Sink, Tool, Touch
from perdure.tools.critical import critical_values

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday
MAIL = Label(trust="third_party", secrecy="private", origins=("mail",))
WEB = Label(trust="third_party", secrecy="public", origins=("web:www.site.example",))
SECRET = Label(trust="third_party", secrecy="secret", origins=("mail",))


class SendMail(Tool):
    effects = frozenset({"network"})
    origin = "mail"
    sink = Sink(
        kind="send",
        critical={"to": "recipient", "cc": "recipient", "bcc": "recipient"},
        content=("subject", "body"),
    )
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    body: str = ""


class Transfer(Tool):
    effects = frozenset({"spends"})
    origin = "bank"
    sink = Sink(kind="pay", critical={"to": "account", "amount": "amount"}, content=("note",))
    to: str = ""
    amount: float = 0
    note: str = ""


class Fetch(Tool):
    effects = frozenset({"network", "reads"})
    origin = "web"
    sink = Sink(kind="send", critical={"url": "url"}, content=("data",))
    url: str = ""
    data: str = ""


class Search(Tool):
    effects = frozenset({"network", "reads"})
    origin = "web"
    sink = Sink(kind="send", critical={"query": "query"})
    query: str = ""


class Post(Tool):
    effects = frozenset({"network"})
    origin = "web"
    sink = Sink(kind="publish", critical={"url": "url"}, content=("text",))
    url: str = ""
    text: str = ""


class Chat(Tool):
    effects = frozenset({"network"})
    origin = "chat"
    sink = Sink(kind="send", critical={"to": "recipient"}, content=("body",))
    to: str = ""
    body: str = ""


class ChatMembers(Tool):
    effects = frozenset({"reads"})
    origin = "chat"


class Invite(Tool):
    effects = frozenset({"network"})
    origin = "chat"
    sink = Sink(kind="share", critical={"user": "recipient", "channel": "recipient"})
    user: str = ""
    channel: str = ""


class ListFiles(Tool):
    effects = frozenset({"reads"})
    origin = "drive"
    query: str = ""


class CreateFile(Tool):
    effects = frozenset({"writes"})
    origin = "drive"
    creates = "id"
    sink = Sink(kind="write")
    name_: str = ""


class DeleteFile(Tool):
    effects = frozenset({"writes"})
    origin = "drive"
    sink = Sink(kind="delete", critical={"file_id": "identifier"})
    file_id: str = ""


class Append(Tool):
    effects = frozenset({"writes"})
    origin = "drive"
    sink = Sink(kind="write", critical={"file_id": "identifier"}, content=("text",))
    file_id: str = ""
    text: str = ""


class ShareFile(Tool):
    effects = frozenset({"network"})
    origin = "drive"
    sink = Sink(kind="share", critical={"file_id": "identifier", "email": "recipient"})
    file_id: str = ""
    email: str = ""


class Book(Tool):
    effects = frozenset({"network"})
    origin = "travel"
    sink = Sink(kind="pay", critical={"hotel": "text", "day": "time"})
    hotel: str = ""
    day: str = ""


class NewEvent(Tool):
    effects = frozenset({"network"})
    origin = "calendar"
    sink = Sink(
        kind="send",
        critical={"title": "text", "participants": "recipient"},
        content=("description",),
    )
    title: str = ""
    participants: tuple[str, ...] = ()
    description: str = ""


class ReadMail(Tool):
    effects = frozenset({"network", "reads"})
    origin = "mail"
    marks = True
    sink = Sink(kind="write")
    query: str = ""


class ReadBank(Tool):
    effects = frozenset({"reads"})
    origin = "bank"


class Contacts(Tool):
    effects = frozenset({"reads"})
    query: str = ""


class WriteFile(Tool):
    effects = frozenset({"writes"})
    sink = Sink(kind="write", critical={"path": "path"}, content=("content",))
    path: str = ""
    content: str = ""


class Run(Tool):
    effects = frozenset({"writes"})
    sink = Sink(kind="execute", critical={"command": "command"})
    command: str = ""


class Configure(Tool):
    effects = frozenset({"writes"})
    sink = Sink(kind="configure", critical={"schedule": "text"})
    schedule: str = ""


class Undeclared(Tool):
    effects = frozenset({"network"})
    where: str = ""
    how: dict[str, Any] = Field(default_factory=dict)


class Look(Tool):
    effects = frozenset({"reads"})


TOOLS: dict[str, type[Tool]] = {
    t.name: t
    for t in (
        SendMail, Transfer, Fetch, Search, Post, Chat, ChatMembers, Invite, ListFiles, CreateFile, DeleteFile,
        ShareFile, Append, Book, NewEvent, ReadMail, ReadBank, Contacts, WriteFile, Run,
        Configure, Undeclared, Look,
    )
}  # fmt: skip


@dataclass
class Made:
    """A call that fits its tool."""

    call: ToolCall
    tool: Tool
    touches: Sequence[Touch] = ()

    @property
    def effects(self) -> tuple[str, ...]:
        return () if self.tool.acts() <= {"reads"} else tuple(sorted(self.tool.acts()))

    command = None

    @property
    def sink(self) -> Sink | None:
        from perdure.tools.critical import sink_of

        return sink_of(self.tool, self.effects)

    def values(self) -> list[tuple[str, str, str]]:
        return [*critical_values(self.tool, self.sink, self.call.arguments)]


@dataclass
class Session:
    directory: Directory = field(default_factory=Directory)
    control: frozenset[Path] = frozenset()
    contained: bool = False
    label: Label = OWNER
    endorsed: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.flow = Flow(
            tools=TOOLS.get,
            directory=lambda: self.directory,
            control=lambda path: path in self.control,
            contained=lambda: self.contained,
        )

    def record(self, event: AnyEvent) -> None:
        record = Record(seq=len(self.records) + 1, at=AT, event=event)
        self.records.append(record)
        self.flow.feed(record)

    def owner(self, text: str, label: Label | None = None) -> Session:
        self.label = self.label.join(label or OWNER)
        self.record(MessageReceived(message=MessageId("m"), parts=(Text(text=text),), label=label))
        return self

    def calls(self, tool: str, **arguments: Any) -> Made:
        call = ToolCall(
            id=CallId(f"c{len(self.records)}"), name=TOOLS[tool].name, arguments=arguments
        )
        self.record(ModelResponded(request=RequestId("r"), model="m", parts=(call,)))
        return Made(call, TOOLS[tool].model_validate(arguments))

    def read(
        self,
        text: str = "",
        *,
        label: Label = MAIL,
        tool: str = "look",
        status: Any = "ok",
        data: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Session:
        """A tool was called, and this is what it gave."""
        call = ToolCall(id=CallId(f"c{len(self.records)}"), name=tool, arguments=arguments)
        self.record(ModelResponded(request=RequestId("r"), model="m", parts=(call,)))
        result = ToolResult(
            status=status, parts=(Text(text=text),), data=dict(data or {}), label=label
        )
        self.label = self.label.join(label)
        self.record(ToolFinished(call=call.id, tool=tool, result=result))
        return self

    def weigh(self, tool: str, *touches: Touch, **arguments: Any) -> Finding:
        made = self.calls(tool, **arguments)
        made.touches = touches
        return self.flow.weigh(made, label=self.label, endorsed=self.endorsed)


def tainted(text: str, *, read: str = "Hello.", **options: Any) -> Session:
    """The owner said this, and then mail was read."""
    return Session(**options).owner(text).read(read)
