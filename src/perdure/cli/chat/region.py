"""The live region: what is going on right now, above the input line. Painted anew for every frame,
from the conversation alone."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from perdure.cli.chat.conversation import Conversation
from perdure.cli.view.answers import WORDS, offered
from perdure.cli.view.clean import clean, exact_line, one_line
from perdure.cli.view.markdown import Markdown
from perdure.cli.view.paint import Painter, painter, running_lines, seconds, subject_of
from perdure.cli.view.question import always, wrapped
from perdure.cli.view.story import money, tokens
from perdure.kernel.events import ApprovalRequested

OUTPUT_LINES = 5
THINKING_LINES = 3
PENDING_LINES = 3
RULE_LINES = 3
LIST_LINES = 8


class Region:
    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._painter: Painter | None = None
        self._answer: tuple[tuple[str, int], list[str]] | None = None
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self._frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if utf8 else "|/-\\"

    def lines(self, columns: int, rows: int) -> list[str]:
        """At most `rows` lines of at most `columns - 1` columns, the newest ones."""
        if self._painter is None or self._painter.width != columns:
            self._painter = painter(columns, styled=True)
        story = self._conversation.story
        width = columns - 1
        now = datetime.now(UTC)
        out: list[str] = []

        def add(*things: RenderableType) -> None:
            assert self._painter is not None
            if things:
                out.append("")
                out.extend(self._painter.lines(Group(*things), width))

        stream = story.stream
        if stream is not None and stream.rest.strip():
            tight = stream.in_list
            out += [] if tight else [""]
            out += self._streaming(stream.rest, width, rows)
        elif stream is not None and stream.thinking and not stream.call:
            add(Text("\n".join(_tail(stream.thinking, THINKING_LINES)), "dim italic"))
        shown = sorted(story.calls.values(), key=lambda call: call.since is None)
        if not story.approvals or any(call.since for call in shown):
            add(
                *(
                    running_lines(
                        call,
                        (now - call.since).total_seconds() if call.since else None,
                        OUTPUT_LINES,
                        width,
                    )
                    for call in shown[:6]
                )
            )
        add(*self._waiting_messages(width))
        add(*self._question(width))
        activity = self._activity(now)
        if activity is not None:
            add(activity)
        return out[-rows:] if rows > 0 else []

    def _streaming(self, rest: str, width: int, rows: int) -> list[str]:
        """The unfinished block, rendered once per change."""
        assert self._painter is not None
        if self._answer is None or self._answer[0] != (rest, width):
            # What is far above the visible part need not be rendered: half a fence is enough.
            limit = max(4_000, rows * width * 2)
            shown = rest if len(rest) <= limit else _from_line(rest, len(rest) - limit)
            lines = self._painter.lines(Markdown(clean(shown)), width)
            self._answer = ((rest, width), lines)
        return self._answer[1]

    def _waiting_messages(self, width: int) -> list[Text]:
        """Typed, but not yet taken up by the agent."""
        conversation = self._conversation
        waiting = [
            (event.mode, "".join(getattr(p, "text", "") for p in event.parts))
            for event in conversation.story.pending.values()
        ] + [(one.mode, one.text) for one in conversation.outgoing]
        lines = []
        for mode, text in waiting[-PENDING_LINES:]:
            mark = "queued" if mode == "queue" else "sent"
            line = Text(f"› {one_line(text[:500])}", "dim")
            line.truncate(max(10, width - 12), overflow="ellipsis")
            lines.append(line.append(f"  ({mark})"))
        if len(waiting) > PENDING_LINES:
            lines.insert(0, Text(f"  … {len(waiting) - PENDING_LINES} more", "dim"))
        return lines

    def _question(self, width: int) -> list[Text]:
        """The approval to answer now. All of it stands in the transcript above; here nothing is shown
        in part, which could pass for the whole."""
        questions = self._conversation.questions
        if not questions:
            return []
        if len(questions) > 1:
            return self._list(questions, width)
        request = questions[0]
        count = len(self._conversation.story.approvals)
        head = Text().append(f"Allow {exact_line(request.tool)}?", "bold yellow")
        if count > 1:
            head.append(f" (1 of {count})", "dim")
        subject = Text(f" {subject_of(request.arguments, limit=width + 1)}")
        if head.cell_len + subject.cell_len <= width:
            head.append_text(subject)
        else:
            head.append(" (as shown above)", "dim")
        unseen = self._conversation.unseen(request)
        if unseen:
            first = Text(f"  {unseen}", "bold yellow")
            keys = Text("  ").append("v", "bold").append(" view all of it, then decide")
            return [head, first, keys.append("   ").append("n", "bold").append(" no")]
        rule = always(request)
        keys = Text("  ")
        for key, scope in offered(request):
            keys.append(key, "bold").append(f" {WORDS[scope]}   ")
        keys.append("n", "bold").append(" no   ").append("v", "bold").append(" view")
        if not rule:
            return [head, keys]
        if len(rule) > RULE_LINES * width:
            return [head, keys, Text("  always: the rule as shown above", "dim")]
        rows = list(wrapped(f"always: {exact_line(rule)}", width))
        if len(rows) > RULE_LINES:
            rows = [("  ", "always: the rule as shown above")]
        return [head, keys, *(Text(mark + row, "dim", no_wrap=True) for mark, row in rows)]

    def _list(self, questions: list[ApprovalRequested], width: int) -> list[Text]:
        """Several that came together. Each stands in the transcript above, as it is."""
        lines = [Text(f"Allow these {len(questions)}?", "bold yellow")]
        for number, request in enumerate(questions[:LIST_LINES], 1):
            head = Text(f"  {number}. {exact_line(request.tool)}")
            subject = Text(f" {subject_of(request.arguments, limit=width + 1)}")
            if head.cell_len + subject.cell_len <= width:
                head.append_text(subject)
            else:
                head.append(" (as shown above)", "dim")
            lines.append(head)
        if len(questions) > LIST_LINES:
            lines.append(Text(f"  … {len(questions) - LIST_LINES} more, as shown above", "dim"))
        keys = Text("  ")
        if any(map(self._conversation.unseen, questions)):
            lines.append(Text("  Not all of it is shown.", "bold yellow"))
            keys.append("v", "bold").append(" view all of it, then decide   ")
        else:
            keys.append("y", "bold").append(" all once   ")
        keys.append("o", "bold").append(" one by one   ").append("n", "bold").append(" none")
        return [*lines, keys]

    def _activity(self, now: datetime) -> Text | None:
        conversation = self._conversation
        story = conversation.story
        if not conversation.connected:
            return Text("The server is away; its turns go on when it is back …", "yellow")
        if conversation.outgoing and not story.busy:
            return Text(f"{self._frame()} Sending …", "dim")
        if not conversation.busy or story.approvals:
            return None
        began = story.turn_began or now
        doing = "Working"
        stream = story.stream
        if story.retry_at is not None:
            wait = max(0.0, (story.retry_at - now).total_seconds())
            doing = f"Trying again in {wait:.0f} s"
        elif stream is not None and stream.call:
            doing = f"Preparing {one_line(stream.call)}"
        elif stream is not None and stream.thinking and not stream.text:
            doing = "Thinking"
        text = Text().append(f"{self._frame()} ", "cyan").append(doing)
        text.append(f"  {seconds(max(0.0, (now - began).total_seconds()))}", "dim")
        return text.append(" · Ctrl-C stops", "dim")

    def _frame(self) -> str:
        return self._frames[int(time.monotonic() * 10) % len(self._frames)]

    def status(self, columns: int) -> str:
        """The line below the input, plain text, at most `columns - 1` columns."""
        conversation = self._conversation
        story = conversation.story
        queued = sum(event.mode == "queue" for event in story.pending.values())
        facts = [conversation.name, conversation.model]
        if conversation.agent is not None and conversation.agent.mode not in ("", "ask"):
            facts.append(f"mode {conversation.agent.mode}")
        if story.usage.output or story.cost_usd:
            facts.append(money(story.cost_usd, unpriced=story.unpriced))
        if story.last_usage.input:
            facts.append(tokens(story.last_usage.input).replace(" tokens", " ctx"))
        if queued:
            facts.append(f"{queued} queued")
        if story.approvals:
            facts.append(f"{len(story.approvals)} to approve")
        if not conversation.connected:
            facts.append("offline")
        if not story.seq:
            facts.append("/help")
        text = Text(" · ".join(one_line(fact) for fact in facts if fact))
        text.truncate(columns - 1, overflow="ellipsis")
        return text.plain


def _tail(text: str, lines: int) -> list[str]:
    return clean(text).strip("\n").split("\n")[-lines:]


def _from_line(text: str, start: int) -> str:
    """From the first whole line at or after `start`; inside a fence, with the fence opened again."""
    cut = text.find("\n", start) + 1
    head = text[:cut]
    fence = next((line for line in head.split("\n") if line.lstrip().startswith("```")), "")
    return f"{fence}\n{text[cut:]}" if fence else text[cut:]
