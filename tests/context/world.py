"""A session's surroundings, faked at the ports, and a player that feeds events to context and state."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from perdure.context import ContextBudget, PrefixParts, SessionContext
from perdure.kernel.errors import NotFound
from perdure.kernel.events import (
    AnyEvent,
    ArtifactId,
    CallId,
    Json,
    Limits,
    MessageId,
    MessageReceived,
    ModelRequested,
    ModelResponded,
    Record,
    RequestId,
    SessionId,
    SessionStarted,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
    TurnId,
    TurnStarted,
    Usage,
)
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import AssistantItem, Item, Prompt, Reply, ResultsItem, UserItem
from perdure.kernel.state import State, evolve

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeClock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class MemoryArtifacts:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.full = False

    def put(self, data: bytes, ext: str) -> ArtifactId:
        if self.full:
            raise OSError(28, "No space left on device")
        name = ArtifactId(f"{sha256(data).hexdigest()}.{ext}")
        self.kept[name] = data
        return name

    def read(self, artifact: ArtifactId) -> bytes:
        if artifact not in self.kept:
            raise NotFound(f"no artifact {artifact}")
        return self.kept[artifact]


class FakeSource:
    """An agent whose only file is `text`, and whose memory is `memory`."""

    def __init__(self, text: str = "Be good.") -> None:
        self.text, self.memory = text, ""
        self.builds = 0

    def stamp(self, workdir: str) -> object:
        return self.text

    def build(self, workdir: str, session: SessionId) -> PrefixParts:
        self.builds += 1
        return PrefixParts(
            system=f"{self.text}\n{self.memory}",
            tools=(),
            stable=(f"SOUL.md {_hash(self.text)}",),
            frozen=(f"memory:MEMORY.md {_hash(self.memory)}",),
        )


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


class FakeModel:
    """Answers with what it was given, one after the other; an exception is raised."""

    name = "fake/model"

    def __init__(self, *answers: str | Exception | Reply) -> None:
        self.answers = list(answers)
        self.prompts: list[Prompt] = []

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return Reply(
            model="fake/model",
            parts=(Text(text=answer),),
            stop="end",
            usage=Usage(input=100, output=10),
            cost_usd=0.01,
        )

    async def close(self) -> None: ...


class Player:
    """One session: what is said to it is numbered, folded into a state and fed to a context."""

    def __init__(self, budget: ContextBudget | None = None) -> None:
        self.artifacts = MemoryArtifacts()
        self.source = FakeSource()
        self.budget = budget or ContextBudget()
        self.state = State()
        self.context = self.fresh()
        self.records: list[Record] = []
        self.play(SessionStarted(session=SessionId("s_1"), agent="a", workdir="/w"))

    def fresh(self) -> SessionContext:
        """A context as after a restart, that has seen nothing."""
        return SessionContext(self.source, self.artifacts, self.budget, FakeClock(), zone=UTC)

    def play(self, *events: AnyEvent) -> int:
        for event in events:
            record = Record(seq=len(self.records) + 1, at=NOON, event=event)
            self.records.append(record)
            evolve(self.state, record)
            self.context.feed(record)
        return len(self.records)

    def turn(self, *texts: str) -> None:
        """A turn begins with these messages."""
        ids = tuple(MessageId(f"m{len(self.records)}_{n}") for n in range(len(texts)))
        for id_, text in zip(ids, texts, strict=True):
            self.play(MessageReceived(message=id_, parts=(Text(text=text),)))
        self.play(TurnStarted(turn=TurnId(f"t{len(self.records)}"), messages=ids, limits=Limits()))

    def request(self, *, tools: bool = True) -> Prompt:
        """What a runner does up to the call."""
        self.play(*self.context.prepare(self.state))
        prompt = self.context.prompt(self.state, tools=tools)
        self.play(
            ModelRequested(
                request=RequestId(f"r{len(self.records)}"),
                model="fake/model",
                prefix=prompt.prefix.digest,
                items=len(prompt.items),
                revision=prompt.revision,
                tail=prompt.tail,
                tokens=prompt.tokens,
            )
        )
        return prompt

    def says(self, text: str = "", *calls: ToolCall, usage: Usage | None = None) -> None:
        parts: tuple[Any, ...] = (*((Text(text=text),) if text else ()), *calls)
        request = self.state.last_request
        assert request is not None
        self.play(
            ModelResponded(
                request=request.request, model="fake/model", parts=parts, usage=usage or Usage()
            )
        )

    def finishes(self, call: ToolCall, text: str, artifact: str = "") -> int:
        return self.play(
            ToolFinished(
                call=call.id,
                tool=call.name,
                result=ToolResult(
                    parts=(Text(text=text),), artifact=ArtifactId(artifact) if artifact else None
                ),
            )
        )

    def round(self, output: str = "ok", name: str = "read") -> None:
        """One call of a tool, and its result."""
        self.request()
        one = call(f"c{len(self.records)}", name)
        self.says("", one)
        self.finishes(one, output)

    def items(self) -> list[Item]:
        return list(self.context.prompt(self.state).items)


def call(id_: str, name: str = "read", **arguments: Json) -> ToolCall:
    return ToolCall(id=CallId(id_), name=name, arguments=arguments)


def texts(items: list[Item]) -> list[str]:
    """What is said in user and assistant items, and the results' texts, flat."""
    said: list[str] = []
    for item in items:
        if isinstance(item, ResultsItem):
            said += [r.result.text for r in item.results]
        else:
            said += [p.text for p in item.parts if isinstance(p, Text)]
    return said


def check_pairs(items: list[Item]) -> None:
    """Each call has exactly one result, in order, in the item after it; no result stands alone."""
    due: list[str] = []
    for item in items:
        if isinstance(item, ResultsItem):
            assert due, "results without calls"
            assert [r.call for r in item.results] == due
            due = []
        else:
            assert not due, "calls without results"
            if isinstance(item, AssistantItem):
                due = [p.id for p in item.parts if isinstance(p, ToolCall)]
    assert not due, "calls without results at the end"


def kinds(items: list[Item]) -> str:
    """`m`essage, `n`otice, `s`ummary, `a`ssistant, `r`esults."""
    return "".join(
        i.kind[0] if isinstance(i, UserItem) else "a" if isinstance(i, AssistantItem) else "r"
        for i in items
    )
