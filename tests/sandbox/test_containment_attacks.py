"""What a hostile command tries is held, by each backend; see `perdure.sandbox.attacks`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from perdure.sandbox import Confines, Unavailable
from perdure.sandbox.attacks import ATTACKS
from perdure.sandbox.probing import Result, attack_all

from .containing import BACKENDS, needs

_results: dict[str, dict[str, Result]] = {}


@pytest.fixture(params=BACKENDS)
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Result]]:
    backend = request.param
    needs(backend)
    if backend not in _results:

        async def attack() -> list[Result]:
            return [result async for result in attack_all(Confines(backend=backend))]

        _results[backend] = {r.attack.name: r for r in asyncio.run(attack())}
    yield _results[backend]


@pytest.mark.parametrize("attack", [a.name for a in ATTACKS])
def test_an_attack_is_held(results: dict[str, Result], attack: str) -> None:
    result = results[attack]
    if result.outcome == "untried" and "no python3" in result.said:
        pytest.skip(result.said)
    assert (result.outcome, result.said) == ("held", "")


async def test_attacks_are_never_tried_without_walls() -> None:
    with pytest.raises(Unavailable, match="none"):
        async for _ in attack_all(Confines(backend="none")):
            pass
