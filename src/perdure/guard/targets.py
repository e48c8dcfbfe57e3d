"""What a call would reach: hosts and recipients, by what its tool declares, and the files of a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from perdure import hosts

from .query import UNREAD
from .seams import Prepared
from .shell import Parsed

_HOSTS = frozenset(("url", "host"))


def hosts_of(prepared: Prepared) -> tuple[str, ...]:
    """As `Query.hosts` has them. Of a tool that declares nothing, those that its arguments show."""
    if prepared.sink is None:
        return ()
    found = [_host(value) for _, kind, value in prepared.values() if kind in _HOSTS]
    return tuple(dict.fromkeys(found))


def files_of(parsed: Parsed | None) -> Iterator[tuple[Path, bool]]:
    """Files that the text of a command says it works on, links resolved, and whether it writes them."""
    for command in parsed.commands if parsed is not None else ():
        for path in dict.fromkeys(command.writes):
            yield Path(os.path.realpath(path)), True
        for path in dict.fromkeys(command.reads):
            yield Path(os.path.realpath(path)), False


def recipients_of(prepared: Prepared) -> tuple[str, ...]:
    if prepared.sink is None:
        return ()
    values = (value.strip() for _, kind, value in prepared.values() if kind == "recipient")
    return tuple(dict.fromkeys(values))


def _host(value: str) -> str:
    try:
        return hosts.of_url(value)
    except hosts.NoHost:
        return UNREAD
