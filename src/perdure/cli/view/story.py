"""The fold of a session's records and deltas into what a person sees.

`feed` and `delta` return nothing but keep: finished blocks come out of `take`, in order, and what is
still going on stands in the attributes. A block that was taken is never changed: that is what lets it
go to the terminal's scrollback.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perdure.cli.view.blocks import Answer, Asked, Block, Level, Note, Running, Said, ToolDone
from perdure.cli.view.clean import one_line
from perdure.kernel import events as e
from perdure.kernel.limits import told

OWN_SENDER = "terminal"
"""What terminals sign their messages with; it goes without saying there."""
OUTPUT_TAIL = 8_000
"""Characters of a running tool's output that are kept."""
CUT_OFF = (
    "✂ the answer was cut off here by the model's output limit; "
    "ask it to go on, or raise max_output_tokens"
)
CUT_OFF_EMPTY = "✂ the model met its output limit before it had answered; raise max_output_tokens"
_ENDS: dict[str, tuple[str, Level]] = {
    "stopped": ("■ stopped", "warning"),
    "failed": ("✗ the turn failed", "error"),
    "limit": ("■ the turn's limit was reached", "warning"),
    "budget": ("■ the budget is used up", "warning"),
    "blocked": ("■ a hook blocked the message", "warning"),
}


@dataclass(kw_only=True, slots=True)
class Stream:
    """One answer as it arrives."""

    request: e.RequestId
    sure: bool
    """False: pieces may be missing, so nothing of it may be taken before the whole is known."""
    text: str = ""
    taken: int = 0
    """Characters already given out as blocks."""
    in_list: bool = False
    """What was taken last ended between two items of a list."""
    thinking: str = ""
    call: str = ""
    """Name of the tool call whose arguments are streaming in."""

    @property
    def rest(self) -> str:
        return self.text[self.taken :]


class Story:
    def __init__(self) -> None:
        self.live_since: datetime | None = None
        """Of answers begun before this, deltas were missed. None: nothing is followed live."""
        self.seq = 0
        self.agent = ""
        self.workdir = ""
        self.title = ""
        self.model = ""
        self.turn: e.TurnId | None = None
        self.turn_began: datetime | None = None
        self.stream: Stream | None = None
        self.thinking = False
        self.retry_at: datetime | None = None
        self.pending: dict[e.MessageId, e.MessageReceived] = {}
        """Accepted, not yet taken into a turn."""
        self.calls: dict[e.CallId, Running] = {}
        self.approvals: dict[e.ApprovalId, e.ApprovalRequested] = {}
        self.usage = e.Usage()
        self.last_usage = e.Usage()
        """Of the latest model call: its input is the context's size."""
        self.cost_usd = 0.0
        self.unpriced = False
        self.last_text = ""
        self.cut_off = False
        """The last answer ended at the model's output limit."""
        self.last_end: e.TurnEnded | None = None
        self._blocks: list[Block] = []
        self._previews: dict[e.CallId, str] = {}
        """What the owner was shown before deciding about a call."""

    @property
    def busy(self) -> bool:
        return self.turn is not None

    def take(self) -> list[Block]:
        """The blocks finished since the last call."""
        self._harvest()
        blocks, self._blocks = self._blocks, []
        return blocks

    def connected(self, at: datetime) -> None:
        """Deltas of what begins from now on will all come in."""
        self.live_since = at

    def lost_connection(self) -> None:
        """Deltas may be missing from now on."""
        self.live_since = None
        if self.stream is not None:
            self.stream.sure = False
        for call in self.calls.values():
            call.output = ""

    # Deltas -----------------------------------------------------------------------------------

    def delta(self, delta: e.AnyDelta) -> None:
        if isinstance(delta, e.OutputDelta):
            running = self.calls.get(delta.call)
            if running is not None:
                running.output = (running.output + delta.text)[-OUTPUT_TAIL:]
            return
        stream = self._stream(delta.request)
        if isinstance(delta, e.TextDelta):
            stream.text += delta.text
            stream.call = ""
        elif isinstance(delta, e.ThinkingDelta):
            stream.thinking = (stream.thinking + delta.text)[-OUTPUT_TAIL:]
        else:
            stream.call = delta.name or stream.call

    def _stream(self, request: e.RequestId) -> Stream:
        if self.stream is None or self.stream.request != request:
            self.stream = Stream(request=request, sure=False)
        return self.stream

    def _harvest(self) -> None:
        stream = self.stream
        if stream is None or not stream.sure:
            return
        from perdure.cli.view.markdown import finished

        size, in_list = finished(stream.rest)
        if size:
            self._answer(stream.rest[:size], tight=stream.in_list)
            stream.taken += size
            stream.in_list = in_list

    def _answer(self, markdown: str, *, tight: bool = False) -> None:
        if markdown.strip():
            self._blocks.append(Answer(markdown=markdown.strip("\n"), tight=tight))

    def _note(self, text: str, level: Level = "dim") -> None:
        self._blocks.append(Note(text=text, level=level))

    # Records ----------------------------------------------------------------------------------

    def feed(self, record: e.Record) -> None:
        self.seq = record.seq
        match record.event:
            case e.SessionStarted() as event:
                self.agent, self.workdir, self.title = event.agent, event.workdir, event.title
            case e.SessionForked(parent=parent, at=at):
                self._note(f"forked from {parent} at record {at}")
                self.turn, self.stream = None, None
                self.calls.clear()
                self.approvals.clear()
                self.pending.clear()
            case e.SessionConfigured(model=model):
                self.model = model
                self._note(f"model: {model}" if model else "model: the agent's own again")
            case e.SessionRenamed(title=title):
                self.title = title
            case e.MessageReceived() as event:
                self.pending[event.message] = event
            case e.TurnStarted() as event:
                self.turn, self.turn_began = event.turn, record.at
                self._said(event.messages, event.rewritten, event.blocked)
            case e.MessagesTaken() as event:
                self._said(event.messages, event.rewritten, event.blocked)
            case e.TurnEnded() as event:
                self._ended(event)
            case e.ToolStarted() as event:
                running = self.calls.setdefault(
                    event.call, Running(tool=event.tool, arguments=event.arguments or {})
                )
                running.since = record.at
                if event.arguments is not None:
                    running.arguments = event.arguments
            case e.ToolFinished() as event:
                call = self.calls.pop(event.call, None)
                asked = event.call in self._previews
                if asked and event.result.status == "denied":
                    self._unanswered(event.call)
                    return  # the owner said so, and it stands there
                self._blocks.append(
                    ToolDone(
                        tool=event.tool,
                        arguments=call.arguments if call else {},
                        result=event.result,
                        ms=event.ms,
                        diff_shown=asked
                        and event.result.data.get("diff") == self._previews[event.call],
                    )
                )
            case e.ApprovalRequested() as event:
                self.approvals[event.approval] = event
                self._previews[event.call] = event.preview
                self._blocks.append(Asked(request=event))
            case e.ApprovalDecided() as event:
                self._decided(event)
            case _:
                self._model_event(record)

    def _model_event(self, record: e.Record) -> None:
        match record.event:
            case e.ModelRequested() as event:
                live = self.live_since is not None and record.at > self.live_since
                self.stream = Stream(request=event.request, sure=live)
                self.model, self.retry_at = event.model, None
            case e.ModelResponded() as event:
                self._responded(event)
            case e.ModelFailed() as event:
                self._partial(event.partial)
                self._failed(event)
            case e.ModelInterrupted() as event:
                self._partial(event.text)
            case e.NoticeAdded(text=text, audience=audience, level=level):
                if audience != "model":
                    self._note(text, "dim" if level == "info" else level)
            case e.HookActed() as event:
                bad = event.action in ("blocked", "failed")
                text = f"hook {event.hook} {event.action}: {event.detail}".rstrip(": ")
                self._note(text, "warning" if bad else "dim")
            case e.LimitReached() as event:
                if not event.final:
                    self._note(f"{told(event)} The agent sums up.", "warning")
                elif self.turn is None:  # else the turn's end says it
                    self._note(told(event), "warning")
            case e.ResultsCleared(freed=freed):
                self._note(f"old tool results left the context (about {tokens(freed)} freed)")
            case e.ContextCompacted() as event:
                self._spent(event.usage, event.cost_usd)
                self._note(f"context compacted: {tokens(event.before)} → {tokens(event.after)}")
            case e.CompactionFailed(reason=reason):
                self._note(f"the context could not be compacted: {reason}", "warning")
            case _:
                pass

    def _said(
        self,
        messages: tuple[e.MessageId, ...],
        rewritten: dict[str, tuple[e.Part, ...]],
        blocked: tuple[e.MessageId, ...],
    ) -> None:
        for message in messages:
            event = self.pending.pop(message, None)
            if event is None:
                continue  # accepted before the part of the history that is shown
            parts = event.parts
            self._blocks.append(
                Said(
                    text="".join(p.text for p in parts if isinstance(p, e.Text)),
                    sender=event.sender if event.sender != OWN_SENDER else "",
                    images=sum(isinstance(p, e.Image) for p in parts),
                )
            )
            if message in blocked:
                self._note("a hook kept this message from the agent", "warning")
            elif message in rewritten:
                self._note("a hook rewrote this message")

    def _ended(self, event: e.TurnEnded) -> None:
        if self.stream is not None:
            self._partial("")
        self.turn, self.turn_began, self.retry_at = None, None, None
        self.calls.clear()
        self.approvals.clear()
        self._previews.clear()
        self.last_end = event
        if event.reason in _ENDS:
            text, level = _ENDS[event.reason]
            self._note(f"{text}: {event.error}" if event.error else text, level)

    def _responded(self, event: e.ModelResponded) -> None:
        stream, text = self.stream, event.text
        if stream is not None and text.startswith(stream.text[: stream.taken]):
            self._answer(text[stream.taken :], tight=stream.in_list)
        else:
            self._answer(text)
        self.stream = None
        self.last_text = text or self.last_text
        self.cut_off = event.stop == "length" and bool(text)
        if event.stop == "length":
            self._note(CUT_OFF if text else CUT_OFF_EMPTY, "warning")
        elif event.stop == "refusal":
            self._note("the model refused", "warning")
        for call in event.calls:
            self.calls[call.id] = Running(tool=call.name, arguments=call.arguments)
        self._spent(event.usage, event.cost_usd)
        self.last_usage = event.usage

    def _partial(self, text: str) -> None:
        """An answer that ends here: `text` by the record, where it holds more than was streamed."""
        stream, self.stream = self.stream, None
        if stream is None:
            self._answer(text)
            return
        if not (stream.sure and len(stream.text) > len(text)):
            stream.text = text if text.startswith(stream.text[: stream.taken]) else stream.text
        self._answer(stream.rest, tight=stream.in_list)

    def _failed(self, event: e.ModelFailed) -> None:
        self.retry_at = event.retry_at
        if event.fallback is not None:
            self._note(
                f"{event.model}: {_said_once(event.message)}; trying the next model", "warning"
            )
        elif event.retry_at is not None:
            self._note(f"{event.model}: {_said_once(event.message)}; trying again", "warning")

    def _decided(self, event: e.ApprovalDecided) -> None:
        asked = self.approvals.pop(event.approval, None)
        what = asked.tool if asked is not None else "the call"
        note = f": {event.note}" if event.note else ""
        if event.answer == "allow":
            scope = {
                "data": "to use this data, for this task",
                "once": "once",
                "session": "for this session",
                "always": "always",
            }[event.scope]
            self._note(f"✓ {what} allowed {scope}{_by(event)}{note}")
        else:
            self._note(f"✗ {what} denied{_by(event)}{note}", "warning")

    def _unanswered(self, call: e.CallId) -> None:
        """A call was denied although nobody had answered: the question about it expired."""
        for id_, asked in tuple(self.approvals.items()):
            if asked.call == call:
                del self.approvals[id_]
                self._note(f"✗ {asked.tool}: nobody answered in time, so it was denied", "warning")

    def _spent(self, usage: e.Usage, cost: float | None) -> None:
        self.usage = self.usage.plus(usage)
        if cost is None:
            self.unpriced = True
        else:
            self.cost_usd += cost


def _said_once(message: str) -> str:
    """The first line of an error, to go on after."""
    return one_line(message.strip().split("\n")[0]).rstrip(" .;")


def tokens(count: int) -> str:
    if count >= 1_000_000:
        return f"{count / 1_000_000:.1f}M tokens"
    if count >= 1000:
        return f"{count / 1000:.1f}k tokens"
    return f"{count} token{'s' if count != 1 else ''}"


def money(usd: float, *, unpriced: bool = False) -> str:
    """`$0.0012`, with a leading ≥ when some call had no known price; `–` when none had."""
    if unpriced and not usd:
        return "–"
    text = f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"
    return f"≥{text}" if unpriced else text


def _by(event: e.ApprovalDecided) -> str:
    """Whose token answered, where it was not the owner's own."""
    return f" by {event.by}" if event.by not in ("", "owner") else ""
