"""The JSON Schema of a policy file, for editors."""

from __future__ import annotations

from perdure.kernel.events import Json

from .query import MODES, ORIGINS
from .reading import KEYS, RULE_KEYS

_TEXT: Json = {"type": "string", "minLength": 1}
_TEXTS: Json = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_ABOUT = {
    "tool": "Its name, with * and ?.",
    "command": "Pattern for each command of a shell line.",
    "exactly": "A shell line to the letter.",
    "path": "Relative to the working directory; ** crosses folders.",
    "host": "Patterns of the hosts it talks to.",
    "recipient": "Patterns of who receives what it sends.",
    "origin": "What started the run.",
    "arguments": "Patterns of arguments by name, or min and max.",
    "content": "Digest of the files that the command runs.",
}


def policy_schema() -> dict[str, Json]:
    """Of `policy.yaml` in all its places."""
    origin: Json = {"type": "string", "enum": list(ORIGINS)}
    number: Json = {"type": "number"}
    bounds: Json = {
        "type": "object",
        "properties": {"min": number, "max": number},
        "additionalProperties": False,
        "minProperties": 1,
    }
    kinds: dict[str, Json] = {
        "host": _TEXTS,
        "recipient": _TEXTS,
        "origin": {"anyOf": [origin, {"type": "array", "items": origin, "minItems": 1}]},
        "arguments": {
            "type": "object",
            "additionalProperties": {"anyOf": [_TEXTS, bounds]},
            "minProperties": 1,
        },
    }
    rule: Json = {
        "type": "object",
        "properties": {
            key: {"description": _ABOUT[key], **_object(kinds.get(key, _TEXT))} for key in RULE_KEYS
        },
        "required": ["tool"],
        "not": {"required": ["command", "exactly"]},
        "additionalProperties": False,
    }
    duragent: Json = {"type": "string", "pattern": "^(bash|builtin|cli|mcp|\\*):.+"}
    rules: Json = {
        "type": ["array", "null"],
        "items": {"anyOf": [{"$ref": "#/$defs/Rule"}, duragent]},
    }
    top: dict[str, Json] = {
        "mode": {"type": "string", "enum": list(MODES)},
        "expire": {
            "description": "How long a question waits.",
            "type": "string",
            "pattern": "^[0-9]{1,4}[mhd]$",
        },
        "apiVersion": {"type": "string"},
        "kind": {"const": "Policy"},
        "notify": {"description": "Duragent's; nothing is sent.", "type": "object"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy",
        "type": "object",
        "properties": {key: top.get(key, rules) for key in KEYS},
        "additionalProperties": False,
        "$defs": {"Rule": rule},
    }


def _object(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value
