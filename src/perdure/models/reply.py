"""A reply as it streams in: the same for every provider, so that adapters only translate.

The draft keeps parts in the order in which they first appeared, shows deltas live, and in the end
makes whole what servers leave broken: call ids missing or double, arguments that are no JSON object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from perdure.kernel.errors import ModelError
from perdure.kernel.events import (
    AnyDelta,
    AssistantPart,
    CallDelta,
    CallId,
    Native,
    RequestId,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    Usage,
)
from perdure.kernel.prompt import Reply

from .calls import call_name
from .codec import clean, decode_arguments

MAX_ARGUMENT_CHARS = 4 * 1024 * 1024
"""Arguments longer than this are dropped while they stream, and the call is reported as unparsed."""
MAX_UNPARSED_CHARS = 2_000


class Block:
    """One part in the making."""

    __slots__ = ("call_id", "index", "kind", "name", "pieces", "size", "too_long")

    def __init__(self, kind: Literal["text", "thinking", "call"], index: int) -> None:
        self.kind = kind
        self.index = index
        """Among the calls, from 0."""
        self.pieces: list[str] = []
        self.call_id = ""
        self.name = ""
        self.size = 0
        self.too_long = False

    @property
    def whole(self) -> str:
        return clean("".join(self.pieces))


class Draft:
    """`key` names a part within its response: a block index, a call index, or a fixed word."""

    def __init__(self, model: str, request: RequestId, emit: Callable[[AnyDelta], None]) -> None:
        self.model = model
        self.stop: StopReason | None = None
        """None until the provider said why it ended: a stream that ends before is cut."""
        self.why = ""
        """What the provider said about an answer it cut short or withheld."""
        self.usage = Usage()
        self.blocks: dict[Hashable, Block] = {}
        self._request = request
        self._emit = emit
        self._calls = 0
        self._held = False
        self._unshown: tuple[Block, str, list[str]] | None = None
        """A part, a name that it is announced with, and its pieces that are to be shown."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """What comes while the block runs is shown when it ends, pieces of one part as one."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._flush()

    def text(self, key: Hashable, piece: str) -> None:
        if piece:
            block = self._block(key, "text")
            block.pieces.append(piece)
            self._show(block, piece)

    def thinking(self, key: Hashable, piece: str) -> None:
        if piece:
            block = self._block(key, "thinking")
            block.pieces.append(piece)
            self._show(block, piece)

    def call(self, key: Hashable, *, id: str = "", name: str = "", arguments: str = "") -> None:
        """Open a call, or add to it; an id or name once known stays."""
        block = self._block(key, "call")
        announced = ""
        if name and not block.name:
            block.name = announced = clean(name)
        if id and not block.call_id:
            block.call_id = clean(id)
        if arguments:
            block.size += len(arguments)
            if block.size <= MAX_ARGUMENT_CHARS:
                block.pieces.append(arguments)
            elif not block.too_long:
                block.too_long = True
                del block.pieces[1:]
                block.pieces = [block.pieces[0][:MAX_UNPARSED_CHARS]] if block.pieces else []
        if announced or arguments:
            self._show(block, "" if block.too_long else arguments, announced)

    @property
    def next_id(self) -> str:
        """An id for the next call to be opened, for providers that give none; unique in the session."""
        return f"{self._request}-{self._calls}"

    @property
    def partial(self) -> str:
        """The text that has arrived."""
        return "".join(b.whole for b in self.blocks.values() if b.kind == "text")

    def finish(
        self,
        native: Callable[[list[ToolCall]], Native | None],
        cost: Callable[[Usage], float | None],
        *,
        mends: bool = False,
        ids: Callable[[str], str] = str,
    ) -> Reply:
        """The whole reply. `native` is asked for the provider's own form when every call came whole,
        with an id of its own, or when it `mends` those that did not, writing them as the calls it is
        given; otherwise history is re-encoded from the parts. `ids`: an id as the provider takes it.
        Raises ModelError: cut, empty or refused."""
        if self.stop is None:
            raise ModelError(
                "The connection closed before the model had finished.",
                kind="cut",
                partial=self.partial,
            )
        parts, calls, intact = self._parts(ids)
        text = any(isinstance(p, Text) for p in parts)
        if not text and not calls:
            raise self._nothing()
        stop = self.stop
        if stop == "tools" and not calls:
            stop = "end"
        elif stop in ("end", "other") and calls:
            stop = "tools"
        return Reply(
            model=clean(self.model),
            parts=tuple(parts),
            stop=stop,
            usage=self.usage,
            cost_usd=cost(self.usage),
            native=native(calls) if intact or mends else None,
        )

    def _show(self, block: Block, piece: str, name: str = "") -> None:
        if self._unshown is not None and self._unshown[0] is block and not name:
            self._unshown[2].append(piece)
            return
        self._flush()
        self._unshown = block, name, [piece]
        if not self._held:
            self._flush()

    def _flush(self) -> None:
        if self._unshown is None:
            return
        block, name, pieces = self._unshown
        self._unshown = None
        text = clean("".join(pieces))
        if block.kind == "text":
            self._emit(TextDelta(request=self._request, text=text))
        elif block.kind == "thinking":
            self._emit(ThinkingDelta(request=self._request, text=text))
        else:
            self._emit(
                CallDelta(request=self._request, index=block.index, name=name, arguments=text)
            )

    def _block(self, key: Hashable, kind: Literal["text", "thinking", "call"]) -> Block:
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks[key] = Block(kind, self._calls)
            if kind == "call":
                self._calls += 1
        return block

    def _parts(self, ids: Callable[[str], str]) -> tuple[list[AssistantPart], list[ToolCall], bool]:
        parts: list[AssistantPart] = []
        calls: list[ToolCall] = []
        given = {ids(b.call_id) for b in self.blocks.values() if b.call_id}
        seen: set[str] = set()
        intact = True
        for block in self.blocks.values():
            whole = block.whole
            if block.kind == "call":
                identity = ids(block.call_id) if block.call_id else ""
                if not identity or identity in seen:
                    identity = _unused(f"{identity or self._request}-{block.index}", given | seen)
                call, ok = _call(block, identity, whole)
                seen.add(call.id)
                intact = intact and ok
                calls.append(call)
                parts.append(call)
            elif block.kind == "text":
                if whole.strip():
                    parts.append(Text(text=whole))
            elif whole:
                parts.append(Thinking(text=whole))
        return parts, calls, intact

    def _nothing(self) -> ModelError:
        if self.stop == "refusal":
            said = f"The model declined to answer: {self.why}" if self.why else ""
            return ModelError(said or "The model declined to answer.", kind="refused")
        if self.stop == "length":
            return ModelError(
                "The model used all its output tokens before it said anything.",
                kind="empty",
                hint="Raise max_output_tokens, or lower effort.",
            )
        said = f"The model's answer was empty: {self.why}" if self.why else ""
        return ModelError(said or "The model's answer was empty.", kind="empty")


def _call(block: Block, identity: str, whole: str) -> tuple[ToolCall, bool]:
    """The call, and whether the provider sent it in a form that can be sent back."""
    arguments = None if block.too_long else decode_arguments(whole)
    unparsed = "" if arguments is not None else whole[:MAX_UNPARSED_CHARS] or "nothing"
    name = call_name(block.name)
    call = ToolCall(id=CallId(identity), name=name, arguments=arguments or {}, unparsed=unparsed)
    ok = arguments is not None and identity == block.call_id and name == block.name
    return call, ok


def _unused(identity: str, taken: set[str]) -> str:
    """The id, or with a number behind it that makes it another than those."""
    found, number = identity, 1
    while found in taken:
        number += 1
        found = f"{identity}-{number}"
    return found


def native(format: str, body: bytes) -> Native:
    """The provider's own form of a reply; `body` is JSON."""
    return Native(format=format, body=msgspec.Raw(body))


def verbatim(text: str, call: ToolCall) -> object:
    """The arguments of a call for `native`: as the model wrote them, where that was JSON."""
    if text and not call.unparsed:
        try:
            msgspec.json.decode(text)
        except ValueError:
            return call.arguments
        return msgspec.Raw(text.encode())
    return call.arguments
