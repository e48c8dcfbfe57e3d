"""An agent's policy: three files, merged, re-read when they change.

    mode: ask                                   # plan, restrict, ask, auto; dangerous
    deny:
      - {tool: "*", path: "secrets/**"}
    ask:
      - {tool: bash, command: "git push*"}
    allow:
      - {tool: bash, command: "git status*"}

Workspace, agent and local file are read in this order. The mode is that of the last one that names it, but
`dangerous` counts in the workspace's file only; rules add up; and a deny rule anywhere wins.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from perdure.kernel.errors import ConfigError

from . import storing
from .query import MODES, Decision, Mode, Query
from .reading import Part, Warning, parse, parse_rule
from .rules import Rule
from .sieve import Sieve
from .stamps import Stamp, stamp_of
from .storing import text_of
from .weighing import weigh

__all__ = ["EXPIRE", "Policy", "PolicyFiles", "Warning", "parse", "parse_rule"]

EXPIRE = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Policy:
    mode: Mode = "ask"
    allow: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    expire: timedelta = EXPIRE
    """How long a question waits for its owner."""
    mode_from: str = ""
    """File and line that names the mode; empty: none does."""
    warnings: tuple[Warning, ...] = ()
    """What its owner should look at."""

    @functools.cached_property
    def sieves(self) -> tuple[Sieve, Sieve, Sieve]:
        """Of what it denies, asks about and allows."""
        return Sieve(self.deny), Sieve(self.ask), Sieve(self.allow)

    def weigh(self, query: Query, grants: Sequence[Rule] = (), *, full: bool = False) -> Decision:
        """What the owner's rules and mode say about a call. `grants`: rules for this session only. `full`:
        look at every rule and tell of each, for an explanation. Never raises; what it cannot judge it
        denies."""
        try:
            return weigh(self, query, grants, full=full)
        except Exception as error:  # S1: whatever trips the judge up is not let through
            return Decision(
                "deny", f"it cannot be judged ({type(error).__name__}: {str(error)[:200]})"
            )


@dataclass(kw_only=True, slots=True)
class _Read:
    stamp: Stamp
    part: Part | None
    error: ConfigError | None


@dataclass(slots=True)
class PolicyFiles:
    """The policy for one agent, as its files say now."""

    control: Path
    """Folder `.perdure`."""
    agent: str
    local: Path = field(init=False)
    """Where `remember` puts rules."""
    files: tuple[Path, ...] = field(init=False)
    """All three, in the order in which they are read."""
    _names: tuple[tuple[str, Path], ...] = field(init=False)
    _read: dict[str, _Read] = field(default_factory=dict)
    _merged: Policy | None = None

    def __post_init__(self) -> None:
        self.local = self.control / "policy.local.yaml"
        own = self.control / "agents" / self.agent / "policy.yaml"
        self.files = (self.control / "policy.yaml", own, self.local)
        self._names = tuple((os.fspath(path), path) for path in self.files)

    def current(self) -> Policy:
        """Raises ConfigError when a file cannot be read or does not fit."""
        for name, path in self._names:
            stamp = stamp_of(name)
            known = self._read.get(name)
            if known is None or known.stamp != stamp:
                self._read[name] = _load(path, stamp)
                self._merged = None
        if self._merged is None:
            self._merged = self._merge()
        return self._merged

    def _merge(self) -> Policy:
        parts = []
        for path in self.files:
            read = self._read[os.fspath(path)]
            if read.error is not None:
                raise read.error
            if read.part is not None:
                parts.append((path, read.part))
        mode, mode_from, warnings = self._mode(parts)
        expires = [p.expire for _, p in parts if p.expire is not None]
        return Policy(
            mode=mode,
            mode_from=mode_from,
            allow=tuple(r for _, p in parts for r in p.allow),
            ask=tuple(r for _, p in parts for r in p.ask),
            deny=tuple(r for _, p in parts for r in p.deny),
            expire=expires[-1] if expires else EXPIRE,
            warnings=(*(w for _, p in parts for w in p.warnings), *warnings),
        )

    def _mode(self, parts: Sequence[tuple[Path, Part]]) -> tuple[Mode, str, list[Warning]]:
        """The mode, where it is named, and whether it is a wider one than the file before had named."""
        mode: Mode = "ask"
        named = ""
        warnings: list[Warning] = []
        for path, part in parts:
            if part.mode is None:
                continue
            where = f"{path.name}:{part.mode_line}"
            wanted = part.mode
            if wanted == "dangerous" and path != self.files[0]:
                if not part.duragent:
                    raise ConfigError(
                        "mode dangerous counts in the workspace's policy.yaml only",
                        file=str(path),
                        line=part.mode_line,
                        hint=f"Put it into {self.files[0]} if you mean it for every agent.",
                    )
                wanted = "ask"
                told = "Duragent's mode dangerous is read as ask here; see docs/guides/policy.md"
                warnings.append(Warning(where, told))
            if named and MODES.index(wanted) > MODES.index(mode):
                warnings.append(
                    Warning(where, f"mode {wanted} is wider than mode {mode} at {named}")
                )
            mode, named = wanted, where
        if mode == "dangerous":
            told = "mode dangerous: everything that no rule denies runs without asking"
            warnings.append(Warning(named, told))
        return mode, named, warnings

    def remember(self, rule: str) -> None:
        """Allow this always: add the rule to the local file. Durable on return; blocking.

        Raises ConfigError if rule or file do not fit (the file is left alone), StorageError."""
        storing.remember(self.local, rule)


def _load(path: Path, stamp: Stamp) -> _Read:
    if not stamp:
        return _Read(stamp=stamp, part=None, error=None)
    try:
        text = text_of(path)
        if not text.strip():
            # An editor that is about to write it, or a disk that was full: with no rules in it
            # everything would be as by default.
            raise ConfigError(
                "is empty", file=str(path), hint="Put back what it held, or write: {}"
            )
        return _Read(stamp=stamp, part=parse(text, path), error=None)
    except ConfigError as error:
        return _Read(stamp=stamp, part=None, error=error)
    except OSError as error:
        told = ConfigError(f"cannot be read: {error.strerror}", file=str(path))
        return _Read(stamp=stamp, part=None, error=told)
