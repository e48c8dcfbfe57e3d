"""A name is looked up once, all its addresses are judged, and the connection goes to one of these."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from .address import Address
from .errors import Refused, Unreachable
from .networks import IP, is_metadata, plain, refusal

SECONDS = 10.0
MOST = 8
"""Addresses of one name that are tried."""
LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa")
"""Last labels of names that mean this machine or network. `metadata.google.internal` is one of them."""


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Addresses as text, in the order to try them. Raises OSError."""


class SystemResolver:
    """Asks as every program on this machine does."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(info[4][0]) for info in found]


class Table:
    """Answers from a table, each list in turn and the last one for ever. For tests and rehearsals."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._left = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._left.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def addresses(address: Address, resolver: Resolver, *, private: bool) -> tuple[IP, ...]:
    """Where a request may be sent to; never empty. `private`: the owner named this very host and port.
    Raises Refused when any of the addresses is not for everybody, Unreachable when there is none."""
    host = address.host
    if address.ip is not None:
        found: tuple[IP, ...] = (address.ip,)
    else:
        never(address, private)
        try:
            async with asyncio.timeout(SECONDS):
                texts = await resolver.resolve(host, address.port)
            found = tuple(dict.fromkeys(plain(text) for text in texts))
        except TimeoutError:
            raise Unreachable(f"{host} could not be looked up in time.") from None
        except (OSError, ValueError, UnicodeError):
            raise Unreachable(
                f"There is no host {host}, or it cannot be looked up now.",
                hint="Check the spelling and the network.",
            ) from None
        if not found:
            raise Unreachable(f"{host} has no address.")
    for ip in found:
        why = refusal(ip)
        # A name the owner allowed may not lead to a metadata service; an address given as such may.
        if why and (not private or (is_metadata(ip) and address.ip is None)):
            where = f"{host} is" if address.ip is not None else f"{host} leads to {ip}, which is"
            raise _refused(address, f"{where} {why}")
    return found[:MOST]


def never(address: Address, private: bool) -> None:
    """Raises Refused for what `addresses` refuses without a look-up."""
    if why := refused_unasked(address, private):
        raise _refused(address, why)


def refused_unasked(address: Address, private: bool) -> str:
    """Why nothing is sent there whatever a look-up says; empty: that decides."""
    if private:
        return ""
    if address.ip is not None:
        why = refusal(address.ip)
        return f"{address.host} is {why}" if why else ""
    return (
        f"{address.host} is a name for this machine or its network" if _local(address.host) else ""
    )


def _local(host: str) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES)


def _refused(address: Address, what: str) -> Refused:
    return Refused(
        f"Not sent: {what}.",
        stage="resolve",
        hint="If you mean it, the owner can allow it in perdure.yaml: "
        f'egress: {{private: ["{address.shown_host}:{address.port}"]}}',
        brief=f"Not sent: {what}.",
    )
