"""What all sessions of a workspace share: the disk, the clock, the models, the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from perdure.kernel.ports import Clock, Ids, Model
from perdure.storage import Committer, Index, SessionStore

if TYPE_CHECKING:
    from perdure.models import ModelSpec
    from perdure.tools import Commands


class ModelSource(Protocol):
    """Opens models by what an agent's files say. Implemented by `perdure.models.registry.Models`."""

    def open(self, spec: ModelSpec) -> Model:
        """One instance for one session. Raises ConfigError: unknown provider, missing key."""

    def window(self, spec: ModelSpec) -> int:
        """Tokens of context it can take."""

    async def close(self) -> None: ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    clock: Clock
    ids: Ids
    committer: Committer
    store: SessionStore
    index: Index
    models: ModelSource
    commands: Commands
    boot: str
