"""Room for a model call: reserved from a worst case before it is made, settled when it is over."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from perdure.kernel.errors import ConfigError, PerdureError, StorageError
from perdure.kernel.events import LimitKind, LimitReached, LimitScope, RequestId, SessionId, Usage
from perdure.kernel.ports import Clock, Reservation
from perdure.kernel.state import State

from .caps import BudgetCaps, Caps
from .ledger import Entry, Ledger, Spent

OUTPUT = 16_000
"""Tokens an answer may have under a budget where the model's settings do not say."""
LEAST = 1_024
"""Tokens below which it is not worth asking."""
SUMMARY = 512
"""Tokens that summing up must have room for."""
SAFETY = 1.2
"""The size of a request is an estimate."""
WARN = 0.8
"""Share of a cap from which the owner is told."""
_WORDS: dict[LimitScope, str] = {
    "session": "This session",
    "unattended": "What runs unattended today",
    "day": "This agent today",
    "month": "This agent this month",
    "workspace": "The workspace",
    "turn": "This turn",
}


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tokens cost at most, in US dollars. None: nobody knows."""

    input: float | None
    output: float | None
    max_output: int | None = None
    """What its settings allow."""

    def cost(self, input: float, output: float) -> float | None:
        if self.input is None or self.output is None:
            return None
        return input * self.input + output * self.output


class _Cap(msgspec.Struct, frozen=True):
    scope: LimitScope
    kind: LimitKind
    allowed: float
    used: float
    frees: datetime | None
    """When it is counted anew; None: never."""

    @property
    def left(self) -> float:
        return self.allowed - self.used

    def reached(self, reserved: float = 0.0) -> LimitReached:
        return LimitReached(
            limit=self.kind,
            used=round(self.used, 6),
            allowed=self.allowed,
            scope=self.scope,
            reserved=round(reserved, 6),
            again=_again(self.scope, self.frees, reserved),
        )


class SessionBudgets:
    """Implements kernel.ports.Budgets for one session."""

    def __init__(
        self,
        ledger: Ledger,
        caps: Callable[[], BudgetCaps],
        quote: Callable[[str, int], Awaitable[Quote]],
        clock: Clock,
        *,
        agent: str,
        session: SessionId,
    ) -> None:
        """`caps` is asked at each call, so that a reload takes effect; it may raise PerdureError.
        `quote` tells the price of a model, by name, for a request of so many tokens."""
        self._ledger, self._caps, self._quote, self._clock = ledger, caps, quote, clock
        self._agent, self._session = agent, session
        self._warned: set[tuple[str, str, str]] = set()
        self._turn = ""
        self._worked = 0.0
        """Seconds of that turn that are in the books."""
        self._rates: dict[RequestId, Quote] = {}
        self._later: dict[RequestId, tuple[str, Entry]] = {}
        """Calls for which nothing is reserved, by model."""
        self._calls: dict[RequestId, int | None] = {}
        """How many tool calls of a reply may run, and so count."""
        self._held: dict[RequestId, Spent] = {}
        """What is reserved and not settled yet, which the session does not know of: of several tools at
        once none may take what another holds."""
        self._settled: Entry | None = None
        """The last reply that brought tool calls: all that may run are booked until they are closed."""

    async def reserve(
        self,
        state: State,
        request: RequestId,
        *,
        model: str,
        tokens: int,
        last: bool,
        aside: bool = False,
    ) -> Reservation:
        """`aside`: for a tool, whose call was counted when it was allowed; it can tell nobody of notices,
        so that there are none."""
        caps, turn = self._caps(), state.turn
        unattended = bool(caps.unattended) and turn is not None and turn.unattended
        if not (unattended or caps.limited):
            # Nothing hangs on the books: one line when it is over is enough.
            self._later[request] = model, self._entry(state, request, self._clock.now())
            return Reservation()
        quote = await self._quote(model, tokens)
        # Invariant: no await from here to the ledger's line, so that sessions cannot both take what
        # is left.
        now = self._clock.now()
        self._ledger.flush()
        found = list(self._found(caps, state, now, aside=aside))
        if aside:
            found = [cap for cap in found if cap.kind not in ("calls", "turns")]
        if not found:
            self._rates[request] = quote
            with contextlib.suppress(StorageError):  # nothing hangs on the books
                self._book(state, request, now, Spent(), open_=False)
            return Reservation()
        size = int(tokens * SAFETY)
        for cap in found:
            if cap.kind == "cost_usd" and quote.cost(1, 1) is None:
                raise ConfigError(
                    f"no price is known for {model}, so that a budget in dollars cannot hold",
                    hint="Give its `price` in agent.yaml, or set the budget in `tokens`.",
                )
        most, tight = self._affordable(found, quote, size, last=last)
        least = SUMMARY if last else min(LEAST, quote.max_output or LEAST)
        if tight is not None and most < least:
            worst = quote.cost(size, least) if tight.kind == "cost_usd" else size + least
            counts = tight.kind in ("cost_usd", "tokens")
            return Reservation(limit=tight.reached(worst or 0.0 if counts else 0.0))
        held = Spent(cost_usd=quote.cost(size, most) or 0.0, tokens=size + most)
        self._book(state, request, now, held, open_=True)
        self._rates[request], self._held[request] = quote, held
        notices = () if aside else tuple(self._notices(found, now))
        calls = min((max(0, int(cap.left)) for cap in found if cap.kind == "calls"), default=None)
        self._calls[request] = 0 if last else calls
        return Reservation(max_output=most, calls=calls, notices=notices)

    def paid(self, state: State, request: RequestId, usage: Usage, cost_usd: float | None) -> None:
        """A tool has paid models by itself, for which no room was made: it counts from now on. Never
        raises."""
        entry = Entry(
            at=self._clock.now(),
            request=request,
            agent=self._agent,
            session=self._session,
            spent=Spent(cost_usd=cost_usd or 0.0, tokens=usage.input + usage.output),
            turn=state.turn.turn if state.turn is not None else "",
            unattended=state.turn is not None and state.turn.unattended,
            unpriced=cost_usd is None,
        )
        self._ledger.book(entry)

    async def settle(
        self, request: RequestId, usage: Usage, cost_usd: float | None, *, calls: int
    ) -> None:
        quote, _ = self._rates.pop(request, None), self._held.pop(request, None)
        if (most := self._calls.pop(request, None)) is not None:
            calls = min(calls, most)
        later = self._later
        model, known = later.pop(request) if request in later else ("", self._ledger.entry(request))
        if cost_usd is None and model and (usage.input or usage.output):
            with contextlib.suppress(PerdureError):
                quote = await self._quote(model, usage.input)
        if cost_usd is None and quote is not None:
            cost_usd = quote.cost(usage.input, usage.output)
        now = self._clock.now()
        spent = Spent(cost_usd=cost_usd or 0.0, tokens=usage.input + usage.output, calls=calls)
        if known is not None:
            spent.turns, spent.seconds = known.spent.turns, known.spent.seconds
            spent.seconds += max(0.0, (now - known.at).total_seconds())
            self._worked += max(0.0, (now - known.at).total_seconds())
        entry = Entry(
            at=known.at if known else now,
            request=request,
            agent=self._agent,
            session=self._session,
            spent=spent,
            turn=known.turn if known else "",
            unattended=known.unattended if known else False,
            unpriced=cost_usd is None and bool(spent.tokens),
        )
        self._ledger.book(entry)
        if calls:
            self._settled = entry

    def closed(self, request: RequestId, *, calls: int) -> None:
        # After a kill the books say; they say nothing of a reply that was not settled before it.
        known, self._settled = self._settled, None
        if known is None or known.request != request:
            known = self._ledger.entry(request) or Entry(
                at=self._clock.now(),
                request=request,
                agent=self._agent,
                session=self._session,
                spent=Spent(),
            )
        if known.spent.calls != calls:
            spent = msgspec.structs.replace(known.spent, calls=calls)
            self._ledger.book(msgspec.structs.replace(known, spent=spent))

    def _entry(self, state: State, request: RequestId, now: datetime) -> Entry:
        """Of a call for which nothing is reserved."""
        turn, spent = state.turn, Spent()
        if turn is not None:
            if turn.turn != self._turn:
                self._turn, self._worked = turn.turn, 0.0
                spent.turns = 0 if turn.rounds else 1
            worked = (now - turn.began).total_seconds() - turn.waited
            spent.seconds = max(0.0, worked - self._worked)
            self._worked += spent.seconds
        return Entry(
            at=now,
            request=request,
            agent=self._agent,
            session=self._session,
            spent=spent,
            turn=turn.turn if turn is not None else "",
            unattended=turn is not None and turn.unattended,
        )

    def _book(
        self, state: State, request: RequestId, now: datetime, held: Spent, *, open_: bool
    ) -> None:
        turn = state.turn
        if turn is not None:
            # It may have begun in a process that was killed.
            booked = self._ledger.turn(turn.turn, f"{now:%Y-%m}")
            if turn.turn != self._turn:
                self._turn, self._worked = turn.turn, booked.seconds
            held.turns = 0 if booked.turns or turn.rounds else 1
            worked = (now - turn.began).total_seconds() - turn.waited
            held.seconds = max(0.0, worked - self._worked)
        self._ledger.write(
            Entry(
                at=now,
                request=request,
                agent=self._agent,
                session=self._session,
                spent=held,
                turn=turn.turn if turn is not None else "",
                open=open_,
                unattended=turn is not None and turn.unattended,
            )
        )
        self._worked += held.seconds

    def _found(
        self, caps: BudgetCaps, state: State, now: datetime, *, aside: bool
    ) -> Iterator[_Cap]:
        """Every cap that is set, with what is used of it."""
        day, month = f"{now:%Y-%m-%d}", f"{now:%Y-%m}"
        tomorrow, next_month = _next_day(now), _next_month(now)
        ledger, agent, turn = self._ledger, self._agent, state.turn
        own = int(turn is not None)  # how many turns of `used` are this one
        if caps.session:
            used = _of_session(state, now)
            for held in self._held.values() if aside else ():
                used.cost_usd, used.tokens = (
                    used.cost_usd + held.cost_usd,
                    used.tokens + held.tokens,
                )
            yield from _caps("session", caps.session, used, own, None)
        today = ledger.turn(turn.turn, day).turns if turn is not None else 0
        own = ledger.turn(turn.turn, month).turns if turn is not None else 0
        if caps.day:
            yield from _caps("day", caps.day, ledger.total(agent, day), today, tomorrow)
        if caps.month:
            used = ledger.total(agent, month)
            yield from _caps("month", caps.month, used, own, next_month)
        if caps.workspace_day:
            used = ledger.total("", day)
            yield from _caps("workspace", caps.workspace_day, used, today, tomorrow)
        if caps.workspace_month:
            used = ledger.total("", month)
            yield from _caps("workspace", caps.workspace_month, used, own, next_month)
        if caps.unattended and turn is not None and turn.unattended:
            used = ledger.unattended(agent, day)
            yield from _caps("unattended", caps.unattended, used, today, tomorrow)

    def _affordable(
        self, caps: list[_Cap], quote: Quote, size: int, *, last: bool
    ) -> tuple[int, _Cap | None]:
        """Tokens that the answer may have, and the cap that allows no more."""
        most, tight = min(OUTPUT, quote.max_output or OUTPUT), None
        for cap in caps:
            if cap.kind in ("calls", "turns", "seconds"):
                if cap.left <= 0 and not last:  # summing up takes next to nothing of these
                    most, tight = 0, cap
                continue
            kept = 0.0 if last else _worst(cap.kind, quote, size + LEAST, SUMMARY)
            left = cap.left - kept - _worst(cap.kind, quote, size, 0)
            each = 1.0 if cap.kind == "tokens" else quote.output or 0.0
            fits = int(left / each) if each else (most if left >= 0 else 0)
            if fits < most:
                most, tight = max(0, fits), cap
        return most, tight

    def _notices(self, caps: list[_Cap], now: datetime) -> Iterator[str]:
        for cap in caps:
            mark = (cap.scope, cap.kind, f"{now:%Y-%m-%d}")
            if cap.used >= WARN * cap.allowed and mark not in self._warned:
                self._warned.add(mark)
                unit = "US dollars" if cap.kind == "cost_usd" else cap.kind.replace("_", " ")
                yield (
                    f"{_WORDS[cap.scope]} has used {cap.used:.4g} of {cap.allowed:g} {unit} of the "
                    "budget. When it is used up, the tools are withdrawn."
                )


def _caps(
    scope: LimitScope, caps: Caps, used: Spent, own: int, frees: datetime | None
) -> Iterator[_Cap]:
    so_far = msgspec.structs.asdict(used)
    so_far["turns"] -= own
    return (_Cap(scope, kind, allowed, so_far[kind], frees) for kind, allowed in caps)


def _again(scope: LimitScope, frees: datetime | None, reserved: float) -> str:
    text = f"The next call could take {reserved:.6g}. " if reserved else ""
    if frees is not None:
        when = f"{frees:%Y-%m-%d %H:%M}"
        return f"{text}There is room again from {when} UTC on, or when the cap is raised."
    if scope == "session":
        return f"{text}It does not free up: begin another session, or raise `budget.session`."
    return text.rstrip()


def _next_day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    return _next_day(now.replace(day=28) + timedelta(days=4)).replace(day=1)


def _worst(kind: LimitKind, quote: Quote, input: int, output: int) -> float:
    return float(input + output) if kind == "tokens" else quote.cost(input, output) or 0.0


def _of_session(state: State, now: datetime) -> Spent:
    usage, turn = state.usage, state.turn
    seconds = state.seconds
    if turn is not None:
        seconds += max(0.0, (now - turn.began).total_seconds() - turn.waited)
    return Spent(
        cost_usd=state.cost_usd,
        tokens=usage.input + usage.output,
        calls=state.calls_made,
        turns=state.turns - state.turns_refused,
        seconds=seconds,
    )
