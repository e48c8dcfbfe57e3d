"""Does a rule fit a call? Asked in two ways, each answered on the safe side.

To allow, everything in the call must be covered: each command of a line, each path, each recipient, and
nothing may be unknown. To deny or to ask, it is enough that something in it is caught, and where that
cannot be told the answer is `maybe`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from perdure import hosts

from .patterns import (
    HOLE,
    could_fit_path,
    could_fit_text,
    fits_path,
    fits_text,
    is_literal,
)
from .query import UNREAD, Fits, Query
from .rules import Bound, Rule

if TYPE_CHECKING:
    from .views import View

_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^@/\s]*@)?(\[[0-9a-f:.]+\]|[^:/?#\s\[\]]+)", re.I)


# To allow -----------------------------------------------------------------------------------------


def covers(rule: Rule, query: Query) -> bool:
    """It covers the whole call, alone."""
    if why_not(rule, query):
        return False
    if not rule.command:
        return True
    return not uncovered(query, rule)[0]


def why_not(rule: Rule, query: Query) -> str:
    """Why the rule does not cover the call, its commands aside; empty: it does."""
    if not fits_text(rule.tool, query.tool):
        return "it is about another tool"
    if rule.anywhere:
        return "a rule of this form allows nothing"
    if rule.provider and not fits_text(rule.provider, query.provider):
        return "it is about tools from elsewhere"
    if rule.origin and query.origin not in rule.origin:
        return f"the run was started by {query.origin}"
    if rule.exactly and query.command != rule.exactly:
        return "it is about another command"
    if rule.command and query.command is None:
        return "the call runs no command"
    if query.speaks_to and (rule.exactly or rule.command) and not _addresses(rule, query):
        return f"it types into {query.speaks_to}; name that in the rule's arguments"
    for name, bound in rule.arguments:
        if _argument(bound, query.arguments, name) != "yes":
            return f"argument {name} is another"
        told = query.command is not None and query.arguments.get(name) == query.command
        if told and query.command not in bound.globs:
            return f"a pattern of {name} as a text bounds nothing; name it by `command`"
    if rule.host:
        if not query.hosts or query.undeclared or UNREAD in query.hosts:
            return "which hosts it talks to is not known"
        if not all(any(_names(g, h) for g in rule.host) for h in query.hosts):
            return "it talks to another host"
    if rule.recipient:
        if not query.recipients or query.undeclared:
            return "who receives it is not known"
        if not all(any(_reaches(g, r) for g in rule.recipient) for r in query.recipients):
            return "somebody else would receive it"
    if rule.path and not rule.command:
        folder = os.fspath(query.workdir)
        if not query.paths:
            return "the call names no path"
        if not all(fits_path(rule.path, p, folder) for p in query.paths):
            return "it is about other paths"
    if rule.content and (query.content is None or query.content() != rule.content):
        return "the files it runs have changed"
    return ""


def uncovered(query: Query, rule: Rule) -> tuple[str, set[int]]:
    """Why the rule's pattern does not cover every command of the line, empty if it does; and which it
    covers. None, where the line is not wholly understood."""
    parsed = query.parsed
    if parsed is None or not parsed.commands:
        return "there is no command in it", set()
    if parsed.unknown:
        return f"the line is not wholly understood: {parsed.unknown[0]}", set()
    why = ""
    covered: set[int] = set()
    for n, one in enumerate(query.views):
        if one.free:
            continue
        reason = beyond(one, rule, query)
        if not reason:
            covered.add(n)
        why = why or reason
    return why, covered


def beyond(one: View, rule: Rule, query: Query) -> str:
    """Why the rule's pattern does not cover one command; empty: it does."""
    command, pattern = one.command, rule.command
    program = pattern.partition(" ")[0]
    if not fits_text(pattern, one.text) and not (one.by_path and fits_text(pattern, one.by_path)):
        return f"it does not cover {one.shown}"
    if command.foreign and not command.builtin and program != command.program:
        return f"{command.foreign}; a rule must name it by that path"
    if command.assigns:
        return f"{command.assigns[0]} is set for {one.shown}"
    if (command.executes or command.loose) and not is_literal(pattern):
        if command.executes:
            return f"{one.shown} runs {command.executes}, which no pattern bounds"
        return f"{one.shown}: {command.loose}"
    if command.opens and not rule.path:
        return f"{one.shown} opens {command.opens[0]}, and the rule names no path"
    if rule.path:
        folder = os.fspath(query.workdir)
        for path in command.opens:
            if not fits_path(rule.path, os.path.realpath(path), folder):
                return f"{one.shown} opens {path}"
        return "" if one.quiet else _astray(one, rule, query)
    return ""


def _astray(one: View, rule: Rule, query: Query) -> str:
    """Which word of a command may name something outside of the rule's path; empty: none."""
    home = os.fspath(query.workdir)
    parsed = query.parsed
    folders = {home, *(parsed.folders if parsed is not None else ())}
    options = True
    for word in one.command.words[1:]:
        text = word.text
        if text is None or word.many or word.glob:
            return f"which files {word.shape.replace(HOLE, '…')} names in {one.shown} is not known"
        if options and text.startswith("-"):
            options = text != "--"
            value = text.partition("=")[2] if text.startswith("--") else text[2:]
            if "/" not in value and ".." not in value:
                continue
            text = value[value.index("=") + 1 :] if "=" in value else value
        for folder in folders:
            if not fits_path(rule.path, os.path.realpath(os.path.join(folder, text)), home):  # noqa: PTH118
                return f"{text} in {one.shown} is not in {rule.path}"
    return ""


# To deny, to ask ----------------------------------------------------------------------------------


def catches(rule: Rule, query: Query) -> tuple[Fits, str]:
    """Whether something in the call is what the rule speaks of, and why that cannot be told."""
    if not _tool(rule, query):
        return "no", "it is about another tool"
    if rule.origin and query.origin not in rule.origin:
        return "no", f"the run was started by {query.origin}"
    maybe = ""
    for part in (_plainly, _farther):
        for fits, untold, otherwise in part(rule, query):
            if fits == "no":
                return "no", otherwise
            if fits == "maybe":
                maybe = maybe or untold
    return ("maybe", maybe) if maybe else ("yes", "")


Said = tuple[Fits, str, str]
"""Of one part of a rule: whether it fits, what is not known about that, why it does not."""


def _plainly(rule: Rule, query: Query) -> Iterator[Said]:
    if rule.provider and not query.provider and not rule.tool.strip("*"):
        yield "maybe", f"who brings the tool {query.tool}", ""
    if rule.anywhere:
        yield _anywhere(rule, query), "what it runs", "its pattern is not in it"
    if rule.exactly:
        same = query.command is not None and query.command.strip() == rule.exactly.strip()
        yield "yes" if same else "no", "", "it is about another command"
    for name, bound in rule.arguments:
        fits = _argument(bound, query.arguments, name, some=True)
        if fits != "yes":  # however it is spelt
            fits = min(fits, _argument(bound, query.meant, name, some=True), key=_SUREST.index)
        yield fits, f"what argument {name} is", f"argument {name} is another"
    if rule.host:
        yield *_hosts(rule, query), "it talks to no such host"
    if rule.recipient:
        caught = any(_reaches(g, r) for g in rule.recipient for r in query.recipients)
        open_ended: Fits = "maybe" if query.undeclared else "no"
        yield "yes" if caught else open_ended, "who receives it", "no such recipient receives it"


def _farther(rule: Rule, query: Query) -> Iterator[Said]:
    if rule.path and not rule.command:
        yield *_paths(rule, query), "it works on no such path"
    if rule.command:
        none = "no command of the line is such a one"
        yield *_commands(rule, query), none if query.command is not None else "it runs no command"


def _tool(rule: Rule, query: Query) -> bool:
    # Who brings a tool is mostly not known: then its name decides.
    if rule.provider and query.provider and not fits_text(rule.provider, query.provider):
        return False
    if fits_text(rule.tool, query.tool):
        return True
    # What bash must not run, no other tool that runs commands may run either.
    runs = query.command is not None and bool(rule.command or rule.exactly or rule.anywhere)
    return runs and fits_text(rule.tool, "bash")


def _anywhere(rule: Rule, query: Query) -> Fits:
    texts = [query.tool] if query.command is None else [query.command]
    if query.parsed is not None:
        texts += [text for one in query.views for text in one.sure]
    return "yes" if any(fits_text(f"*{rule.anywhere}*", t) for t in texts) else "no"


def _commands(rule: Rule, query: Query) -> tuple[Fits, str]:
    parsed = query.parsed
    if parsed is None or query.command is None:
        return "no", ""
    pattern = rule.command
    if fits_text(pattern, query.command) or fits_text(pattern, query.command.strip()):
        return "yes", ""
    maybe = ""
    for one in query.views:
        if rule.path and not _opened(rule, one.command.opens, query):
            continue
        if any(fits_text(pattern, form) for form in one.sure):
            return "yes", ""
        if maybe:
            continue
        if any(fits_text(pattern, form) for form in one.maybe) or (
            one.vague and any(could_fit_text(pattern, form) for form in (*one.sure, *one.maybe))
        ):
            maybe = f"what {one.shown} becomes"
        elif one.command.executes:
            maybe = f"what {one.shown} runs"
    if parsed.unknown:
        maybe = maybe or parsed.unknown[0]
    return ("maybe", maybe) if maybe else ("no", "")


def _paths(rule: Rule, query: Query) -> tuple[Fits, str]:
    folders = {os.fspath(query.workdir), os.fspath(query.workspace)}
    # A relative path is held against both folders: which of them its author had in mind must not matter.
    if any(fits_path(rule.path, p, f) for p in query.paths for f in folders):
        return "yes", ""
    if query.parsed is None:
        return "no", ""
    if any(_opened(rule, (*v.command.reads, *v.command.writes), query) for v in query.views):
        return "yes", ""
    maybe = ""
    for one, known, whole in query.named:
        for folder in folders:
            if whole and fits_path(rule.path, known, folder):
                return "yes", ""
            if not whole and not maybe and could_fit_path(rule.path, known, folder):
                maybe = f"which files {one.shown} works on"
    if query.parsed.unknown:
        maybe = maybe or query.parsed.unknown[0]
    return ("maybe", maybe) if maybe else ("no", "")


def _opened(rule: Rule, paths: Iterable[str], query: Query) -> bool:
    folders = {os.fspath(query.workdir), os.fspath(query.workspace)}
    return any(
        fits_path(rule.path, p, f) or fits_path(rule.path, os.path.realpath(p), f)
        for p in paths
        for f in folders
    )


def _hosts(rule: Rule, query: Query) -> tuple[Fits, str]:
    if any(h == UNREAD or _names(g, h) for g in rule.host for h in query.hosts):
        return "yes", ""
    if query.undeclared:
        return "maybe", "which hosts it talks to"
    if query.parsed is None:
        return "no", ""
    maybe = ""
    for one in query.views:
        if one.quiet:
            continue
        for word in one.command.words[1:]:
            text = word.shape.lower()
            for m in (_HOST.match(text), _HOST.match(text.partition("=")[2])):
                if m is not None and any(_names(g, m[1].rstrip(".")) for g in rule.host):
                    return "yes", ""
            if HOLE in text and not maybe:
                maybe = f"which hosts {one.shown} talks to"
        if one.command.executes and not maybe:
            maybe = f"which hosts {one.shown} talks to"
    if query.parsed.unknown:
        maybe = maybe or query.parsed.unknown[0]
    return ("maybe", maybe) if maybe else ("no", "")


def _names(glob: str, host: str) -> bool:
    if not host.isascii() or not host.islower():
        try:
            host = hosts.name(host)
        except hosts.NoHost:  # of a command: any of its words may stand here
            host = host.lower()
    return fits_text(hosts.pattern(glob), host)


def _reaches(glob: str, recipient: str) -> bool:
    return fits_text(_mailbox(glob, hosts.pattern), _mailbox(recipient, hosts.name))


def _mailbox(text: str, spelled: Callable[[str], str]) -> str:
    """Not casefolded: ann@faß.example is not ann@fass.example."""
    local, at, domain = text.lower().rpartition("@")
    with contextlib.suppress(hosts.NoHost):
        domain = spelled(domain) if at else domain
    return f"{local}{at}{domain}"


_SUREST: tuple[Fits, ...] = ("yes", "maybe", "no")


# Arguments ----------------------------------------------------------------------------------------


def _argument(bound: Bound, arguments: object, name: str, *, some: bool = False) -> Fits:
    """`some`: one element of a list is enough."""
    value: Any = arguments
    parts = name.split(".")
    while parts:
        whole = ".".join(parts)
        if isinstance(value, dict) and whole in value:
            value, parts = value[whole], []
        elif isinstance(value, dict) and parts[0] in value:
            value = value[parts.pop(0)]
        else:
            return "no"
    elements = value if isinstance(value, list) else [value]
    if not elements:
        return "no"
    said = [_value(bound, element) for element in elements]
    if some:
        return "yes" if "yes" in said else "maybe" if "maybe" in said else "no"
    return "yes" if all(fits == "yes" for fits in said) else "no"


def _value(bound: Bound, value: Any) -> Fits:
    if bound.globs:
        if isinstance(value, dict | list):
            return "maybe"
        text = as_text(value)
        return "yes" if any(fits_text(g, text) for g in bound.globs) else "no"
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return "maybe"
    if math.isnan(number):
        return "maybe"
    inside = (bound.low is None or number >= bound.low) and (
        bound.high is None or number <= bound.high
    )
    return "yes" if inside else "no"


def _addresses(rule: Rule, query: Query) -> bool:
    """It names the program that is spoken to: a command in a rule is one for a shell."""
    return any(query.arguments.get(name) == query.speaks_to for name, _ in rule.arguments)


def as_text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
