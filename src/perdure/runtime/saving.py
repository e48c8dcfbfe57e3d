"""What a session's snapshot holds: state, context, and its items as they were last sent to a model.

A line of JSON; then the items, a line each, that nobody reads before somebody asks what they say; then
the pieces that an adapter kept of them, which spare the next opening to encode each anew. All of it only
repeats the log.
"""

from __future__ import annotations

import contextlib

import msgspec

from perdure import __version__
from perdure.context import SessionContext
from perdure.context.items import uncollected
from perdure.kernel.state import State, evolve
from perdure.models.transcript import Kept
from perdure.storage import OpenedSession, Snapshot

from .cast import Cast

_FORM = f"{__version__} 2"
"""Raise the number with every change of `_Saved` or what it holds (`State`, `Kept`): what another version
folded is not read."""


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    form: str
    state: State
    context: msgspec.Raw
    items: int
    """Bytes of the context's items."""
    pieces: Kept | None = None
    """Without their body, which comes last."""
    body: int = 0
    """Its bytes."""


_saved = msgspec.json.Decoder(_Saved)
_encode = msgspec.json.Encoder().encode


def pack(state: State, context: SessionContext, cast: Cast) -> bytes:
    folded, items = context.dump()
    kept = cast.keep(context)
    body = b"" if kept is None else kept.body
    head = _Saved(
        form=_FORM,
        state=state,
        context=msgspec.Raw(folded),
        items=len(items),
        pieces=kept and msgspec.structs.replace(kept, body=b""),
        body=len(body),
    )
    return b"".join((_encode(head), b"\n", items, body))


def restore(opened: OpenedSession, context: SessionContext, cast: Cast) -> State:
    """Fold what is on disk: a snapshot if one fits, and the records after it."""
    state, after = State(), 0
    if (found := opened.snapshot) is not None:
        opened.snapshot = None
        with contextlib.suppress(msgspec.DecodeError):
            state, after = _unpack(found.payload, context, cast), found.seq
            # Items and pieces are copies: what it said is in memory once from here on.
            opened.snapshot = found = Snapshot(found.seq, b"")
    with uncollected():
        for record in opened.log.replay(after):
            evolve(state, record)
            context.feed(record)
    return state


def _unpack(payload: bytes, context: SessionContext, cast: Cast) -> State:
    """Raises msgspec.DecodeError, having changed nothing."""
    start = payload.find(b"\n") + 1
    saved = _saved.decode(payload[:start])
    end = start + saved.items
    if saved.form != _FORM or end + saved.body != len(payload):
        raise msgspec.DecodeError("the snapshot is of another version")
    context.load(bytes(saved.context), payload[start:end])
    if saved.pieces is not None:
        cast.take_up(msgspec.structs.replace(saved.pieces, body=payload[end:]), context)
    return saved.state
