"""Text and JSON that can be stored, sent and read, whatever a tool returned or raised."""

from __future__ import annotations

import math

from perdure.kernel.events import Json, Part, Text

from .base import FAULTS


def raised(error: BaseException) -> str:
    try:
        text = clean(str(error))
    except FAULTS:
        text = ""
    return f"{type(error).__name__}: {text[:2000]}" if text else type(error).__name__


def clean(text: str) -> str:
    """Without lone surrogates, which no codec takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def clean_part(part: Part) -> Part:
    return Text(text=clean(part.text)) if isinstance(part, Text) else part


def finite(value: Json) -> Json:
    """JSON that every reader takes: no NaN, no infinity, no lone surrogates, no foreign objects."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, dict):
        return {clean(str(k)): finite(v) for k, v in value.items()}
    return clean(str(value))
