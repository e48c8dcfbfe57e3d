"""What a failed call says holds no credential, whichever way a server quotes it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from perdure.kernel.errors import ModelError
from perdure.models.adapter import Adapter
from perdure.models.anthropic import Anthropic
from perdure.models.gemini import Gemini
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.redact import Redactor
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import REQUEST, Answer, playing, prompt, sse, user

KEY = "tok/4f9d+Zq81/my own=secret"
"""No pattern would know it for a key."""
SPEC = ModelSpec(provider="acme", name="m", headers={"X-Api-Token": "Basic hidden-in-a-header"})


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.close()


@pytest.mark.parametrize(
    ("make", "event"),
    [
        (OpenAIChat, {"error": {"message": f"bad key {KEY}", "code": 401}}),
        (OpenAIResponses, {"type": "error", "message": f"bad key {KEY}", "code": "server_error"}),
        (
            OpenAIResponses,
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"message": f"bad key {KEY}"}},
            },
        ),
        (Anthropic, {"type": "error", "error": {"type": "api_error", "message": f"key {KEY}"}}),
        (Gemini, {"error": {"code": 500, "message": f"bad key {KEY}"}}),
        (Gemini, {"promptFeedback": {"blockReason": f"bad key {KEY}"}}),
    ],
)
async def test_an_error_in_mid_stream_does_not_hold_the_key(
    http: Http, make: type[Adapter], event: dict[str, Any]
) -> None:
    async with playing(Answer(sse(event, done=False))) as server:
        spec = ModelSpec(provider="acme", name="m", base_url=server.url, api_key=lambda: KEY)
        with pytest.raises(ModelError) as caught:
            await make(spec, http).call(prompt([user(1, "Hi")]), REQUEST, lambda _: None)
    said = repr(caught.value) + str(caught.value) + caught.value.hint + caught.value.partial
    assert "[key]" in said
    assert KEY not in said and "secret" not in said


async def test_nor_does_the_text_that_came_before_it(http: Http) -> None:
    chunk = {"choices": [{"delta": {"content": f"Your key is {KEY}."}}]}
    async with playing(Answer(sse(chunk, done=False))) as server:
        spec = ModelSpec(provider="acme", name="m", base_url=server.url, api_key=lambda: KEY)
        with pytest.raises(ModelError) as caught:
            await OpenAIChat(spec, http).call(prompt([user(1, "Hi")]), REQUEST, lambda _: None)
    assert (caught.value.kind, caught.value.partial) == ("cut", "Your key is [key].")


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        KEY.replace("/", "\\/"),
        "\u200b".join(KEY),
        KEY[:9] + "\ufeff\u2060" + KEY[9:],
        *(base64.b64encode(b"u" * n + KEY.encode() + b"v" * n).decode() for n in range(6)),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        quote(base64.b64encode(KEY.encode()).decode(), safe=""),
    ],
)
def test_every_form_of_a_key_is_found(shown: str) -> None:
    said = Redactor(SPEC, KEY).text(f"Refused: {shown}, sorry.")
    assert said.startswith("Refused: ") and said.endswith(", sorry.")
    plain = said.removeprefix("Refused: ").removesuffix(", sorry.")
    # Of an encoded header the ends remain, which hold less than a character of the key each.
    assert "[key]" in plain and len(plain) <= len("[key]") + 2 * 8 + 4


def test_what_a_pattern_or_a_limit_left_of_a_key_goes_as_well() -> None:
    redactor = Redactor(SPEC, "sk-abcdefgh1234/therest+of.it")
    assert redactor.text("It is [key]/therest+of.it, no?") == "It is [key], no?"
    assert redactor.text("It is sk-abcdefgh1234/the…") == "It is [key]…"
    assert redactor.text("It is [key]/there…") == "It is [key]…"
    assert redactor.text("It is [key] again…") == "It is [key] again…"


def test_credentials_in_headers_count_too_and_short_words_do_not() -> None:
    assert Redactor(SPEC, "").text("hidden-in-a-header!") == "[key]!"
    assert (
        Redactor(ModelSpec(provider="a", name="m"), "none").text("none is none") == "none is none"
    )
