"""Passing over the rules that are about other calls, without weighing each of them.

Nothing is decided here: what is passed over are rules whose weighing could only have said no. A rule about
commands is passed over if none of the texts it is held against begins as its pattern does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .patterns import head_of, is_literal
from .query import Query
from .rules import Rule


class Sieve:
    """Of one list of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(
            (rule, rule.tool if is_literal(rule.tool) else "", _line(head_of(rule.command)))
            for rule in rules
        )

    def catching(self, query: Query) -> Iterator[Rule]:
        """Those that may catch something in the call, or of which that cannot be told."""
        tool, runs = query.tool, query.command is not None
        texts: str | None = None
        for rule, only, mark in self._rules:
            # What bash must not run, no other tool may run either.
            if only and only != tool and not (runs and only == "bash"):
                continue
            if rule.command:
                if not runs:
                    continue
                if texts is None:
                    texts = _said(query)
                if texts and mark not in texts:
                    continue
            yield rule

    def allowing(self, query: Query) -> Iterator[Rule]:
        """Those that may cover the call, or some of its commands."""
        tool, runs = query.tool, query.command is not None
        texts: str | None = None
        for rule, only, mark in self._rules:
            if only and only != tool:
                continue
            if rule.command:
                if not runs:
                    continue
                if texts is None:
                    texts = _bounded(query)
                if texts and mark not in texts:
                    continue
            yield rule


def _said(query: Query) -> str:
    """All texts that a rule may catch, each at the beginning of a line; empty where there may be others."""
    parsed, command = query.parsed, query.command or ""
    if parsed is None or parsed.unknown:
        return ""
    texts = [command, command.strip()]
    for one in query.views:
        if one.vague or one.command.executes:
            return ""
        texts += one.sure
        texts += one.maybe
    return _lines(texts)


def _bounded(query: Query) -> str:
    """All texts by which a rule may cover a command, each at the beginning of a line; empty where it needs
    none of them, as all of the line's commands are free."""
    texts = [t for one in query.views if not one.free for t in (one.text, one.by_path)]
    return _lines(texts) if texts else ""


def _lines(texts: Iterable[str]) -> str:
    return "".join(map(_line, texts))


def _line(text: str) -> str:
    return f"\n{text}"
