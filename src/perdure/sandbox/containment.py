"""What a command may reach: the owner's settings, and what the runtime knows of a session."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from perdure.kernel.errors import InvalidInput, PerdureError

Backend = Literal["auto", "bubblewrap", "launcher", "docker", "seatbelt", "none"]
Network = Literal["none", "proxy", "open"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)
NICE = 5
"""Commands give way to what their owner does."""


class Unavailable(PerdureError):
    """Commands cannot be contained here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confines:
    """The owner's settings, `sandbox:` in perdure.yaml and agent.yaml."""

    backend: Backend = "auto"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: Network = "proxy"
    """`proxy`: nothing but the egress, and nothing at all where there is none."""
    memory: str = "50%"
    processes: int = 512
    file_size: str = "8G"
    image: str = ""
    """Of the docker backend."""

    @property
    def memory_bytes(self) -> int:
        return size(self.memory)

    @property
    def file_bytes(self) -> int:
        return size(self.file_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Containment:
    """Of the commands of one session."""

    session: str
    workdir: Path
    control: tuple[Path, ...] = ()
    """What no command may see or change: the workspace's private folder and its file."""
    hidden: tuple[Path, ...] = ()
    """More of that kind, such as the folder of the owner's keys."""
    confines: Confines = field(default_factory=Confines)
    proxy_socket: Path | None = None
    """Where the egress listens."""
    certificate: Path | None = None
    """What commands have to trust where the egress opens their connections."""


def size(text: str) -> int:
    """Bytes of `512M`, `2G`, `50%` (of this machine's memory); 0 for `none`. Raises InvalidInput."""
    text = text.strip()
    if text.lower() == "none":
        return 0
    if text.endswith("%"):
        try:
            share = float(text[:-1])
        except ValueError:
            share = -1.0
        if 0 < share <= 100:
            return int(_memory() * share / 100)
    elif match := _SIZE.match(text):
        return int(float(match[1]) * _UNITS[match[2].upper()])
    raise InvalidInput(f"{text[:40]!r} is no size", hint="Write e.g. 512M, 2G, 50% or none.")


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 4 << 30


def home_of(environment: Mapping[str, str]) -> Path:
    return Path(os.path.realpath(environment.get("HOME") or Path.home()))
