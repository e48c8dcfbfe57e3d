"""A function of a suite as a tool of Perdure; it works on the environment of the session that calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import PydanticUndefined, to_jsonable_python

from perdure.kernel.events import Json, Text, ToolResult
from perdure.tools import Tool, ToolContext, failed

from .declared import DECLARED

Execute = Callable[[str, str, dict[str, Any]], tuple[object, str | None]]
"""Session, function, arguments; gives the result, and what went wrong."""


def wrap(suite: Any, execute: Execute) -> list[type[Tool]]:
    return [_wrap(function, execute) for function in suite.tools]


def _wrap(function: Any, execute: Execute) -> type[Tool]:
    declared = DECLARED[function.name]

    async def run(self: Tool, context: ToolContext) -> ToolResult:
        arguments = self.model_dump(exclude_unset=True)
        value, error = execute(context.session, function.name, arguments)
        if error is not None:
            return failed(error)
        return ToolResult(parts=(Text(text=_told(value)),), data=_data(value), label=declared.label)

    fields = function.parameters.model_fields
    namespace: dict[str, object] = {
        "__module__": __name__,
        "__doc__": function.description,
        "__annotations__": {name: f.annotation for name, f in fields.items()},
        "execute": run,
        "name": function.name,
        "cooperative": True,
        "effects": declared.effects,
        "origin": declared.origin,
        "sink": declared.sink,
        "marks": declared.marks,
        "creates": declared.creates,
    }
    for name, f in fields.items():
        if f.default is not PydanticUndefined:
            namespace[name] = Field(default=f.default, description=f.description)
        else:
            namespace[name] = Field(description=f.description)
    title = "".join(part.title() for part in function.name.split("_"))
    made: type[Tool] = type(Tool)(title, (Tool,), namespace)
    return made


def _told(value: object) -> str:
    from agentdojo.agent_pipeline.tool_execution import tool_result_to_str

    return str(tool_result_to_str(value)) or "(empty)"


def _data(value: object) -> dict[str, Json]:
    """Structured content, as a server of tools gives it: an object."""
    plain = to_jsonable_python(value)
    if isinstance(value, BaseModel) or isinstance(plain, dict):
        return {str(k): v for k, v in plain.items()}
    return {
        "items" if isinstance(value, Sequence) and not isinstance(value, str) else "text": plain
    }
