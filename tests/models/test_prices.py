"""Our sum and genai-prices' own come to the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.events import Usage
from perdure.models.prices import Price, context_window, model_info
from perdure.models.spec import ModelSpec

MODELS = [
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-8"),
    ("anthropic", "claude-3-5-haiku-latest"),
    ("openai", "gpt-5"),
    ("openai", "gpt-4o"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-3-pro-preview"),
    ("deepseek", "deepseek-chat"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
]


async def price_of(provider: str, name: str, **more: str) -> Price:
    price = Price(ModelSpec(provider=provider, name=name, **more))
    async with price.known():
        pass
    return price


@pytest.mark.parametrize(("provider", "name"), MODELS)
async def test_a_cost_is_what_genai_prices_makes_of_it(provider: str, name: str) -> None:
    price = await price_of(provider, name)

    @given(*(st.integers(0, 400_000) for _ in range(4)))
    def check(plain: int, read: int, write: int, output: int) -> None:
        usage = Usage(input=plain + read + write, cache_read=read, cache_write=write, output=output)
        counted = Counted(
            input_tokens=usage.input,
            cache_read_tokens=read,
            cache_write_tokens=write,
            output_tokens=output,
        )
        theirs = calc_price(
            counted, name, provider_id=provider, genai_request_timestamp=datetime.now(UTC)
        )
        ours = price.of(usage)
        assert ours == pytest.approx(float(theirs.total_price))
        assert ours is not None and (ours > 0) == bool(usage.input or usage.output)

    check()


async def test_a_model_nobody_knows_has_no_price() -> None:
    assert (await price_of("anthropic", "no-such-model")).of(Usage(input=10)) is None
    assert (await price_of("no-such-provider", "x")).of(Usage(input=10)) is None


async def test_behind_an_address_of_ones_own_there_is_no_price() -> None:
    price = await price_of("openai", "gpt-5", base_url="http://127.0.0.1:1/v1")
    assert price.of(Usage(input=10)) is None


async def test_ones_own_machine_costs_nothing() -> None:
    assert (await price_of("ollama", "llama4")).of(Usage(input=10)) == 0.0


def test_windows_are_known_too() -> None:
    assert context_window("anthropic", "claude-sonnet-4-5") == 200_000
    assert context_window("anthropic", "no-such-model") is None
    assert model_info("gemini", "gemini-2.5-pro") is not None


@pytest.mark.parametrize("provider", ["vllm", "ollama", "openai"])
def test_a_price_that_is_given_counts_also_for_what_is_free_otherwise(provider: str) -> None:
    given = Price(ModelSpec(provider=provider, name="m", price=(0.5, 1.5)))
    assert given.of(Usage(input=1_000_000, output=1_000_000)) == 2.0
    assert Price(ModelSpec(provider="vllm", name="m")).of(Usage(input=5)) == 0.0
