"""What a provider's refusal means: HTTP status and error body to a ModelError.

Sources: the error pages of Anthropic, OpenAI, Gemini and OpenRouter, and the bodies Ollama, vLLM and
llama.cpp send. Where status and body disagree the body's own code wins: it is the more exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from perdure.kernel.errors import ModelError, ModelErrorKind
from perdure.kernel.events import Json

from .codec import clean

MAX_MESSAGE_CHARS = 600
MAX_WAIT_SECONDS = 24 * 3600.0

_CODES: dict[str, ModelErrorKind] = {
    # Anthropic
    "authentication_error": "auth",
    "permission_error": "auth",
    "billing_error": "billing",
    "not_found_error": "not_found",
    "request_too_large": "context_overflow",
    "rate_limit_error": "rate_limited",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
    "api_error": "server",
    # OpenAI and those that speak like it
    "invalid_api_key": "auth",
    "invalid_authentication": "auth",
    "account_deactivated": "auth",
    "insufficient_quota": "billing",
    "billing_not_active": "billing",
    "billing_hard_limit_reached": "billing",
    "model_not_found": "not_found",
    "context_length_exceeded": "context_overflow",
    "string_above_max_length": "context_overflow",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_reached": "rate_limited",
    "tokens": "rate_limited",
    "requests": "rate_limited",
    "slow_down": "overloaded",
    "engine_overloaded": "overloaded",
    "server_overloaded": "overloaded",
    "server_error": "server",
    "internal_server_error": "server",
    "content_filter": "refused",
    "content_policy_violation": "refused",
    "invalid_prompt": "refused",
    # Gemini
    "unauthenticated": "auth",
    "permission_denied": "auth",
    "api_key_invalid": "auth",
    "not_found": "not_found",
    "resource_exhausted": "rate_limited",
    "unavailable": "overloaded",
    "internal": "server",
    "deadline_exceeded": "timeout",
    # llama.cpp
    "exceed_context_size_error": "context_overflow",
    "unavailable_error": "overloaded",
}

_STATUS: dict[int, ModelErrorKind] = {
    401: "auth",
    402: "billing",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limited",
    502: "server",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

_OVERFLOW = re.compile(
    r"prompt is too long|context.{0,12}(length|window|size)|exceeds? (the )?(model'?s )?max(imum)?"
    r"( allowed)?( number of)? (input |context )?(tokens|length)|input token count|too many tokens"
    r"|reduce the length|maximum.{0,20}tokens allowed|request_too_large|input is too long"
    r"|exceeds the available context",
    re.IGNORECASE,
)
_BILLING = re.compile(
    r"credit balance|insufficient (credits?|funds|balance|quota)|exceeded your current quota"
    r"|billing (hard limit|details)|payment required|purchase (more )?credits",
    re.IGNORECASE,
)
_KEY = re.compile(r"api[ _-]?key (is )?(not valid|invalid|expired|not found)", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|high demand|at capacity", re.IGNORECASE)

_SECRETS = re.compile(
    r"\b(sk|rk|pk|gsk|xai|key|r8|hf|pplx|csk|fw)[-_][A-Za-z0-9*_.\-]{8,}|\bAIza[A-Za-z0-9_\-]{20,}"
    r"|\b[Bb]earer\s+[A-Za-z0-9._~+/\-]{12,}=*|([?&]key=)[^&\s\"']+"
)

_HINTS: dict[ModelErrorKind, str] = {
    "auth": "Check the key: `perdure login {provider}`.",
    "billing": "Check the account's credit and billing with {provider}.",
    "not_found": "Check the model's name and base_url.",
}


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, secret: str = ""
) -> ModelError:
    """An answer with an error status. Header names are looked up in lower case."""
    code, message, details = read_error(body)
    if not message and 300 <= status < 400:
        message = f"redirects to {headers.get('location', 'another address')}"
    error = problem(code, message, provider=provider, status=status, details=details, secret=secret)
    if error.retry_after is None and error.kind in ("rate_limited", "overloaded", "server"):
        error.retry_after = retry_after(headers)
    return error


def problem(
    code: str,
    message: str,
    *,
    provider: str,
    status: int | None = None,
    details: Json = None,
    secret: str = "",
    partial: str = "",
) -> ModelError:
    """An error as the provider names it, from a body or from the middle of a stream."""
    kind = classify(status, code, message, details)
    said = readable(message or code, secret)
    head = f"{provider} answered {status}" if status else f"{provider} reported an error"
    return ModelError(
        f"{head}: {said}" if said else f"{head}.",
        kind=kind,
        status=status,
        retry_after=_retry_info(details),
        partial=partial,
        hint=_HINTS.get(kind, "").format(provider=provider),
    )


def classify(status: int | None, code: str, message: str, details: Json = None) -> ModelErrorKind:
    """What to do about it. `code` is the provider's word (or number) for it."""
    word = code.lower()
    if word.isdigit() and status is None:
        status = int(word)
    kind = _CODES.get(word)
    if kind is None and status is not None:
        kind = _STATUS.get(status) or ("server" if status >= 500 else None)
    kind = kind or ("invalid" if status is not None else "server")
    if kind in ("invalid", "server", "not_found") and _OVERFLOW.search(message):
        # A server that fails at a full window says so under many a status.
        return "context_overflow"
    if kind in ("invalid", "rate_limited", "auth") and _BILLING.search(message):
        # Gemini's per-minute quota speaks of billing as well, but says when to come back.
        return kind if _retry_info(details) is not None else "billing"
    if kind == "invalid" and (_KEY.search(message) or "API_KEY_INVALID" in _reasons(details)):
        return "auth"
    if kind == "server" and _OVERLOADED.search(message):
        return "overloaded"
    if kind == "server" and status is not None and 400 <= status < 500:
        return _STATUS.get(status, "invalid")
    return kind


def read_error(body: bytes) -> tuple[str, str, Json]:
    """(code, message, details) of an error body in any of the shapes providers use."""
    try:
        value: Json = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "", _plain(body), None
    if isinstance(value, list) and value:
        value = value[0]
    return error_of(value)


def error_of(value: Json) -> tuple[str, str, Json]:
    """The same of a decoded value: the body itself, or the object under its `error`."""
    if isinstance(value, str):
        return "", value, None
    if not isinstance(value, dict):
        return "", "", None
    inner = value.get("error")
    if isinstance(inner, str):
        return "", inner, None
    error = inner if isinstance(inner, dict) else value
    code = ""
    for key in ("code", "status", "type"):
        found = error.get(key)
        text = found if isinstance(found, str) else ""
        if text and (not code or text.lower() in _CODES):
            code = text
            if text.lower() in _CODES:
                break
    if not code and isinstance(number := error.get("code"), int):
        code = str(number)
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    details = error.get("details")
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and isinstance(raw := metadata.get("raw"), str):
        # OpenRouter puts what the provider behind it said here.
        message = f"{message} ({raw})" if message else raw
    return code, message, details


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the headers ask to wait; None where they do not say. A date counts from the answer's
    own `Date`, so that no clock of ours comes in."""
    if milliseconds := headers.get("retry-after-ms"):
        found = _number(milliseconds)
        if found is not None:
            return _bounded(found / 1000)
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("date", ""))
        return _bounded((then - now).total_seconds())
    except (ValueError, TypeError):
        return None


def readable(message: str, secret: str = "") -> str:
    """One line for a person, without anything that looks like a credential."""
    text = clean(message)
    if len(secret) >= 6:
        text = text.replace(secret, "[key]")
    text = _SECRETS.sub(lambda m: f"{m.group(2) or ''}[key]", text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[: MAX_MESSAGE_CHARS - 1]}…"


def _plain(body: bytes) -> str:
    text = body[:20_000].decode("utf-8", "replace")
    if "<" in text and (title := re.search(r"<title[^>]*>([^<]+)</title>", text, re.IGNORECASE)):
        return title.group(1).strip()
    return "" if text.lstrip().startswith("<") else text


def _retry_info(details: Json) -> float | None:
    """Gemini's google.rpc.RetryInfo, e.g. `"retryDelay": "34.07s"`."""
    if isinstance(details, list):
        for detail in details:
            if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
                seconds = _number(delay.removesuffix("s"))
                if seconds is not None:
                    return _bounded(seconds)
    return None


def _reasons(details: Json) -> set[str]:
    found: set[str] = set()
    if isinstance(details, list):
        for detail in details:
            if isinstance(detail, dict) and isinstance(reason := detail.get("reason"), str):
                found.add(reason)
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _bounded(seconds: float) -> float | None:
    return min(max(0.0, seconds), MAX_WAIT_SECONDS) if seconds == seconds else None
