"""Which arguments of a call decide what comes of it, one value at a time (S3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perdure.kernel.events import Json

from .base import FAULTS, CriticalKind, Sink, Tool

MOST = 1_000
"""Values of one argument; what holds more is given whole, as one that nobody can have vouched for."""
OUTSIDE = frozenset(("network", "spends"))

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ONE = ("items", "additionalProperties", "contains", "propertyNames", "if", "then", "else", "not")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")
"""Where a schema holds others."""
_SEPARATORS = re.compile(r"[,;\r\n]")

Value = tuple[str, CriticalKind, str]


def sink_of(tool: Tool, effects: Sequence[str]) -> Sink | None:
    """`effects`: of this very call, empty when it only reads."""
    declared = type(tool).sink
    if declared is not None:
        return declared if effects or type(tool).only_reads() else None
    if OUTSIDE.isdisjoint(effects):
        return None
    names = tuple(f.alias or name for name, f in type(tool).model_fields.items())
    return Sink(
        kind="pay" if "spends" in effects else "send",
        critical=dict.fromkeys(names, "text"),
        content=names,
    )


def critical_values(tool: Tool, sink: Sink | None, given: Mapping[str, Json]) -> list[Value]:
    """`given`: the arguments as the model sent them, for a tool whose own view cannot be shown."""
    if sink is None:
        return []
    arguments = used(tool, given)
    found: list[Value] = []
    for name, field in type(tool).model_fields.items():
        shown = field.alias or name
        kind = sink.critical.get(shown) or sink.critical.get(name)
        if kind is None or shown not in arguments:
            continue
        # Undeclared: the keys of objects are the model's choice as well, and kinds are told by form.
        try:
            values = list(_flat(shown, kind, arguments[shown], type(tool).sink is not None))
        except RecursionError:
            values = [(shown, "text", "(nested too deeply to be taken apart)")]
        found += values if len(values) <= MOST else [(shown, "text", str(arguments[shown]))]
    return found


def defaults_of(tool: Tool) -> dict[str, Json]:
    """Of arguments that were not given, those that are one text, number or truth value."""
    return {
        field.alias or name: field.default
        for name, field in type(tool).model_fields.items()
        if name not in tool.model_fields_set and isinstance(field.default, str | int | float)
    }


def selecting(tool: type[Tool]) -> tuple[str, ...]:
    """Arguments that choose what a call does, such as `action`."""
    if tool.selects is not None:
        return tool.selects
    every = tuple(f.alias or name for name, f in tool.model_fields.items())
    try:
        schema = tool.model_json_schema(by_alias=True)
    except FAULTS:  # an owner's tool: what cannot be told apart decides
        return every
    parts, definitions = schema.get("properties", {}), schema.get("$defs", {})
    return tuple(name for name in every if _chosen(parts.get(name, True), definitions))


def _chosen(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Is something in it one of a few values, or true or false? Told by the schema, so that it does not
    matter how its author spelt the type."""
    waiting, seen = [schema], set[str]()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            if node is True:  # anything would do; nothing is known of it
                return True
            continue
        if "enum" in node or "const" in node or "boolean" in _types(node):
            return True
        if isinstance(ref := node.get("$ref"), str) and ref not in seen:
            seen.add(ref)
            waiting.append(definitions.get(ref.rpartition("/")[2], True))
        for key in _ONE:
            waiting += [node[key]] if isinstance(node.get(key), dict) else []
        for key in _SEVERAL:
            inner = node.get(key)
            waiting += inner if isinstance(inner, list) else []
        for key in _NAMED:
            inner = node.get(key)
            waiting += inner.values() if isinstance(inner, dict) else []
    return False


def _types(node: Mapping[str, Any]) -> Sequence[str]:
    said = node.get("type", ())
    return [said] if isinstance(said, str) else said


def used(tool: Tool, given: Mapping[str, Json]) -> Mapping[str, Json]:
    """What the model gave, as the tool will use it: defaults are the tool's own."""
    try:
        return tool.model_dump(mode="json", by_alias=True, exclude_unset=True)
    except FAULTS:  # an owner's tool
        return given


def _flat(path: str, kind: CriticalKind, value: Json, declared: bool) -> Iterator[Value]:
    if value is None or value == "":
        return
    if isinstance(value, list | tuple):
        for at, element in enumerate(value):
            yield from _flat(f"{path}[{at}]", kind, element, declared)
    elif isinstance(value, dict):
        for key, element in value.items():
            if not declared:
                yield f"{path}{{key}}", "text", str(key)
            yield from _flat(f"{path}.{key}", kind, element, declared)
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not declared:
            kind = _kind(value, text)
        parts = [text] if kind != "recipient" else _addresses(text)
        for at, part in enumerate(parts):
            yield path if len(parts) == 1 else f"{path}[{at}]", kind, part


def _addresses(text: str) -> list[str]:
    return [part for p in _SEPARATORS.split(text) if (part := p.strip())] or [text]


def _kind(value: Json, text: str) -> CriticalKind:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "amount"
    if _URL.match(text):
        return "url"
    return "recipient" if "@" in text and len(text) <= 2_000 else "text"
