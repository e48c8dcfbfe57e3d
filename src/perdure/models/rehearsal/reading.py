"""Values out of a text, by rule: what stands behind `extract` when no language model is connected.

A field's value is the first thing of its kind that follows the field's name in the text, or else the
first in all of it; what is not found is null.
"""

from __future__ import annotations

import json
import re

from perdure.kernel.events import Json, Text
from perdure.kernel.prompt import Prompt, UserItem

_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NUMBER = re.compile(r"(?<![\w.,-])-?\d+(?:\.\d+)?(?![\w-])")
_RANGE = re.compile(r"(?:whole )?number from (\S+) to (\S+)\Z")
_MOST = re.compile(r"text, at most (\d+) characters\Z")
_YES, _NO = re.compile(r"\b(?:yes|true)\b", re.I), re.compile(r"\b(?:no|not|false)\b", re.I)


def values(prompt: Prompt) -> str:
    """JSON, as it was asked for."""
    system = prompt.prefix.system
    fields: dict[str, str] = json.loads(system[system.index("\n{") :])
    text = "\n".join(
        p.text
        for i in prompt.items[:1]
        if isinstance(i, UserItem)
        for p in i.parts
        if isinstance(p, Text)
    )
    return json.dumps({name: _value(name, kind, text) for name, kind in fields.items()})


def _value(name: str, kind: str, text: str) -> Json:
    named = re.search(rf"\b{re.escape(name)}\b\W*", text, re.IGNORECASE)
    after = text[named.end() :] if named else ""
    found = _find(kind, after.partition("\n")[0])
    return found if found is not None or kind.startswith("text") else _find(kind, text)


def _find(kind: str, text: str) -> Json:
    if kind.startswith("true"):
        return True if _YES.search(text) else False if _NO.search(text) else None
    if kind.startswith("date"):
        return day[0] if (day := _DATE.search(text)) else None
    if kind.startswith("one of: "):
        options = [(text.lower().find(o.lower()), o) for o in kind[8:].split(" | ")]
        return min(((at, o) for at, o in options if at >= 0), default=(0, None))[1]
    if most := _MOST.match(kind):
        return text.strip()[: int(most[1])] or None
    if bounds := _RANGE.match(kind):
        whole = kind.startswith("whole")
        for number in _NUMBER.findall(text):
            if float(bounds[1]) <= float(number) <= float(bounds[2]):
                if not whole:
                    return float(number)
                if "." not in number:
                    return int(number)
    return None
