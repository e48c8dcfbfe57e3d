"""What callers may send, and the way from bytes to records and back. The codec is msgspec on both
sides: it names the field that does not fit, and takes neither NaN nor invalid UTF-8."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from perdure.checkpoints import Checkpoint
from perdure.kernel.events import (
    ApprovalAnswer,
    ApprovalId,
    ApprovalScope,
    MessageId,
    MessageMode,
    Record,
    TurnEndReason,
)
from perdure.kernel.labels import Trust
from perdure.outbox import Letter
from perdure.runtime.views import AgentView, OpenApproval, OpenDoubt, SessionView

from .grants import Scope
from .intake import no_room, share_of
from .problems import Fault, Refusal, in_words

MAX_PARTS = 100
MAX_ANSWERS = 256
"""Approvals answered at once; a reply of a model has no more calls."""
DRAIN = 64 * 1024 * 1024
"""A body up to this size is read to its end before it is refused as too large, since most clients
read no answer before they have sent everything."""

T = TypeVar("T")
_INTEGER = {"type": "integer"}
"""JSON makes no difference between 17 and 17.0; some clients write the latter."""
_BASE64 = {
    "description": "Base64.",
    "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
Line = Annotated[str, Meta(max_length=1_000)]
Words = Annotated[str, Meta(max_length=10_000)]
Said = Annotated[str, Meta(pattern=r"\S")]
"""Not blank."""


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: a misspelt one must not be ignored."""


class CreateSession(_Body, frozen=True, kw_only=True):
    agent: Line | None = None
    """The workspace's default agent, when left out."""
    workdir: Annotated[str, Meta(max_length=4_096, pattern=r"^[^\x00]*$")] | None = None
    """Absolute path of the folder to work in; the workspace's, when left out."""
    title: Line = ""
    model: Line = ""


class ChangeSession(_Body, frozen=True, kw_only=True):
    title: Line | UnsetType = UNSET
    model: Line | UnsetType = UNSET
    """Empty returns to the agent's own."""


class ForkSession(_Body, frozen=True, kw_only=True):
    at: Annotated[float, Meta(ge=1, le=2**53, multiple_of=1, extra_json_schema=_INTEGER)] | None = (
        None
    )
    """Sequence number of the last record to take along; all, when left out."""


class TextPart(_Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    text: Said


class ImagePart(_Body, frozen=True, kw_only=True, tag_field="type", tag="image"):
    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: Annotated[bytes, Meta(min_length=1, extra_json_schema=_BASE64)]


class PostMessage(_Body, frozen=True, kw_only=True):
    """Either `text` or `parts`."""

    text: Said | UnsetType = UNSET
    parts: (
        Annotated[tuple[TextPart | ImagePart, ...], Meta(min_length=1, max_length=MAX_PARTS)]
        | UnsetType
    ) = UNSET
    mode: MessageMode = "steer"
    sender: Line = ""
    deliver: Line = ""
    """Channel of the outbox, as perdure.yaml names it, that the answer is to be sent to as well."""


class Stop(_Body, frozen=True, kw_only=True):
    reason: Words = ""


class Compact(_Body, frozen=True, kw_only=True):
    focus: Words = ""
    """What the summary should keep above all."""


class Decide(_Body, frozen=True, kw_only=True):
    answer: ApprovalAnswer
    scope: ApprovalScope = "once"
    note: Words = ""
    """Told to the model with a denial."""


class Answer(_Body, frozen=True, kw_only=True):
    approval: Annotated[ApprovalId, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$")]
    answer: ApprovalAnswer
    scope: ApprovalScope = "once"
    note: Words = ""


class DecideAll(_Body, frozen=True, kw_only=True):
    """All of these count, or none."""

    answers: Annotated[tuple[Answer, ...], Meta(min_length=1, max_length=MAX_ANSWERS)]


class SettleDoubt(_Body, frozen=True, kw_only=True):
    key: Annotated[str, Meta(min_length=1, max_length=500)]
    answer: Literal["happened", "again"]


class CreateToken(_Body, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=60)]
    """Who it is for."""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=4)]
    agents: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=100)] | None = None
    """Only these; all, when left out."""
    days: Annotated[float, Meta(gt=0, le=3660)] | None = 90
    """Until it expires; null: never."""
    trust: Literal["owner", "known", "third_party"] | None = None
    """Whose words its messages are; left out: the owner's if it may approve, else those of somebody
    known."""


# Answers that are not views of the runtime --------------------------------------------------------


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["live", "ready"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    api: Literal["v1"] = "v1"


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    agents: tuple[AgentView, ...]


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    sessions: tuple[SessionView, ...]
    before: str | None = None
    """Give it as `before` for the next page; null: this was the last."""


class ApprovalList(msgspec.Struct, frozen=True, kw_only=True):
    approvals: tuple[OpenApproval, ...]


class DoubtList(msgspec.Struct, frozen=True, kw_only=True):
    doubts: tuple[OpenDoubt, ...]


class LetterList(msgspec.Struct, frozen=True, kw_only=True):
    letters: tuple[Letter, ...]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    events: tuple[Record, ...]
    last: int
    """Give it as `after` for the next page."""
    more: bool = False


class CheckpointList(msgspec.Struct, frozen=True, kw_only=True):
    checkpoints: tuple[Checkpoint, ...]
    """Newest first."""


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """What a message came to. With the reason `approval` the turn goes on once `approvals` are
    answered."""

    message: MessageId
    turn: str = ""
    reason: TurnEndReason | Literal["approval"]
    text: str = ""
    error: str = ""
    cost_usd: float = 0.0
    approvals: tuple[OpenApproval, ...] = ()


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    scopes: tuple[Scope, ...]
    agents: tuple[str, ...] | None
    trust: Trust
    created: datetime
    expires: datetime | None
    parent: str = ""
    """The token that made it."""
    alive: bool
    """Neither it nor one it comes from has expired."""


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    tokens: tuple[TokenView, ...]


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    made: TokenView


class RevokedTokens(msgspec.Struct, frozen=True, kw_only=True):
    revoked: tuple[str, ...]


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    approval: ApprovalId
    answer: ApprovalAnswer
    scope: ApprovalScope


class DecidedAll(msgspec.Struct, frozen=True, kw_only=True):
    decided: tuple[Decided, ...]


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    stopped: bool
    """False: no turn was running."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    accepted: Literal[True] = True


# Bytes --------------------------------------------------------------------------------------------


def answer(body: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(body),
        status,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


async def read(request: Request, kind: type[T], limit: int) -> T:
    """The request's JSON body as `kind`; an empty body is an empty object. Raises Refusal."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await _bytes(request, limit)
    if not raw.strip():
        raw = b"{}"
    elif media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise Refusal(
            415,
            "media_type",
            f"The body is {media_type}, not application/json.",
            hint="Send the header Content-Type: application/json.",
        )
    return decode(raw, kind)


def decode(raw: bytes, kind: type[T]) -> T:
    try:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # Half a surrogate pair is what some clients make of a cut emoji: no reason to lose
            # what was typed.
            mended = _SURROGATES.sub(_mend, raw)
            if mended == raw:
                raise
            return msgspec.json.decode(mended, type=kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `")
        what = in_words(what)
        where = "body" + path.rstrip("`").removeprefix("$")
        fault = Fault(where=where, what=what)
        raise Refusal(422, "invalid_input", f"{where}: {what}", errors=(fault,)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "it nests too deep" if isinstance(error, RecursionError) else str(error)
        raise Refusal(400, "malformed", f"The body is not JSON: {why}") from None


_SURROGATES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: fine
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # half of one
    rb"|\\.",  # any other escape, so that an escaped backslash is not taken for the start of one
    re.DOTALL,
)


def _mend(match: re.Match[bytes]) -> bytes:
    found = match.group()
    return b"\\ufffd" if len(found) == 6 else found


async def _bytes(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > DRAIN:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    share = share_of(request)
    room = share.covers(min(int(declared), limit) if declared.isdecimal() else 0)
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit and (room := room and share.covers(size)):
                chunks.append(chunk)
            elif size > DRAIN:
                break
            else:
                chunks.clear()
    except ClientDisconnect:
        raise Refusal(400, "malformed", "The connection ended inside the body.") from None
    if size > limit:
        raise _too_large(limit)
    if not room:
        raise no_room()
    return b"".join(chunks)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "too_large",
        f"The body is larger than {limit // 1024} KiB.",
        hint="Put big files into the agent's working directory and name their path.",
        headers={"Connection": "close"},
    )
