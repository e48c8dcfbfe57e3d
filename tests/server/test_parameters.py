"""What a route takes from the path, the query and the headers."""

from __future__ import annotations

from typing import Annotated

import pytest
import yarl
from starlette.requests import Request

from perdure.server.parameters import Header, Path, Query, taken_by
from perdure.server.problems import Refusal

from .world import World

API = "/api/v1"
NAME = r"^[a-z]{1,9}$"


async def _all(
    id: Annotated[str, Path(pattern=NAME, description="An id.", examples=["abc"])],
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    wait: Annotated[float, Query(ge=0)] = 0.0,
    follow: Annotated[bool | None, Query(description="Go on.")] = None,
    before: Annotated[str | None, Query(pattern=NAME)] = None,
    key: Annotated[
        str, Header(alias="Idempotency-Key", description="Yours.", pattern=NAME, max_length=5)
    ] = "",
) -> None: ...


def _request(query: str = "", id: str = "abc", **headers: str) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": f"/{id}",
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
            "path_params": {"id": id},
            "server": ("localhost", 80),
        }
    )


def test_what_is_left_out_has_its_default() -> None:
    request = _request()
    assert taken_by(_all).read(request) == {
        "id": "abc",
        "request": request,
        "limit": 50,
        "wait": 0.0,
        "follow": None,
        "before": None,
        "key": "",
    }


def test_what_is_sent_is_converted() -> None:
    got = taken_by(_all).read(
        _request("limit=7&wait=1.5&follow=true&before=abc", idempotency_key="xyz")
    )
    assert got | {"request": None} == {
        "id": "abc",
        "request": None,
        "limit": 7,
        "wait": 1.5,
        "follow": True,
        "before": "abc",
        "key": "xyz",
    }


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=", "query.limit"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=1.5", "query.limit"),
        ("limit=null", "query.limit"),
        ("wait=nan", "query.wait"),
        ("wait=inf", "query.wait"),
        ("follow=maybe", "query.follow"),
        ("follow=null", "query.follow"),
        ("before=", "query.before"),
        ("before=ABC", "query.before"),
        ("before=abc%0A", "query.before"),
        ("before=%0Aabc", "query.before"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(query: str, where: str) -> None:
    with pytest.raises(Refusal) as caught:
        taken_by(_all).read(_request(query))
    assert caught.value.status == 422
    assert [fault.where for fault in caught.value.errors] == [where]


def test_all_that_does_not_fit_is_named_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        taken_by(_all).read(_request("limit=x&wait=x", idempotency_key="toolong"))
    assert [fault.where for fault in caught.value.errors] == [
        "query.limit",
        "query.wait",
        "header.Idempotency-Key",
    ]


@pytest.mark.parametrize("id", ["abc\n", "\nabc", "ABC", "", "a/b", "abcdefghij"])
def test_an_id_of_a_strange_form_is_something_that_is_not_there(id: str) -> None:
    with pytest.raises(Refusal) as caught:
        taken_by(_all).read(_request(id=id))
    assert caught.value.status == 404


def test_a_handler_takes_nothing_that_is_not_declared() -> None:
    async def undeclared(limit: int = 3) -> None: ...

    async def strange(limit: Annotated[bytes, Query()] = b"") -> None: ...

    for handler in (undeclared, strange):
        with pytest.raises(TypeError):
            taken_by(handler)


def test_the_document_tells_the_rules_that_are_checked() -> None:
    told = {one.name: one.document() for one in taken_by(_all).parameters}
    assert told["id"] == {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "An id.",
        "schema": {"type": "string", "pattern": NAME, "examples": ["abc"]},
    }
    assert told["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
    }
    assert told["follow"]["schema"] == {"type": "boolean"}
    assert not told["follow"]["required"]
    assert told["Idempotency-Key"]["in"] == "header"
    assert told["Idempotency-Key"]["schema"]["maxLength"] == 5


@pytest.mark.asyncio(loop_scope="module")
async def test_a_line_end_after_an_id_never_reaches_the_runtime(world: World) -> None:
    world.runtime.fails = AssertionError("the runtime was asked")
    url = yarl.URL(f"{world.file.url}{API}/sessions/s_1%0A", encoded=True)
    async with world.http.get(url) as response:
        assert response.status == 404
