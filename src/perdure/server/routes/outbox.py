from __future__ import annotations

from typing import Annotated

from starlette.responses import Response

from perdure.kernel.events import DeliveryId, Json

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..parameters import Path
from ..routing import App
from .params import API

EXAMPLE: dict[str, Json] = {
    "letters": [
        {
            "delivery": "t_01kazh2v6e8m9qrt.phone",
            "session": "s_01kazh2v6e8m9qrt",
            "to": "phone",
            "text": "Your downloads are sorted.",
            "at": "2026-11-21T10:00:00Z",
            "attempts": 8,
            "status": "failed",
            "error": "exit code 1: no route to host",
            "retry_at": None,
        }
    ]
}
Delivery = Annotated[
    str,
    Path(
        pattern=r"^[a-z0-9_]{1,64}\.[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Id of a delivery.",
        examples=["t_01kazh2v6e8m9qrt.phone"],
    ),
]


def add(app: App, runtime: RuntimeApi) -> None:
    @app.get(
        f"{API}/outbox",
        tags=["outbox"],
        responses=returns(bodies.LetterList, "What has not arrived.", EXAMPLE),
    )
    async def list_letters() -> Response:
        """Answers that have not arrived: pending, failed, or unconfirmed."""
        return answer(bodies.LetterList(letters=tuple(await runtime.letters())))

    @app.post(
        f"{API}/outbox/{{delivery}}/retry",
        status_code=204,
        tags=["outbox"],
        responses=fails(404, 409, 423, 503),
    )
    async def retry_letter(delivery: Delivery) -> Response:
        """Send a dead letter again."""
        await runtime.redeliver(DeliveryId(delivery), by="api")
        return Response(status_code=204)
