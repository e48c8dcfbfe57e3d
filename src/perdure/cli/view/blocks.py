"""What a session's transcript is made of, ready to be painted: one closed union."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perdure.kernel.events import ApprovalRequested, Json, ToolResult

Level = Literal["dim", "info", "warning", "error"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A person's message, at the place where the agent took it."""

    text: str
    sender: str = ""
    images: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Markdown of the agent: a whole answer, or whole blocks of one that is still streaming."""

    markdown: str
    tight: bool = False
    """Goes on with the list that the block before it ended in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolDone:
    tool: str
    arguments: dict[str, Json]
    result: ToolResult
    ms: int
    diff_shown: bool = False
    """Its diff stands in the transcript already: the owner was asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The owner is asked; what they are shown stays in the transcript."""

    request: ApprovalRequested
    whole: bool = False
    """However long it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    text: str
    level: Level = "dim"


Block = Said | Answer | ToolDone | Asked | Note


@dataclass(kw_only=True, slots=True)
class Running:
    """A tool call between the model's wish and its result."""

    tool: str
    arguments: dict[str, Json]
    since: datetime | None = None
    """When it started; None while it waits its turn or for an approval."""
    output: str = ""
    """The end of what it printed so far."""
