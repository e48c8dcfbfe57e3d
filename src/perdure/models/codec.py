"""JSON in and out of the wire, tolerant of what servers really send.

msgspec refuses lone surrogates and NaN. Servers cut emoji between two stream events, and models write
NaN into arguments: here the first is mended or replaced, and the second is malformed.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn, TypeVar

import msgspec

from perdure.kernel.events import Json

T = TypeVar("T")

DEEPEST = 100
"""Levels of nesting in a call's arguments; the session's log takes few more, and no tool wants them."""

_encoder = msgspec.json.Encoder()


def clean(text: str) -> str:
    """Without lone surrogates: halves that meet become their character, others U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encode(value: object) -> bytes:
    """Compact JSON. Lone surrogates are replaced rather than refused."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return json.dumps(
            _cleaned(msgspec.to_builtins(value)), ensure_ascii=False, separators=(",", ":")
        ).encode()


def decode(data: bytes, type: type[T]) -> T:
    """Read JSON as `type`. Lone surrogates stay in the strings, to be mended by `clean`.
    Raises ValueError when it is no JSON, or does not fit."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise
        text = data.decode("utf-8", "replace")
        loose = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        try:
            return msgspec.convert(loose, type)
        except msgspec.ValidationError:
            # Raw fields cannot be converted from values: read them from clean bytes.
            return msgspec.json.decode(encode(loose), type=type)


def decode_arguments(text: str) -> dict[str, Json] | None:
    """A tool call's arguments; None when they are no JSON object, or one nested beyond DEEPEST.
    Nothing at all means no arguments."""
    text = clean(text)
    if not text.strip():
        return {}
    try:
        value = decode(text.encode(), dict[str, Json])
    except (ValueError, RecursionError):
        return None
    if text.count("{") + text.count("[") > DEEPEST and _deeper(value, DEEPEST):
        return None
    cleaned = _cleaned(value)
    return cleaned if isinstance(cleaned, dict) else None


def _deeper(value: Json, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(v, levels - 1) for v in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper(v, levels - 1) for v in value)
    return False


def _cleaned(value: Json) -> Json:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(k): _cleaned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_cleaned(v) for v in value]
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
