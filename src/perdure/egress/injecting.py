"""A secret is put into a request last, after everything that looks at the request or writes it down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, quote_plus, unquote

from perdure.kernel.errors import PerdureError

from .address import Address
from .errors import Refused
from .headers import REFERENCE
from .message import Caller

HTTPS = 443


class SecretValue(Protocol):
    def reveal(self) -> str: ...


class SecretSource(Protocol):
    """Implemented by `perdure.secrets`."""

    def find(
        self,
        ref: str,
        *,
        host: str,
        position: str,
        tool: str,
        template: str,
        method: str,
        agent: str,
        session: str,
    ) -> SecretValue:
        """The value behind `secret://name`, for this host (with its port where that is not 443), place
        (`header:authorization`, `query:key`, `path`, `body`; `template` is what a header would hold,
        with `{}` for the value), tool, method and agent. Raises PerdureError when it is not bound to
        them; what it raises holds no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """A request with its secrets. Lives from here to the socket."""

    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    names: tuple[str, ...]
    """Of the secrets in it."""


def mentions(address: Address, headers: Mapping[str, str], body: bytes) -> bool:
    return (
        REFERENCE.search(unquote(address.target)) is not None
        or any("secret://" in value for value in headers.values())
        or b"secret:" in body
    )


def fill(
    source: SecretSource | None,
    address: Address,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    caller: Caller,
    private: bool,
) -> Filled:
    """Raises Refused, stage `secret`."""
    if not mentions(address, headers, body):
        return Filled(target=address.target, headers=headers, body=body, names=())
    if source is None:
        raise _wrong("there is no store of secrets here", "Make one: perdure secrets set NAME")
    if address.scheme != "https" and not private:
        raise _wrong("a secret is only sent over https")
    names: list[str] = []
    host = address.shown_host
    if address.port != HTTPS:
        host = f"{host}:{address.port}"

    def value(name: str, position: str, template: str = "") -> str:
        try:
            found = source.find(
                f"secret://{name}",
                host=host,
                position=position,
                tool=caller.tool,
                template=template,
                method=method,
                agent=caller.agent,
                session=caller.session,
            ).reveal()
        except PerdureError as error:
            raise Refused(f"Not sent: {error.message}", stage="secret", hint=error.hint) from None
        except Exception as error:
            # What a store raises is made for people to read; anything else may quote what it held.
            raise _wrong(f"the secret {name} could not be read ({type(error).__name__})") from None
        names.append(name)
        return found

    def header(key: str, text: str) -> str:
        position = f"header:{key.lower()}"
        template = REFERENCE.sub("{}", text)
        return _put(text, lambda name: _in_header(value(name, position, template), name))

    filled = {k: header(k, v) if "secret://" in v else v for k, v in headers.items()}
    return Filled(
        target=_target(address, value),
        headers=filled,
        body=_body(body, headers, value) if b"secret:" in body else body,
        names=tuple(dict.fromkeys(names)),
    )


def _put(text: str, value: Callable[[str], str]) -> str:
    return REFERENCE.sub(lambda match: value(match[1]), text)


def _in_header(value: str, name: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise _wrong(f"the secret {name} holds characters that no header can")
    return value


def _target(address: Address, value: Callable[[str, str], str]) -> str:
    path = address.path
    if "secret:" in unquote(path):
        # A path's slashes stay as they are: `secret://name` may stand in it plain or encoded.
        path = _put(
            path.replace("secret%3A%2F%2F", "secret://").replace("secret%3a%2f%2f", "secret://"),
            lambda n: quote(value(n, "path"), safe=":"),
        )

    def put(pair: str) -> str:
        name, equals, text = pair.partition("=")
        plain = unquote(text)
        if "secret://" not in plain:
            return pair
        position = f"query:{unquote(name)}"
        return f"{name}{equals}{quote(_put(plain, lambda n: value(n, position)), safe='')}"

    pairs = [put(pair) for pair in address.query.split("&")] if address.query else []
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _body(body: bytes, headers: Mapping[str, str], value: Callable[[str, str], str]) -> bytes:
    kind = next((v for k, v in headers.items() if k.lower() == "content-type"), "").lower()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return body
    if "json" in kind:
        return _put(text, lambda n: json.dumps(value(n, "body"))[1:-1]).encode()
    if "x-www-form-urlencoded" in kind:
        plain = text.replace("secret%3A%2F%2F", "secret://").replace("secret%3a%2f%2f", "secret://")
        return _put(plain, lambda n: quote_plus(value(n, "body"))).encode()
    return _put(text, lambda n: value(n, "body")).encode()


def _wrong(what: str, hint: str = "") -> Refused:
    return Refused(f"Not sent: {what}.", stage="secret", hint=hint)
