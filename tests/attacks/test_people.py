"""Who is known is told by trust.yaml and by whose token it is, never by what a stranger calls himself."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_approvals import API, House


@pytest.mark.parametrize(
    ("token", "sender", "trust"),
    [
        ("", "ann", "known"),
        ("", "eve", "third_party"),
        ("third_party", "ann", "third_party"),
        ("third_party", "", "third_party"),
        ("known", "ann", "third_party"),
    ],
)
async def test_a_message_of_a_known_person_and_one_of_a_guest_in_that_name(
    tmp_path: Path, token: str, sender: str, trust: str
) -> None:
    """Through the real server: the owner's own bridge passes on Ann's words, a guest's only his own."""
    house = House(tmp_path)
    (house.root / ".perdure" / "trust.yaml").write_text("people: {Ann: 'api:ann'}\n")
    async with house.open() as door:
        session, world = await door.session(), door.world
        headers = {}
        if token:
            body = {"name": "guest", "scopes": ["chat"], "trust": token}
            made = await world.ask("POST", f"{API}/tokens", body=body)
            headers = {"Authorization": f"Bearer {made.json['token']}"}
        path = f"{API}/sessions/{session}/messages?wait=30"
        said = {"text": "hello", "sender": sender}
        got = await world.ask("POST", path, body=said, headers=headers)
        assert got.status == 200, got.raw
        (heard,) = await door.events(session, "message_received")
        assert heard["label"].get("trust", "third_party") == trust
