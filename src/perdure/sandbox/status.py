"""The truth about this machine: which control is enforced by what, as attacks on it have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .cgroups import controls
from .containment import Confines
from .means import Means
from .probing import Result
from .walls import landlock

State = Literal["enforced", "not enforced", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    name: str
    state: State
    by: str
    """What enforces it, or why nothing does."""
    attacks: tuple[str, ...]


_MOUNTS = "a view of its own of the files, made of read-only mounts"
_FILTER = "a filter of system calls (seccomp)"

_CONTROLS: tuple[tuple[str, tuple[str, ...], Mapping[str, str]], ...] = (
    (
        "no file outside is read",
        (
            "read-outside",
            "read-through-proc",
            "read-through-link",
            "read-credentials",
            "read-shadow",
        ),
        {"": _MOUNTS, "landlock": "Landlock", "seatbelt": "the profile"},
    ),
    (
        "no file outside is written",
        ("write-outside", "hard-link"),
        {"": _MOUNTS, "landlock": "Landlock", "seatbelt": "the profile"},
    ),
    (
        "Perdure's own files are out of reach",
        ("control-files",),
        {"": "an empty mount over them", "landlock": "", "seatbelt": "the profile"},
    ),
    (
        "git's hooks and settings stay",
        ("git-hooks",),
        {"": "read-only mounts", "landlock": "", "seatbelt": "the profile"},
    ),
    (
        "no network",
        ("connect-out", "connect-to-the-machine", "abstract-socket", "socket-families"),
        {"": "a network of its own", "landlock": _FILTER, "seatbelt": "the profile"},
    ),
    (
        "other processes are out of reach",
        ("other-processes", "other-environment", "signal-others", "trace"),
        {"": "a namespace of processes", "landlock": "Landlock, and not from being seen"},
    ),
    ("no mounts", ("mount",), {"": f"no capabilities, {_FILTER}"}),
    ("no namespaces within", ("namespaces",), {"": _FILTER}),
    ("little of the kernel", ("kernel", "other-numbers", "filter"), {"": _FILTER}),
    ("no tricks with terminals", ("type-into-terminal",), {"": _FILTER}),
    ("no powers", ("powers", "devices"), {"": "no capabilities, no_new_privs"}),
    ("nothing inherited", ("inherited-files",), {"": "closing all but three"}),
    ("processes are limited", ("many-processes",), {}),
    ("memory is limited", ("much-memory",), {}),
    ("a file's size is limited", ("large-file",), {"": "a limit of the process"}),
)


def summary(means: Means, results: Sequence[Result], confines: Confines) -> list[Control]:
    """What the attacks have shown, control by control."""
    told = {r.attack.name: r for r in results}
    found = []
    for name, attacks, mechanisms in _CONTROLS:
        mine = [told[a] for a in attacks if a in told]
        broken = [r for r in mine if r.outcome == "broken"]
        held = [r for r in mine if r.outcome == "held"]
        untried = [r for r in mine if r.outcome == "untried"]
        by = mechanisms.get(means.name, mechanisms.get("", ""))
        if name in ("processes are limited", "memory is limited"):
            by = _bounded(name, means)
        state: State
        if broken:
            state = "not enforced"
            by = "; ".join(f"{r.attack.name}: {r.said or 'it got through'}" for r in broken)
        elif held:
            state = "enforced"
            if untried:
                by += f" (not tried: {', '.join(r.attack.name for r in untried)})"
        elif untried and all(r.said.startswith("not promised") for r in untried):
            state, by = "not enforced", f"{means.name} cannot"
        else:
            state, by = "not tested", "; ".join(r.said for r in untried)
        found.append(Control(name=name, state=state, by=by, attacks=attacks))
    found.append(_second_layer(means))
    found.append(_disk())
    if confines.network == "open":
        open_ = Control(
            name="no network in your settings",
            state="not enforced",
            by="`sandbox.network: open`: commands reach everything, unseen",
            attacks=(),
        )
        found.append(open_)
    return found


def _bounded(name: str, means: Means) -> str:
    if means.name == "docker":
        return "the container's limits"
    had = controls(means.cgroups)
    if name.startswith("memory"):
        if "memory" in had:
            return "a group of the kernel's (cgroup), for all processes of a command together"
        return "a limit of each process by itself (no cgroup may be made here)"
    if "pids" in had:
        return "a group of the kernel's (cgroup)"
    if means.userns:
        return "a limit of the user's processes, counted in the namespace"
    return "nothing: root ignores the limit of processes, and no cgroup may be made here"


def _second_layer(means: Means) -> Control:
    version = landlock.version() if means.name in ("bubblewrap", "launcher", "landlock") else 0
    name = "a second layer: Landlock"
    if not version:
        why = "this kernel has no Landlock"
        return Control(name=name, state="not enforced", by=why, attacks=())
    if means.name == "bubblewrap":
        if landlock.scopes(version):
            by = (
                f"Landlock {version}: signals and abstract sockets. Of files not: bubblewrap mounts"
            )
            return Control(name=name, state="enforced", by=by, attacks=())
        why = f"Landlock {version} has no scopes, and bubblewrap's mounting excludes its file rules"
        return Control(name=name, state="not enforced", by=why, attacks=())
    by = f"Landlock {version}: files, and signals and abstract sockets from version 6 on"
    return Control(name=name, state="enforced", by=by, attacks=())


def _disk() -> Control:
    return Control(
        name="the disk's space is limited",
        state="not enforced",
        by="each file is, their number is not",
        attacks=(),
    )
