"""The server's process: one per workspace, found by others through `run/server.json`.

Order of things: take the workspace's lock, listen, open the runtime, serve, say so in `server.json`.
On the way out: `server.json` goes first, so that nobody is sent to a server that leaves, then the
streams end, then the runtime closes, then the lock is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec
import uvicorn

import perdure
from perdure.kernel.errors import ConfigError, Conflict, StorageError

from .api import RuntimeApi
from .app import create_app
from .connections import Crowd, room_for_files
from .settings import ServerSettings
from .site import Site
from .stream import Streams
from .tokens import FILE, TokenStore

log = logging.getLogger("perdure.server")

RuntimeOpener = Callable[[], Awaitable[RuntimeApi]]

GRACE = 3
"""Seconds that requests under way get to end, once the server stops."""
UNACKNOWLEDGED = 60_000
"""Milliseconds after which a connection whose peer acknowledges nothing is given up by the kernel."""


class ServerFile(msgspec.Struct, frozen=True, kw_only=True):
    """`run/server.json`: how to reach a workspace's running server. Mode 0600: it holds a token."""

    pid: int
    url: str
    host: str
    port: int
    token: str
    version: str
    workspace: str
    started: datetime


Announce = Callable[[ServerFile], None]


def serve(
    open_runtime: RuntimeOpener,
    settings: ServerSettings,
    *,
    run: Path,
    announce: Announce = lambda _: None,
) -> None:
    """`run_server` in an event loop of its own, as the work of this process. Blocks."""

    def ready(file: ServerFile) -> None:
        gc.collect()
        gc.freeze()
        gc.enable()
        _give_back_memory()
        announce(file)

    room_for_files()
    gc.disable()  # nothing built until the server is ready ever becomes garbage
    try:
        asyncio.run(run_server(open_runtime, settings, run=run, announce=ready))
    finally:
        gc.enable()


def _give_back_memory() -> None:
    """What building took and nothing holds any more, where the C library can (glibc: malloc_trim(3))."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def run_server(
    open_runtime: RuntimeOpener,
    settings: ServerSettings,
    *,
    run: Path,
    announce: Announce = lambda _: None,
) -> None:
    """Serve until stopped by SIGTERM, SIGINT, SIGHUP or the API.

    `run` is the folder for lock and `server.json`; `announce` is called once requests are taken.
    Raises ConfigError when it may not or cannot listen there, Conflict when another server has this
    workspace, and what `open_runtime` raises.
    """
    settings.check()
    with _only_one(run), contextlib.closing(listen(settings)) as listener:
        runtime = await open_runtime()
        try:
            token = secrets.token_urlsafe(32)
            site = Site(Streams(runtime, settings))
            tokens = TokenStore(run.parent / FILE)
            app = create_app(runtime, settings, local_token=token, site=site, tokens=tokens)
            crowd = Crowd(limit=settings.strangers, patience=settings.patience)
            server = _Server(_config(app, crowd), site, tokens)
            async with _announced(server, listener, runtime, run, token, announce):
                await _served(server, listener, site)
        finally:
            await runtime.close()


async def _served(server: _Server, listener: socket.socket, site: Site) -> None:
    """Cancelling stops the server in order too: uvicorn alone would leave its sockets open."""
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        site.stop()
        await task
        raise


@contextlib.asynccontextmanager
async def _announced(
    server: _Server,
    listener: socket.socket,
    runtime: RuntimeApi,
    run: Path,
    token: str,
    announce: Announce,
) -> AsyncIterator[None]:
    """`server.json` exists from when requests are taken until the server begins to stop."""
    path = run / "server.json"
    host, port = listener.getsockname()[:2]
    status = runtime.status()
    file = ServerFile(
        pid=os.getpid(),
        url=f"http://{_reachable(host)}:{port}",
        host=host,
        port=port,
        token=token,
        version=perdure.__version__,
        workspace=status.workspace,
        started=datetime.now(UTC),
    )

    def ready() -> None:
        _write_private(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
        announce(file)

    server.on_ready, server.on_stop = ready, lambda: path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """uvicorn, stopped by an event instead of by polling, and without its habit of raising the
    signal again before its caller could clean up."""

    def __init__(self, config: uvicorn.Config, site: Site, tokens: TokenStore) -> None:
        super().__init__(config)
        self._site, self._tokens = site, tokens
        self.on_ready: Callable[[], None] = lambda: None
        self.on_stop: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal stops, the second does so without patience."""
        if self._site.stopping.is_set():
            self.force_exit = True
        self._site.stop()

    async def main_loop(self) -> None:
        stopping = self._site.stopping
        if not stopping.is_set():
            self.on_ready()
        tick = 0
        while not stopping.is_set():
            self._site.tick(lambda token: not self._tokens.alive(token))
            await self.on_tick(tick)  # renews the Date header, when its argument divides by ten
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stopping.wait()
            tick += 10
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_stop()
        self._site.stop()
        await super().shutdown(sockets)


def _config(app: object, crowd: Crowd) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # Starlette's types for ASGI are looser than uvicorn's
        loop="none",
        http=crowd.protocol(),  # type: ignore[arg-type]  # called, like a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )


def listen(settings: ServerSettings) -> socket.socket:
    """Raises ConfigError when nothing can be listened on there."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(settings, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        listener.bind(address)
        listener.listen(512)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _cannot_listen(settings, error) from None
    return listener


def _cannot_listen(settings: ServerSettings, error: OSError) -> ConfigError:
    hint = "Choose another `server.port` in perdure.yaml, or 0 for any free one."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        hint = "Name an address of this machine as `server.host`: 127.0.0.1, or 0.0.0.0 for all of them."
    return ConfigError(
        f"the server cannot listen on {settings.host} port {settings.port}: {error.strerror}",
        hint=hint,
    )


@contextlib.contextmanager
def _only_one(run: Path) -> Iterator[None]:
    """Hold the workspace's server lock. The kernel frees it when this process dies, however."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = os.open(run / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"the server's folder {run} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a server already runs for this workspace{_whose(run)}",
                hint="See: perdure serve status. Stop it with: perdure serve stop",
            ) from None
        yield
    finally:
        os.close(lock)


def _whose(run: Path) -> str:
    try:
        file = msgspec.json.decode((run / "server.json").read_bytes(), type=ServerFile)
    except (OSError, msgspec.DecodeError):
        return ""
    return f" (process {file.pid}, {file.url})"


def _reachable(host: str) -> str:
    """An address under which a server bound to `host` is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, data: bytes) -> None:
    """Replace the file at once, never readable by others. Raises StorageError."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(data)
        draft.replace(path)
    except OSError as error:
        raise StorageError(
            f"the server cannot write {path}: {error.strerror}",
            hint="Nobody would find it without that file. Make room on that disk.",
        ) from None
