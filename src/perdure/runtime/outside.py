"""The way out as the owner's files describe it: rules, secrets, the search engine, who has which tool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.agents import Agents
from perdure.egress import Egress, EgressLog, Refusals, Rule, Rules, parse_private, parse_rule
from perdure.kernel.errors import PerdureError
from perdure.kernel.labels import UNKNOWN, Label
from perdure.tools import Tool
from perdure.tools.outside import Search
from perdure.tools.web_fetch import WebFetch

from .secrecy import Secrecy

if TYPE_CHECKING:
    from perdure.agents.config import EgressRule, EgressSettings, WebSettings
    from perdure.egress.proxy import Proxies

SECRETS = "secrets.age"
SOCKETS = "run/egress"


class Outside:
    """Of one workspace."""

    def __init__(
        self,
        agents: Agents,
        secrecy: Secrecy,
        heard: Callable[[str, str], None] = lambda session, host: None,
        label: Callable[[str], Label] = lambda session: UNKNOWN,
        running: Callable[[str], Label | None] = lambda session: None,
    ) -> None:
        """`heard(session, host)`: its commands are about to get something from there. `label(session)`:
        of what its context holds. `running(session)`: of what its commands that run now have read and
        heard; None: none is known to run."""
        self._heard, self._label = heard, label
        self._agents = agents
        self._read: tuple[EgressSettings, WebSettings, Rules] | None = None
        self._proxies: Proxies | None = None
        self._making = threading.Lock()
        self._again: asyncio.Future[None] | None = None
        self._private = agents.workspace.private
        self._loop = asyncio.get_running_loop()
        self.refusals = Refusals(running)
        self.egress = Egress(
            rules=self.rules,
            scanner=secrecy.leaks,
            log=EgressLog(self._private / "egress"),
            secrets=secrecy.vault,
            loop=self._loop,
        )

    def rules(self) -> Rules:
        """As perdure.yaml is now. Raises ConfigError, and then nothing leaves."""
        config = self._agents.workspace.config
        read = self._read
        if read is None or read[0] is not config.egress or read[1] is not config.web:
            read = (config.egress, config.web, rules_of(config.egress, config.web))
            self._read = read
        return read[2]

    def tools(self) -> Sequence[type[Tool]]:
        """Those that the owner's files have a use for."""
        config = self._agents.workspace.config
        web, egress = config.web, config.egress
        requests = web.requests
        if requests is None:
            secrets = (self._private / SECRETS).exists()
            requests = secrets or bool(egress.allow or egress.private)
        wanted: list[type[Tool]] = [WebFetch] if web.fetch else []
        if web.search is not None:
            from perdure.tools.web_search import WebSearch

            wanted.append(WebSearch)
        if requests:
            from perdure.tools.http_request import HttpRequest

            wanted.append(HttpRequest)
        return tuple(wanted)

    def search(self) -> Search | None:
        """The engine behind web_search."""
        return search_of(self._agents.workspace.config.web)

    def admits(self, url: str, tool: str, agent: str) -> bool:
        """A rule of the owner's names it. Never raises."""
        try:
            ruling = self.egress.judge("GET", url, tool=tool, agent=agent)
        except PerdureError:
            return False
        return ruling.effect == "allow" and ruling.rule != "default"

    def socket(self, session: str, agent: str) -> Path | None:
        """Where the commands of a session reach the egress. From any thread. None: they do not, for
        nothing can be listened on here."""
        try:
            return self._proxy().listen(session, agent)
        except OSError:
            return None

    def start(self) -> None:
        """Commands that still run from before reach the egress again."""
        if (self._private / SOCKETS).is_dir():
            self._again = asyncio.ensure_future(asyncio.to_thread(lambda: self._proxy().again()))

    @property
    def certificate(self) -> Path | None:
        """What commands have to trust where their connections are opened. From any thread. None: none
        are, or none can be."""
        if not self.rules().intercept:
            return None
        try:
            return self._proxy().authority.certificate
        except (OSError, PerdureError):
            return None  # the connection itself will say why

    async def ended(self, session: str) -> None:
        """A session is closed or deleted: its commands reach nothing any more."""
        self.refusals.forget(session)
        if self._proxies is not None or (self._private / SOCKETS).is_dir():
            await self._proxy().close(session)

    def _hears(self, session: str, host: str) -> None:
        self._heard(session, host)
        self.refusals.heard(session)

    def _proxy(self) -> Proxies:
        with self._making:
            if self._proxies is None:
                from perdure.egress.authority import Authority
                from perdure.egress.proxy import Proxies

                authority = Authority(self._private / "egress" / "ca")
                sockets = self._private / SOCKETS
                self._proxies = Proxies(
                    self.egress,
                    sockets,
                    authority,
                    self._loop,
                    heard=self._hears,
                    label=self._label,
                    refused=self.refusals.add,
                )
            return self._proxies

    async def close(self) -> None:
        if self._again is not None:
            await self._again
        if self._proxies is not None:
            await self._proxies.close()
        await self.egress.close()


def search_of(web: WebSettings) -> Search | None:
    found = web.search
    if found is None:
        return None
    return Search(
        provider=found.provider,
        url=found.url,
        secret=found.secret,
        headers=found.headers,
        results=found.results,
        fields={str(name): theirs for name, theirs in found.fields.items()},
    )


def rules_of(egress: EgressSettings, web: WebSettings) -> Rules:
    """Raises ConfigError."""

    def rule(given: EgressRule, where: str) -> Rule:
        return parse_rule(given.to, tools=given.tools, agents=given.agents, where=where)

    allow = [rule(r, "egress.allow") for r in egress.allow]
    if web.search is not None:
        from perdure.tools.web_search import ENGINES, WebSearch

        # Whoever names an engine wants it asked.
        url = web.search.url or ENGINES[web.search.provider]
        origin = url.split("?")[0].split("{")[0].split("/", 3)
        allow.append(
            parse_rule("/".join(origin[:3]), tools=(WebSearch.name,), where="web.search.url")
        )
    return Rules(
        allow=tuple(allow),
        deny=tuple(rule(r, "egress.deny") for r in egress.deny),
        default=egress.default,
        private=frozenset(parse_private(text) for text in egress.private),
        intercept=tuple(rule(r, "egress.intercept") for r in egress.intercept),
    )
