from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .world import Labelled


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Labelled]:
    made = Labelled(tmp_path)
    yield made
    await made.commands.close()
