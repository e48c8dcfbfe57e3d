from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .world import World, running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for a module's tests: starting and stopping costs more than most of them."""
    async with running(tmp_path_factory.mktemp("workspace")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(server: World) -> AsyncIterator[World]:
    server.runtime.reset()
    yield server
    assert server.runtime.fails is None or isinstance(server.runtime.fails, AssertionError)
