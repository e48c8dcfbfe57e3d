"""How a no is put to the model."""

from __future__ import annotations

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import Text, ToolResult
from perdure.kernel.labels import SELF
from perdure.kernel.ports import Refuse

from .asking import storable


def denied(text: str) -> ToolResult:
    return ToolResult(status="denied", parts=(Text(text=storable(text)),), label=SELF)


def refuse(text: str) -> Refuse:
    return Refuse(denied(text))


def broken(error: ConfigError) -> ToolResult:
    return denied(f"Nothing may run until the owner has repaired the policy: {error}")
