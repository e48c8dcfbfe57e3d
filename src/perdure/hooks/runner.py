"""Fires the hooks of a point, one after the other, for one session."""

from __future__ import annotations

from typing import Literal, TypeVar, cast

from perdure.kernel.events import HookActed, Json, SessionId
from perdure.kernel.ports import HookOutcome, HookPoint

from .command import CommandHook, run_command
from .declare import Answer, HookEvent
from .hookset import Entry, HookSet
from .load import BrokenHook, PythonHook
from .points import BLOCKING, CONTINUING, TOOL_POINTS, Unfit, guarded, rewritten, tool_of, view
from .side import HookFailed

T = TypeVar("T")
MOST_DETAIL = 500
"""Characters of an act's detail."""


class HookRunner:
    """Implements ports.Hooks."""

    def __init__(self, hooks: HookSet, session: SessionId) -> None:
        self._hooks, self._session = hooks, session

    def wants(self, point: HookPoint) -> bool:
        return bool(self._hooks.at(point))

    async def fire(self, point: HookPoint, value: T) -> HookOutcome[T]:
        acts: list[HookActed] = []
        again: list[str] = []
        for entry in self._hooks.at(point):
            wanted = entry.declaration.tools
            if wanted and point in TOOL_POINTS and tool_of(value) not in wanted:
                continue
            try:
                answer = await self._ask(entry, point, value)
                changed, block, more = _read(point, value, answer)
            except (HookFailed, Unfit) as failure:
                why = self._failed(entry, failure)
                acts.append(_act(entry, point, "failed", why))
                if entry.declaration.fail == "closed":
                    return HookOutcome(
                        value=value,
                        block=f"hook {entry.hook.name} failed: {why}",
                        again="\n".join(again),
                        acts=tuple(acts),
                    )
                continue
            if answer is not _SKIPPED:
                entry.succeeded()
            if block:
                acts.append(_act(entry, point, "blocked", block))
                return HookOutcome(value=value, block=block, acts=tuple(acts))
            if changed is not value:
                value = changed
                acts.append(_act(entry, point, "rewrote", ""))
            if more:
                again.append(more)
                acts.append(_act(entry, point, "continued", more))
        return HookOutcome(value=value, again="\n".join(again), acts=tuple(acts))

    async def _ask(self, entry: Entry, point: HookPoint, value: object) -> Answer | None:
        """Raises HookFailed, also for one that fails closed and is left alone for now."""
        hook, hooks = entry.hook, self._hooks
        left = entry.resting_until - hooks.monotonic()
        if left > 0:
            if entry.declaration.fail == "closed":
                raise _Resting(f"it kept failing; it is asked again in {left:.0f} s")
            return _SKIPPED
        if isinstance(hook, PythonHook):
            event = HookEvent(point, self._session, guarded(value))
            return await hooks.side.call(hook.handler, event, entry.declaration.timeout)
        if isinstance(hook, CommandHook):
            return await run_command(hook, self._session, _shown(value), hooks.cwd)
        raise HookFailed(hook.why)

    def _failed(self, entry: Entry, failure: Exception) -> str:
        why = _brief(str(failure))
        if isinstance(failure, _Resting) or isinstance(entry.hook, BrokenHook):
            return why
        if rest := entry.failed(self._hooks.monotonic()):
            why += f" ({entry.failures} times in a row: it is left alone for {rest:.0f} s)"
        return why


_SKIPPED = Answer()
"""Of a hook that was not asked."""


class _Resting(HookFailed):
    """It was not asked, because it kept failing."""


def _read(point: HookPoint, value: T, answer: Answer | None) -> tuple[T, str, str]:
    """What an answer means at a point: the value to go on with, a reason to block, words for one
    more step. Raises Unfit."""
    if answer is None:
        return value, "", ""
    if answer.block and point not in BLOCKING:
        raise Unfit(f"nothing can be blocked on {point}")
    if answer.again and point not in CONTINUING:
        raise Unfit(f"one more step can be asked for on {', '.join(sorted(CONTINUING))} only")
    if answer.block:
        return value, _brief(answer.block), ""
    if answer.value is not None:
        value = cast("T", rewritten(point, value, answer.value))
    return value, "", _clean(answer.again)


def _shown(value: object) -> dict[str, Json]:
    try:
        return view(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise HookFailed(f"it cannot be told what this is about: {error}") from None


def _act(
    entry: Entry,
    point: HookPoint,
    action: Literal["blocked", "rewrote", "continued", "failed"],
    detail: str,
) -> HookActed:
    return HookActed(
        hook=_clean(entry.hook.name), point=point, action=action, detail=_brief(detail)
    )


def _brief(text: str) -> str:
    text = _clean(text)
    return text if len(text) <= MOST_DETAIL else text[: MOST_DETAIL - 1] + "…"


def _clean(text: str) -> str:
    """The session's codec takes no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
