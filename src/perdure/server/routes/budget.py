from __future__ import annotations

from starlette.responses import Response

from perdure.kernel.events import Json
from perdure.runtime.views import SpendingView

from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..routing import App
from .params import API

SPENDING: dict[str, Json] = {
    "day": "2026-11-21",
    "month": "2026-11",
    "workspace": [{"period": "day", "cost_usd": 1.25, "tokens": 90000, "caps": {"cost_usd": 5.0}}],
    "agents": [
        {"agent": "main", "used": [{"period": "day", "cost_usd": 1.25, "turns": 7}], "error": ""}
    ],
    "unsettled": 0,
}


def add(app: App, runtime: RuntimeApi) -> None:
    @app.get(
        f"{API}/budget",
        tags=["budget"],
        responses=returns(SpendingView, "By agent, day and month.", SPENDING) | fails(503),
    )
    async def show_budget() -> Response:
        """What was spent today and this month, and what may be."""
        return answer(await runtime.spending())
