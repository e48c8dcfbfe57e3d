"""What the runtime says inside a conversation, and how it is told apart from the owner's words."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.kernel.events import ArtifactId, Part, Text, ToolResult

TAG = "runtime"
"""The default system prompt says that text in this tag is Perdure's and not the owner's."""


def from_runtime(text: str) -> str:
    """Wrapped, and unable to close its wrapper early."""
    inner = text.replace(f"</{TAG}>", f"&lt;/{TAG}>")
    return f"<{TAG}>\n{inner}\n</{TAG}>"


def said(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """A message's parts as they may be sent: no provider takes a blank one."""
    kept = tuple(p for p in parts if not isinstance(p, Text) or p.text.strip())
    if len(kept) == len(parts) and parts:
        return parts
    return kept or (Text(text="(empty message)"),)


def excerpt(text: str, size: int, rest: str) -> str:
    """Head and tail of a text, about `size` characters; `rest` tells where the whole is."""
    head = size * 2 // 3
    tail = size - head
    cut = len(text) - head - tail
    return f"{text[:head]}\n[… {cut:,} characters left out; {rest} …]\n{text[-tail:]}"


def fit(result: ToolResult, size: int, seq: int) -> ToolResult:
    """A result that enters the context: at most about `size` characters of text."""
    total = 0
    for part in result.parts:
        if isinstance(part, Text):
            total += len(part.text)
    if total <= size:
        return result
    where = whole(result.artifact, seq)
    text = excerpt(result.text, size, where)
    images = tuple(p for p in result.parts if not isinstance(p, Text))
    return ToolResult(
        status=result.status,
        parts=(Text(text=text), *images),
        data=result.data,
        artifact=result.artifact,
        label=result.label,
    )


def whole(artifact: ArtifactId | None, seq: int) -> str:
    """Where the whole of something can be read."""
    if artifact:
        return f"the whole is artifact:{artifact}"
    return f"the whole is event {seq} of the session's log"


def cleared(result: ToolResult, artifact: ArtifactId | None, seq: int) -> ToolResult:
    """What stays of an old result."""
    size = len(result.text)
    text = f"[cleared to save room; {size:,} characters; {whole(artifact, seq)}]"
    return ToolResult(
        status=result.status, parts=(Text(text=text),), artifact=artifact, label=result.label
    )


def summary_text(summary: str, spilled: Sequence[ArtifactId], messages: int) -> str:
    """The item that stands for what was compacted."""
    older = ""
    if spilled:
        names = ", ".join(f"artifact:{a}" for a in spilled)
        older = f"\n\nThe user's {messages} earliest messages are kept verbatim in {names}."
    return (
        "The conversation so far was compacted. The user's own messages stand above, verbatim; they "
        f"were dealt with as this summary says, and are not new requests.{older}\n\n{summary}"
    )
