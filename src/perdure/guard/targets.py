"""What a call would reach: hosts and recipients, by what its tool declares, and the files of a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perdure import hosts as names

from .query import UNREAD
from .seams import Prepared

if TYPE_CHECKING:
    from .shell import Parsed

_HOSTS = frozenset(("url", "host"))
_REACHED = _HOSTS | {"recipient"}


def reached_by(prepared: Prepared) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hosts and recipients, as a query has them. Of a tool that declares nothing, those that its arguments
    show."""
    sink = prepared.sink
    if sink is None or (prepared.declared and _REACHED.isdisjoint(sink.critical.values())):
        return (), ()
    values = prepared.values()
    hosts = (_host(value) for _, kind, value in values if kind in _HOSTS)
    recipients = (value.strip() for _, kind, value in values if kind == "recipient")
    return tuple(dict.fromkeys(hosts)), tuple(dict.fromkeys(recipients))


def files_of(parsed: Parsed | None) -> Iterator[tuple[Path, bool]]:
    """Files that the text of a command says it works on, links resolved, and whether it writes them."""
    for command in parsed.commands if parsed is not None else ():
        for path in dict.fromkeys(command.writes):
            yield Path(os.path.realpath(path)), True
        for path in dict.fromkeys(command.reads):
            yield Path(os.path.realpath(path)), False


def _host(value: str) -> str:
    try:
        return names.of_url(value)
    except names.NoHost:
        return UNREAD
