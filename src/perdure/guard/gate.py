"""The gate: every tool call passes here, and only what it permits can be run."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import (
    AnyDelta,
    ApprovalDecided,
    ApprovalId,
    ApprovalRequested,
    SessionId,
    Text,
    ToolCall,
    ToolResult,
    ToolStarted,
)
from perdure.kernel.ports import Allow, Ask, Emit, Ids, Refuse, Verdict

from .places import Places, Zone, in_git
from .policy import Policy, PolicyFiles, parse_rule
from .rules import Rule, covering

PREVIEW_CHARS = 20_000
_DIGEST_CHARS = 16

_encode = msgspec.json.Encoder(order="deterministic").encode


class Touch(Protocol):
    """A resolved path that a call reads or writes."""

    @property
    def path(self) -> Path: ...

    @property
    def write(self) -> bool: ...


_Zones = Sequence[tuple[Touch, Zone]]


class Prepared(Protocol):
    """A call whose tool exists and whose arguments fit."""

    @property
    def call(self) -> ToolCall: ...

    @property
    def effects(self) -> tuple[str, ...]:
        """Empty when it only reads."""

    @property
    def parallel(self) -> bool: ...

    @property
    def command(self) -> str | None:
        """The shell command it runs."""

    @property
    def touches(self) -> Sequence[Touch]: ...

    def preview(self) -> str: ...

    def binding(self) -> bytes:
        """State outside the arguments that an approval rests on. Blocking."""

    async def run(
        self, *, key: str, emit: Callable[[AnyDelta], None], resumed: bool
    ) -> ToolResult: ...


class Bench(Protocol):
    """What the gate owns: the only way to a tool."""

    def prepare(self, call: ToolCall) -> Prepared | ToolResult:
        """A result tells the model why the call cannot run."""

    def recovery(self, tool: str) -> Literal["rerun", "rejoin", "doubt"] | None: ...

    def begun(self, key: str) -> bool:
        """An earlier attempt under this key has left its trace."""

    def forget(self, key: str) -> None:
        """The result is on record: that trace may go."""


@dataclass(kw_only=True, slots=True)
class Permit:
    """Made by the gate alone, good for one run of one call with these very arguments."""

    call: ToolCall
    started: ToolStarted
    parallel: bool
    gate: PolicyGate
    prepared: Prepared
    arguments: bytes
    approved: str
    """Digest of what the owner approved; empty where no approval was needed."""
    judged: Policy | None
    """The policy it was judged by; None for what had begun before and is brought to its end."""
    grants: Sequence[str]
    spent: bool = False


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
        boot: str = "",
    ) -> None:
        """`boot`: id of this run of the machine, as the kernel records it in `tool_started`."""
        self._bench, self._policy, self._places = bench, policy, places
        self._session, self._ids, self._boot = session, ids, boot
        self._finished: list[str] = []
        """Keys of calls with effects that have run to their end."""

    async def judge(
        self,
        call: ToolCall,
        *,
        key: str,
        decided: ApprovalDecided | None = None,
        grants: Sequence[str] = (),
    ) -> Verdict:
        # Invariant: the kernel commits the results of what ran before it asks for anything more.
        while self._finished:
            self._bench.forget(self._finished.pop())
        prepared = self._bench.prepare(call)
        if isinstance(prepared, ToolResult):
            return Refuse(prepared)
        if prepared.effects and self._bench.begun(key):
            # It was permitted when it began; what is under way must be brought to its one result.
            return self._permit(prepared, key, "begun before a crash", None)
        try:
            policy = self._policy.current()
        except ConfigError as error:
            return Refuse(_broken(error))
        zones = self._zones(prepared)
        if refusal := self._forbidden(prepared, policy, zones):
            return Refuse(refusal)
        if decided is not None and decided.answer == "deny":
            note = f": {decided.note}" if decided.note else "."
            return _refuse(f"The owner declined this call{note}")
        if decided is not None:
            digest = await asyncio.to_thread(self._digest, prepared)
            if decided.approval.endswith(digest):
                by = f"approved by {decided.by}" if decided.by else "approved"
                return self._permit(prepared, key, by, policy, approved=digest)
            return await self._ask(prepared, "it, or what it works on, changed since the approval")
        may, why = self._weigh(prepared, policy, zones, grants)
        if may:
            return self._permit(prepared, key, why, policy, grants=grants)
        return await self._ask(prepared, why)

    def _weigh(
        self, prepared: Prepared, policy: Policy, zones: _Zones, grants: Sequence[str]
    ) -> tuple[bool, str]:
        """May a call that is not forbidden run without a question? And what allows it, or why not."""
        for rule in policy.allow:
            if self._allows(rule, prepared):
                return True, f"rule {rule} at {rule.where}"
        for grant in grants:
            if self._granted(grant, prepared):
                return True, f"granted for this session: {grant}"
        reason = self._doubtful(prepared, policy) or self._reason(prepared, policy, zones)
        return (False, reason) if reason else (True, f"mode {policy.mode}")

    async def run(self, permit: Allow, emit: Emit, *, resumed: bool) -> ToolResult:
        if not isinstance(permit, Permit) or permit.gate is not self or permit.spent:
            return _denied("There is no permit for this call.")
        if _encode(permit.call.arguments) != permit.arguments:
            return _denied("The arguments changed after the call was permitted.")
        permit.spent = True
        key = permit.started.key
        if changed := self._changed(permit):
            return changed
        if permit.approved and not self._bench.begun(key):
            digest = await asyncio.to_thread(self._digest, permit.prepared)
            if digest != permit.approved:
                return _denied("What it works on changed after the approval; ask for it again.")
        result = await permit.prepared.run(key=key, emit=emit, resumed=resumed)
        if permit.prepared.effects:
            self._finished.append(key)
        return result

    def _changed(self, permit: Permit) -> ToolResult | None:
        """Why the policy as it is by now does not let a permitted call run."""
        if permit.judged is None:
            return None
        try:
            policy = self._policy.current()
        except ConfigError as error:
            return _broken(error)
        if policy is permit.judged:
            return None
        prepared = permit.prepared
        zones = self._zones(prepared)
        if refusal := self._forbidden(prepared, policy, zones):
            return refusal
        if permit.approved or self._weigh(prepared, policy, zones, permit.grants)[0]:
            return None
        return _denied("The owner's policy changed before this ran; ask for it again.")

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

    def _permit(
        self,
        prepared: Prepared,
        key: str,
        why: str,
        judged: Policy | None,
        *,
        approved: str = "",
        grants: Sequence[str] = (),
    ) -> Permit:
        call = prepared.call
        return Permit(
            call=call,
            started=ToolStarted(
                call=call.id, tool=call.name, effects=prepared.effects, key=key, permit=why
            ),
            parallel=prepared.parallel,
            gate=self,
            prepared=prepared,
            arguments=_encode(call.arguments),
            approved=approved,
            judged=judged,
            grants=tuple(grants),
        )

    async def _ask(self, prepared: Prepared, reason: str) -> Ask:
        call = prepared.call
        preview, digest = await asyncio.to_thread(
            lambda: (prepared.preview(), self._digest(prepared))
        )
        if len(preview) > PREVIEW_CHARS:
            left = len(preview) - PREVIEW_CHARS
            preview = f"{preview[:PREVIEW_CHARS]}\n[… {left:,} more characters]"
        paths = [t.path for t in prepared.touches]
        narrow = any(t.write and in_git(t.path) for t in prepared.touches)
        rule = str(covering(call.name, prepared.command, paths, self._places.home, narrow=narrow))
        return Ask(
            ApprovalRequested(
                # Ends in the digest, so that the answer carries what it was given for.
                approval=ApprovalId(f"{self._ids.new('a')}{digest}"),
                call=call.id,
                tool=call.name,
                arguments=call.arguments,
                reason=reason,
                preview=_storable(preview),
                offers=("once", "session", "always"),
                rule=_storable(rule),
            )
        )

    def _digest(self, prepared: Prepared) -> str:
        """Of all that an approval covers: tool, arguments, resolved paths, directory, file contents."""
        call = prepared.call
        paths = [os.fsencode(t.path) for t in prepared.touches]
        parts = [
            self._session.encode(),
            call.name.encode("utf-8", "replace"),
            _encode(call.arguments),
            os.fsencode(self._places.home),
            *paths,
            prepared.binding(),
        ]
        digest = hashlib.blake2b(digest_size=_DIGEST_CHARS // 2)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    def _forbidden(self, prepared: Prepared, policy: Policy, zones: _Zones) -> ToolResult | None:
        """What no approval can allow."""
        for touch, zone in zones:
            if zone == "secret":
                return _denied(f"{touch.path} holds secrets of the runtime; no tool may touch it.")
            if zone == "control" and touch.write:
                return _denied(
                    f"{touch.path} belongs to the runtime and decides what agents may do; tools cannot "
                    "write it. Ask the owner to change it."
                )
        for rule in policy.deny:
            if self._denies(rule, prepared):
                return _denied(
                    f"The owner's policy denies this: {rule} at {rule.where}. "
                    "Do not try to get around it; say what you need instead."
                )
        return None

    def _zones(self, prepared: Prepared) -> _Zones:
        return [(t, self._places.zone(t.path, write=t.write)) for t in prepared.touches]

    def _denies(self, rule: Rule, prepared: Prepared) -> bool | None:
        paths = [t.path for t in prepared.touches]
        places = self._places
        return rule.denies(
            prepared.call.name, prepared.command, paths, places.home, workspace=places.root
        )

    def _doubtful(self, prepared: Prepared, policy: Policy) -> str:
        """A deny rule may cover this, and the text does not tell."""
        for rule in policy.deny:
            if self._denies(rule, prepared) is None:
                return f"it cannot be told whether the rule {rule} at {rule.where} denies it"
        return ""

    def _allows(self, rule: Rule, prepared: Prepared) -> bool:
        paths = [t.path for t in prepared.touches]
        if not rule.allows(prepared.call.name, prepared.command, paths, self._places.home):
            return False
        # What git would run later needs a rule that means it.
        return ".git" in rule.path or not any(t.write and in_git(t.path) for t in prepared.touches)

    def _granted(self, grant: str, prepared: Prepared) -> bool:
        try:
            return self._allows(parse_rule(grant), prepared)
        except ConfigError:
            return False

    def _reason(self, prepared: Prepared, policy: Policy, zones: _Zones) -> str:
        """Why the owner must be asked; empty: no need to."""
        for touch, zone in zones:
            if touch.write and in_git(touch.path):
                return f"it writes {touch.path}, from which git runs programs"
            if zone != "inside":
                verb = "writes" if touch.write else "reads"
                what = "belongs to the runtime" if zone == "control" else "is outside the workspace"
                return f"it {verb} {touch.path}, which {what}"
        if not prepared.effects:
            return ""
        if policy.mode == "ask":
            if prepared.command is not None:
                return "it runs a command"
            return f"it has effects: {', '.join(e for e in prepared.effects if e != 'reads')}"
        return "it spends" if "spends" in prepared.effects else ""


def _refuse(text: str) -> Refuse:
    return Refuse(_denied(text))


def _broken(error: ConfigError) -> ToolResult:
    return _denied(f"Nothing may run until the owner has repaired the policy: {error}")


def _denied(text: str) -> ToolResult:
    return ToolResult(status="denied", parts=(Text(text=_storable(text)),))


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
