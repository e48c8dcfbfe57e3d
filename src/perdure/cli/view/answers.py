"""What a person can answer to the questions of a turn, and which answers that makes.

The questions that came together are one list: all of them once, one by one, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure.cli.view.clean import exact_line
from perdure.kernel.events import (
    ApprovalAnswer,
    ApprovalId,
    ApprovalRequested,
    ApprovalScope,
)

KEYS: dict[str, ApprovalScope] = {"d": "data", "y": "once", "s": "session", "a": "always"}
WORDS: dict[ApprovalScope, str] = {
    "data": "this data, for this task",
    "once": "once",
    "session": "this session",
    "always": "always",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One answer."""

    approval: ApprovalId
    answer: ApprovalAnswer
    scope: ApprovalScope = "once"
    note: str = ""


def offered(request: ApprovalRequested) -> list[tuple[str, ApprovalScope]]:
    """Keys and what they allow, in the order in which they are to be offered."""
    keys = {scope: key for key, scope in KEYS.items()}
    known = [s for s in KEYS.values() if s in request.offers]
    return [(keys[s], s) for s in known if s != "always" or request.rule]


def same(
    waiting: Sequence[ApprovalRequested],
    answer: ApprovalAnswer,
    scope: ApprovalScope = "once",
    note: str = "",
) -> list[Given]:
    return [Given(approval=r.approval, answer=answer, scope=scope, note=note) for r in waiting]


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What a line meant."""

    given: Sequence[Given] = ()
    view: Sequence[ApprovalRequested] = ()
    """To be shown whole."""
    told: str = ""
    """What the person must know instead."""


class Lines:
    """Questions answered line by line."""

    def __init__(self, unseen: Callable[[ApprovalRequested], str]) -> None:
        """`unseen`: what of a question was not shown yet; it cannot be allowed before."""
        self._unseen = unseen
        self._single: set[ApprovalId] = set()
        """Those that are to be asked one by one."""

    def prompt(self, waiting: Sequence[ApprovalRequested]) -> str:
        if self._together(waiting):
            tools = ", ".join(exact_line(r.tool) for r in waiting)
            keys = "y all of them once, o one by one, n none [why], v view all of it"
            if any(map(self._unseen, waiting)):
                keys = "v view all of it, then decide; o one by one; n none [why]"
            return f"Allow these {len(waiting)} ({tools})?  {keys}"
        request = waiting[0]
        keys = ", ".join(f"{key} {WORDS[scope]}" for key, scope in offered(request))
        keys += ", n no [why], v view all of it"
        if self._unseen(request):
            keys = "v view all of it, then decide; n no [why]"
        return f"Allow {exact_line(request.tool)}?  {keys}"

    def hear(self, line: str, waiting: Sequence[ApprovalRequested]) -> Heard | None:
        """None: it was no answer."""
        word, _, note = line.strip().partition(" ")
        if not waiting or (note and word != "n"):
            return None
        together = self._together(waiting)
        meant = waiting if together else waiting[:1]
        if word == "n":
            return Heard(given=same(meant, "deny", note=note))
        if word == "v":
            return Heard(view=meant)
        if together and word == "o":
            self._single |= {r.approval for r in waiting}
            return Heard()
        scope = KEYS.get(word)
        if scope is None or (together and scope != "once"):
            return None
        if scope not in [s for _, s in offered(meant[0])]:
            return Heard(told=f"That is not offered here. {self.prompt(waiting)}")
        if unseen := next((u for r in meant if (u := self._unseen(r))), ""):
            return Heard(told=f"{unseen} First see all of it: v")
        return Heard(given=same(meant, "allow", scope))

    def _together(self, waiting: Sequence[ApprovalRequested]) -> bool:
        return len(waiting) > 1 and not any(r.approval in self._single for r in waiting)
