from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from perdure.kernel.errors import InvalidInput, NotFound
from perdure.kernel.events import Json

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer, read
from ..documents import fails, returns, takes
from ..grants import Grant, closed, current
from ..parameters import Path
from ..problems import Refusal
from ..routing import App
from ..settings import ServerSettings
from ..site import Site
from ..tokens import Token, TokenStore, default_trust
from .params import API

TokenId = Annotated[
    str, Path(pattern=r"^[a-z0-9]{1,32}$", description="Id of a token.", examples=["5f0c2a9be1d4"])
]
TOKEN: dict[str, Json] = {
    "id": "5f0c2a9be1d4",
    "name": "phone",
    "scopes": ["chat", "approve"],
    "agents": None,
    "trust": "owner",
    "created": "2026-11-21T10:00:00Z",
    "expires": "2027-02-19T10:00:00Z",
    "alive": True,
}


def _there(wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raises InvalidInput: a token for an agent that is not there would open whatever is called so later."""
    for name in wanted:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = (
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
            )
            raise InvalidInput(f"there is no agent {name[:80]!r}", hint=hint)


def add(
    app: App, runtime: RuntimeApi, store: TokenStore, site: Site, settings: ServerSettings
) -> None:
    @app.get(
        f"{API}/tokens",
        tags=["tokens"],
        responses=returns(bodies.TokenList, "Those it may see.", {"tokens": [TOKEN]}),
    )
    async def list_tokens() -> Response:
        """All tokens, for one with the scope admin; else the caller's own, and those it made. None is
        shown itself: only its digest is kept."""
        grant = current()
        found = await asyncio.to_thread(store.list)
        seen = tuple(_view(t, store) for t in found if _mine(grant, t, found))
        return answer(bodies.TokenList(tokens=seen))

    @app.post(
        f"{API}/tokens",
        status_code=201,
        tags=["tokens"],
        responses=returns(
            bodies.NewToken,
            "The token; it is shown this once.",
            {"token": "pdr_5f0c2a9be1d4_…", "made": TOKEN},
            201,
        )
        | fails(422, 503),
        openapi_extra=takes(
            bodies.CreateToken, {"name": "phone", "scopes": ["chat", "approve"]}, required=True
        ),
    )
    async def create_token(request: Request) -> Response:
        """Make a token that may do no more than the caller's own."""
        grant = current()
        body = await read(request, bodies.CreateToken, settings.max_body)
        agents = None if body.agents is None else frozenset(body.agents)
        trust = body.trust or default_trust(body.scopes, grant.trust)
        if not grant.covers(closed(body.scopes), agents, trust):
            raise Refusal(
                403,
                "scope",
                "A token can only make tokens that may do no more than itself.",
                hint="Ask for fewer scopes or agents; the owner can make any: perdure token create",
            )
        _there(body.agents or (), [view.name for view in runtime.agents()])
        token, text = await asyncio.to_thread(
            lambda: store.create(
                body.name,
                body.scopes,
                agents=body.agents,
                days=body.days,
                trust=trust,
                parent="" if grant.id in ("local", "configured") else grant.id,
            )
        )
        return answer(bodies.NewToken(token=text, made=_view(token, store)), 201)

    @app.delete(
        f"{API}/tokens/{{id}}",
        tags=["tokens"],
        responses=returns(bodies.RevokedTokens, "These are gone.", {"revoked": ["5f0c2a9be1d4"]})
        | fails(404, 503),
    )
    async def revoke_token(id: TokenId) -> Response:
        """Revoke a token and all that were made with it, at once: their open streams end."""
        grant = current()
        found = await asyncio.to_thread(store.list)
        if not any(t.id == id and _mine(grant, t, found) for t in found):
            raise NotFound(f"there is no token {id}", hint="See them: perdure token list")
        gone = await asyncio.to_thread(store.revoke, id)
        site.close_where({t.id for t in gone}.__contains__)
        return answer(bodies.RevokedTokens(revoked=tuple(t.id for t in gone)))


def _mine(grant: Grant, token: Token, all_: object) -> bool:
    """Those of the caller: itself, and what comes from it."""
    if grant.may("admin") and grant.agents is None:
        return True
    assert isinstance(all_, tuple)
    parents = {t.id: t.parent for t in all_}
    at, seen = token.id, 0
    while at and seen <= len(parents):
        if at == grant.id:
            return True
        at, seen = parents.get(at, ""), seen + 1
    return False


def _view(token: Token, store: TokenStore) -> bodies.TokenView:
    return bodies.TokenView(
        id=token.id,
        name=token.name,
        scopes=token.scopes,
        agents=token.agents,
        trust=token.trust,
        created=token.created,
        expires=token.expires,
        parent=token.parent,
        alive=store.alive(token.id),
    )
