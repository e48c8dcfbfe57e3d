"""The question put to the owner: what would happen, where data would go, and what an answer may cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import ApprovalId, ApprovalRequested, ApprovalScope, Json, Source
from perdure.kernel.labels import Label
from perdure.kernel.ports import Ids

from .binding import Binding, content_of
from .flow import Finding
from .matching import as_text, covers
from .patterns import literal
from .places import in_git
from .query import UNREAD, Query
from .reading import parse_rule
from .rules import Bound, Rule, covering
from .seams import Prepared

if TYPE_CHECKING:
    from .scripts import Scripts

PREVIEW_CHARS = 20_000
NOTE_FIRST = 2_000
"""Characters of a preview beyond which a note on it stands before it, where it is not cut off."""
LONGEST_BOUND = 200
"""Characters of an argument that a rule for ever would have to name."""
OUTSIDE = frozenset(("network", "spends"))
LASTING = frozenset(("writes", "spends"))


def question(
    prepared: Prepared,
    finding: Finding,
    binding: Binding,
    *,
    scripts: Scripts | None,
    reason: str,
    rule: str,
    label: Label,
    expires: datetime,
    ids: Ids,
) -> ApprovalRequested:
    """`scripts`: of its shell command. `rule`: what `session` and `always` would allow; empty
    where no rule could say it. `label`: of the context the call was thought up in. Blocking."""
    call = prepared.call
    preview = storable(_preview(prepared, scripts))
    cut = len(preview) > PREVIEW_CHARS
    if cut:
        left = len(preview) - PREVIEW_CHARS
        preview = f"{preview[:PREVIEW_CHARS]}\n[… {left:,} more characters]"
    offers = _offers(finding, rule, label)
    return ApprovalRequested(
        # Ends in the digest, so that the answer carries what it was given for; begins with a nonce, so
        # that no answer fits another question.
        approval=ApprovalId(f"{ids.new('a')}{binding.digest}"),
        call=call.id,
        tool=call.name,
        arguments=call.arguments,
        reason=storable(reason),
        preview=preview,
        offers=offers,
        rule=storable(rule) if "session" in offers else "",
        expires=expires,
        destination=storable(finding.destination),
        label=finding.label,
        sources=tuple(_stored(source) for source in finding.sources),
        endorses=tuple(map(storable, finding.endorses)),
        cut=cut,
    )


def _preview(prepared: Prepared, scripts: Scripts | None) -> str:
    """With what the approval does not cover, before it where it is long, so that nobody misses it."""
    text = prepared.preview()
    note = scripts.note() if scripts is not None else ""
    if not note:
        return text
    return f"{note}\n{text}" if len(text) > NOTE_FIRST else f"{text}\n{note}"


def lasting(prepared: Prepared, query: Query, scripts: Scripts | None) -> str:
    """The rule that would allow calls like this one from now on; empty where none says no more than that.
    What acts outside must be bounded by whom it reaches, and by all else that decides what comes of it; what
    changes something there is asked about each time, as is what is typed into a running program: a rule would
    not say into which. Whatever it is, the rule holds for the action that was asked about. `scripts`: of its
    shell command. Blocking."""
    if prepared.speaks_to:
        return ""
    chosen = _bounds(query.arguments, prepared.selects)
    if chosen is None:
        return ""
    rule = covering(
        query.tool,
        query.command,
        [touch.path for touch in query.touches],
        query.workdir,
        narrow=any(touch.write and in_git(touch.path) for touch in query.touches),
        content=content_of(query.parsed, query.workdir, scripts),
    )
    if query.command is not None or OUTSIDE.isdisjoint(query.effects):
        return _checked(replace(rule, arguments=chosen), query)
    reached = (*query.hosts, *query.recipients)
    if query.undeclared or not reached or UNREAD in reached or LASTING & {*query.effects}:
        return ""
    bounds = _bounds(query.arguments, _deciding(prepared, query.arguments))
    if bounds is None:
        return ""
    return _checked(
        replace(
            rule,
            arguments=(*bounds, *(c for c in chosen if c not in bounds)),
            host=tuple(map(literal, query.hosts)),
            recipient=tuple(map(literal, query.recipients)),
        ),
        query,
    )


def _checked(rule: Rule, query: Query) -> str:
    """As it will be read from the file; empty where that would not allow this very call."""
    try:
        read = parse_rule(str(rule))
    except ConfigError:
        return ""
    # What runs was looked at once for the whole question.
    same = read.content == rule.content and covers(replace(read, content=""), query)
    return str(rule) if same else ""


def _deciding(prepared: Prepared, arguments: Mapping[str, Json]) -> list[str]:
    """Arguments that decide what comes of a call besides whom it reaches."""
    critical = prepared.sink.critical if prepared.sink is not None else {}
    named = (n for n, kind in critical.items() if kind not in ("url", "host", "recipient"))
    return [name for name in named if arguments.get(name) not in (None, "")]


def _bounds(
    arguments: Mapping[str, Json], names: Iterable[str]
) -> tuple[tuple[str, Bound], ...] | None:
    """These, to the letter. None: one of them was not given, or is too much for a rule."""
    found = []
    for name in names:
        value = arguments.get(name)
        if not isinstance(value, str | int) or len(text := as_text(value)) > LONGEST_BOUND:
            return None
        found.append((name, Bound(globs=(literal(text),))))
    return tuple(found)


def _offers(finding: Finding, rule: str, label: Label) -> tuple[ApprovalScope, ...]:
    """Narrowest first. Whoever wrote into the context could have shaped the call so that its rule says
    more than it seems: then no rule is offered, nor where the question is about data."""
    vouching: tuple[ApprovalScope, ...] = ("data",) if finding.endorses else ()
    if not rule or label.tainted or finding.verdict != "free":
        return (*vouching, "once")
    return (*vouching, "once", "session", "always")


def _stored(source: Source) -> Source:
    return Source(
        argument=storable(source.argument),
        value=storable(source.value),
        origin=storable(source.origin),
        endorsed=source.endorsed,
    )


def storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
