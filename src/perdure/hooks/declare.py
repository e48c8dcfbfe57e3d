"""What a hook file says: which function stands at which point, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

import msgspec

from perdure.kernel.events import SessionId
from perdure.kernel.ports import HookPoint

from .points import BLOCKING, TOOL_POINTS

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Fail = Literal["open", "closed"]

DEFAULT_TIMEOUT = 5.0
LONGEST_TIMEOUT = 600.0
MARK = "__perdure_hooks__"


@dataclass(frozen=True, slots=True)
class HookEvent(Generic[T]):
    """What a hook is called with."""

    point: HookPoint
    session: SessionId
    value: T
    """The kernel's own record; its type depends on the point, see docs/guides/hooks.md."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook wants. Made by `block`, `rewrite` and `again`; None means: go on."""

    block: str = ""
    again: str = ""
    value: object = None


Handler = Callable[[HookEvent[Any]], Awaitable[Answer | None] | Answer | None]


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    on: HookPoint
    fail: Fail
    timeout: float
    tools: frozenset[str]


def hook(
    on: HookPoint,
    *,
    fail: Fail = "open",
    timeout: float = DEFAULT_TIMEOUT,
    tools: Sequence[str] = (),
) -> Callable[[F], F]:
    """Declare a function, async or not, as a hook. `fail` says what its failing means: `open` that
    all goes on, `closed` that what it was asked about is blocked. `timeout` is in seconds. With
    `tools` it is called for these tools only. Raises ValueError when that makes no sense."""
    declaration = declare(on, fail=fail, timeout=timeout, tools=tools)

    def mark(function: F) -> F:
        setattr(function, MARK, (declaration, *getattr(function, MARK, ())))
        return function

    return mark


def declare(on: HookPoint, *, fail: Fail, timeout: float, tools: Sequence[str] = ()) -> Declaration:
    if on not in get_args(HookPoint):
        raise ValueError(
            f"there is no hook point {on!r}; there are: {', '.join(get_args(HookPoint))}"
        )
    if fail not in get_args(Fail):
        raise ValueError(f"fail is 'open' or 'closed', not {fail!r}")
    if fail == "closed" and on not in BLOCKING:
        raise ValueError(f"a hook on {on} cannot block, so it cannot fail closed")
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ValueError(f"timeout is between 0 and {LONGEST_TIMEOUT:.0f} seconds, not {timeout}")
    if isinstance(tools, str):
        tools = (tools,)
    if tools and on not in TOOL_POINTS:
        raise ValueError(f"{on} is not about a tool, so `tools` has no meaning there")
    return Declaration(on=on, fail=fail, timeout=float(timeout), tools=frozenset(tools))


def block(reason: str) -> Answer:
    """It must not go on. The owner is told the reason; the model too where it was about a tool."""
    return Answer(block=reason or "no reason was given")


def rewrite(value: object) -> Answer:
    """Go on with this in the event's value's place: a changed copy of it, or a dict of the fields
    that change. Which may change depends on the point."""
    return Answer(value=value)


def again(text: str) -> Answer:
    """Tell the model this and let it take one more step, instead of ending its turn."""
    return Answer(again=text)
