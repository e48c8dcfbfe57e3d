"""The JSON schema a model sees, kept small, and what it is told when its arguments do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from perdure.kernel.events import Json, ToolResult
from perdure.kernel.prompt import ToolSchema

from .base import Tool, failed

SHOWN = 80
"""Characters of a wrong value that are repeated to the model."""

_NOISE = ("title", "default", "additionalProperties", "minLength", "maxLength")


def tool_schema(tool: type[Tool]) -> ToolSchema:
    return ToolSchema(name=tool.name, description=tool.describe(), parameters=parameters(tool))


def parameters(tool: type[Tool]) -> dict[str, Json]:
    """JSON Schema of the arguments, without what costs tokens and tells a model nothing."""
    schema = tool.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    compact = _compact(schema, definitions, ())
    assert isinstance(compact, dict)
    compact.setdefault("properties", {})
    return compact


def _compact(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Json:
    if isinstance(node, list):
        return [_compact(n, definitions, inside) for n in node]
    if not isinstance(node, dict):
        return node  # type: ignore[no-any-return]
    if isinstance(ref := node.get("$ref"), str):
        name = ref.rsplit("/", 1)[-1]
        if name in inside:
            return {"type": "object"}  # a recursive model: not every provider takes references
        merged = {**definitions[name], **{k: v for k, v in node.items() if k != "$ref"}}
        return _compact(merged, definitions, (*inside, name))
    optional = node.get("anyOf")
    if isinstance(optional, list):
        real = [o for o in optional if o != {"type": "null"}]
        if len(real) == 1 and len(optional) == 2:
            rest = {k: v for k, v in node.items() if k != "anyOf"}
            return _compact({**real[0], **rest}, definitions, inside)
    out: dict[str, Json] = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            out[key] = {k: _compact(v, definitions, inside) for k, v in value.items()}
        elif key in ("enum", "const", "required", "examples"):
            out[key] = value
        elif key not in _NOISE:
            out[key] = _compact(value, definitions, inside)
    return out


def validate(tool: type[Tool], arguments: Mapping[str, Json]) -> Tool | ToolResult:
    """The call's arguments as an instance of its tool, or the result that tells what is wrong."""
    try:
        return tool.model_validate(arguments)
    except ValidationError as error:
        first = error
    # Models often send null for what they mean to leave out.
    without = {k: v for k, v in arguments.items() if v is not None}
    if len(without) < len(arguments):
        try:
            return tool.model_validate(without)
        except ValidationError:
            pass
    return failed(explain(tool, first), "invalid", fields=[_where(e) for e in first.errors()[:10]])


def explain(tool: type[Tool], error: ValidationError) -> str:
    """Field, problem and what was expected, a line each."""
    known = [f.alias or n for n, f in tool.model_fields.items()]
    lines = [f"- {_problem(e, known)}" for e in error.errors()[:10]]
    expected = ", ".join(
        f"{f.alias or n}{'' if f.is_required() else ' (optional)'}"
        for n, f in tool.model_fields.items()
    )
    return (
        f"{tool.name} was not run, its arguments do not fit:\n"
        + "\n".join(lines)
        + f"\nArguments: {expected or 'none'}."
    )


def _where(error: ErrorDetails) -> str:
    where = ".".join(str(p) for p in error["loc"]) or "arguments"
    return where.encode("utf-8", "replace").decode()[:SHOWN]


def _problem(error: ErrorDetails, known: list[str]) -> str:
    field = _where(error)
    if error["type"] == "missing":
        return f"{field}: missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, known, 1)
        return f"{field}: there is no such argument" + (
            f"; did you mean {near[0]}?" if near else ""
        )
    value = repr(error["input"])
    shown = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
    message = error["msg"]
    return f"{field}: {message[:1].lower()}{message[1:]}; got {shown}"
