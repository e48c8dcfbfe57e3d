"""Headers a caller may set. The runtime puts credentials in, nobody else does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from .address import Address
from .errors import Refused

MAX_BYTES = 32 << 10
REFERENCE = re.compile(r"secret://([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_OURS = frozenset(
    (
        "host",
        "connection",
        "keep-alive",
        "content-length",
        "transfer-encoding",
        "content-encoding",
        "accept-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "via",
        "forwarded",
        "http2-settings",
    )
)
"""How the request is framed and where it goes: decided here."""
_STEERING = re.compile(
    r"x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-url|x-http-method.*|x-method-override"
    r"|metadata-flavor|x-aws-ec2-metadata.*|x-metadata-token|proxy-.*",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"authorization|cookie2?|.*(?:api-?key|apikey|token|secret|passw|credential|private-?key|session-?id"
    r"|subscription-key|auth-?key|access-?key|x-auth).*|x-.*-(?:key|auth)|auth|key",
    re.IGNORECASE,
)
_NOT_SECRET = frozenset(("x-csrf-token-required", "idempotency-key", "x-idempotency-key"))
_SECRET_QUERY = re.compile(
    r"(?:x[-_])?(?:(?:api|app|access|auth|private|secret|subscription|client|master|license)[-_.]?"
    r"(?:key|token|secret|password)s?|token|secret|passw(?:or)?d|pwd|authorization|bearer|jwt"
    r"|(?:id|refresh|session|oauth|bot|user|personal|service)[-_.]?token|session[-_.]?id|credentials?)",
    re.IGNORECASE,
)
_LONG = re.compile(r"[A-Za-z0-9_+/=.-]{20,}")


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as they will be sent, before secrets are put in. Raises Refused."""
    seen: dict[str, str] = {}
    lower: set[str] = set()
    size = 0
    for name, value in headers.items():
        shown = name[:60].encode("ascii", "backslashreplace").decode()
        if not _NAME.fullmatch(name):
            raise _wrong(f"{shown!r} cannot be a header's name")
        if not _VALUE.fullmatch(value):
            raise _wrong(
                f"The value of {shown} holds a line break, a control character or a letter beyond ASCII"
            )
        key = name.lower()
        if key in lower:
            raise _wrong(f"{shown} is given twice")
        if key in _OURS or _STEERING.fullmatch(key):
            raise _wrong(f"{shown} cannot be set by a caller", "Leave it out.")
        if (
            _SECRET.fullmatch(key)
            and key not in _NOT_SECRET
            and value.strip()
            and not _only_reference(value)
        ):
            raise _wrong(
                f"{shown} holds a credential",
                "Name a stored secret instead, e.g. Authorization: Bearer secret://NAME",
            )
        size += len(name) + len(value) + 4
        lower.add(key)
        seen[name] = value.strip()
    if size > MAX_BYTES:
        raise _wrong(f"The headers are longer than {MAX_BYTES:,} bytes")
    return seen


def check_query(address: Address) -> None:
    """No credential that the caller typed. Raises Refused."""
    for name, value in parse_qsl(address.query, keep_blank_values=True, max_num_fields=None):
        telling = _SECRET_QUERY.fullmatch(name) or (
            name.lower() in ("key", "auth") and _LONG.fullmatch(value)
        )
        if telling and value and not REFERENCE.fullmatch(value):
            shown = name[:60].encode("ascii", "backslashreplace").decode()
            raise Refused(
                f"The address holds a credential ({shown}=…).",
                stage="headers",
                hint=f"Name a stored secret instead: {shown}=secret://NAME",
            )


def _only_reference(value: str) -> bool:
    """A reference, with a scheme such as `Bearer` before it at most."""
    return (
        re.fullmatch(rf"(?:[A-Za-z][A-Za-z0-9_-]{{0,31}} )?{REFERENCE.pattern}", value) is not None
    )


def _wrong(what: str, hint: str = "") -> Refused:
    return Refused(f"{what}.", stage="headers", hint=hint)
