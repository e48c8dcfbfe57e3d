"""The gate: every tool call passes here, and only what it permits can be run.

A call is weighed by what no rule can change (places), by the owner's rules (policy), by where its data
comes from and goes to (flow), and by whether it goes round in circles (loops). A no from any of them is a
no. Questions from policy and flow are put together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import msgspec

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    Record,
    SessionId,
    Text,
    ToolCall,
    ToolResult,
    ToolStarted,
)
from perdure.kernel.labels import UNKNOWN, Label
from perdure.kernel.ports import Allow, Ask, Clock, Emit, Ids, Refuse, Verdict

from .asking import lasting, question
from .binding import Binding, bind, content_of, look
from .flow import Finding, Flow
from .origins import Origins
from .permits import Case, Permit, permit
from .places import Places, in_git
from .policy import Policy, PolicyFiles
from .query import Decision, Query
from .reading import parse_rule
from .refusing import broken, denied, refuse
from .rules import Rule
from .seams import Bench, Loops, Prepared
from .targets import files_of, reached_by

if TYPE_CHECKING:
    from .scripts import Scripts

AT_HOME = frozenset(("write", "execute"))
"""Kinds of sinks whose arguments the preview shows, and that lead nowhere outside by themselves."""
BINDINGS_KEPT = 64
"""Open questions of which it is known what they covered, so that a change can be named."""


class PolicyGate:
    """Implements ports.Gate for one session."""

    def __init__(
        self,
        bench: Bench,
        policy: PolicyFiles,
        places: Places,
        *,
        session: SessionId,
        ids: Ids,
        clock: Clock,
        flow: Flow,
        environment: Mapping[str, str],
        earlier: Callable[[], Iterable[Record]] = tuple,
        loops: Loops | None = None,
        boot: str = "",
    ) -> None:
        """`environment`: what commands see. `earlier`: the session's records from its beginning.
        `loops`: None where no limit on repetition is wanted. `boot`: id of this run of the machine, as
        the kernel records it in `tool_started`."""
        self._bench, self._policy, self._places = bench, policy, places
        self._session, self._ids, self._clock, self._boot = session, ids, clock, boot
        self._flow, self._loops = flow, loops
        self._environment = dict(environment)
        self._origins = Origins(earlier)
        self._finished: list[str] = []
        """Keys of calls with effects that have run to their end."""
        self._asked: dict[ApprovalId, Binding] = {}
        self._used: dict[ApprovalId, str] = {}
        """Approvals by which a call has run, and that call's key."""

    async def judge(
        self,
        call: ToolCall,
        *,
        key: str,
        decided: ApprovalDecided | None = None,
        grants: Sequence[str] = (),
        endorsed: Sequence[str] = (),
        label: Label = UNKNOWN,
    ) -> Verdict:
        # Invariant: the kernel commits the results of what ran before it asks for anything more.
        while self._finished:
            self._bench.forget(self._finished.pop())
        try:
            prepared = self._bench.prepare(call)
            if isinstance(prepared, ToolResult):
                return Refuse(prepared)
            if prepared.effects and self._bench.begun(key):
                # It was permitted when it began; what is under way must be brought to its one result.
                return permit(self, prepared, key, "begun before a crash")
            return await self._judge(prepared, key, decided, grants, endorsed, label)
        except ConfigError as error:
            return Refuse(broken(error))
        except Exception as error:  # S1: a call that trips the judge up is not let through
            return refuse(f"This call could not be judged ({type(error).__name__}: {error}).")

    async def _judge(
        self,
        prepared: Prepared,
        key: str,
        decided: ApprovalDecided | None,
        grants: Sequence[str],
        endorsed: Sequence[str],
        label: Label,
    ) -> Verdict:
        await self._flow.ready(prepared, label)
        policy = self._policy.current()
        case = Case(
            prepared=prepared,
            query=self._query(prepared),
            grants=tuple(_rules(grants)),
            label=label,
            endorsed=tuple(endorsed),
            finding=self._flow.weigh(prepared, label=label, endorsed=endorsed),
        )
        decision = self._weigh(case, policy)
        if refusal := self._forbidden(case, decision):
            return Refuse(refusal)
        if self._loops is not None and (why := self._loops.weigh(prepared.call)):
            return refuse(why)
        if decided is not None and decided.answer == "deny":
            note = f": {decided.note}" if decided.note else "."
            return refuse(f"The owner declined this call{note}")
        if decided is not None and decided.scope != "data":
            return await self._approved(case, policy, key, decided)
        why = self._doubt(case, policy, decision)
        if not why:
            return permit(self, prepared, key, decision.reason, case=case, judged=policy)
        if policy.mode in ("plan", "restrict"):
            return refuse(f"Mode {policy.mode}: nothing is asked, and {why}.")
        return await self._ask(case, policy, why)

    async def _approved(
        self, case: Case, policy: Policy, key: str, decided: ApprovalDecided
    ) -> Verdict:
        """The owner allowed a call: was it this one, as it is now?"""
        if self._used.get(decided.approval, key) != key:
            return await self._ask(case, policy, "the approval was used before")
        binding = await asyncio.to_thread(self._bind, case)
        if decided.approval.endswith(binding.digest):
            by = f"approved by {decided.by}" if decided.by else "approved"
            return permit(
                self,
                case.prepared,
                key,
                by,
                case=case,
                judged=policy,
                approval=decided.approval,
                approved=binding.digest,
            )
        before = self._asked.pop(decided.approval, None)
        what = before and binding.changes(before)
        why = "it, or what it works on, changed since the approval"
        return await self._ask(case, policy, f"{why}: {what}" if what else why)

    def feed(self, record: Record) -> None:
        self._origins.feed(record)
        self._flow.feed(record)
        if self._loops is not None:
            self._loops.feed(record)

    async def run(self, permit: Allow, emit: Emit, *, resumed: bool) -> ToolResult:
        if not isinstance(permit, Permit):
            return denied("There is no permit for this call.")
        if void := permit.spend(self):
            return denied(void)
        key = permit.started.key
        if changed := self._changed(permit):
            return changed
        if permit.approved and permit.case is not None and not self._bench.begun(key):
            binding = await asyncio.to_thread(self._bind, permit.case)
            if binding.digest != permit.approved:
                return denied("What it works on changed after the approval; ask for it again.")
        if permit.approval:
            self._used[permit.approval] = key
        result = await permit.prepared.run(key=key, emit=emit, resumed=resumed)
        if permit.prepared.effects:
            self._finished.append(key)
        if self._loops is not None and (note := self._loops.ran(permit.call, result)):
            parts = (*result.parts, Text(text=f"\n[{note}]"))
            result = msgspec.structs.replace(result, parts=parts)
        return result

    def _changed(self, permit: Permit) -> ToolResult | None:
        """Why the policy as it is by now does not let a permitted call run."""
        case = permit.case
        if case is None:
            return None
        try:
            policy = self._policy.current()
        except ConfigError as error:
            return broken(error)
        if policy is permit.judged:
            return None
        decision = self._weigh(case, policy)
        if refusal := self._forbidden(case, decision):
            return refusal
        if permit.approved or not self._doubt(case, policy, decision):
            return None
        return denied("The owner's policy changed before this ran; ask for it again.")

    def recovery(self, started: ToolStarted) -> Literal["rerun", "rejoin", "doubt"]:
        if not started.effects:
            return "rerun"
        how = self._bench.recovery(started.tool)
        if how == "rejoin":
            # After a crash of the machine nothing runs any more; without its folder, which may not
            # have reached the disk, it cannot be told whether it ever ran.
            same = started.boot == self._boot
            return "rejoin" if same or self._bench.begun(started.key) else "doubt"
        return how or "doubt"

    def looked_at(self, call: ToolCall) -> tuple[Query, Decision] | None:
        """A call as the owner's rules see it, and what each of them says of it. None: it cannot be made.
        Raises ConfigError. Blocking."""
        prepared = self._bench.prepare(call)
        if isinstance(prepared, ToolResult):
            return None
        query = self._query(prepared)
        return query, self._policy.current().weigh(query, full=True)

    # Weighing -------------------------------------------------------------------------------------

    def _query(self, prepared: Prepared) -> Query:
        call = prepared.call
        hosts, recipients = reached_by(prepared)
        query = Query(
            tool=call.name,
            arguments={**prepared.defaults, **call.arguments},
            used=prepared.used,
            effects=prepared.effects,
            command=prepared.command,
            speaks_to=prepared.speaks_to,
            touches=prepared.touches,
            hosts=hosts,
            recipients=recipients,
            undeclared=prepared.sink is not None and not prepared.declared,
            origin=self._origins.now(),
            workdir=self._places.home,
            workspace=self._places.root,
            search=self._environment.get("PATH"),
            content=lambda: content_of(query.parsed, query.workdir),
        )
        return query

    def _weigh(self, case: Case, policy: Policy) -> Decision:
        decision = policy.weigh(case.query, case.grants)
        hooks = any(t.write and in_git(t.path) for t in case.prepared.touches)
        if hooks and decision.effect == "allow" and policy.mode != "dangerous":
            # What git would run later needs a rule that means it.
            meant = replace(policy, allow=tuple(r for r in policy.allow if ".git" in r.path))
            return meant.weigh(case.query, [r for r in case.grants if ".git" in r.path])
        return decision

    def _forbidden(self, case: Case, decision: Decision) -> ToolResult | None:
        """What no approval can allow."""
        touched = [(t.path, t.write) for t in case.prepared.touches]
        for path, write in (*touched, *files_of(case.query.parsed)):
            zone = self._places.zone(path, write=write)
            if zone == "secret":
                return denied(f"{path} holds secrets of the runtime; no tool may touch it.")
            if zone == "control" and write:
                return denied(
                    f"{path} belongs to the runtime and decides what agents may do; tools cannot "
                    "write it. Ask the owner to change it."
                )
        if decision.effect == "deny":
            return denied(
                f"The owner's policy denies this: {decision.reason}. "
                "Do not try to get around it; say what you need instead."
            )
        if case.finding.verdict == "deny":
            return denied(f"This is not allowed: {case.finding.reason}.")
        return None

    def _doubt(self, case: Case, policy: Policy, decision: Decision) -> str:
        """Why the owner must be asked about what is not forbidden; empty: no need to."""
        reasons = []
        if decision.effect == "ask":
            reasons.append(decision.reason)
        elif decision.effect == "none":
            reasons.append(self._unruled(case.prepared, policy))
        # A rule that allows a tool says nothing about where this data may go.
        asks = case.finding.verdict == "ask" and policy.mode != "dangerous"
        if asks and not _vouches(decision.rule, case):
            reasons.append(case.finding.reason)
        return "; ".join(filter(None, reasons))

    def _unruled(self, prepared: Prepared, policy: Policy) -> str:
        """Why a call that no rule speaks of must be asked about."""
        for touch in prepared.touches:
            if touch.write and in_git(touch.path):
                return f"it writes {touch.path}, from which git runs programs"
            if (zone := self._places.zone(touch.path, write=touch.write)) != "inside":
                verb = "writes" if touch.write else "reads"
                what = "belongs to the runtime" if zone == "control" else "is outside the workspace"
                return f"it {verb} {touch.path}, which {what}"
        if not prepared.effects:
            return ""
        if policy.mode == "auto":
            return "it spends" if "spends" in prepared.effects else ""
        if prepared.command is not None:
            return "it runs a command"
        return f"it has effects: {', '.join(e for e in prepared.effects if e != 'reads')}"

    # Asking ---------------------------------------------------------------------------------------

    async def _ask(self, case: Case, policy: Policy, reason: str) -> Ask:
        finding, sink = case.finding, case.prepared.sink
        if sink is not None and sink.kind not in AT_HOME:
            # Whatever it is asked for: where data would go, and who said so.
            finding = self._flow.describe(case.prepared, label=case.label, endorsed=case.endorsed)
        return Ask(await asyncio.to_thread(self._question, case, finding, policy, reason))

    def _question(
        self, case: Case, finding: Finding, policy: Policy, reason: str
    ) -> ApprovalRequested:
        """Blocking: it reads what the call works on."""
        prepared, scripts = case.prepared, self._scripts(case)
        # Shown, approved and allowed for good is what one look has seen.
        binding = self._bind(case, scripts)
        request = question(
            prepared,
            finding,
            binding,
            scripts=scripts,
            reason=reason,
            rule=lasting(prepared, case.query, scripts),
            label=case.label,
            expires=self._clock.now() + policy.expire,
            ids=self._ids,
        )
        if len(self._asked) >= BINDINGS_KEPT:
            del self._asked[next(iter(self._asked))]
        self._asked[request.approval] = binding
        return request

    def _scripts(self, case: Case) -> Scripts | None:
        return look(case.query.parsed, self._places.home, self._environment)

    def _bind(self, case: Case, scripts: Scripts | None = None) -> Binding:
        """`scripts`: None where they are to be looked at now. Blocking."""
        return bind(
            self._session,
            case.prepared,
            case.query.parsed,
            scripts or self._scripts(case),
            self._places.home,
            self._environment,
        )


def _rules(grants: Sequence[str]) -> Iterator[Rule]:
    for grant in grants:
        with contextlib.suppress(ConfigError):
            yield parse_rule(grant)


def _vouches(rule: Rule | None, case: Case) -> bool:
    """Does the rule that allows a call name to the letter what flow asks about? A command only if the rule
    names all of it and it runs no code that the line does not show: that could have changed meanwhile."""
    values, parsed = case.finding.endorses, case.query.parsed
    if rule is None or not values:
        return False
    if parsed is not None:
        shown = parsed.understood and not any(c.executes for c in parsed.commands)
        return bool(rule.exactly and rule.content) and shown
    named = {*rule.host, *rule.recipient, rule.path}
    named.update(glob for _, bound in rule.arguments for glob in bound.globs)
    return all(value in named and not set(value) & set("*?[") for value in values)
