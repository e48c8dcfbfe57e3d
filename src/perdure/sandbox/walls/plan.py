"""What is to be done for one command; made by `perdure.sandbox.planning`, kept in its spec as JSON."""

from __future__ import annotations

from typing import Literal, TypedDict

Step = list[str]
"""An operation and its paths; see `places.prepare` and `newroot.build`."""


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
    stage: list[Step]
    """In the namespace of mounts that is made first, with the paths of the machine."""
    root: list[Step]
    """What the command will see, from this namespace."""
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
