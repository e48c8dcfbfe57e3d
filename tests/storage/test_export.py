"""The transcript a person reads."""

from __future__ import annotations

import io

from perdure.kernel.events import (
    AnyEvent,
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    ArtifactId,
    CallId,
    CompactionFailed,
    ContextCompacted,
    Image,
    LimitReached,
    MessageId,
    MessageReceived,
    ModelFailed,
    ModelInterrupted,
    ModelRequested,
    ModelResponded,
    NoticeAdded,
    Record,
    RequestId,
    SessionForked,
    SessionId,
    SessionRenamed,
    SessionStarted,
    Text,
    Thinking,
    ToolCall,
    ToolFinished,
    ToolResult,
    TurnEnded,
    TurnId,
    Usage,
)
from perdure.storage.export import write_json, write_markdown

from ..conformance.session_log import BEGAN

PICTURE = ArtifactId("0" * 64 + ".png")


def transcript(*events: AnyEvent) -> str:
    out = io.BytesIO()
    write_markdown((Record(seq=n, at=BEGAN, event=e) for n, e in enumerate(events, 1)), out)
    return out.getvalue().decode()


def responded(*parts: Text | Thinking | ToolCall, cost: float | None = None) -> ModelResponded:
    return ModelResponded(
        request=RequestId("r_1"), model="a/b", parts=parts, cost_usd=cost, usage=Usage(input=1)
    )


def test_a_conversation_reads_from_top_to_bottom() -> None:
    text = transcript(
        SessionStarted(session=SessionId("s_1"), agent="ada", workdir="/home/me", title="Tidy up"),
        MessageReceived(
            message=MessageId("m_1"),
            parts=(Text(text="tidy this"), Image(media_type="image/png", artifact=PICTURE)),
        ),
        ModelRequested(request=RequestId("r_1"), model="a/b", prefix="d", items=1),
        responded(
            Thinking(text="let me\nsee"),
            Text(text="I'll look."),
            ToolCall(id=CallId("c_1"), name="bash", arguments={"command": "ls"}),
            cost=0.25,
        ),
        ToolFinished(
            call=CallId("c_1"),
            tool="bash",
            result=ToolResult(parts=(Text(text="a.txt\n```\nb.txt\n"),), artifact=PICTURE),
            ms=12,
        ),
        responded(Text(text="Done."), cost=0.5),
        TurnEnded(turn=TurnId("t_1"), reason="done"),
    )
    wanted = [
        "# Tidy up",
        "- agent: ada",
        "## You · 2026-11-21 10:00:00 UTC",
        "tidy this",
        f"![image/png](artifacts/{PICTURE})",
        "## a/b",
        "> *thinking:* let me\n> see",
        "I'll look.",
        '**bash**\n\n```json\n{\n  "command": "ls"\n}\n```',
        "**bash** → ok (12 ms)\n\n````\na.txt\n```\nb.txt\n````",
        f"Whole output: `artifacts/{PICTURE}`",
        "Done.",
        "Cost: $0.7500",
    ]
    at = 0
    for piece in wanted:
        assert piece in text[at:], piece
        at = text.index(piece, at)


def test_everything_that_went_another_way_is_told() -> None:
    text = transcript(
        SessionForked(session=SessionId("s_2"), parent=SessionId("s_1"), at=7),
        SessionRenamed(title="New name"),
        ModelFailed(request=RequestId("r"), model="a/b", kind="overloaded", message="too busy"),
        ModelInterrupted(request=RequestId("r"), text="half a sen"),
        ApprovalRequested(
            approval=ApprovalId("a"),
            call=CallId("c"),
            tool="bash",
            arguments={},
            reason="it writes",
        ),
        ApprovalDecided(approval=ApprovalId("a"), answer="deny", by="owner", note="not now"),
        NoticeAdded(text="careful\nplease", level="warning"),
        LimitReached(limit="rounds", used=100, allowed=100),
        ContextCompacted(through=9, summary="we tidied"),
        CompactionFailed(reason="no answer"),
        TurnEnded(turn=TurnId("t"), reason="failed", error="too busy"),
        responded(Text(text="priceless")),
        responded(Text(text="priced"), cost=0.1),
    )
    for piece in (
        "*Forked from `s_1` after record 7, as `s_2`.*",
        "*Renamed to “New name”.*",
        "*The model failed (overloaded): too busy*",
        "half a sen\n\n*Interrupted.*",
        "*Asked for approval of bash: it writes*",
        "*Denied (once) by owner: not now*",
        "> warning: careful\n> please",
        "*Limit reached: rounds (100 of 100).*",
        "> we tidied",
        "*The context could not be compacted: no answer*",
        "*The turn ended: failed – too busy.*",
        "Cost: at least $0.1000",
    ):
        assert piece in text, piece


def test_nothing_is_an_empty_array() -> None:
    out = io.BytesIO()
    write_json(iter(()), out)
    assert out.getvalue() == b"[]\n"
