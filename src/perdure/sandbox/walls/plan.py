"""What is to be done for one command; made by `perdure.sandbox.planning`, kept in its spec as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

Step = Sequence[str]
"""An operation and its paths; see `places.prepare` and `newroot`."""


class Limits(TypedDict):
    memory: int
    """Bytes; 0: none, as for all of these."""
    processes: int
    file_size: int
    """Bytes of one file."""
    nice: int


class Plan(TypedDict):
    means: Literal["bubblewrap", "launcher", "landlock", "docker", "seatbelt"]
    program: str
    """bwrap's path, or empty."""
    userns: bool
    """Namespaces need one of users first: we are not root."""
    network: Literal["none", "proxy", "open"]
    proxy: str
    """Path of the unix socket to which connections to `PROXY_PORT` are handed, or empty."""
    base: list[Step]
    """In the namespace of mounts that is made first, with the paths of the machine: what all commands of
    this machine have, first the stage."""
    stage: list[Step]
    """There too, of this command."""
    system: list[Step]
    """What the command will see, from this namespace: again what all have."""
    root: list[Step]
    """And what this one has."""
    read: list[str]
    """Where only Landlock holds: what can be read."""
    write: list[str]
    """What can be written below, as the command sees it."""
    limits: Limits
    cgroups: list[str]
    """Folders in which a group may be made for the command, one per hierarchy."""
    unwanted: list[str]
    """Names that were not there before and must not be there after: they would steer programs of the
    owner's. What is found under one is set aside."""
    wrap: list[str]
    """Arguments before the command's own."""
    after: list[str]
    """To be run when the command is over."""


PROXY_PORT = 3128
STAGE = ("/sys", "/mnt", "/media", "/srv")
"""Folders of which one is covered with the stage: nothing below them is shown to commands."""


Fixed = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Traits:
    """What must be known of a command for what can be done before it."""

    means: Literal["bubblewrap", "launcher"]
    cgroups: tuple[str, ...]
    userns: bool
    alone: bool
    """In a network of its own."""
    proxied: bool
    base: Fixed
    system: Fixed
    """Steps, as in a plan."""


def traits_of(plan: Plan | None) -> Traits | None:
    """None: nothing can be done beforehand."""
    if plan is None or plan["means"] not in ("bubblewrap", "launcher"):
        return None
    return Traits(
        means="bubblewrap" if plan["means"] == "bubblewrap" else "launcher",
        cgroups=tuple(plan["cgroups"]),
        userns=plan["userns"],
        alone=plan["network"] != "open",
        proxied=bool(plan["proxy"]),
        base=_fixed(plan["base"]),
        system=_fixed(plan["system"]),
    )


def _fixed(steps: Sequence[Step]) -> Fixed:
    return tuple(tuple(step) for step in steps)
