"""What the engine needs to see of tools and calls; `perdure.tools` fits these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from perdure.kernel.events import ToolCall


class Sink(Protocol):
    """A tool's declaration of what it does outside."""

    @property
    def kind(self) -> str:
        """`send`, `pay`, `publish`, `share`, `delete`, `install`, `configure`, `execute` or `write`."""

    @property
    def critical(self) -> Mapping[str, str]:
        """Argument to what it is: `recipient`, `url`, `host`, `path`, `amount`, `account`, `identifier`,
        `command`, `text`, `time`, `query`."""

    @property
    def content(self) -> tuple[str, ...]:
        """Arguments that carry data along."""


class Declared(Protocol):
    """A tool, known by its name."""

    @property
    def sink(self) -> Sink | None: ...

    @property
    def effects(self) -> frozenset[str]: ...

    @property
    def origin(self) -> str:
        """Where its results come from, e.g. `web`, `mail`; empty: the workspace."""

    @property
    def creates(self) -> str:
        """Key in its result's data that identifies an object it made; empty: makes none."""


class Touch(Protocol):
    @property
    def path(self) -> Path: ...

    @property
    def write(self) -> bool: ...


class Prepared(Protocol):
    """A call whose tool exists and whose arguments fit."""

    @property
    def call(self) -> ToolCall: ...

    @property
    def effects(self) -> tuple[str, ...]:
        """Empty when it only reads."""

    @property
    def command(self) -> str | None: ...

    @property
    def touches(self) -> Sequence[Touch]: ...

    @property
    def sink(self) -> Sink | None: ...

    def values(self) -> Sequence[tuple[str, str, str]]:
        """Critical arguments as (path, kind, value), lists element by element."""
