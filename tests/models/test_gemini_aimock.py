"""The Gemini adapter against a model server that nobody here wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from perdure.kernel.events import ToolCall
from perdure.models.gemini import Gemini
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .aimock import Aimock, aimock
from .aimock.rounds import ROUNDS
from .aimock.talk import FAILURES, fails, rounds_of_tools


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with aimock(tmp_path_factory.mktemp("aimock"), ROUNDS) as server:
        yield server


@pytest.fixture
async def model(mock: Aimock) -> AsyncIterator[Gemini]:
    http = Http()
    base = f"{mock.url}/v1beta"
    spec = ModelSpec(
        provider="gemini", name="gemini-3-flash-preview", base_url=base, api_key=lambda: "k"
    )
    yield Gemini(spec, http)
    await http.close()


async def test_several_rounds_of_tools_end_in_an_answer(mock: Aimock, model: Gemini) -> None:
    items, replies = await rounds_of_tools(model)
    assert [len([p for p in r.parts if isinstance(p, ToolCall)]) for r in replies] == [2, 1, 0]
    assert [r.stop for r in replies] == ["tools", "tools", "end"]
    assert replies[-1].parts[-1].text == "All tidy. Grüße 👋"  # type: ignore[union-attr]
    assert all(r.native is not None for r in replies)
    assert (replies[-1].usage.input, replies[-1].usage.output) == (30, 5)
    assert len(items) == 6
    mock.assert_paired()


@pytest.mark.parametrize(("words", "kind", "status"), FAILURES)
async def test_a_refusal_is_understood(model: Gemini, words: str, kind: str, status: int) -> None:
    failed = await fails(model, words)
    assert (failed.kind, failed.status) == (kind, status)
    assert failed.retry_after == (7.0 if status == 429 else None)


async def test_a_stream_cut_in_the_middle_keeps_what_had_come(model: Gemini) -> None:
    failed = await fails(model, "cut")
    assert failed.kind == "cut"
    assert "A long answer".startswith(failed.partial[:13]) and failed.partial
