"""Names and ids of tool calls in forms that every provider takes back.

Models invent names (empty, with spaces, endless), and each provider makes ids of its own. A history that
holds one which a server refuses would be refused with every later request, so both are mended: names
when a reply ends, and both again whenever an item is encoded, for what was written earlier or elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from perdure.kernel.events import ToolCall
from perdure.kernel.prompt import AssistantItem

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""The strictest of all (Gemini's first letter, OpenAI's letters and length), and that of our tools."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST = 64


def call_name(name: str) -> str:
    """A tool's name as every provider takes it; one that is fine stays, and so does a mended one."""
    if _NAME.fullmatch(name):
        return name
    mended = re.sub(r"[^A-Za-z0-9_-]", "_", name.strip())[:LONGEST]
    if not mended.strip("_"):
        return "unnamed"
    return mended if _NAME.fullmatch(mended) else f"_{mended}"[:LONGEST]


def call_id(identity: str) -> str:
    """An id of letters, digits, `_` and `-`; the same one always gives the same one."""
    return identity if _ID.fullmatch(identity) else _hashed(identity)


def short_id(identity: str, longest: int = LONGEST) -> str:
    """An id of any letters, but not more than `longest` of them, which is at least 29."""
    return identity if 0 < len(identity) <= longest else _hashed(identity)


def own(item: AssistantItem, format: str, ids: Callable[[str], str] = str) -> bytes:
    """The native form of an answer, where it may go back as it is; else nothing. `ids`: what the
    server makes of an id."""
    if item.native is None or item.native.format != format:
        return b""
    for part in item.parts:
        if isinstance(part, ToolCall) and (
            call_name(part.name) != part.name or ids(part.id) != part.id
        ):
            return b""
    return bytes(item.native.body)


def _hashed(identity: str) -> str:
    return f"call_{hashlib.sha256(identity.encode(errors='replace')).hexdigest()[:24]}"
