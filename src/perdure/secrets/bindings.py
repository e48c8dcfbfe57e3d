"""What a secret is bound to: where it may go, at which place of a request, and by whose hand."""

from __future__ import annotations

import re
from ipaddress import ip_address

import msgspec

from perdure import hosts
from perdure.kernel.errors import InvalidInput
from perdure.methods import METHODS

_FIELD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_WORD = re.compile(r"[A-Za-z0-9_.:*-]{1,100}")
_OWN_BY_HTTP = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade")
)
DEFAULT_HEADER = "Authorization: Bearer {}"
DEFAULT_TOOL = "http_request"
HTTPS = 443


class Binding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Each list says what is allowed; an empty one allows nothing, but for methods and agents, where
    it allows all."""

    hosts: tuple[str, ...] = ()
    """`api.example.com`, `*.example.com` (what lies under it), `localhost:8080`; port 443 unless named."""
    headers: tuple[str, ...] = ()
    """`Name: text {}`: the value stands where the braces are."""
    queries: tuple[str, ...] = ()
    """Names of query parameters."""
    path: bool = False
    """It may stand in the path, as a Telegram bot's token does."""
    body: bool = False
    tools: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """For people."""
        return (
            *(f"header {template}" for template in self.headers),
            *(f"query {name}=" for name in self.queries),
            *(("path",) if self.path else ()),
            *(("body",) if self.body else ()),
        )

    def joined(self, other: Binding) -> Binding:
        """What both allow together."""

        def both(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
            return mine + tuple(one for one in theirs if one not in mine)

        return Binding(
            hosts=both(self.hosts, other.hosts),
            headers=both(self.headers, other.headers),
            queries=both(self.queries, other.queries),
            path=self.path or other.path,
            body=self.body or other.body,
            tools=both(self.tools, other.tools),
            methods=both(self.methods, other.methods),
            agents=both(self.agents, other.agents),
        )

    def refusal(
        self, *, host: str, position: str, template: str, tool: str, method: str, agent: str
    ) -> str:
        """Why it may not be used so; empty when it may. `position` is `header:name`, `query:name`,
        `path` or `body`; `template` what a header would be, with `{}` for the value."""
        if not any(_covers(pattern, host) for pattern in self.hosts):
            return f"it is bound to {_list(self.hosts)}, not to {host}"
        if wrong := self._misplaced(position, template):
            return wrong
        if tool not in self.tools:
            return f"it is bound to the tools {_list(self.tools)}, not to {tool or 'none'}"
        if self.methods and method and method.upper() not in self.methods:
            return f"it is bound to {_list(self.methods)} requests, not to {method.upper()}"
        if self.agents and agent not in self.agents:
            return f"it is bound to the agents {_list(self.agents)}, not to {agent or 'none'}"
        return ""

    def _misplaced(self, position: str, template: str) -> str:
        kind, _, name = position.partition(":")
        match kind:
            case "header":
                fitting = [t for t in self.headers if _field(t) == name.lower()]
                if fitting and template and template.strip() not in map(_text, fitting):
                    shown = " or ".join(fitting)
                    return f"in that header it may only stand as {shown!r}"
                allowed = bool(fitting)
            case "query":
                allowed = name in self.queries
            case "path":
                allowed = self.path
            case "body":
                allowed = self.body
            case _:
                allowed = False
        if allowed:
            return ""
        where = {"header": f"the header {name}", "query": f"the query parameter {name}"}
        places = _list(self.places)
        return f"it is bound to {places}, not to {where.get(kind, f'the {kind}')}"


def host_pattern(text: str) -> str:
    """A host to bind to, in the spelling that is compared. Raises InvalidInput."""
    given = text
    text = text.strip().lower()
    if "://" in text:
        scheme, _, text = text.partition("://")
        if scheme != "https":
            raise InvalidInput(
                f"{given!r}: a secret is bound to a host, and goes over https.",
                hint="Write the host alone: api.example.com",
            )
        text = text.partition("/")[0]
    star = text.startswith("*.")
    try:
        bare, port = _split(text.removeprefix("*."))
        if star and _is_address(bare):
            raise hosts.NoHost("has a star before an address")
    except hosts.NoHost:
        raise InvalidInput(
            f"{given[:100]!r} is no host.",
            hint="Write api.example.com, *.example.com or localhost:8080",
        ) from None
    if star and "." not in bare:
        raise InvalidInput(
            f"{given[:100]!r} would cover hosts of everybody.",
            hint="A star stands for what lies under a name of two parts or more: *.example.com",
        )
    bare = f"[{bare}]" if ":" in bare else bare
    return ("*." if star else "") + bare + (f":{port}" if port != HTTPS else "")


def header_template(text: str) -> str:
    """`Name: text {}`. Raises InvalidInput."""
    name, colon, rest = text.partition(":")
    name, rest = name.strip(), rest.strip()
    if not colon or not _FIELD.fullmatch(name) or rest.count("{}") != 1:
        raise InvalidInput(
            f"{text[:100]!r} is no header with a place for the value.",
            hint=f"Write it like '{DEFAULT_HEADER}' or 'X-Api-Key: {{}}'",
        )
    if not rest.isascii() or not rest.isprintable():
        raise InvalidInput(f"{name}: holds characters that no header can.")
    if name.lower() in _OWN_BY_HTTP:
        raise InvalidInput(f"{name} belongs to HTTP itself, and holds no secret.")
    return f"{name}: {rest}"


def checked(binding: Binding) -> Binding:
    """In the spelling that is compared. Raises InvalidInput."""
    methods = tuple(dict.fromkeys(method.upper() for method in binding.methods))
    if wrong := [m for m in methods if m not in METHODS]:
        raise InvalidInput(f"{wrong[0][:40]!r} is no method.", hint=f"Known: {_list(METHODS)}")
    for word in (*binding.queries, *binding.tools, *binding.agents):
        if not _WORD.fullmatch(word):
            raise InvalidInput(f"{word[:100]!r} cannot be a name.")
    return msgspec.structs.replace(
        binding,
        hosts=tuple(dict.fromkeys(map(host_pattern, binding.hosts))),
        headers=tuple(dict.fromkeys(map(header_template, binding.headers))),
        methods=methods,
    )


def _covers(pattern: str, host: str) -> bool:
    try:
        name, port = _split(host.strip())
        wanted, wanted_port = _split(pattern.removeprefix("*."))
    except hosts.NoHost:
        return False
    if port != wanted_port:
        return False
    if pattern.startswith("*."):
        return name.endswith(f".{wanted}") and not _is_address(name)
    return name == wanted


def _split(text: str) -> tuple[str, int]:
    """Host and port; 443 where none is named. Raises NoHost."""
    bare = text.count(":") > 1 and not text.startswith("[")
    name, port = hosts.authority(f"[{text}]" if bare else text)
    return name, HTTPS if port is None else port


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _field(template: str) -> str:
    return template.partition(":")[0].lower()


def _text(template: str) -> str:
    return template.partition(":")[2].strip()


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words) or "none"
