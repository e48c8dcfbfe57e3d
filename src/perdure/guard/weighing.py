"""The decision: rules in their order, then the mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from .matching import catches, uncovered, why_not
from .query import MODES, Decision, Mode, Query, Step
from .rules import Rule

if TYPE_CHECKING:
    from .policy import Policy


def weigh(policy: Policy, query: Query, grants: Sequence[Rule], *, full: bool) -> Decision:
    """Deny wins over ask, ask over allow; what no rule settles is the mode's."""
    mode = _stricter(policy.mode, query.mode)
    steps: list[Step] = []
    found = _decide(policy, query, grants, mode, steps, full)
    if mode == "plan" and not query.reads_only and found.effect != "deny":
        found = Decision("deny", "mode plan: only what reads may run", found.rule)
    elif mode in ("restrict", "plan") and found.effect == "ask":
        found = Decision("deny", f"mode {mode}: nothing is asked, and {found.reason}", found.rule)
    elif mode == "restrict" and found.effect == "none":
        found = Decision("deny", "mode restrict: no rule allows it", found.rule)
    elif mode == "dangerous" and found.effect == "none":
        found = Decision("allow", "mode dangerous", found.rule)
    elif (
        mode == "auto"
        and found.effect == "none"
        and query.parsed is not None
        and query.parsed.unknown
    ):
        why = f"the command is not wholly understood: {query.parsed.unknown[0]}"
        found = Decision("ask", why, found.rule)
    if not full:
        return found
    steps.append(Step("mode", "yes", None, mode))
    return Decision(found.effect, found.reason, found.rule, tuple(steps))


def _stricter(policy: Mode, session: Mode | None) -> Mode:
    if session is None:
        return policy
    return min(policy, session, key=MODES.index)


def _decide(
    policy: Policy, query: Query, grants: Sequence[Rule], mode: Mode, steps: list[Step], full: bool
) -> Decision:
    decided: Decision | None = None
    doubt: Decision | None = None
    deny, ask, allow = policy.sieves
    lists = (("deny", policy.deny, deny), ("ask", policy.ask, ask))
    for kind, rules, sieve in lists:
        for rule in rules if full else sieve.catching(query):
            fits, why = catches(rule, query)
            if full:
                steps.append(Step("deny" if kind == "deny" else "ask", fits, rule, why))
            if fits == "no":
                continue
            if fits == "maybe":
                verb = "denies it" if kind == "deny" else "asks for it"
                told = f"it cannot be told whether the rule {rule} at {rule.where} {verb}: {why}"
                doubt = doubt or Decision("ask", told, rule)
            elif kind == "deny":
                decided = decided or Decision(
                    "deny", f"the rule {rule} at {rule.where} denies it", rule
                )
            else:
                decided = decided or Decision("ask", f"the rule {rule} at {rule.where} asks", rule)
            if decided is not None and not full:
                return decided
        decided = decided or (doubt if kind == "ask" or (doubt and not full) else None)
        if decided is not None and not full:
            return decided
    allowing = policy.allow if full else allow.allowing(query)
    allowed = _allowed(allowing, grants, query, steps, full)
    return decided or doubt or allowed or Decision("none", f"mode {mode}")


def _allowed(
    rules: Iterable[Rule], grants: Sequence[Rule], query: Query, steps: list[Step], full: bool
) -> Decision | None:
    """A rule that covers the call alone, or rules that cover its commands together."""
    found: Decision | None = None
    together: list[Rule] = []
    covered: set[int] = set()
    """Which commands of the line some rule covers."""
    for kind, rule in (*(("allow", r) for r in rules), *(("grant", r) for r in grants)):
        why = why_not(rule, query)
        if not why and rule.command:
            why, fitting = uncovered(query, rule)
            if not fitting <= covered:
                together.append(rule)
                covered |= fitting
        if full:
            named: Literal["allow", "grant"] = "allow" if kind == "allow" else "grant"
            steps.append(Step(named, "no" if why else "yes", rule, why))
        if why:
            continue
        by = (
            f"rule {rule} at {rule.where}"
            if kind == "allow"
            else f"granted for this session: {rule}"
        )
        found = found or Decision("allow", by, rule)
        if not full:
            return found
    if found is not None or len(together) < 2:
        return found
    if any(not one.free and n not in covered for n, one in enumerate(query.views)):
        return None
    by = " and ".join(f"{r} at {r.where}" if r.where else str(r) for r in together)
    return Decision("allow", f"rules {by}", together[0])
