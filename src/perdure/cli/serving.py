"""What `perdure serve` runs: a workspace's runtime behind its HTTP server."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

from perdure.agents import open_workspace
from perdure.cli.place import Place
from perdure.cli.problems import DONE, SERVER, Problem
from perdure.kernel.errors import Conflict
from perdure.leaks.stream import CleanStream
from perdure.runtime.secrecy import Secrecy
from perdure.secrets.process import seal_process
from perdure.server import RuntimeApi, ServerSettings, serve

if TYPE_CHECKING:
    from perdure.server import ServerFile


def serve_workspace(place: Place, *, host: str | None, port: int | None) -> int:
    """Serve until told to stop. `host` and `port` override perdure.yaml."""
    unsealed = seal_process()
    workspace = open_workspace(place.root)
    secrecy = Secrecy.of(workspace)
    _log_to_stderr(secrecy)
    for missing in unsealed:
        logging.getLogger("perdure").warning("%s", missing)
    wanted = workspace.config.server
    token = wanted.token.get_secret_value()
    settings = ServerSettings(
        host=host or wanted.host,
        port=wanted.port if port is None else port,
        tokens=(token,) if token else (),
        allowed_hosts=wanted.allowed_hosts,
        allowed_origins=wanted.allowed_origins,
        rate=wanted.rate,
    )

    async def opener() -> RuntimeApi:
        from perdure.runtime.opening import open_runtime

        runtime = await open_runtime(workspace, secrecy=secrecy)
        for name in runtime.status().dangerous:
            told = "agent %s is in mode dangerous: whatever no rule denies runs without asking"
            logging.getLogger("perdure").warning(told, name)
        for told in runtime.status().uncontained:
            logging.getLogger("perdure").warning("agent %s", told)
        return runtime

    try:
        serve(opener, settings, run=place.server_file.parent, announce=_announce)
    except Conflict as error:
        # Its own exit code: the terminal that started this waits for the other server instead.
        raise Problem(error.message, hint=error.hint, code=SERVER) from None
    return DONE


def _announce(file: ServerFile) -> None:
    logging.getLogger("perdure").info("listening on %s (process %d)", file.url, file.pid)


def _log_to_stderr(secrecy: Secrecy) -> None:
    """Without a file of our own: the foreground shows it, the background sends it to server.log.
    Whatever is written there, tracebacks too, is searched for secrets first."""
    sys.stdout = cast("TextIO", CleanStream(sys.stdout, secrecy.leaks))
    sys.stderr = cast("TextIO", CleanStream(sys.stderr, secrecy.leaks))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("perdure").setLevel(logging.INFO)
