from __future__ import annotations

import asyncio
import base64

import pytest

from perdure.kernel.events import (
    Image,
    Limits,
    MessageId,
    MessageReceived,
    ModelResponded,
    RequestId,
    Text,
    TurnEnded,
    TurnId,
    TurnStarted,
)

from .fake_runtime import asks
from .world import World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"


def received(world: World, session: str) -> MessageReceived:
    event = world.runtime.all[session].records[-1].event
    assert isinstance(event, MessageReceived)
    return event


def answered(world: World, session: str, text: str) -> None:
    message = received(world, session).message
    turn = TurnId("t1")
    world.runtime.happens(
        session,
        TurnStarted(turn=turn, messages=(message,), limits=Limits()),
        ModelResponded(request=RequestId("r1"), model="m", parts=(Text(text=text),)),
        TurnEnded(turn=turn, reason="done"),
    )


async def test_a_message_is_accepted_with_its_place_in_the_log(world: World) -> None:
    id_ = await world.session()
    got = await world.ask(
        "POST",
        f"{API}/sessions/{id_}/messages",
        body={"text": "Tidy this folder.", "mode": "queue", "sender": "me"},
    )
    assert got.status == 202
    message = received(world, id_)
    assert got.json == {"message": message.message, "seq": 2, "duplicate": False, "held": ""}
    assert message.parts == (Text(text="Tidy this folder."),)
    assert (message.mode, message.sender, message.source) == ("queue", "me", "api")


async def test_the_same_idempotency_key_counts_once(world: World) -> None:
    id_ = await world.session()
    send = {"body": {"text": "hi"}, "headers": {"Idempotency-Key": "k-1"}}
    first = await world.ask("POST", f"{API}/sessions/{id_}/messages", **send)
    second = await world.ask("POST", f"{API}/sessions/{id_}/messages", **send)
    assert first.json["message"] == second.json["message"]
    assert (first.json["duplicate"], second.json["duplicate"]) == (False, True)
    assert len(world.runtime.all[id_].records) == 2


async def test_images_come_as_base64_and_are_stored_beside_the_log(world: World) -> None:
    id_ = await world.session()
    data = b"\x89PNG not really"
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "media_type": "image/png", "data": base64.b64encode(data).decode()},
    ]
    got = await world.ask("POST", f"{API}/sessions/{id_}/messages", body={"parts": parts})
    assert got.status == 202
    text, image = received(world, id_).parts
    assert text == Text(text="What is this?")
    assert isinstance(image, Image)
    assert (world.runtime.folder / image.artifact).read_bytes() == data


async def test_no_image_is_stored_for_a_session_there_is_not(world: World) -> None:
    before = set(world.runtime.folder.iterdir())
    parts = [{"type": "image", "media_type": "image/png", "data": "AAAA"}]
    got = await world.ask("POST", f"{API}/sessions/s_nobody/messages", body={"parts": parts})
    assert got.status == 404
    assert set(world.runtime.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body"),
        ({"text": "a", "parts": [{"type": "text", "text": "b"}]}, "body"),
        ({"text": "  \n"}, "body.text"),
        ({"parts": []}, "body.parts"),
        ({"text": "a", "mode": "shout"}, "body.mode"),
        ({"text": "a", "sneder": "x"}, "body"),
        ({"text": 7}, "body.text"),
        ({"parts": [{"type": "sound", "data": ""}]}, "body.parts[0].type"),
        ({"parts": [{"type": "image", "media_type": "image/svg+xml", "data": "AA=="}]},
         "body.parts[0].media_type"),
        ({"parts": [{"type": "image", "media_type": "image/png", "data": "!"}]},
         "body.parts[0].data"),
        ([], "body"),
    ],
)  # fmt: skip
async def test_a_message_that_does_not_fit_is_told_where(
    world: World, body: object, where: str
) -> None:
    id_ = await world.session()
    got = await world.ask("POST", f"{API}/sessions/{id_}/messages", body=body)
    assert got.status == 422
    assert [fault["where"] for fault in got.json["errors"]] == [where]
    assert len(world.runtime.all[id_].records) == 1


async def test_waiting_answers_with_what_came_of_the_message(world: World) -> None:
    id_ = await world.session()
    asked = asyncio.ensure_future(
        world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", body={"text": "hi"})
    )
    await until(lambda: world.runtime.listeners(id_) == 2)
    answered(world, id_, "hello")
    got = await asked
    assert got.status == 200
    assert (got.json["reason"], got.json["text"]) == ("done", "hello")
    assert got.json["approvals"] == []
    await until(lambda: world.runtime.listeners(id_) == 0)


async def test_waiting_in_vain_is_answered_as_not_waiting(world: World) -> None:
    id_ = await world.session()
    got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=0.05", body={"text": "hi"})
    assert (got.status, got.json["seq"]) == (202, 2)
    assert world.runtime.listeners(id_) == 0


async def test_waiting_returns_early_when_the_owner_is_needed(world: World) -> None:
    id_ = await world.session()
    asked = asyncio.ensure_future(
        world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", body={"text": "build"})
    )
    await until(lambda: world.runtime.listeners(id_) == 2)
    turn = TurnStarted(turn=TurnId("t1"), messages=(MessageId("x"),), limits=Limits())
    world.runtime.happens(id_, turn, asks("a_1"))
    got = await asked
    assert (got.status, got.json["reason"]) == (200, "approval")
    assert [one["request"]["approval"] for one in got.json["approvals"]] == ["a_1"]


async def test_a_message_answered_long_ago_does_not_wait_for_later_approvals(world: World) -> None:
    id_ = await world.session()
    send = {"body": {"text": "hi"}, "headers": {"Idempotency-Key": "k"}}
    await world.ask("POST", f"{API}/sessions/{id_}/messages", **send)
    answered(world, id_, "hello")
    turn = TurnStarted(turn=TurnId("t2"), messages=(MessageId("x"),), limits=Limits())
    world.runtime.happens(id_, turn, asks("a_1"))
    got = await world.ask("POST", f"{API}/sessions/{id_}/messages?wait=30", **send)
    assert (got.json["reason"], got.json["text"]) == ("done", "hello")


async def test_a_client_that_leaves_while_waiting_leaves_nothing_behind(world: World) -> None:
    id_ = await world.session()
    asked = asyncio.ensure_future(
        world.ask("POST", f"{API}/sessions/{id_}/messages?wait=600", body={"text": "hi"})
    )
    await until(lambda: world.runtime.listeners(id_) == 2)
    asked.cancel()
    await until(lambda: world.runtime.listeners(id_) == 0)


async def test_approvals_are_listed_answered_once_and_then_refused(world: World) -> None:
    id_ = await world.session()
    turn = TurnStarted(turn=TurnId("t1"), messages=(), limits=Limits())
    world.runtime.happens(id_, turn, asks("a_1"), asks("a_2", "c2"))
    everywhere = (await world.ask("GET", f"{API}/approvals")).json["approvals"]
    here = (await world.ask("GET", f"{API}/sessions/{id_}/approvals")).json["approvals"]
    assert everywhere == here
    assert [one["request"]["preview"] for one in here] == ["make", "make"]

    path = f"{API}/sessions/{id_}/approvals/a_1"
    body = {"answer": "deny", "note": "not now"}
    first = await world.ask("POST", path, body=body)
    assert first.json == {"approval": "a_1", "answer": "deny", "scope": "once"}
    second = await world.ask("POST", path, body={"answer": "allow"})
    assert (second.status, second.json["code"]) == (409, "conflict")
    unknown = await world.ask("POST", f"{API}/sessions/{id_}/approvals/a_9", body=body)
    assert unknown.status == 404
    nowhere = await world.ask("POST", f"{API}/sessions/s_nobody/approvals/a_1", body=body)
    assert nowhere.status == 404
    empty = await world.ask("POST", f"{API}/sessions/{id_}/approvals/a_2")
    assert empty.status == 422


async def test_several_approvals_are_answered_at_once_or_not_at_all(world: World) -> None:
    id_ = await world.session()
    turn = TurnStarted(turn=TurnId("t1"), messages=(), limits=Limits())
    world.runtime.happens(id_, turn, asks("a_1"), asks("a_2", "c2"), asks("a_3", "c3"))
    path = f"{API}/sessions/{id_}/approvals"
    deny = {"approval": "a_1", "answer": "deny", "note": "no"}
    for wrong, status in (
        ({"answers": []}, 422),
        ({"answers": [{"approval": "../a", "answer": "deny"}]}, 422),
        ({"answers": [deny, {"approval": "a_9", "answer": "allow"}]}, 404),
        ({"answers": [{**deny, "by": "somebody"}]}, 422),
        ({"answers": [deny] * 257}, 422),
    ):
        assert (await world.ask("POST", path, body=wrong)).status == status
    assert len((await world.ask("GET", path)).json["approvals"]) == 3
    both = {"answers": [deny, {"approval": "a_2", "answer": "allow", "scope": "session"}]}
    got = await world.ask("POST", path, body=both)
    assert got.json == {
        "decided": [
            {"approval": "a_1", "answer": "deny", "scope": "once"},
            {"approval": "a_2", "answer": "allow", "scope": "session"},
        ]
    }
    left = (await world.ask("GET", path)).json["approvals"]
    assert [one["request"]["approval"] for one in left] == ["a_3"]
    again = {"answers": [{"approval": "a_3", "answer": "allow"}, deny]}
    assert (await world.ask("POST", path, body=again)).status == 409
    assert len((await world.ask("GET", path)).json["approvals"]) == 1
