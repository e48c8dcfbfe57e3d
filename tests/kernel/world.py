"""A small world for the kernel's tests: fakes of every port, a scripted model, tools with a memory.

The model's next answer depends only on the prompt, so that a run cut at any point and resumed can be
compared with one that was not cut.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.kernel.desk import Desk, Setup
from perdure.kernel.errors import ModelError, StorageError
from perdure.kernel.events import (
    AnyEvent,
    ApprovalDecided,
    ApprovalRequested,
    CompactionRequested,
    ContextCompacted,
    LimitReached,
    Limits,
    MessageReceived,
    MessagesTaken,
    ModelInterrupted,
    ModelResponded,
    NoticeAdded,
    Record,
    SessionStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    TurnStarted,
)
from perdure.kernel.inbox import Inbox
from perdure.kernel.journal import Journal
from perdure.kernel.ports import Ask, HookOutcome, Refuse, Reservation
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    Item,
    Prefix,
    Prompt,
    Reply,
    ResultsItem,
    UserItem,
)
from perdure.kernel.runner import Runner
from perdure.kernel.state import State, evolve

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class Crash(BaseException):
    """kill -9, as far as the process can see."""


class FakeClock:
    """Time passes only by sleeping, and sleeping takes no time."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.time += seconds


class FakeIds:
    def __init__(self, seed: int = 0) -> None:
        self._n, self._random = seed * 10_000, random.Random(seed)

    def new(self, kind: str) -> str:
        self._n += 1
        return f"{kind}_{self._n}"

    def jitter(self) -> float:
        return self._random.random()


class FakeLog:
    """Keeps records; can die after the nth append, and can refuse like a full disk."""

    def __init__(self, records: Sequence[Record] = (), *, die_after: int | None = None) -> None:
        self.records = list(records)
        self.committed = len(self.records)
        self.die_after = die_after
        self.broken = False

    @property
    def last(self) -> int:
        return len(self.records)

    def append(self, records: Sequence[Record]) -> None:
        if self.broken:
            raise StorageError
        for record in records:
            if self.die_after is not None and len(self.records) >= self.die_after:
                raise Crash
            assert record.seq == len(self.records) + 1
            self.records.append(record)

    async def commit(self) -> None:
        through = len(self.records)
        await asyncio.sleep(0)
        if self.broken:
            raise StorageError
        self.committed = max(self.committed, through)

    def read(self, after: int = 0, through: int | None = None) -> Iterator[Record]:
        yield from self.records[after:through]

    async def close(self) -> None: ...


class FakeContext:
    """The plainest context there can be, which checks D3 at each prompt."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._messages: dict[str, MessageReceived] = {}
        self._open: dict[str, CallResult | None] = {}
        self.compactions = 0
        self.tokens = 0

    def feed(self, record: Record) -> None:
        event = record.event
        match event:
            case MessageReceived():
                self._messages[event.message] = event
            case TurnStarted() | MessagesTaken():
                for id_ in event.messages:
                    if id_ not in event.blocked:
                        parts = event.rewritten.get(id_, self._messages[id_].parts)
                        self.items.append(UserItem(seq=record.seq, parts=parts))
            case ModelResponded():
                self.items.append(AssistantItem(seq=record.seq, parts=event.parts))
                self._open = {c.id: None for c in event.calls}
            case ModelInterrupted() if event.text:
                self.items.append(AssistantItem(seq=record.seq, parts=(Text(text=event.text),)))
            case ToolFinished() if event.call in self._open:
                assert self._open[event.call] is None, "a call got two results"
                self._open[event.call] = CallResult(
                    call=event.call, tool=event.tool, seq=record.seq, result=event.result
                )
                if all(self._open.values()):
                    results = tuple(r for r in self._open.values() if r)
                    self.items.append(ResultsItem(seq=record.seq, results=results))
                    self._open = {}
            case NoticeAdded() if event.audience != "user":
                self.items.append(
                    UserItem(seq=record.seq, parts=(Text(text=event.text),), kind="notice")
                )
            case ContextCompacted():
                self.compactions += 1

    def prepare(self, state: State) -> Sequence[AnyEvent]:
        return ()

    def prompt(self, state: State, *, tools: bool = True) -> Prompt:
        assert not self._open, "a model is called with open tool calls"
        return Prompt(prefix=Prefix(system="s", digest="d"), items=self.items, tools=tools)

    def wants_compaction(self, state: State) -> bool:
        return False

    async def compact(
        self, state: State, model: Any, request: str, *, max_output: int | None = None
    ) -> AnyEvent:
        self.max_output = max_output
        await asyncio.sleep(0)
        return ContextCompacted(through=state.seq, summary="…", model=model.name)


Answer = Reply | ModelError | Callable[[], Any]


def say(text: str, *calls: ToolCall) -> Reply:
    parts = ((Text(text=text),) if text else ()) + calls
    return Reply(model="fake", parts=parts, stop="tools" if calls else "end")


def call(id_: str, tool: str = "read", **arguments: Any) -> ToolCall:
    return ToolCall(id=id_, name=tool, arguments=arguments)


class FakeModel:
    """Answers by a plan: the nth answer follows the nth assistant item in the prompt."""

    def __init__(self, plan: Sequence[Answer], name: str = "fake/model") -> None:
        self.plan, self.name = plan, name
        self.prompts: list[tuple[Item, ...]] = []
        self.tools: list[bool] = []
        self.room: list[tuple[int | None, int | None]] = []
        """(tokens, tool calls) that the answer might have."""
        self.failures: Counter[int] = Counter()

    async def call(self, prompt: Prompt, request: str, emit: Any) -> Reply:
        self.prompts.append(tuple(prompt.items))
        self.tools.append(prompt.tools)
        self.room.append((prompt.max_output, prompt.most_calls))
        check_pairing(prompt.items)
        index = sum(isinstance(i, AssistantItem) for i in prompt.items)
        answer = self.plan[index] if index < len(self.plan) else say("that is all")
        await asyncio.sleep(0)
        if callable(answer):
            answer = await answer()
        if isinstance(answer, list):  # failures first, then the reply
            n = self.failures[index]
            self.failures[index] += 1
            answer = answer[min(n, len(answer) - 1)]
        if isinstance(answer, ModelError):
            raise answer
        for part in answer.parts:
            if isinstance(part, Text):
                emit(TextDelta(request=request, text=part.text))
        return answer

    async def close(self) -> None: ...


def check_pairing(items: Sequence[Item]) -> None:
    """D3: the item after an assistant's calls holds exactly their results, in their order."""
    for i, item in enumerate(items):
        calls = (
            [p.id for p in item.parts if isinstance(p, ToolCall)]
            if isinstance(item, AssistantItem)
            else []
        )
        after = items[i + 1] if i + 1 < len(items) else None
        if calls:
            assert isinstance(after, ResultsItem)
            assert [r.call for r in after.results] == calls
        elif isinstance(after, ResultsItem):
            raise AssertionError("results without calls")


@dataclass(frozen=True)
class Permit:
    call: ToolCall
    started: ToolStarted
    parallel: bool
    marks: bool = False


@dataclass
class World:
    """What tools do to the outside, and what survives a crash of the process."""

    effects: Counter[str] = field(default_factory=Counter)
    """By idempotency key."""
    reads: Counter[str] = field(default_factory=Counter)
    done: dict[str, str] = field(default_factory=dict)
    """Supervised commands: key to outcome."""
    order: list[str] = field(default_factory=list)


class FakeGate:
    """Tools by name: read (parallel), run (supervised, rejoined), pay (in doubt after a crash),
    slow (waits until cancelled), boom (raises inside the gate); `ask_…` asks first; `no` is refused."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.judged: Counter[str] = Counter()
        self.started = asyncio.Event()
        self.expires: Callable[[], datetime] | None = None
        """When a question that is put now expires."""
        self.marks: set[str] = set()
        """Calls that note what they have read."""

    def feed(self, record: Any) -> None:
        pass

    async def judge(
        self,
        call: ToolCall,
        *,
        key: str,
        decided: Any = None,
        grants: Sequence[str] = (),
        endorsed: Sequence[str] = (),
        label: Any = None,
    ) -> Any:
        self.judged[call.id] += 1
        if call.name == "no":
            return Refuse(ToolResult(status="denied", parts=(Text(text="no"),)))
        if call.name.startswith("ask_") and call.name not in grants:
            if decided is None:
                return Ask(
                    ApprovalRequested(
                        approval=f"a.{key}",
                        call=call.id,
                        tool=call.name,
                        arguments=call.arguments,
                        reason="asks",
                        rule=call.name,
                        expires=self.expires() if self.expires else None,
                    )
                )
            if decided.answer == "deny":
                return Refuse(ToolResult(status="denied", parts=(Text(text=decided.note),)))
        reads = call.name == "read"
        started = ToolStarted(
            call=call.id, tool=call.name, effects=() if reads else ("writes",), key=key
        )
        return Permit(call, started, reads, marks=call.id in self.marks)

    async def run(self, permit: Permit, emit: Any, *, resumed: bool) -> ToolResult:
        name, key = permit.call.name.removeprefix("ask_"), permit.started.key
        if name == "read":
            self.world.reads[key] += 1
        elif name == "pay":
            self.world.effects[key] += 1
            self.world.order.append(permit.call.id)
        elif name == "run" and key not in self.world.done:
            self.world.effects[key] += 1
            self.world.order.append(permit.call.id)
            self.world.done[key] = "out"
        await asyncio.sleep(0)
        if name == "slow":
            self.started.set()
            await asyncio.Event().wait()
        if name == "boom":
            raise RuntimeError("a defect in the gate")
        return ToolResult(parts=(Text(text=f"{name} {permit.call.id}"),))

    def recovery(self, started: ToolStarted) -> Any:
        name = started.tool.removeprefix("ask_")
        return {"read": "rerun", "run": "rejoin"}.get(name, "doubt")


class Books:
    """Of tool calls in one session, which survive a crash of the process."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.booked: dict[str, int] = {}

    async def reserve(
        self, state: State, request: str, *, model: str, tokens: int, last: bool
    ) -> Reservation:
        left = self.cap - state.calls_made
        if left <= 0 and not last:
            return Reservation(
                limit=LimitReached(
                    limit="calls", used=state.calls_made, allowed=self.cap, scope="session"
                )
            )
        return Reservation(calls=max(0, left))

    async def settle(self, request: str, usage: Any, cost_usd: Any, *, calls: int) -> None:
        self.booked[request] = calls

    def closed(self, request: str, *, calls: int) -> None:
        self.booked[request] = calls


class NoHooks:
    def wants(self, point: str) -> bool:
        return False

    async def fire(self, point: str, value: Any) -> HookOutcome[Any]:
        return HookOutcome(value)


class Bench:
    """One process's life with one session."""

    def __init__(
        self,
        *models: FakeModel,
        world: World | None = None,
        records: Sequence[Record] = (),
        die_after: int | None = None,
        limits: Limits | None = None,
        hooks: Any = None,
        collect: float = 0.0,
        budgets: Any = None,
        seed: int = 0,
    ) -> None:
        self.world = world or World()
        self.log = FakeLog(records, die_after=die_after)
        self.clock, self.ids = FakeClock(), FakeIds(seed)
        self.context, self.gate = FakeContext(), FakeGate(self.world)
        self.published: list[Record] = []
        self.deltas: list[Any] = []
        state = State()
        for record in records:
            evolve(state, record)
            self.context.feed(record)
        if records:
            self.clock.time = (records[-1].at - START).total_seconds()
        self.journal = Journal(
            log=self.log,
            state=state,
            context=self.context,
            clock=self.clock,
            publish=self.published.append,
        )
        self.inbox = Inbox(self.journal, self.ids)
        setup = Setup(models=models, limits=limits or Limits(), collect=collect)
        self.runner = Runner(
            Desk(
                journal=self.journal,
                context=self.context,
                gate=self.gate,
                hooks=hooks or NoHooks(),
                clock=self.clock,
                ids=self.ids,
                setup=lambda: setup,
                emit=self.deltas.append,
                budgets=budgets,
            )
        )
        if not records:
            self.journal.append(SessionStarted(session="s_1", agent="a", workdir="/"))

    async def say(self, text: str, **options: Any) -> Any:
        receipt = await self.inbox.submit((Text(text=text),), **options)
        self.runner.wake(interrupt=options.get("mode") == "interrupt")
        return receipt

    @property
    def state(self) -> State:
        return self.journal.state

    def events(self, *kinds: type) -> list[Any]:
        return [r.event for r in self.log.records if not kinds or isinstance(r.event, kinds)]

    async def until(self, kind: type, count: int = 1) -> None:
        for _ in range(10_000):
            if len(self.events(kind)) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"no {kind.__name__}")


def story(records: Sequence[Record]) -> list[Any]:
    """What happened, without ids and times: for comparing two runs."""
    told: list[Any] = []
    for record in records:
        match record.event:
            case ModelResponded() as e:
                told.append(("model", e.parts))
            case ToolFinished() as e:
                told.append(("result", e.call, e.result.status, e.result.text))
            case CompactionRequested():
                told.append(("compact",))
    return told


def answer(
    approval: str, given: Any = "allow", scope: Any = "once", note: str = ""
) -> ApprovalDecided:
    return ApprovalDecided(approval=approval, answer=given, scope=scope, by="owner", note=note)
