"""What a policy is asked, and what it answers."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from perdure.kernel.events import Json

if TYPE_CHECKING:
    from .rules import Rule
    from .shell import Parsed
    from .views import View

Mode = Literal["ask", "auto", "restrict", "plan", "dangerous"]
MODES: tuple[Mode, ...] = ("plan", "restrict", "ask", "auto", "dangerous")
"""From the strictest to the widest."""
Origin = Literal["interactive", "schedule", "webhook", "gateway", "subagent"]
ORIGINS: tuple[Origin, ...] = ("interactive", "schedule", "webhook", "gateway", "subagent")
Effect = Literal["allow", "deny", "ask", "none"]
Fits = Literal["yes", "no", "maybe"]
UNREAD = ""
"""In the place of a host that cannot be read: no rule that allows fits it, every other one does."""


class Touch(Protocol):
    """A resolved path that a call reads or writes."""

    @property
    def path(self) -> Path: ...

    @property
    def write(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Query:
    """A call, as far as rules can tell calls apart."""

    tool: str
    workdir: Path
    workspace: Path
    arguments: Mapping[str, Json] = field(default_factory=dict)
    used: Callable[[], Mapping[str, Json]] = dict
    """Those that were given as the tool will use them: `yes` for a truth value is true."""
    effects: Sequence[str] = ()
    """Declared by the tool; empty, or `reads` alone: it only reads."""
    command: str | None = None
    """The shell command it runs."""
    speaks_to: str = ""
    """The background process that `command` is typed into; empty: a shell runs it."""
    touches: Sequence[Touch] = ()
    hosts: Sequence[str] = ()
    """Names or addresses it will talk to, as `perdure.hosts` spells them, or UNREAD."""
    recipients: Sequence[str] = ()
    undeclared: bool = False
    """Its tool acts outside and does not say by which arguments: whom else it reaches is not known."""
    origin: Origin = "interactive"
    """What started the run."""
    provider: str = ""
    """Who brings the tool, `cli` or `mcp:<server>`; empty: not known. Tools do not say it yet."""
    mode: Mode | None = None
    """The session's own mode. It only counts where it is stricter than the policy's."""
    content: Callable[[], str] | None = None
    """Digest of the files the call runs, for rules that hold for these only. May block."""
    search: str | None = None
    """The PATH that commands get; None: this process's."""

    @functools.cached_property
    def meant(self) -> Mapping[str, Json]:
        return self.used()

    @functools.cached_property
    def parsed(self) -> Parsed | None:
        """The shell command's commands. Parsed once."""
        if self.command is None:
            return None
        from .shell import parse

        return parse(self.command, workdir=self.workdir, search=self.search)

    @functools.cached_property
    def views(self) -> tuple[View, ...]:
        """The commands as rules see them."""
        from .views import view

        return () if self.parsed is None else tuple(map(view, self.parsed.commands))

    @functools.cached_property
    def named(self) -> tuple[tuple[View, str, bool], ...]:
        """Paths that words of the commands may name, and whether each is known to its end."""
        from .views import named

        found = self.parsed
        return () if found is None else tuple(named(self.views, found.folders))

    @functools.cached_property
    def reads_only(self) -> bool:
        return all(effect == "reads" for effect in self.effects)

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(os.fspath(t.path) for t in self.touches)


class Step(NamedTuple):
    """One rule, or the mode, and whether it fits."""

    kind: Literal["deny", "ask", "allow", "grant", "mode"]
    fits: Fits
    rule: Rule | None
    """None: the mode."""
    why: str
    """Why it does not fit, or cannot be told; for the mode, what it says."""
    covers: str = ""
    """The one command of a line that it covers, where it does not cover the whole line."""


class Decision(msgspec.Struct, frozen=True):
    effect: Effect
    """`none`: no rule and no mode settles it; the gate's own defaults for mode `ask` or `auto` hold."""
    reason: str
    """For the owner and the model."""
    rule: Rule | None = None
    """The one that decided."""
    trace: tuple[Step, ...] = ()
    """Every rule, in order; only for an explanation."""
