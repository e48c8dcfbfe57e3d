"""Who can use which secret, and what it was used for: every tool, agent, process, channel and route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from perdure.agents import Agents, Workspace
from perdure.kernel.errors import PerdureError
from perdure.sealing import config_folder
from perdure.secrets import Secret, Use, Vault

MOST_BYTES = 1 << 20
"""Larger files of a workspace are no configuration."""
TEXTS = frozenset((".yaml", ".yml", ".md", ".py", ".sh", ".json", ".toml", ".txt"))
SERVER = "the workspace's server"
TERMINAL = "perdure in a terminal of this user"
CHANNELS = "none: they are commands, started with a clean environment"
ROUTES = "none: no way in hands out a secret"


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """One secret, and all that can use it. Never its value."""

    name: str
    kind: str
    """`secret`, `provider key` or `server token`."""
    kept: str
    """Where the value lies."""
    hosts: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    processes: tuple[str, ...] = (SERVER, TERMINAL)
    """Those whose memory may hold the value."""
    channels: str = CHANNELS
    routes: str = ROUTES
    named_in: tuple[str, ...] = ()
    """Files of the workspace that mention it, and so say who asks for it."""
    created: datetime | None = None
    changed: datetime | None = None
    uses: tuple[Use, ...] = ()
    """On record; those of a provider's key are the model calls in the sessions' logs."""


def audit(workspace: Workspace, vault: Vault, name: str = "") -> list[Audited]:
    """All, or the one of that name. Raises NotFound, ConfigError."""
    agents = Agents(workspace)
    uses = list(vault.uses.all())
    texts = list(_texts(workspace))
    if name:
        return [_secret(vault.get(name), agents, uses, texts)]
    return [
        *(_secret(secret, agents, uses, texts) for secret in vault.list()),
        *_providers(workspace, agents),
        *_server(workspace),
    ]


def _secret(
    secret: Secret, agents: Agents, uses: Sequence[Use], texts: Sequence[tuple[str, str]]
) -> Audited:
    binding, reference = secret.binding, f"secret://{secret.name}"
    return Audited(
        name=reference,
        kind="secret",
        kept="secrets.age",
        hosts=binding.hosts,
        places=binding.places,
        tools=binding.tools,
        agents=binding.agents or tuple(agents.names()),
        named_in=tuple(where for where, text in texts if _mentions(text, reference)),
        created=secret.created,
        changed=secret.changed,
        uses=tuple(use for use in uses if use.secret == secret.name),
    )


def _providers(workspace: Workspace, agents: Agents) -> Iterator[Audited]:
    from perdure.models.credentials import Credentials
    from perdure.models.places import own_origins
    from perdure.models.providers import find

    credentials = Credentials(config_folder(workspace.env), workspace.env)
    for one in credentials.list():
        row = find(one.provider)
        hosts = (one.at,) if one.at else own_origins(row) if row else ()
        yield Audited(
            name=one.provider + (f" at {one.at}" if one.at else ""),
            kind="provider key",
            kept=f"${one.where}" if one.source == "environment" else one.where,
            hosts=hosts,
            places=("model calls",),
            agents=tuple(a for a in agents.names() if one.provider in _models_of(agents, a)),
        )


def _models_of(agents: Agents, name: str) -> set[str]:
    from perdure.models.providers import find

    try:
        models = agents.get(name).models
    except PerdureError:
        return set()
    rows = [(model.provider, find(model.provider)) for model in models]
    return {n for given, row in rows for n in (given, row.name if row else given)}


def _server(workspace: Workspace) -> Iterator[Audited]:
    if workspace.config.server.token.get_secret_value():
        yield Audited(
            name="server.token",
            kind="server token",
            kept="perdure.yaml, or the variable it names",
            places=("Authorization: Bearer {} of requests to this server",),
            processes=(SERVER, TERMINAL, "whoever was given it"),
        )
    yield Audited(
        name="local token",
        kind="server token",
        kept=".perdure/run/server.json, new at each start",
        places=("Authorization: Bearer {} of requests to this server",),
    )


def _texts(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Files that people write, with their place in the workspace."""
    private = workspace.private
    folders = ("agents", "schedules", "skills", "hooks", "tools", "routes", "directives", "memory")
    files = [workspace.file, *private.glob("*.yaml")]
    for folder in folders:
        files += (private / folder).rglob("*")
    for path in sorted(files):
        text = _text(path)
        if text:
            yield str(path.relative_to(workspace.root)), text


def _text(path: Path) -> str:
    try:
        if path.suffix in TEXTS and path.is_file() and path.stat().st_size <= MOST_BYTES:
            return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        pass
    return ""


def _mentions(text: str, reference: str) -> bool:
    """As a whole name: `secret://git` is not in `secret://github`."""
    parts = text.split(reference)
    return any(not (rest[:1].isalnum() or rest[:1] in ("-", "_")) for rest in parts[1:])
