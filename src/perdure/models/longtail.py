"""Providers without an adapter here, through pydantic-ai: the extra `perdure[providers]`.

pydantic-ai is one attempt at a call like any other adapter: its SDKs' own retries are off, so that a
retry is an event of the session. Its messages are made once for each item. Loaded at the first call,
off the event loop, for it is large.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from perdure.kernel.errors import ConfigError, ModelError, PerdureError
from perdure.kernel.events import RequestId
from perdure.kernel.ports import Emit
from perdure.kernel.prompt import Prompt, Reply

from .prices import Price
from .redact import Redactor
from .reply import Draft
from .spec import ModelSpec
from .wire import Http

if TYPE_CHECKING:
    from .longtail_bridge import Bridge

INSTALL = "pip install 'perdure[providers]'"


def installed() -> bool:
    """Whether the extra is there. Loads nothing."""
    return find_spec("pydantic_ai") is not None


def knows(provider: str) -> bool:
    """Whether pydantic-ai, as installed, has a provider of that name. Loads nothing."""
    found = find_spec("pydantic_ai")
    if found is None or found.origin is None or not provider.replace("-", "").isalnum():
        return False
    module = f"{provider.replace('-', '_')}.py"
    return (Path(found.origin).parent / "providers" / module).is_file()


class LongTail:
    """Implements `kernel.ports.Model` for one session. `http` is not used: each SDK has its own."""

    format: ClassVar[str] = "pydantic-ai"

    def __init__(self, spec: ModelSpec, http: Http) -> None:
        if not installed():
            raise ConfigError(
                f"The provider {spec.provider!r} is reached through pydantic-ai, "
                "which is not installed.",
                hint=f"Install it with {INSTALL}, or set base_url if it speaks OpenAI's protocol.",
            )
        if not knows(spec.provider):
            raise ConfigError(
                f"No provider is called {spec.provider!r}, here or in pydantic-ai.",
                hint="Set base_url if it speaks OpenAI's protocol.",
            )
        del http
        self.spec = spec
        self._price = Price(spec)
        self._bridge: Bridge | None = None

    @property
    def name(self) -> str:
        return self.spec.label

    async def call(self, prompt: Prompt, request: RequestId, emit: Emit) -> Reply:
        draft = Draft(self.spec.name, request, emit)
        try:
            key = self.spec.key()
        except PerdureError as error:
            raise ModelError(error.message, kind="auth", hint=error.hint) from error
        try:
            bridge = self._bridge
            if bridge is None:
                bridge = self._bridge = await asyncio.to_thread(_open, self.spec)
            async with self._price.known():
                await bridge.stream(prompt, draft)
            return draft.finish(bridge.native, self._price.of)
        except ModelError as error:
            if not error.partial and error.kind != "empty":
                error.partial = draft.partial
            Redactor(self.spec, key).error(error)
            raise

    async def close(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            await bridge.close()


def _open(spec: ModelSpec) -> Bridge:
    """Load pydantic-ai and the provider's SDK. Raises ModelError, with what to install or to set."""
    from .longtail_bridge import Bridge

    return Bridge(spec)
