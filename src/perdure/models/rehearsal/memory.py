"""What the owner wants kept: notes in the agent's memory file, which later sessions read."""

from __future__ import annotations

from .files import adding, read, text_lines, writing
from .plan import Plan, only, step
from .rules import Found, rule
from .view import View
from .words import block, name, quote, trouble

_NONE = "This agent has no memory file, so there is nowhere to keep that."


def remembering(view: View, note: str) -> Plan:
    path = view.memory
    if not path:
        return only(_NONE)
    text = " ".join(note.split())
    line = f"- {view.date}: {text}" if view.date else f"- {text}"
    return _kept(path, text, line)


def _kept(path: str, text: str, line: str) -> Plan:
    said = yield from adding(path, line)
    return (
        f"{said}\n\nI will know it in later sessions: {quote(text)}." if "I added" in said else said
    )


def recalling(view: View) -> Plan:
    if not view.memory:
        return only("This agent has no memory file.")
    return _recalled(view.memory)


def _recalled(path: str) -> Plan:
    result = yield from step("I look into my memory.", read(path))
    lines = text_lines(result)
    if result.status == "ok" and lines:
        return f"This is in my memory ({name(path)}):\n\n{block(chr(10).join(lines))}"
    if result.status == "ok" or "here is no" in result.text:
        return f"My memory ({name(path)}) is empty. Say “remember that …” to put something there."
    return trouble(result, f"read {name(path)}")


def forgetting(view: View, note: str) -> Plan:
    if not view.memory:
        return only("This agent has no memory file.")
    return _forgotten(view.memory, note)


def _forgotten(path: str, note: str) -> Plan:
    result = yield from step("I look for it in my memory.", read(path))
    if result.status != "ok":
        return trouble(result, f"read {name(path)}")
    lines = text_lines(result)
    kept = [line for line in lines if note.lower() not in line.lower()]
    if len(kept) == len(lines):
        return f"Nothing in my memory speaks of {quote(note)}."
    if result.data.get("total") != len(lines):
        return f"My memory is too long to be rewritten safely. Edit {name(path)} yourself."
    said = yield from writing(path, "\n".join(kept))
    gone = "\n".join(line for line in lines if line not in kept)
    return f"{said} These lines are gone:\n\n{block(gone)}"


def _remembering(found: Found, view: View) -> Plan:
    return remembering(view, found.text("note"))


RULES = (
    rule(
        r"what do you (?:remember|know)(?: about me)?|what(?:'s| is) in (?:your|my|the) memory"
        r"|(?:show|read)(?: me)? (?:your|my|the) memory",
        lambda f, v: recalling(v),
        entire=True,
    ),
    rule(
        r"(?:remember|memori[sz]e|keep in mind|note|don't forget|do not forget|take a note)"
        r"(?:,? (?:that|this))?(?: (?:in|to) (?:your|my|the) memory)?[:,]? "
        r"(?P<note>.+?)(?: in (?:your|my|the) memory)?",
        _remembering,
        entire=True,
    ),
    rule(
        r"(?:add|write|save|put|store) (?P<note>.+?) (?:to|in|into) (?:your|my|the) memory",
        _remembering,
        entire=True,
    ),
    rule(
        r"forget (?:about |that )?(?P<note>.+)",
        lambda f, v: forgetting(v, f.text("note")),
        entire=True,
    ),
)
