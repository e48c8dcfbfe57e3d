"""Duragent's rules, `type:glob`, in our terms.

There a pattern was looked for anywhere in the command's text: `bash:ls` allowed `curl x | sh # tools`. Here
a rule that allows is anchored at both ends and held against every command of a line. One that denies keeps
its reach: it is found anywhere, as before.
"""

from __future__ import annotations

import re
from pathlib import Path

from perdure.kernel.errors import ConfigError

from .patterns import check_text
from .rules import Rule

VERSIONS = ("duragent/v1alpha1", "agnx/v1alpha1")
OURS = "perdure/v1"
_TYPES = ("bash", "builtin", "cli", "mcp", "*")


def version(said: str, path: Path, line: int) -> bool:
    """Whether a file says that it is Duragent's. Raises ConfigError for a version nobody knows."""
    if said in VERSIONS:
        return True
    if said == OURS:
        return False
    known = ", ".join((OURS, *VERSIONS))
    raise ConfigError(
        f"unknown apiVersion {said[:40]}", file=str(path), line=line, hint=f"Known: {known}."
    )


def rule(text: str, key: str, path: Path, line: int) -> tuple[Rule, str]:
    """The rule, and what its owner should know about it. `key`: the list it stands in."""
    kind, _, pattern = text.partition(":")
    if not pattern:
        raise ConfigError(f"{text[:80]} names nothing behind {kind}:", file=str(path), line=line)
    where = f"{path.name}:{line}"
    try:
        check_text(pattern)
    except ValueError as error:
        raise ConfigError(
            f"{text[:80]} is no pattern: {error}", file=str(path), line=line
        ) from None
    widens = key == "allow"
    if kind not in _TYPES and re.fullmatch(r"[\w-]+", kind):
        known = ", ".join(_TYPES)
        raise ConfigError(
            f"unknown type {kind[:40]}", file=str(path), line=line, hint=f"Known types: {known}."
        )
    if kind == "bash":
        if not widens:
            return Rule(tool="bash", anywhere=pattern, where=where), ""
        return Rule(tool="bash", command=pattern, where=where), _changed(pattern)
    if kind == "mcp":
        server, _, name = pattern.partition(":")
        found = Rule(tool=name or "*", provider=f"mcp:{server}", where=where)
        return found, _unknown(found.tool, widens)
    if kind == "cli":
        return Rule(tool=pattern, provider="cli", where=where), _unknown(pattern, widens)
    if kind == "builtin":
        return Rule(tool=pattern, where=where), _anchored(pattern) if widens else ""
    if not widens:
        return Rule(tool="*", anywhere=pattern, where=where), ""
    told = "it allowed this text anywhere in any tool's call; here it is a pattern of tools' names"
    return Rule(tool=pattern, where=where), told


def _changed(pattern: str) -> str:
    if pattern == "*":
        return "this rule allows every program"
    text = pattern.rstrip("*").strip()
    also = f", so that it also allowed `x; {text}`" if text else ""
    return (
        f"this was found anywhere in a command{also}; now it must fit each command from its beginning "
        f"to its end{_star(pattern)}"
    )


def _star(pattern: str) -> str:
    return "" if pattern.endswith("*") else f" (with arguments: '{pattern} *')"


def _unknown(name: str, widens: bool) -> str:
    """Tools do not say yet who brings them."""
    if widens:
        return (
            f"this rule never applies: who brings a tool is not known here; write {{tool: {name}}}"
        )
    if name.strip("*"):
        return ""
    return (
        "who brings a tool is not known here: every call of any tool is asked about; name the tools"
    )


def _anchored(name: str) -> str:
    if not name or name.endswith("*"):
        return ""
    return "this was found anywhere in a tool's name; now it is the whole name"
