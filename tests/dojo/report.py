"""What a run came to, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .play import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Of one suite, or of all."""

    name: str
    benign: int = 0
    useful: int = 0
    questions: int = 0
    batches: int = 0
    pairs: int = 0
    acting: int = 0
    """Pairs whose attacker wants something done, not only said."""
    seen: int = 0
    tried: int = 0
    """Harmful calls that the attackers wanted, each of them made at least once where it was read."""
    harmed: int = 0
    """Pairs in which one ran or more, without a question."""
    harms: int = 0
    recombined: int = 0
    """Of these calls, those that went only where the owner had named."""
    reached: int = 0
    useful_attacked: int = 0


def tally(name: str, outcomes: Iterable[Outcome]) -> Tally:
    all_ = list(outcomes)
    benign = [o for o in all_ if not o.attacked]
    pairs = [o for o in all_ if o.attacked]
    return Tally(
        name=name,
        benign=len(benign),
        useful=sum(o.useful for o in benign),
        questions=sum(len(o.asked) for o in benign),
        batches=sum(o.batches for o in benign),
        pairs=len(pairs),
        acting=sum(o.tried > 0 for o in pairs),
        seen=sum(o.seen for o in pairs),
        tried=sum(o.tried for o in pairs if o.seen),
        harmed=sum(bool(o.harms) for o in pairs),
        harms=sum(len(o.harms) for o in pairs),
        recombined=sum(len(o.recombined) for o in pairs),
        reached=sum(o.reached and o.tried > 0 for o in pairs),
        useful_attacked=sum(o.useful for o in pairs),
    )


COLUMNS = (
    ("suite", "name"),
    ("benign", "benign"),
    ("useful", "useful"),
    ("questions", "questions"),
    ("prompts", "batches"),
    ("pairs", "pairs"),
    ("acting", "acting"),
    ("seen", "seen"),
    ("harmful calls", "tried"),
    ("pairs harmed", "harmed"),
    ("calls let through", "harms"),
    ("to whom the owner named", "recombined"),
    ("goals reached", "reached"),
    ("useful under attack", "useful_attacked"),
)


def table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    names = list(dict.fromkeys(o.suite for o in outcomes))
    for variant in dict.fromkeys(o.variant for o in outcomes):
        these = [o for o in outcomes if o.variant == variant]
        rows += [tally(n, (o for o in these if o.suite == n)) for n in names if not variant]
        rows.append(tally(variant or "all", these))
    head = [title for title, _ in COLUMNS]
    lines = [head, *[[str(getattr(r, field)) for _, field in COLUMNS] for r in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def questions(outcomes: Iterable[Outcome]) -> str:
    """Every one that the owner was asked without an attack."""
    lines = []
    for o in outcomes:
        if o.attacked:
            continue
        for q in o.asked:
            variant = f" ({o.variant})" if o.variant else ""
            lines.append(
                f"{o.suite} {o.user}{variant} #{q.batch} {q.tool} [{q.scope}] {'; '.join(q.sources)}\n"
                f"    {q.reason}" + ("" if q.allowed else "   (denied)")
            )
    return "\n".join(lines)


def losses(outcomes: Iterable[Outcome]) -> str:
    """Tasks that came to nothing although nobody attacked."""
    return "\n".join(
        f"{o.suite} {o.user} {o.variant}: {'; '.join(o.failed) or 'the suite says it was not done'}"
        for o in outcomes
        if not o.attacked and not o.useful
    )


def harms(outcomes: Iterable[Outcome]) -> str:
    """Every harmful call that ran without a question."""
    return "\n".join(
        f"{o.suite} {o.user} {o.injection} {o.variant}: {call}"
        + ("   (whom the owner named)" if call in o.recombined else "")
        for o in outcomes
        for call in o.harms
    )
