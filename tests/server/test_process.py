from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError, Conflict, PerdureError
from perdure.server import RuntimeApi, ServerSettings, run_server
from perdure.server.process import listen

from .fake_runtime import FakeRuntime
from .world import running, serving

MAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.server.fake_runtime import FakeRuntime
from perdure.server import ServerSettings, serve

async def opener():
    return FakeRuntime(Path({folder!r}))

serve(opener, ServerSettings(), run=Path({folder!r}) / "run", announce=lambda f: print(f.url, flush=True))
print("left in order", flush=True)
"""


async def test_the_server_file_is_private_and_exists_while_the_server_runs(tmp_path: Path) -> None:
    path = tmp_path / "run" / "server.json"
    async with running(tmp_path) as world:
        found = json.loads(path.read_bytes())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (found["pid"], found["url"]) == (os.getpid(), world.file.url)
        assert found["token"] == world.file.token
        assert found["workspace"] == str(tmp_path)
        async with world.http.get(found["url"] + "/readyz") as response:
            assert response.status == 200
    assert not path.exists()


async def test_one_server_per_workspace(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        with pytest.raises(Conflict) as caught:
            async with serving(FakeRuntime(tmp_path), tmp_path / "run"):
                pass
        assert world.file.url in str(caught.value)
        assert (await world.ask("GET", "/livez")).status == 200
    async with running(tmp_path) as world:
        assert (await world.ask("GET", "/livez")).status == 200


async def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            async with serving(FakeRuntime(tmp_path), tmp_path / "run", port=port):
                pass
        assert str(port) in caught.value.args[0]


async def test_a_runtime_that_does_not_open_leaves_nothing_behind(tmp_path: Path) -> None:
    async def opener() -> RuntimeApi:
        raise PerdureError("perdure.yaml is broken")

    run = tmp_path / "run"
    with pytest.raises(PerdureError, match="broken"):
        await run_server(opener, ServerSettings(), run=run)
    assert not (run / "server.json").exists()
    async with running(tmp_path) as world:
        assert (await world.ask("GET", "/livez")).status == 200


async def test_the_server_can_listen_on_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    async with running(tmp_path, host="::1") as world:
        assert world.file.url.startswith("http://[::1]:")
        assert (await world.ask("GET", "/livez")).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_process_in_order(tmp_path: Path, number: signal.Signals) -> None:
    tests = str(Path(__file__).parents[2])
    code = MAIN.format(tests=tests, folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert (tmp_path / "run" / "server.json").exists()
        process.send_signal(number)
        assert process.stdout.readline() == "left in order\n"
        assert process.wait(timeout=10) == 0
    assert not (tmp_path / "run" / "server.json").exists()


def test_after_a_kill_the_next_server_takes_over(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[2])
    code = MAIN.format(tests=tests, folder=str(tmp_path))
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            process.kill()
    assert (tmp_path / "run" / "server.json").exists()


async def test_while_stopping_it_is_not_ready(tmp_path: Path) -> None:
    from perdure.server import create_app
    from perdure.server.site import Site
    from perdure.server.stream import Streams

    runtime = FakeRuntime(tmp_path)
    site = Site(Streams(runtime, ServerSettings()))
    app = create_app(runtime, site=site)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/readyz",
        "raw_path": b"/readyz",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "asgi": {"version": "3.0"},
    }
    site.stop()
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 503


def test_importing_the_package_loads_no_web_framework() -> None:
    code = (
        "import sys, perdure.server; print({'starlette', 'uvicorn', 'pydantic'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_said_with_what_to_do(host: str) -> None:
    settings = ServerSettings(host=host, port=0, tokens=("t" * 40,))
    with pytest.raises(ConfigError, match="cannot listen") as caught:
        listen(settings)
    assert "server.host" in caught.value.hint
