"""What each hook point shows, and what a hook may change there.

A value is seen as JSON by commands and as the kernel's record by Python; a rewrite is always checked in
its JSON form against the type it replaces, so that a hook cannot put anything into a session that the
session could not read again.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure.kernel.events import (
    AssistantPart,
    Json,
    MessageReceived,
    ModelFailed,
    Part,
    ToolCall,
    ToolResult,
    TurnEnded,
)
from perdure.kernel.ports import HookPoint
from perdure.kernel.prompt import CallResult, Prompt, Reply

TOOL_POINTS: frozenset[HookPoint] = frozenset(("before_tool", "on_tool_call", "on_tool_result"))
BLOCKING: frozenset[HookPoint] = frozenset(
    ("on_user_message", "before_model", "on_model_response", "before_tool", "on_tool_result")
)
CONTINUING: frozenset[HookPoint] = frozenset(("on_model_response", "on_turn_end"))

TYPES: Mapping[HookPoint, type[Any]] = {
    "on_user_message": MessageReceived,
    "before_model": Prompt,
    "on_model_response": Reply,
    "before_tool": ToolCall,
    "on_tool_call": ToolCall,
    "on_tool_result": CallResult,
    "on_turn_end": TurnEnded,
    "on_error": ModelFailed,
}
_WRITABLE: Mapping[HookPoint, tuple[str, Any]] = {
    "on_user_message": ("parts", tuple[Part, ...]),
    "before_model": ("tail", str),
    "on_model_response": ("parts", tuple[AssistantPart, ...]),
    "before_tool": ("arguments", dict[str, Json]),
    "on_tool_result": ("result", ToolResult),
}
"""The one field of each value that a hook may change."""


class Unfit(Exception):
    """A hook's answer cannot be used; the message says why."""


def tool_of(value: object) -> str:
    """The tool that a value of a tool point is about."""
    return value.name if isinstance(value, ToolCall) else getattr(value, "tool", "")


def view(value: object) -> dict[str, Json]:
    """The value as plain JSON."""
    if isinstance(value, Prompt):
        shown: object = {
            "tail": value.tail,
            "items": len(value.items),
            "tokens": value.tokens,
            "tools": value.tools,
        }
    elif isinstance(value, Reply):
        fields = msgspec.structs.asdict(value)
        del fields["native"]  # the provider's own form: not for hooks
        shown = fields
    else:
        shown = value
    seen: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(shown))
    return seen


def guarded(value: object) -> object:
    """The value for a Python hook: what it changes in place must not reach the session."""
    if isinstance(value, ToolCall):
        return msgspec.structs.replace(value, arguments=copy.deepcopy(value.arguments))
    if isinstance(value, CallResult):
        result = msgspec.structs.replace(value.result, data=copy.deepcopy(value.result.data))
        return msgspec.structs.replace(value, result=result)
    if isinstance(value, Reply):
        parts = [guarded(p) if isinstance(p, ToolCall) else p for p in value.parts]
        return msgspec.structs.replace(value, parts=tuple(parts))
    if isinstance(value, Prompt):
        return dataclasses.replace(value, items=tuple(value.items))
    return value


def rewritten(point: HookPoint, value: object, wanted: object) -> object:
    """`value` with what a hook wants changed. Raises Unfit."""
    if point not in _WRITABLE:
        raise Unfit(f"{point} is there to look, not to rewrite")
    name, kind = _WRITABLE[point]
    before = view(value)
    try:
        given = view(wanted) if isinstance(wanted, TYPES[point]) else wanted
        given = msgspec.json.decode(msgspec.json.encode(given))
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"the rewritten value is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Unfit(f"a rewrite is an object with `{name}`, not {type(given).__name__}")
    for field, content in given.items():
        if field != name and content != before.get(field):
            raise Unfit(f"only `{name}` may be rewritten on {point}, not `{field}`")
    if name not in given or given[name] == before.get(name):
        return value
    try:
        content = msgspec.convert(given[name], kind)
    except msgspec.ValidationError as error:
        raise Unfit(f"the rewritten `{name}` does not fit: {error}") from None
    return _APPLY[point](value, content)


def _message(value: MessageReceived, parts: tuple[Part, ...]) -> MessageReceived:
    if not parts:
        raise Unfit("a message needs at least one part; block it to keep it from the model")
    return msgspec.structs.replace(value, parts=parts)


def _prompt(value: Prompt, tail: str) -> Prompt:
    return dataclasses.replace(value, tail=tail)


def _reply(value: Reply, parts: tuple[AssistantPart, ...]) -> Reply:
    if not parts:
        raise Unfit("a reply needs at least one part")
    made = [p.id for p in value.parts if isinstance(p, ToolCall)]
    kept = [p.id for p in parts if isinstance(p, ToolCall)]
    # Invariant (D3): calls pair with results by id, so no new ids and none twice.
    if len(set(kept)) < len(kept) or not set(kept) <= set(made):
        raise Unfit("a rewritten reply may drop or change the model's tool calls, not add any")
    stop = value.stop if kept or value.stop != "tools" else "end"
    return msgspec.structs.replace(value, parts=parts, stop=stop, native=None)


def _call(value: ToolCall, arguments: dict[str, Json]) -> ToolCall:
    return msgspec.structs.replace(value, arguments=arguments, unparsed="")


def _result(value: CallResult, result: ToolResult) -> CallResult:
    return msgspec.structs.replace(value, result=result)


_APPLY: Mapping[HookPoint, Callable[[Any, Any], object]] = {
    "on_user_message": _message,
    "before_model": _prompt,
    "on_model_response": _reply,
    "before_tool": _call,
    "on_tool_result": _result,
}
