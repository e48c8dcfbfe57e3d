"""What a call cost, in US dollars, from genai-prices' bundled table. Nothing is fetched.

The table is large: it is loaded off the event loop at the first call of the process, beside that call.
The library's own sum takes 0.1 ms, so the rates of a model are taken out once and multiplied here; a
test holds the two to the same result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from perdure.kernel.events import Usage

from .spec import ModelSpec

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

FREE = frozenset(("ollama", "vllm", "llamacpp", "llama.cpp", "lmstudio"))
"""Providers that run on one's own machine."""

ALIASES = {"gemini": "google", "openai-chat": "openai", "openai-responses": "openai"}
"""Our names of providers to those of genai-prices, where they differ."""


@lru_cache(maxsize=256)
def model_info(provider: str, name: str) -> ModelInfo | None:
    """What genai-prices knows of a model (prices, context window); None if it knows none by that name.
    Slow the first time in a process: about 0.5 s of CPU. Call it off the event loop."""
    from genai_prices.data_snapshot import get_snapshot

    provider = ALIASES.get(provider, provider)
    try:
        return get_snapshot().find_provider_model(name, None, provider, None)[1]
    except LookupError:
        return None


def context_window(provider: str, name: str) -> int | None:
    """Tokens; None if unknown. As slow as `model_info`."""
    info = model_info(provider, name)
    return info.context_window if info is not None else None


class Price:
    """The price of one model."""

    __slots__ = ("_free", "_info", "_known", "_rates", "spec")

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._free = spec.provider in FREE
        self._info: ModelInfo | None = None
        self._rates: tuple[ModelPrice, Rates] | None = None
        # Behind an address of the owner's own nobody knows what a token costs.
        self._known = self._free or bool(spec.base_url) or spec.price is not None

    @asynccontextmanager
    async def known(self) -> AsyncIterator[None]:
        """While the block runs the price is looked up, once; when it ends the price is there."""
        if self._known:
            yield
            return
        lookup = asyncio.create_task(
            asyncio.to_thread(model_info, self.spec.provider, self.spec.name)
        )
        try:
            yield
        finally:
            self._info = await lookup
            self._known = True

    async def look_up(self) -> None:
        """As `known`, with nothing to do meanwhile."""
        if not self._known:
            async with self.known():
                pass

    def of(self, usage: Usage) -> float | None:
        """US dollars; None where no price is known."""
        if self.spec.price is not None:
            per_input, per_output = self.spec.price
            return (usage.input * per_input + usage.output * per_output) / 1e6
        if self._free:
            return 0.0
        if self._info is None:
            return None
        # Some prices change with the date or the hour: genai-prices says which holds now.
        price = self._info.get_prices(datetime.now(UTC))
        if self._rates is None or self._rates[0] is not price:
            self._rates = (price, Rates.read(price))
        return self._rates[1].cost(usage)


class Rate(msgspec.Struct, frozen=True):
    """US dollars a token, by how many input tokens the request has: the last tier passed holds."""

    base: float
    tiers: tuple[tuple[int, float], ...] = ()
    """(input tokens above which it holds, price), rising."""

    def at(self, tokens: int) -> float:
        price = self.base
        for start, higher in self.tiers:
            if tokens > start:
                price = higher
        return price


class Rates(msgspec.Struct, frozen=True):
    """What each kind of token costs; input that is not listed as cached costs what input costs."""

    input: Rate
    cache_read: Rate
    cache_write: Rate
    output: Rate

    @classmethod
    def read(cls, price: ModelPrice) -> Rates:
        plain = _rate(price.input_mtok) or Rate(0.0)
        return cls(
            input=plain,
            cache_read=_rate(price.cache_read_mtok) or plain,
            cache_write=_rate(price.cache_write_mtok) or plain,
            output=_rate(price.output_mtok) or Rate(0.0),
        )

    def cost(self, usage: Usage) -> float:
        size = usage.input
        plain = max(0, size - usage.cache_read - usage.cache_write)
        return (
            plain * self.input.at(size)
            + usage.cache_read * self.cache_read.at(size)
            + usage.cache_write * self.cache_write.at(size)
            + usage.output * self.output.at(size)
        )


def _rate(price: Decimal | TieredPrices | None) -> Rate | None:
    from decimal import Decimal

    if price is None:
        return None
    if isinstance(price, Decimal):
        return Rate(float(price) / 1e6)
    tiers = tuple((tier.start, float(tier.price) / 1e6) for tier in price.tiers)
    return Rate(float(price.base) / 1e6, tiers)
