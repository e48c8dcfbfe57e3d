"""What `perdure doctor` looks at beyond agents: whom you trust, the way out, secrets, the clock, the port."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perdure.cli.place import Place
from perdure.cli.problems import Problem, problem_of

if TYPE_CHECKING:
    from perdure.agents.config import WorkspaceFile

Mark = Literal["ok", "note", "bad"]
EARLIEST = 1_767_225_600
"""2026-01-01: a clock before it was never set."""
AHEAD_SECONDS = 120
"""By which files may be newer than the clock, or the disk's clock differ from it."""
_SECRET = re.compile(r"secret://([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")


@dataclass(frozen=True, slots=True)
class Finding:
    mark: Mark
    what: str
    todo: str = ""


def of_error(error: Exception) -> Finding:
    problem = problem_of(error) or Problem(f"{type(error).__name__}: {error}")
    return Finding("bad", problem.message, problem.hint)


def clock(place: Place) -> Iterator[Finding]:
    """Expiries, budgets by day and tokens go by it."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    todo = "Set the clock (timedatectl set-ntp true): budgets, approvals and tokens go by it."
    if now < EARLIEST:
        yield Finding("bad", f"the clock says {shown}, which is before Perdure was made", todo)
        return
    newest, path = max(_written(place), default=(now, ""))
    if newest > now + AHEAD_SECONDS:
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(newest))
        yield Finding("bad", f"the clock says {shown}, but {path} was written {at}", todo)


def _written(place: Place) -> Iterator[tuple[float, str]]:
    """Files that grow, with when they last did."""
    state = place.state
    folders = [state / "sessions", state / "budgets", state / "egress", state / "run", state]
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                yield path.lstat().st_mtime, str(path)


def disk_clock(place: Place, written: float) -> Iterator[Finding]:
    """`written`: when the disk says that a file was, which was written just now."""
    apart = written - time.time()
    if abs(apart) > AHEAD_SECONDS:
        yield Finding(
            "note",
            f"the clock of the disk under {place.state} is {abs(apart):.0f} seconds "
            + ("ahead" if apart > 0 else "behind"),
            "A share on another machine: set both clocks.",
        )


def trust(place: Place) -> Iterator[Finding]:
    from perdure.guard import TrustFile

    path = place.state / "trust.yaml"
    TrustFile(path).current()
    if path.exists() and path.stat().st_mode & 0o022:
        yield Finding("bad", f"{path} can be changed by other users", f"chmod go-w {path}")


def secrets(place: Place) -> Iterator[Finding]:
    """Whether leaks of everything kept here would be found."""
    from perdure.runtime.secrecy import Secrecy

    for told in Secrecy(place.state, os.environ).unread():
        yield Finding("bad", told, "Put back what opens it: perdure secrets --help")


def tokens(place: Place) -> Iterator[Finding]:
    """Those handed out: of a file that cannot be read, none opens anything."""
    from perdure.server.tokens import FILE, TokenStore

    TokenStore(place.state / FILE).list()
    yield from ()


def ways_out(place: Place) -> Iterator[Finding]:
    """Rules of the egress, and the secrets that perdure.yaml names."""
    from perdure.agents import open_workspace
    from perdure.runtime.outside import rules_of

    config = open_workspace(place.root).config
    rules_of(config.egress, config.web)
    yield from _search_key(place, config)


def _search_key(place: Place, config: WorkspaceFile) -> Iterator[Finding]:
    """Whether the request of web_search gets the secrets that it names."""
    from urllib.parse import urlsplit

    from perdure.runtime.outside import search_of
    from perdure.sealing import config_folder
    from perdure.secrets import Vault
    from perdure.tools.web_search import WebSearch, asked

    if (search := search_of(config.web)) is None:
        return
    kept = {s.name: s.binding for s in Vault(place.state, config_folder(os.environ)).list()}
    request = asked(search, "words", 1)
    address = urlsplit(request.url)
    host = address.netloc.removesuffix(":443")
    for header, text in request.headers.items():
        for name in _SECRET.findall(text):
            template = text.replace(f"secret://{name}", "{}")
            bound = f"{name} --host {host} --header '{header}: {template}' --tool {WebSearch.name}"
            binding = kept.get(name)
            if binding is None:
                yield Finding(
                    "bad",
                    f"web.search uses secret://{name}, which is not stored: web_search cannot work",
                    f"perdure secrets set {bound}",
                )
            elif why := binding.refusal(
                host=host,
                position=f"header:{header.lower()}",
                template=template,
                tool=WebSearch.name,
                method=request.method,
                agent=binding.agents[0] if binding.agents else "",
            ):
                yield Finding(
                    "bad",
                    f"web.search cannot use secret://{name}: {why}",
                    f"perdure secrets grant {bound}",
                )


def port(place: Place) -> None:
    """Of a server that does not run: raises what it would, if it could not listen."""
    from perdure.agents import open_workspace
    from perdure.server.process import listen
    from perdure.server.settings import ServerSettings

    wanted = open_workspace(place.root).config.server
    token = wanted.token.get_secret_value()
    settings = ServerSettings(host=wanted.host, port=wanted.port, tokens=(token,) if token else ())
    settings.check()
    listen(settings).close()
