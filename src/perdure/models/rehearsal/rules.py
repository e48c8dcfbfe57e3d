"""From a person's words to plans: each rule is a pattern and what it leads to.

Quoted passages and code are set aside before the patterns see a text, as marks, so that their content
is never mistaken for an instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .plan import Plan
from .view import View

MARK = "\ue000"
"""Stands at both ends of a mark; from Unicode's private use area, so no one types it."""

PATH = rf"(?:@?{MARK}\d+{MARK}|[^\s,;{MARK}]+)"
"""A pattern for one path: quoted, or a word; after an @, as a chat completes it."""
PATHS = rf"{PATH}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+){PATH})*"

MAX_LINE = 2_000
MAX_REQUESTS = 20

_QUOTED = re.compile(
    r"```[a-zA-Z]*\n(?P<fence>.*?)\n?```"
    r"|`(?P<code>[^`\n]+)`"
    r"|(?<!\w)\"(?P<double>[^\"\n]*)\"(?!\w)"
    r"|(?<!\w)'(?P<single>[^'\n]*)'(?!\w)"
    r"|“(?P<curly>[^”\n]*)”|‘(?P<soft>[^’\n]*)’(?!\w)",
    re.DOTALL,
)
_MARKED = re.compile(rf"{MARK}(\d+){MARK}")
_POLITE = re.compile(
    r"(?:please|pls|kindly|hey|hi|hello|ok|okay|well|now|also|and|then|first|next|finally|actually|so|just"
    r"|can you|could you|would you|will you|you should|i(?:'d| would)? like you to|i want you to"
    r"|i need you to|go ahead and|let'?s|for me|perdure)\b[,:]?\s+",
    re.IGNORECASE,
)
_PRONOUNS = ("it", "that", "this", "them")
_FOLDER = r"(?:folder|directory|dir)"
_ARTICLES = re.compile(rf"^(?:the|this|my)\s+(?=\S)|\s+{_FOLDER}$", re.IGNORECASE)
_HERE = re.compile(
    r"(?:(?:the|this|my|your|our)\s+)?(?:(?:current|working)\s+)?(?:folder|directory|dir|here)?",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"(?:[,\s]+(?:please|pls|thanks|thank you|for me)|(?<=\S)[?!]+|(?<=\w)\.+)$", re.IGNORECASE
)
_THEN = re.compile(
    r"\s*(?:;|,|\.)?\s+(?:and\s+)?then\s+|\s*;\s+|\.\s+(?=[A-Z])|,\s+and\s+|\s+and\s+", re.I
)
_LISTED = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+")


class Found:
    """What a rule's pattern found, with quotes put back."""

    def __init__(self, match: re.Match[str], kept: Sequence[str], last: Callable[[], str]) -> None:
        self._match, self._kept, self._last = match, kept, last
        self.whole = restore(match.string, kept)

    def has(self, group: str) -> bool:
        return bool(self._raw(group))

    def text(self, group: str) -> str:
        """As it was meant: without the quotes around it."""
        return restore(self._raw(group), self._kept)

    def code(self, group: str) -> str:
        """As it was written: quotes inside a command belong to it."""
        raw = self._raw(group)
        return restore(raw, self._kept, quotes=_MARKED.fullmatch(raw) is None)

    def is_code(self, group: str) -> bool:
        """It was written as code, in backticks."""
        return restore(self._raw(group), self._kept, quotes=True).startswith("`")

    def path(self, group: str = "path") -> str:
        """A file; `it` is the one that was spoken of last."""
        return self._meant(_ARTICLES.sub("", self._raw(group)))

    def place(self, group: str = "path") -> str:
        """A folder; none named means the working directory."""
        return "." if _HERE.fullmatch(self._raw(group)) else self.path(group)

    def paths(self, group: str = "path") -> list[str]:
        """Paths joined by commas and `and`, each once."""
        raw = re.sub(r"\s+and\s+|\s*,\s*(?:and\s+)?", " ", self._raw(group))
        return list(dict.fromkeys(self._meant(path) for path in re.findall(PATH, raw)))

    def _raw(self, group: str) -> str:
        return (self._match.groupdict().get(group) or "").strip()

    def _meant(self, raw: str) -> str:
        if raw.lower() in _PRONOUNS:
            return self._last() or raw
        path = restore((raw[1:] or raw if raw[:1] == "@" else raw).rstrip(":"), self._kept)
        return path.rstrip("/") or path


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    plan: Callable[[Found, View], Plan | None]
    """None: on a second look this is not what was meant; the next rule is tried."""
    entire: bool
    """Takes free words that may hold an `and`, so it is tried before a message is taken apart."""


def rule(pattern: str, plan: Callable[[Found, View], Plan | None], *, entire: bool = False) -> Rule:
    """`pattern` must match the whole request; a blank in it stands for any run of blanks."""
    flexible = re.sub(r" +", r"\\s+", pattern)
    return Rule(re.compile(flexible, re.IGNORECASE | re.DOTALL), plan, entire)


def understand(text: str, rules: Sequence[Rule], view: View) -> list[Plan] | None:
    """The plans for a message, in order; None when any part of it is not understood."""
    return _Reading(rules, view).message(text)


class _Reading:
    """Of one message, or of earlier ones to find out what `it` is."""

    def __init__(self, rules: Sequence[Rule], view: View) -> None:
        self._rules, self._view = rules, view
        self._last = ""
        """The path that was named last in this message."""
        self._looking_back = False

    def message(self, text: str) -> list[Plan] | None:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and all(_LISTED.match(line) for line in lines):
            return self._all([_LISTED.sub("", line, count=1) for line in lines])
        masked, kept = mask(text)
        if not re.search(r"\bthen\b", masked, re.IGNORECASE):
            entire = self._one(text, [r for r in self._rules if r.entire])
            if entire is not None:
                return [entire]
        if len(masked) <= MAX_LINE:
            parts = [restore(p, kept, quotes=True) for p in _THEN.split(masked) if p.strip()]
            several = self._all(parts) if len(parts) > 1 else None
            if several is not None:
                return several
        whole = self._one(text, self._rules)
        return [whole] if whole is not None else None

    def _all(self, requests: Sequence[str]) -> list[Plan] | None:
        self._last = ""
        plans: list[Plan] = []
        for request in requests[: MAX_REQUESTS + 1]:
            plan = self._one(request, self._rules)
            if plan is None or len(plans) == MAX_REQUESTS:
                return None
            plans.append(plan)
        return plans

    def _one(self, text: str, rules: Sequence[Rule]) -> Plan | None:
        """The plan of the first rule that fits."""
        masked, kept = mask(text)
        if len(masked) > MAX_LINE:
            return None
        ended = _end_trimmed(masked.strip())
        for wording in dict.fromkeys((ended, _begin_trimmed(ended))):
            for rule in rules:
                match = rule.pattern.fullmatch(wording)
                if match is None:
                    continue
                found = Found(match, kept, self._it)
                plan = rule.plan(found, self._view)
                if plan is not None:
                    if found.has("path"):
                        self._last = found.path()
                    return plan
        return None

    def _it(self) -> str:
        """What was spoken of last, in this message or in an earlier one."""
        if self._last or self._looking_back:
            return self._last
        self._looking_back = True
        try:
            for text in self._view.earlier():
                if self.message(text) is not None and self._last:
                    return self._last
        finally:
            self._looking_back = False
        return ""


def _begin_trimmed(text: str) -> str:
    """Without courtesies before it."""
    while match := _POLITE.match(text):
        text = text[match.end() :]
    return text


def _end_trimmed(text: str) -> str:
    """Without courtesies and punctuation after it."""
    while True:
        shorter = _THANKS.sub("", text).rstrip()
        if shorter == text or not shorter:
            return text
        text = shorter


def mask(text: str) -> tuple[str, list[str]]:
    """The text with quoted passages replaced by marks, and those passages with their quotes."""
    kept: list[str] = []

    def put(match: re.Match[str]) -> str:
        kept.append(match.group())
        return f"{MARK}{len(kept) - 1}{MARK}"

    return _QUOTED.sub(put, text.replace(MARK, "")), kept


def restore(text: str, kept: Sequence[str], *, quotes: bool = False) -> str:
    def put(match: re.Match[str]) -> str:
        passage = kept[int(match.group(1))]
        return passage if quotes else unquoted(passage)

    return _MARKED.sub(put, text)


def unquoted(passage: str) -> str:
    match = _QUOTED.fullmatch(passage)
    if match is None:
        return passage
    return next((g for g in match.groupdict().values() if g is not None), passage)
