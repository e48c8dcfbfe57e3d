"""Which model to call, and how: what `agent.yaml` and the registry agree on, for every adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from perdure.kernel.events import Json

Effort = Literal["", "low", "medium", "high"]
"""How hard the model should think; empty leaves it to the provider."""

Secret = Callable[[], str]
"""Hands out a credential when a request is made, so that it stands in no record and no repr."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    provider: str
    name: str
    """The model, as its provider names it."""
    base_url: str = ""
    """Empty: the provider's own."""
    api_key: Secret | None = field(default=None, repr=False, compare=False)
    """None where the server asks for none."""
    no_key: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    """What to tell a person when the server at `base_url` wants a key and was sent none."""
    temperature: float | None = None
    max_output_tokens: int | None = None
    effort: Effort = ""
    price: tuple[float, float] | None = None
    """US dollars for a million tokens in and out, where the owner said so."""
    context_window: int | None = None
    """Tokens; None: as genai-prices or the registry knows."""
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Put into the request body as it stands, over what the adapter sets."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 300.0
    """Longest silence on the connection, not the longest answer."""

    @property
    def label(self) -> str:
        return f"{self.provider}/{self.name}"

    def key(self) -> str:
        """The credential, or an empty string."""
        return self.api_key().strip() if self.api_key is not None else ""
