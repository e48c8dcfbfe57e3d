"""The engine: weigh one call by who wrote what the session holds, and by who named where it goes.

The rules, in the order in which they are tried:

1. Data that is `secret` never leaves: a call that could carry it out is denied, whoever named where to.
2. While nobody but the owner has written into the context, flow is free, but for one thing: private data
   does not reach a place that only the model has named. The policy decides the rest.
3. Otherwise the context is tainted, and every call may be an attacker's. What decides later behaviour (a sink
   of kind `configure`, a control file) is denied. What stays in the workspace is free: labels stick to files.
4. A call with a consequence needs every critical argument named by somebody who may: by the owner in his own
   words, by `trust.yaml`, as an object made in this session, as the one object of a name the owner said, or
   by an approval of the data. A value is compared whole, in one form per kind (`forms`), and one that is
   written as a disguise is nobody's.
5. What goes along is judged too: a link, address or account number in a text that the owner did not write is
   a destination for whoever reads it.
6. Where all that is said is what the owner dictated, it may also go to whom his own service lists. What is
   published, and is not dictated, asks even at a place the owner named: he may have meant to read there.
7. To delete, the owner must have asked for something to go in the message that names it; what was made in
   this session is deleted by nobody else either. The same payment twice asks.

What third parties write, or the model says, can only take away: `named` reads nothing of theirs but whole
leaves of records, and a record is used only under a name that the owner said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import Record
from perdure.kernel.labels import Label

from . import forms
from .directory import EMPTY, Directory
from .finding import FREE, Finding
from .fold import disguise, fold, skeleton
from .judge import Ask, Judge
from .judged import SHOWN, VOUCHED, Judged, only_listed, publishing, unsplit, vouching
from .ledger import Ledger, payment, strings
from .live import live
from .view import Declared, Prepared, Sink

OUTWARD = frozenset(("send", "pay", "publish", "share"))
"""Kinds of sinks that carry data to somebody."""
PLACES = frozenset(("recipient", "url", "host", "account"))
ADDRESSES = frozenset(("recipient", "account"))
FETCHED = frozenset(("url", "host", "query"))


class Flow:
    """One session's."""

    def __init__(
        self,
        *,
        earlier: Callable[[], Iterable[Record]] = tuple,
        tools: Callable[[str], Declared | None] = lambda name: None,
        directory: Callable[[], Directory] = lambda: EMPTY,
        control: Callable[[Path], bool] = lambda path: False,
        contained: Callable[[], bool] = lambda: False,
        admits: Callable[[str, str], bool] = lambda url, tool: False,
    ) -> None:
        """`earlier`: the session's records from its beginning, read once, at the first call that needs
        them; may include those that were fed. `tools`: a tool's declarations by its name. `directory`: what
        the owner has approved; may raise ConfigError, and then nothing is. `control`: does writing this
        resolved path change what agents may do? `contained`: do commands run where they cannot reach out?
        `admits`: does a rule of the owner's for requests name this address, for this tool?"""
        self._ledger = Ledger(earlier=earlier, tools=tools)
        self._tools, self._directory = tools, directory
        self._control, self._contained, self._admits = control, contained, admits
        self._catching = asyncio.Lock()
        self._broken = ""
        """What is wrong with the directory."""

    def feed(self, record: Record) -> None:
        """Every record appended while the session is open, in order, once."""
        self._ledger.feed(record)

    async def ready(self, prepared: Prepared, label: Label) -> None:
        """Before `weigh`: what a long session has piled up is looked at in a thread, not on the way of all
        others. What goes wrong, `weigh` tells."""
        if not (_concerns(prepared, label) and self._ledger.behind()):
            return
        # One thread at a time: none may begin to look at more while something here is weighed.
        async with self._catching:
            if self._ledger.behind():
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(self._ledger.catch_up)

    def weigh(self, prepared: Prepared, *, label: Label, endorsed: Sequence[str] = ()) -> Finding:
        """May this call go ahead as far as data is concerned? `label`: of the context it was thought up in.
        `endorsed`: values vouched for, as `Finding.endorses` gave them. Never raises: what cannot be
        judged asks."""
        if not _concerns(prepared, label):
            return FREE
        try:
            return self._weigh(prepared, label, endorsed)
        except Exception as error:  # the boundary: no flaw here may let a call pass
            reason = f"it could not be told where this comes from ({type(error).__name__}: {error})"
            return Finding(verdict="ask", reason=reason[:500], label=label)

    def describe(
        self, prepared: Prepared, *, label: Label, endorsed: Sequence[str] = ()
    ) -> Finding:
        """As `weigh`, with destination and sources also where it is free: for a question that is put for
        another reason. Never raises."""
        found = self.weigh(prepared, label=label, endorsed=endorsed)
        sink = prepared.sink
        if found.verdict != "free" or sink is None or found.sources:
            return found
        try:
            judged = self._judged(prepared, sink, self._judge(sink.kind), endorsed)
        except Exception:  # sources are told where they can be; nothing rests on them
            return found
        return Finding(
            verdict="free",
            destination=_destination(sink, judged, prepared.call.name),
            sources=tuple(j.source for j in judged),
            label=label,
        )

    def _weigh(self, prepared: Prepared, label: Label, endorsed: Sequence[str]) -> Finding:
        sink, name = prepared.sink, prepared.call.name
        if label.tainted and (denied := self._controlled(prepared, label)):
            return denied
        if sink is None:
            return FREE
        kind = sink.kind
        if kind == "execute" and self._contained():
            return FREE
        judge = self._judge(kind)
        judged = self._judged(prepared, sink, judge, endorsed)
        # A `write` stays in the owner's own account, unless it names somebody after all.
        outward = (
            kind in OUTWARD
            or kind == "execute"
            or ("network" in prepared.effects and kind != "write")
            or any(j.kind in PLACES for j in judged)
        )
        if label.secrecy == "secret" and outward and not _harmless_fetch(prepared, sink, judged):
            return Finding(
                verdict="deny",
                reason="this session holds secret data, which never leaves; what needs no secret can be done "
                "in a new session",
                destination=_destination(sink, judged, name),
                sources=tuple(j.source for j in judged),
                label=label,
            )
        if not label.tainted:
            return self._reached(prepared, sink, judged, label)
        if kind == "write":
            judged = [j for j in judged if j.kind != "path"]
            if not judged:
                return FREE
        texts = list(_contents(prepared, sink)) if outward else []
        self._dictate(prepared, sink, judge, judged, texts)
        carried = self._carried(texts, judge, endorsed, prepared) if outward else []
        reason = self._reason(prepared, sink, judge, judged, carried, texts, label)
        if not reason:
            return FREE
        loose = [j.token for j in (*judged, *carried) if not j.by]
        destination = _destination(sink, judged, name)
        if not loose and kind == "publish":
            loose = [j.token for j in judged if j.kind in PLACES] or [publishing(destination)]
            if loose[0] in endorsed:
                return FREE
        once = kind == "pay" or not loose
        return Finding(
            verdict="ask",
            reason=reason + self._broken,
            destination=destination,
            sources=tuple(j.source for j in (*judged, *carried)),
            endorses=() if once else tuple(dict.fromkeys(loose)),
            label=label,
        )

    def _reached(
        self, prepared: Prepared, sink: Sink, judged: Sequence[Judged], label: Label
    ) -> Finding:
        """Nobody but the owner has written here, but what he keeps private would reach a place that
        neither he nor a rule of his has named: the model made it up. A tool that declares no sink is
        left to the policy."""
        declared = self._tools(prepared.call.name)
        loose = [j for j in judged if j.kind in PLACES and not j.by]
        if declared is None or declared.sink is None or not loose:
            return FREE
        if all(
            j.kind in ("url", "host") and self._admits(j.value, prepared.call.name) for j in loose
        ):
            return FREE
        first = loose[0]
        return Finding(
            verdict="ask",
            reason=f"{first.noun} {first.shown} {first.whence}, and this session holds private data"
            + self._broken,
            destination=_destination(sink, judged, prepared.call.name),
            sources=tuple(j.source for j in judged),
            endorses=tuple(dict.fromkeys(j.token for j in loose)),
            label=label,
        )

    def _controlled(self, prepared: Prepared, label: Label) -> Finding | None:
        """What decides what agents do later is not written on a stranger's word."""
        path = next((t.path for t in prepared.touches if t.write and self._control(t.path)), None)
        if path is None and (prepared.sink is None or prepared.sink.kind != "configure"):
            return None
        what = f"{path} decides" if path is not None else f"{prepared.call.name} changes"
        return Finding(
            verdict="deny",
            reason=f"{what} what agents may do, and this session holds what others wrote"
            f"{_from(label)}; the owner can change it himself",
            label=label,
        )

    def _judge(self, kind: str) -> Judge:
        self._ledger.catch_up()
        self._broken = ""
        try:
            directory = self._directory()
        except ConfigError as error:  # until it is mended, nothing is approved
            directory, self._broken = (
                EMPTY,
                f"; nothing is approved by {str(error).splitlines()[0]}",
            )
        return Judge(
            words=self._ledger.going if kind == "delete" else self._ledger.words,
            seen=self._ledger.seen,
            created=self._ledger.created,
            authored=self._ledger.authored,
            told=self._ledger.told,
            directory=directory,
        )

    def _judged(
        self, prepared: Prepared, sink: Sink, judge: Judge, endorsed: Sequence[str]
    ) -> list[Judged]:
        call = prepared.call
        declared = self._tools(call.name)
        origin = declared.origin if declared is not None else ""
        fetch = sink.kind not in ("pay", "publish", "share") and not any(
            call.arguments.get(name) for name in sink.content
        )
        judged = []
        for path, kind, value in prepared.values():
            ask = Ask(
                tool=call.name, origin=origin, sink=sink.kind, kind=kind, value=value, fetch=fetch
            )
            token = vouching(call.name, path, kind, unsplit(value, kind, call.arguments))
            if sink.kind == "publish" and kind in PLACES:
                token = publishing(value.strip())  # more than to read there
            by = VOUCHED if token in endorsed else judge.named(ask)
            judged.append(Judged(path, kind, value, token, by, self._ledger))
        if sink.kind == "share" and judged and all(only_listed(j) for j in judged):
            for j in judged:
                j.by = ""
        return judged

    def _dictate(
        self,
        prepared: Prepared,
        sink: Sink,
        judge: Judge,
        judged: Sequence[Judged],
        texts: Sequence[str],
    ) -> None:
        """Nothing but what the owner dictated may also go to whom the tool's own service has listed."""
        loose = [j for j in judged if not j.by]
        if sink.kind not in ("send", "publish") or not texts or not loose:
            return
        if any(j.kind != "recipient" or disguise(j.value) for j in loose):
            return
        if any(judge.words.dictated(text) is None for text in texts):
            return
        declared = self._tools(prepared.call.name)
        origin = declared.origin if declared is not None else ""
        for j in loose:
            if origin and (tool := judge.seen.leaves.get((origin, fold(j.value)))):
                j.by = f"listed by {tool}, for a text that is wholly yours"

    def _carried(
        self, texts: Iterable[str], judge: Judge, endorsed: Sequence[str], prepared: Prepared
    ) -> list[Judged]:
        """Destinations inside what goes along that nobody entitled to has named."""
        found: dict[str, Judged] = {}
        for text in texts:
            for kind, value in live(text):
                token = vouching(prepared.call.name, "", kind, value)
                if token in found or token in endorsed:
                    continue
                ask = Ask(
                    tool=prepared.call.name, origin="", sink="", kind=kind, value=value, fetch=False
                )
                if not judge.named(ask):
                    found[token] = Judged("the text", kind, value, token, "", self._ledger)
        return list(found.values())

    def _reason(
        self,
        prepared: Prepared,
        sink: Sink,
        judge: Judge,
        judged: Sequence[Judged],
        carried: Sequence[Judged],
        texts: Sequence[str],
        label: Label,
    ) -> str:
        """Why the owner must be asked, beginning with the worst; empty: he need not be."""
        for j in judged:
            if not j.by:
                return self._missing(j, judge, label)
        if carried:
            return f"it would carry {carried[0].noun} {carried[0].shown}, which {carried[0].whence}"
        dictated = bool(texts) and all(judge.words.dictated(t) is not None for t in texts)
        if dictated and not judged:
            return ""
        if not judged and sink.kind != "write":
            what = "where it goes" if sink.kind in OUTWARD else "what it does"
            return (
                f"nothing you said decides {what}, and others wrote into this session{_from(label)}"
            )
        vouched = bool(judged) and all(j.by == VOUCHED for j in judged if j.kind in PLACES)
        private = bool(texts) and not dictated and label.secrecy != "public"
        if sink.kind == "publish" and private and not vouched:
            return "it would publish words that you did not dictate, and this session holds private data"
        if sink.kind == "pay":
            key = (prepared.call.name, payment(prepared.call.arguments, sink.critical))
            if self._ledger.paid.get(key):
                return "the same payment was already made in this session"
        return ""

    def _missing(self, j: Judged, judge: Judge, label: Label) -> str:
        if hidden := disguise(j.value):
            return f"{j.noun} {j.value[:SHOWN]!a} {hidden}, as a disguise would"
        if alike := _alike(j, judge):
            return f"{j.noun} {j.shown} looks like {alike}, which you wrote, but is another"
        said = f"{j.noun} {j.shown} {j.whence}{_from(label) if j.made_up else ''}"
        known = forms.address(j.value) or forms.account(j.value) if j.kind in ADDRESSES else None
        name = judge.directory.whose(known) if known else ""
        return f"{said}; it is that of {name}, whom you know" if name else said


def _concerns(prepared: Prepared, label: Label) -> bool:
    """May where its data comes from be a reason against this call?"""
    if label.tainted or label.secrecy == "secret":
        return True
    sink = prepared.sink if label.secrecy == "private" else None
    return sink is not None and sink.kind in OUTWARD


def _alike(j: Judged, judge: Judge) -> str:
    """What the owner wrote, and this was made to be mistaken for."""
    look = skeleton(j.value)
    words = judge.words
    known: Iterable[str] = {
        "recipient": (*words.addresses, *words.accounts),
        "url": (u.removeprefix("://") for u in words.urls),
        "host": words.hosts,
        "account": words.accounts,
    }.get(j.kind, ())
    return next((k for k in known if skeleton(k) == look and k != j.value.strip().lower()), "")


def _harmless_fetch(prepared: Prepared, sink: Sink, judged: Sequence[Judged]) -> bool:
    """It only reads what the owner himself named, and so can tell nobody anything."""
    return (
        bool(judged)
        and sink.kind not in OUTWARD - {"send"}
        and all(j.kind in FETCHED and j.by.startswith("you wrote it") for j in judged)
        and not any(_contents(prepared, sink))
    )


def _contents(prepared: Prepared, sink: Sink) -> Iterator[str]:
    arguments = prepared.call.arguments
    for name in sink.content:
        if name in arguments and name not in sink.critical:
            yield from (text for text in strings(arguments[name]) if text.strip())


def _destination(sink: Sink, judged: Sequence[Judged], tool: str) -> str:
    places = [j.shown for j in judged if j.kind in ("recipient", "url", "host", "account", "path")]
    if not places and sink.kind in OUTWARD:
        places = [f"{tool} ({j.path} {j.shown})" for j in judged[:1]] or [tool]
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return ", ".join(dict.fromkeys(places[:5])) + more


def _from(label: Label) -> str:
    return f" ({', '.join(label.origins[:3])})" if label.origins else ""
