"""The context of one running session: the kernel's `Context` over a fold, a prefix and a budget.

Work per round does not grow with the history: records append to a list, a prompt hands out that same
list. Only clearing, compaction, dump and load look at all items.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Protocol

import msgspec

from perdure import __version__
from perdure.kernel.errors import NotFound, PerdureError, StorageError
from perdure.kernel.events import (
    AnyEvent,
    ArtifactId,
    NoticeAdded,
    PrefixSet,
    Record,
    RequestId,
    ResultsCleared,
)
from perdure.kernel.ports import Clock, Model
from perdure.kernel.prompt import ImageSource, Item, Prefix, Prompt, ResultsItem
from perdure.kernel.state import State

from .budget import BYTES_PER_TOKEN, ContextBudget, weigh_parts, weigh_prefix
from .fold import Folded, clearable, fold
from .items import Items
from .prefix import PrefixSource, sealed
from .words import from_runtime

CLEAR_BATCH = 0.1
"""Results are cleared when that frees this share of the window: each time costs the provider's cache."""
REGROWTH = 0.05
"""After a compaction failed, the context must grow by this share of the window before the next."""

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_FORM = f"{__version__} 1"
"""Of a dump. Items are not read before they are asked for, so a dump by another version is not tried.
Raise the number with every change of `Folded` or of an item's fields."""

_encode = msgspec.json.Encoder().encode
_folded = msgspec.json.Decoder(Folded)
_prefix = msgspec.json.Decoder(Prefix)


class _Dump(msgspec.Struct, frozen=True, kw_only=True):
    form: str
    count: int
    others: msgspec.Raw
    """What was folded besides the items."""


_dump = msgspec.json.Decoder(_Dump)


class Artifacts(Protocol):
    """Where long things are kept. The same bytes always give the same id."""

    def put(self, data: bytes, ext: str, /) -> ArtifactId:
        """Store; durable with the session's next commit. Raises StorageError."""

    def read(self, artifact: ArtifactId, /) -> bytes:
        """Raises NotFound or StorageError."""


class SessionContext:
    """Implements `perdure.kernel.ports.Context` for one session."""

    def __init__(
        self,
        source: PrefixSource,
        artifacts: Artifacts,
        budget: ContextBudget,
        clock: Clock,
        *,
        images: ImageSource | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        """`zone`: of the times the model is told; None is the machine's."""
        self.source = source
        self.budget = budget
        """May be replaced between calls, when another model with another window is chosen."""
        self._artifacts, self._images = artifacts, images
        self._clock, self._zone = clock, zone
        self._folded = Folded()
        self._built: Prefix | None = None
        """The prefix in use, once it was built here or read back."""
        self._stamp: object = None
        self._checked = ""
        """The turn for which the agent's files were last looked at."""
        self._scanned = 0
        """Weight at which clearing was last found not to pay."""
        self._notices: tuple[str, ...] = ()
        """What the owner is to hear of the prefix that was built last."""
        self._now = ("", "")
        """Turn and the time it is told."""

    # Folding ------------------------------------------------------------------------------------

    def feed(self, record: Record) -> None:
        fold(self._folded, record, self.budget, self._keep)

    def dump(self) -> tuple[bytes, bytes]:
        """All that was folded so far, for a snapshot: JSON, and a line of JSON for each item."""
        items, count = self._folded.items.dump()
        others = {n: v for n, v in msgspec.structs.asdict(self._folded).items() if n != "items"}
        head = _Dump(form=_FORM, count=count, others=msgspec.Raw(_encode(others)))
        return _encode(head), items

    def load(self, data: bytes, items: bytes | memoryview) -> None:
        """Take up a dump in place of the records it was folded from; feeding goes on after them. The
        items are not read before somebody looks at them: they must be what `dump` gave.
        Raises msgspec.DecodeError when it is not a dump: fold from the log instead."""
        head = _dump.decode(data)
        if head.form != _FORM:
            raise msgspec.DecodeError("the dump is of another version")
        folded = _folded.decode(head.others)
        folded.items = Items(kept=items, count=head.count)
        self._folded, self._built = folded, None

    @property
    def items(self) -> Sequence[Item]:
        """What `prompt` hands out, the same object until `revision` is raised."""
        return self._folded.items

    @property
    def revision(self) -> int:
        return self._folded.revision

    @property
    def seq(self) -> int:
        """Of the last record folded."""
        return self._folded.seq

    @property
    def tokens(self) -> int:
        """Estimate of the next request."""
        return self._folded.tokens

    def _keep(self, data: bytes, ext: str) -> ArtifactId | None:
        try:
            return self._artifacts.put(data, ext)
        except (StorageError, OSError):
            return None  # the log still holds it, and the text says so

    # The next request -----------------------------------------------------------------------------

    def prepare(self, state: State) -> Sequence[AnyEvent]:
        events: list[AnyEvent] = []
        if prefix := self._renewed_prefix(state):
            events.append(prefix)
            events += [
                NoticeAdded(text=text, audience="user", level="warning") for text in self._notices
            ]
        if clearing := self._clearing():
            events.append(clearing)
        return events

    def prompt(self, state: State, *, tools: bool = True) -> Prompt:
        f = self._folded
        if f.open:
            names = ", ".join(c.name for c in f.open if c.id not in f.results)
            raise AssertionError(f"a model call is due, but these calls have no result: {names}")
        return Prompt(
            prefix=self._prefix(),
            items=f.items,
            revision=f.revision,
            tail=self._tail(state),
            tools=tools,
            tokens=f.tokens,
            images=self._images,
        )

    def _prefix(self) -> Prefix:
        if self._built is None:
            event = self._folded.prefix
            if event is None:
                raise AssertionError("prompt() before prepare()")
            try:
                self._built = _prefix.decode(self._artifacts.read(event.artifact))
            except msgspec.DecodeError as error:
                raise StorageError(f"the prompt's prefix {event.artifact} is damaged") from error
        return self._built

    def _tail(self, state: State) -> str:
        """The time, fixed at the start of the turn so that a retry is the same request."""
        turn = state.turn.turn if state.turn else ""
        if self._now[0] != turn or not turn:
            when = (state.turn.began if state.turn else self._clock.now()).astimezone(self._zone)
            text = f"Now: {DAYS[when.weekday()]} {when:%Y-%m-%d %H:%M} {when.tzname()}"
            self._now = (turn, from_runtime(text))
        return self._now[1]

    # The prefix -------------------------------------------------------------------------------------

    def _renewed_prefix(self, state: State) -> PrefixSet | None:
        why = self._why_rebuild(state)
        if not why:
            return None
        current = self._folded.prefix
        stamp = self.source.stamp(state.workdir)
        if why == "files" and stamp == self._stamp:
            return None
        try:
            parts = self.source.build(state.workdir, state.session)
        except PerdureError:
            if current is None or why == "unreadable":
                raise
            return None  # the last good one stays; whoever reads the files reports it
        self._stamp = stamp
        if why == "files":
            assert current is not None
            changed = _changed(current.sources, parts.stable)
            if not changed:
                return None
            why = f"changed: {', '.join(changed)}"
        prefix = sealed(parts)
        artifact = self._artifacts.put(_encode(prefix), "json")
        self._built, self._notices = prefix, parts.notices
        return PrefixSet(
            digest=prefix.digest,
            artifact=artifact,
            why=why,
            sources=(*parts.stable, *parts.frozen),
            tokens=int(weigh_prefix(prefix) / BYTES_PER_TOKEN),
            label=parts.label,
        )

    def _why_rebuild(self, state: State) -> str:
        f, turn = self._folded, state.turn
        if f.prefix is None:
            return "start"
        if f.rebuild:
            return f.rebuild
        try:
            self._prefix()
        except (NotFound, StorageError):
            return "unreadable"
        if turn is None or turn.rounds or turn.turn == self._checked:
            return ""
        self._checked = turn.turn
        return "files"

    # The window -------------------------------------------------------------------------------------

    def _clearing(self) -> ResultsCleared | None:
        f, budget = self._folded, self.budget
        if f.open or f.tokens < budget.clear_at * budget.window:
            return None
        batch = CLEAR_BATCH * budget.window
        if self._scanned and (f.weight - self._scanned) * f.ratio < batch / 2:
            return None
        items = [i for i in f.items if isinstance(i, ResultsItem)]
        if not items:
            return None
        # What the model has not seen yet is never cleared.
        unseen = min(r.seq for r in items[-1].results)
        results = sorted((r for i in items for r in i.results), key=lambda r: r.seq)
        old = [r for r in results[: -budget.keep_results or None] if f.cleared < r.seq < unseen]
        freed = sum(weigh_parts(r.result.parts) for r in old if clearable(r)) * f.ratio
        if freed < batch:
            self._scanned = f.weight
            return None
        self._scanned = 0
        return ResultsCleared(through=old[-1].seq, freed=int(freed))

    def wants_compaction(self, state: State) -> bool:
        f, budget = self._folded, self.budget
        if state.compaction_due or (state.turn is not None and state.turn.overflowed):
            return True
        limit = int(budget.compact_at * min(budget.window, f.ceiling or budget.window))
        if f.tokens <= min(limit, budget.usable):
            return False
        if f.failed_at and f.tokens < f.failed_at + REGROWTH * budget.window:
            return False
        from .compaction import plan

        return plan(f, budget).pays

    async def compact(
        self, state: State, model: Model, request: RequestId, *, max_output: int | None = None
    ) -> AnyEvent:
        from .compaction import Compaction

        forced = state.compaction_due or (state.turn is not None and state.turn.overflowed)
        return await Compaction(
            self._folded,
            self.budget,
            self._prefix_or_empty(),
            self._images,
            max_output,
            self._clock.sleep,
        ).run(model, request, forced=forced, focus=state.compaction_focus)

    def _prefix_or_empty(self) -> Prefix:
        return self._prefix() if self._folded.prefix else Prefix(system="")


def _changed(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Names of the sources that differ. Each is `name hash`; frozen ones do not count."""
    from .prefix import FROZEN

    old = {s for s in before if not s.startswith(FROZEN)}
    return sorted({s.rpartition(" ")[0] for s in old ^ set(after)})
