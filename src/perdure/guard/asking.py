"""The question put to the owner: what would happen, where data would go, and what an answer may cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import ApprovalId, ApprovalRequested, ApprovalScope, Json, Source
from perdure.kernel.labels import Label
from perdure.kernel.ports import Ids

from .binding import Binding, content_of
from .flow import Finding
from .matching import covers
from .patterns import literal
from .places import in_git
from .query import UNREAD, Query
from .reading import parse_rule
from .rules import Bound, covering
from .seams import Prepared

PREVIEW_CHARS = 20_000
LONGEST_BOUND = 200
"""Characters of an argument that a rule for ever would have to name."""
OUTSIDE = frozenset(("network", "spends"))
LASTING = frozenset(("writes", "spends"))


def question(
    prepared: Prepared,
    finding: Finding,
    binding: Binding,
    *,
    reason: str,
    rule: str,
    label: Label,
    expires: datetime,
    ids: Ids,
) -> ApprovalRequested:
    """`rule`: what `session` and `always` would allow; empty where no rule could say it. `label`: of the
    context the call was thought up in. Blocking."""
    call = prepared.call
    preview = storable(prepared.preview())
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


def lasting(prepared: Prepared, query: Query) -> str:
    """The rule that would allow calls like this one from now on; empty where none says no more than that.
    What acts outside must be bounded by whom it reaches, and by all else that decides what comes of it; what
    changes something there is asked about each time, as is what is typed into a running program: a rule would
    not say into which. Blocking."""
    if prepared.speaks_to:
        return ""
    rule = covering(
        query.tool,
        query.command,
        [touch.path for touch in query.touches],
        query.workdir,
        narrow=any(touch.write and in_git(touch.path) for touch in query.touches),
        content=content_of(prepared, query.parsed),
    )
    if query.command is not None or OUTSIDE.isdisjoint(query.effects):
        return str(rule)
    reached = (*query.hosts, *query.recipients)
    if query.undeclared or not reached or UNREAD in reached or LASTING & {*query.effects}:
        return ""
    bounds = _bounds(prepared, query.arguments)
    if bounds is None:
        return ""
    rule = replace(
        rule,
        arguments=bounds,
        host=tuple(map(literal, query.hosts)),
        recipient=tuple(map(literal, query.recipients)),
    )
    try:
        return str(rule) if covers(parse_rule(str(rule)), query) else ""
    except ConfigError:
        return ""


def _bounds(
    prepared: Prepared, arguments: Mapping[str, Json]
) -> tuple[tuple[str, Bound], ...] | None:
    """Arguments that decide what a call does besides whom it reaches, to the letter. None: they are too
    much for a rule."""
    found = []
    for name, kind in prepared.sink.critical.items() if prepared.sink is not None else ():
        value = arguments.get(name)
        if kind in ("url", "host", "recipient") or value is None or value == "":
            continue
        if not isinstance(value, str) or len(value) > LONGEST_BOUND:
            return None
        found.append((name, Bound(globs=(literal(value),))))
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
