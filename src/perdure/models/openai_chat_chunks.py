"""The usual chunk of a Chat Completions stream, read in one go.

Nearly every event of a stream holds a piece of text, of reasoning or of a call, and no more. Those are
decoded into these classes, which takes a third of the time that walking through dictionaries does. What
does not fit, for it has fields of a provider's own or an odd form, is refused here and read the long way
(`openai_chat_stream`): a field that means something must therefore be named here, or forbidden.
"""

from __future__ import annotations

import msgspec

from perdure.kernel.events import Json


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class CallPiece(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: tuple[CallPiece, ...] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: None = None
    refusal: None = None


class Choice(msgspec.Struct, gc=False):
    delta: Delta
    finish_reason: str | None = None
    message: None = None
    usage: None = None


class Chunk(msgspec.Struct, gc=False):
    choices: tuple[Choice, ...]
    model: str | None = None
    usage: dict[str, Json] | None = None
    error: None = None
    x_groq: None = None


_decode = msgspec.json.Decoder(Chunk).decode


def usual(data: bytes) -> Chunk | None:
    """None: not a usual chunk, or none at all."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
