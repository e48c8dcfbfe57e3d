"""Whatever is wrong with a request, the answer is a problem that says what."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yarl

from perdure.kernel.errors import (
    ConfigError,
    Conflict,
    Damaged,
    InvalidInput,
    Locked,
    ModelError,
    NotFound,
    StorageError,
)
from perdure.kernel.events import MessageReceived

from .world import Answer, World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
JSON = {"Content-Type": "application/json"}


def problem(got: Answer, status: int, code: str) -> dict[str, object]:
    assert got.status == status, got.raw
    assert got.headers["Content-Type"] == "application/problem+json"
    assert got.json["status"] == status
    assert got.json["code"] == code
    assert got.json["type"] == f"urn:perdure:problem:{code}"
    assert got.json["title"]
    return dict(got.json)


async def send(world: World, data: bytes, **more: object) -> Answer:
    id_ = await world.session()
    return await world.ask(
        "POST", f"{API}/sessions/{id_}/messages", data=data, **{"headers": JSON, **more}
    )


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"text": "a"',
        b"{'text': 'a'}",
        b'{"text": NaN}',
        b'{"text": "a", "mode": Infinity}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\xed\xa0\x80"}',
        '{"text": "a"}'.encode("utf-16"),
        b"\x00\x00",
        b'{"text": "a"} trailing',
        b"\xef\xbb\xbf{}",
    ],
)
async def test_a_body_that_is_no_json_is_malformed(world: World, data: bytes) -> None:
    assert "JSON" in str(problem(await send(world, data), 400, "malformed")["detail"])


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"parts":' * 100_000, b'{"a":[' * 100_000])
async def test_deep_nesting_is_answered_like_any_other_misfit(world: World, data: bytes) -> None:
    got = await send(world, data)
    assert got.status in (400, 422)
    assert got.headers["Content-Type"] == "application/problem+json"


async def test_half_a_surrogate_pair_is_replaced_and_the_message_kept(world: World) -> None:
    got = await send(world, rb'{"text": "cut \ud83d, whole \ud83d\ude00, written \\ud83d"}')
    assert got.status == 202
    [session] = world.runtime.all.values()
    event = session.records[-1].event
    assert isinstance(event, MessageReceived)
    assert event.parts[0].text == "cut \ufffd, whole \U0001f600, written \\ud83d"  # type: ignore[union-attr]


async def test_a_huge_body_is_refused_whether_or_not_its_size_was_told(tmp_path: Path) -> None:
    async with running(tmp_path, max_body=10_000) as world:
        data = json.dumps({"text": "x" * 50_000}).encode()
        problem(await send(world, data), 413, "too_large")

        async def chunks():  # type: ignore[no-untyped-def]
            for start in range(0, len(data), 1_000):
                yield data[start : start + 1_000]

        problem(await send(world, chunks()), 413, "too_large")  # type: ignore[arg-type]
        assert (await send(world, b'{"text": "' + b"x" * 9_000 + b'"}')).status == 202


async def test_an_endless_body_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with running(tmp_path, max_body=10_000) as world:
        id_ = await world.session()
        reader, writer = await asyncio.open_connection(world.file.host, world.file.port)
        writer.write(
            f"POST {API}/sessions/{id_}/messages HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {world.file.token}\r\nContent-Length: {10**12}\r\n\r\n".encode()
        )
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n")
        writer.close()
        assert b" 413 " in head


async def test_a_body_of_another_kind_is_refused_with_advice(world: World) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    got = problem(await send(world, b"text=hi", headers=form), 415, "media_type")
    assert "Content-Type" in str(got["hint"])
    vendor = {"Content-Type": "application/vnd.mine+json; charset=utf-8"}
    assert (await send(world, b'{"text": "hi"}', headers=vendor)).status == 202


async def test_unknown_paths_and_wrong_methods(world: World) -> None:
    problem(await world.ask("GET", "/nothing"), 404, "not_found")
    problem(await world.ask("GET", f"{API}/sessions/"), 404, "not_found")
    got = await world.ask("PUT", f"{API}/sessions")
    problem(got, 405, "method_not_allowed")
    assert got.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    "id_",
    [
        "..",
        "..%2f..%2fetc",
        "a%00b",
        "%ff",
        "a%20b",
        "x" * 65,
        "S_UPPER",
        "-rf",
        "%C3%A9",
        ".hidden",
    ],
)
async def test_an_id_of_a_strange_form_never_reaches_the_runtime(world: World, id_: str) -> None:
    world.runtime.fails = AssertionError("the runtime was asked")
    for path in (f"sessions/{id_}", f"sessions/{id_}/events", f"sessions/{id_}/context"):
        url = yarl.URL(f"{world.file.url}{API}/{path}", encoded=True)
        async with world.http.get(url) as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
    assert world.runtime.fails is not None


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "query.limit"),
        ("limit=x", "query.limit"),
        ("limit=99999999999999999999999", "query.limit"),
        ("before=../x", "query.before"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(world: World, query: str, where: str) -> None:
    got = problem(await world.ask("GET", f"{API}/sessions?{query}"), 422, "invalid_input")
    assert got["errors"][0]["where"] == where  # type: ignore[index]
    assert "regex" not in str(got["errors"])


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "1e9"])
async def test_nobody_waits_for_ever(world: World, wait: str) -> None:
    id_ = await world.session()
    got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait={wait}", body={"text": "a"})
    problem(got, 422, "invalid_input")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("there is no session x", hint="See: perdure session list"), 404, "not_found"),
        (Conflict("it ended", hint="h"), 409, "conflict"),
        (InvalidInput("no", hint="h"), 422, "invalid_input"),
        (ConfigError("wrong", file="agent.yaml", line=3, hint="h"), 500, "config"),
        (Damaged("record 7 is damaged", hint="h"), 409, "damaged"),
        (Locked("process 9 writes it", hint="h"), 423, "locked"),
        (StorageError("no space left on device", hint="h"), 503, "storage"),
        (ModelError("overloaded", kind="overloaded", hint="h"), 502, "model"),
    ],
)
async def test_every_error_of_ours_has_its_status(
    world: World, error: Exception, status: int, code: str
) -> None:
    id_ = await world.session()
    world.runtime.fails = error
    got = problem(await world.ask("GET", f"{API}/sessions/{id_}"), status, code)
    assert got["detail"] == error.args[0]
    assert got["hint"]


async def test_a_defect_tells_a_reference_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = await world.session()
    world.runtime.fails = RuntimeError("secret detail")
    got = problem(await world.ask("GET", f"{API}/sessions/{id_}"), 500, "internal")
    assert "secret" not in json.dumps(got)
    reference = str(got["detail"]).partition("reference ")[2].rstrip(").")
    assert reference in caplog.text
    assert "secret detail" in caplog.text
    assert (await world.ask("GET", f"{API}/sessions/{id_}")).status == 200


async def test_the_document_is_whole_and_its_references_resolve(world: World) -> None:
    document = (await world.ask("GET", "/openapi.json")).json
    assert len(document["paths"]) >= 18

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return here + [r for child in node.values() for r in references(child)]
        return [r for child in node for r in references(child)] if isinstance(node, list) else []

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["tags"], path
            assert all(status[0] in "245" for status in operation["responses"])
            if "/api/" in path:
                assert operation["security"] == [{"token": []}]
                assert "401" in operation["responses"]
