"""What providers say when they refuse, and what we make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.kernel.errors import ModelErrorKind
from perdure.models.failures import failure, readable, retry_after


def anthropic(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}


def openai(code: str | None, message: str, type: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def gemini(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


CASES: list[tuple[int, Any, ModelErrorKind]] = [
    (429, anthropic("rate_limit_error", "This would exceed your limit."), "rate_limited"),
    (529, anthropic("overloaded_error", "Overloaded"), "overloaded"),
    (500, anthropic("api_error", "Internal server error"), "server"),
    (401, anthropic("authentication_error", "invalid x-api-key"), "auth"),
    (403, anthropic("permission_error", "not allowed"), "auth"),
    (404, anthropic("not_found_error", "model: claude-x"), "not_found"),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), "context_overflow"),
    (504, anthropic("timeout_error", "Timed out"), "timeout"),
    (402, anthropic("billing_error", "Payment failed"), "billing"),
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "context_overflow",
    ),
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
        "billing",
    ),
    (400, anthropic("invalid_request_error", "messages.1: text is required"), "invalid"),
    (
        400,
        anthropic("invalid_request_error", "max_tokens: 999999 > 64000, the maximum allowed"),
        "invalid",
    ),
    (429, openai("rate_limit_exceeded", "Rate limit reached", "requests"), "rate_limited"),
    (429, openai("insufficient_quota", "You exceeded your current quota"), "billing"),
    (400, openai("context_length_exceeded", "maximum context length is 8192"), "context_overflow"),
    (401, openai("invalid_api_key", "Incorrect API key provided: sk-abc***xyz"), "auth"),
    (404, openai("model_not_found", "The model `gpt-9` does not exist"), "not_found"),
    (500, openai(None, "The server had an error", "server_error"), "server"),
    (503, openai(None, "The engine is currently overloaded"), "overloaded"),
    (400, openai("content_policy_violation", "not allowed"), "refused"),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), "rate_limited"),
    (
        429,
        gemini(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
        ),
        "rate_limited",
    ),
    (503, gemini(503, "UNAVAILABLE", "The model is overloaded."), "overloaded"),
    (500, gemini(500, "INTERNAL", "An internal error has occurred."), "server"),
    (
        400,
        gemini(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
        ),
        "auth",
    ),
    (
        400,
        gemini(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed.",
        ),
        "context_overflow",
    ),
    (400, gemini(400, "INVALID_ARGUMENT", "Unknown name"), "invalid"),
    (400, [gemini(400, "FAILED_PRECONDITION", "User location is not supported")], "invalid"),
    (
        402,
        {"error": {"code": 402, "message": "Insufficient credits. Add more using x"}},
        "billing",
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "type": "exceed_context_size_error",
                "message": "the request exceeds the available context size",
            }
        },
        "context_overflow",
    ),
    (404, {"error": "model 'llama9' not found, try pulling it first"}, "not_found"),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "invalid"),
    (500, "<html><title>502 Bad Gateway</title></html>", "server"),
    (502, "", "server"),
    (503, "", "overloaded"),
    (302, "", "invalid"),
    (418, "", "invalid"),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_an_error_body_is_understood(status: int, body: Any, kind: ModelErrorKind) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    error = failure(status, {}, raw.encode(), provider="acme")
    assert error.kind == kind
    assert error.message.startswith(f"acme answered {status}")
    assert error.status == status
    assert "\n" not in error.message


def test_a_message_says_what_the_provider_said() -> None:
    body = json.dumps(openai(None, "Unsupported value:\n  'temperature'")).encode()
    error = failure(400, {}, body, provider="openai")
    assert error.message == "openai answered 400: Unsupported value: 'temperature'"


def test_what_a_router_heard_from_the_provider_behind_it_is_shown() -> None:
    body = {
        "error": {
            "code": 429,
            "message": "Provider returned error",
            "metadata": {"raw": "try later", "provider_name": "x"},
        }
    }
    error = failure(429, {}, json.dumps(body).encode(), provider="openrouter")
    assert error.kind == "rate_limited" and "try later" in error.message


def test_a_proxys_page_is_reduced_to_its_title() -> None:
    page = b"<!doctype html><html><head><title>Bad gateway</title></head><body>long</body></html>"
    error = failure(502, {}, page, provider="acme")
    assert error.message == "acme answered 502: Bad gateway"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT",
                "date": "Wed, 21 Oct 2026 07:29:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "99999999"}, 86_400.0),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
    assert failure(429, headers, b"", provider="acme").retry_after == seconds


def test_geminis_wait_stands_in_the_body() -> None:
    body = gemini(429, "RESOURCE_EXHAUSTED", "Slow down", {"retryDelay": "34.07s"})
    error = failure(429, {"retry-after": "1"}, json.dumps(body).encode(), provider="gemini")
    assert error.retry_after == 34.07


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: my-very-own-key-value.",
        "Incorrect API key provided: sk-proj-abcdef0123456789.",
        "bad key AIzaSyA0123456789abcdefghijklmno",
        "header was Bearer abcdef.ghijkl-mnopqrst",
        "GET /v1?key=topsecretvalue failed",
    ],
)
def test_no_credential_is_repeated(said: str) -> None:
    shown = readable(said, "my-very-own-key-value")
    assert "[key]" in shown
    for secret in ("my-very", "abcdef", "AIza", "topsecret"):
        assert secret not in shown


def test_a_message_is_one_bounded_clean_line() -> None:
    shown = readable("a\ud800b\n\n" + "long " * 1_000)
    assert len(shown) <= 600 and "\n" not in shown
    shown.encode()
