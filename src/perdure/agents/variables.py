"""`{{variables}}` in an agent's texts. `\\{{name}}` stays as it is, without the backslash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from perdure.kernel.errors import ConfigError

VARIABLES: dict[str, str] = {
    "agent": "the agent's name",
    "date": "2026-11-21",
    "description": "the agent's description",
    "home": "your home folder",
    "hostname": "the machine's name",
    "memory": "path of the agent's MEMORY.md",
    "os": "operating system, version and processor",
    "shell": "the shell that runs commands",
    "time": "17:05",
    "timezone": "of date and time, e.g. CET",
    "user": "your login name",
    "weekday": "Saturday",
    "workdir": "the session's working directory",
    "workspace": "folder of perdure.yaml",
}
"""Name and meaning. Values are those of when the session's prompt was built."""

_USE = re.compile(r"(\\)?\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def without_comments(text: str) -> str:
    return _COMMENT.sub("", text) if "<!--" in text else text


def check_variables(text: str, file: str) -> None:
    """Raises ConfigError for the first name that is no variable."""
    for match in _USE.finditer(text):
        escaped, name = match.groups()
        if not escaped and name not in VARIABLES:
            near = get_close_matches(name, VARIABLES, n=1, cutoff=0.5)
            hint = f"Did you mean {{{{{near[0]}}}}}?" if near else f"Known: {', '.join(VARIABLES)}."
            raise ConfigError(
                f"unknown variable {{{{{name}}}}}",
                file=file,
                line=text.count("\n", 0, match.start()) + 1,
                hint=f"{hint} To write it literally: \\{{{{{name}}}}}",
            )


def put_in(text: str, values: Mapping[str, str]) -> str:
    """Unknown names stay as they are."""

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return match.group()[1:]
        return values.get(name, match.group())

    return _USE.sub(value, text)
