"""Single parts of Perdure, each in a process of its own: the log, the gate, a command, the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .meter import Facts, Span, cpu_of, memory_mb, wait_until


async def append(folder: str, sessions: int, each: int) -> Facts:
    """Commits of one record of about 400 bytes: of one session in a row, or of many at once."""
    from perdure.kernel.events import CallId, Record, Text, ToolFinished, ToolResult
    from perdure.storage import Committer, RealDisk, SessionStore, SystemClock, TimeIds

    clock, ids = SystemClock(), TimeIds()
    committer = Committer(RealDisk())
    private = Path(folder) / ".perdure"
    private.mkdir(exist_ok=True)
    store = SessionStore(private, committer, clock)
    result = ToolResult(parts=(Text(text="x" * 200),))
    event = ToolFinished(call=CallId("call"), tool="lookup", result=result)
    logs = [(await store.create(ids.new("s"))).log for _ in range(sessions)]  # type: ignore[arg-type]

    async def write(log: Any, first: int, count: int) -> None:
        for seq in range(first, first + count):
            log.append([Record(seq=seq, at=clock.now(), event=event)])
            await log.commit()

    await asyncio.gather(*(write(log, 1, 3) for log in logs))
    syncs, span = committer.syncs, Span()
    await asyncio.gather(*(write(log, 4, each) for log in logs))
    cpu, wall = span.lap()
    count = sessions * each
    syncs = committer.syncs - syncs
    for log in logs:
        await log.close()
    committer.close()
    return {"cpu_ms": cpu / count * 1e3, "wall_ms": wall / count * 1e3, "syncs": syncs / count}


async def syncs(folder: str, effects: str, sessions: int = 1, each: int = 10) -> Facts:
    """What a tool round asks of the disk."""
    from perdure.storage import RealDisk

    from .house import House

    class Counting(RealDisk):
        def __init__(self) -> None:
            super().__init__()
            self.count = self.bytes = 0

        def sync(self, handle: int) -> None:
            self.count += 1
            super().sync(handle)

        def sync_path(self, path: Path) -> None:
            self.count += 1
            super().sync_path(path)

        def sync_everything(self, handle: int) -> bool:
            self.count += 1
            return super().sync_everything(handle)

        def write(self, handle: int, data: bytes) -> None:
            self.bytes += len(data)
            super().write(handle, data)

    disk = Counting()
    house = House(folder, effects, disk)
    await house.ready()
    await house.turn("warm", f"Go. [until {each}]")
    count, size = disk.count, disk.bytes
    names = [f"session-{n}" for n in range(sessions)]
    await asyncio.gather(*(house.turn(name, f"Go. [until {each}]") for name in names))
    total = sessions * each
    facts = {"syncs": (disk.count - count) / total, "kb": (disk.bytes - size) / total / 1e3}
    await house.close()
    return facts


async def decisions(folder: str, count: int) -> Facts:
    """The gate's whole judgement of a shell command, under a policy of twenty rules."""
    from perdure.guard import Flow, Places, PolicyFiles, PolicyGate
    from perdure.kernel.events import CallId, SessionId, ToolCall
    from perdure.kernel.labels import OWNER
    from perdure.kernel.ports import Ask, Refuse
    from perdure.sandbox import SupervisedCommands
    from perdure.storage import Committer, RealDisk, SessionStore, SystemClock, TimeIds
    from perdure.tools import CORE_TOOLS, Bench, Toolbox

    place = Path(folder)
    private = place / ".perdure"
    rules = [f'  - {{tool: bash, command: "forbidden-{n} *"}}' for n in range(10)]
    allow = [f'  - {{tool: bash, command: "allowed-{n} *"}}' for n in range(10)]
    text = "\n".join(["mode: auto", "deny:", *rules, "allow:", *allow, ""])
    (private / "policy.yaml").write_text(text)
    committer, ids, session = Committer(RealDisk()), TimeIds(), SessionId("s_bench")
    opened = await SessionStore(private, committer, SystemClock()).create(session)
    toolbox, runs = Toolbox(core=CORE_TOOLS, folders=()), SupervisedCommands(private / "processes")
    bench = Bench(
        toolbox=toolbox,
        session=session,
        workdir=place,
        artifacts=opened.artifacts,
        commands=runs,
        scratch=private / "processes",
    )
    places = Places(workspace=place, workdir=place, agent="default")
    policy = PolicyFiles(private, "default")
    gate = PolicyGate(
        bench,
        policy,
        places,
        session=session,
        ids=ids,
        clock=SystemClock(),
        flow=Flow(earlier=opened.log.read, tools=toolbox.get),
        environment=runs.environment,
    )

    async def judge(n: int) -> None:
        # Another command each time: nothing that was worked out before is of use.
        arguments: Any = {"command": f"git log --oneline -n {n}", "timeout": 30}
        call = ToolCall(id=CallId(f"call_{n}"), name="bash", arguments=arguments)
        verdict = await gate.judge(call, key=f"key-{n}", label=OWNER)
        assert not isinstance(verdict, Ask | Refuse), "not judged to its end"

    for n in range(10):
        await judge(n)
    span = Span()
    for n in range(10, 10 + count):
        await judge(n)
    cpu, wall = span.lap()
    await opened.log.close()
    committer.close()
    return {"cpu_us": cpu / count * 1e6, "wall_us": wall / count * 1e6}


async def commands(folder: str, count: int) -> Facts:
    """`true`, supervised so that it outlives the runtime, and started plainly."""
    from perdure.sandbox import SupervisedCommands

    place = Path(folder)
    supervised = SupervisedCommands(place / "processes")
    await supervised.run("true", key="warm", cwd=place, timeout=30)
    span = Span()
    for n in range(count):
        await supervised.run("true", key=f"key-{n}", cwd=place, timeout=30)
    cpu, wall = span.lap()
    await supervised.close()
    plain = Span()
    for _ in range(count):
        process = await asyncio.create_subprocess_shell("true", stdout=asyncio.subprocess.PIPE)
        await process.communicate()
    plain_cpu, plain_wall = plain.lap()
    return {
        "wall_ms": wall / count * 1e3,
        "cpu_ms": cpu / count * 1e3,
        "plain_wall_ms": plain_wall / count * 1e3,
        "plain_cpu_ms": plain_cpu / count * 1e3,
    }


async def contained(folder: str, count: int) -> Facts:
    """`true` in each sandbox that there is, and supervised without one, in turns."""
    from perdure.kernel.errors import PerdureError
    from perdure.sandbox import Confines, Containment, SupervisedCommands

    place = Path(folder) / "work"
    place.mkdir(exist_ok=True)
    supervised = SupervisedCommands(Path(folder) / "state/processes")
    backends: dict[str, Any] = {"none": supervised}
    for backend in ("bubblewrap", "launcher"):
        confines = Confines(backend=backend)
        inside = supervised.within(
            lambda confines=confines: Containment(session="bench", workdir=place, confines=confines)
        )
        try:
            await inside.run("true", key=f"warm-{backend}", cwd=place, timeout=30)
        except PerdureError:
            continue
        backends[backend] = inside
    walls: dict[str, list[float]] = {name: [] for name in backends}
    for n in range(count):
        for name, commands in backends.items():
            # Each finds things as a lone command does: the one before it is over and tidied up.
            await asyncio.sleep(0.03)
            span = Span()
            await commands.run("true", key=f"{name}-{n}", cwd=place, timeout=30)
            walls[name].append(span.lap()[1])
    await supervised.close()
    medians = {name: sorted(times)[len(times) // 2] * 1e3 for name, times in walls.items()}
    return {"none_ms": medians["none"]} | {
        f"{name}_more_ms": ms - medians["none"] for name, ms in medians.items() if name != "none"
    }


async def listing(folder: str) -> Facts:
    """The newest fifty of the sessions on disk: without an index, then with it."""
    from .house import House

    house = House(folder, "reads")
    from perdure.runtime import open_runtime

    house.runtime = await open_runtime(Path(folder))
    span = Span()
    await house.runtime.sessions(50)
    cold = span.lap()
    await house.runtime.sessions(50)
    warm = span.lap()
    await house.close()
    return {"cold_cpu_ms": cold[0] * 1e3, "cold_wall_ms": cold[1] * 1e3, "cpu_ms": warm[0] * 1e3}


def run(argv: list[str]) -> Facts:
    """A command's own CPU time and peak memory, from its start to its end."""
    with Path(os.devnull).open("wb") as nothing:
        began = time.perf_counter()
        process = subprocess.Popen(argv, stdout=nothing, stderr=nothing, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv} ended with {process.returncode}")
    return {"cpu_ms": (used.ru_utime + used.ru_stime) * 1e3, "wall_ms": wall * 1e3}


def serve(folder: str) -> Facts:
    """`perdure serve`: until it listens, at rest, after its first turn."""
    file = Path(folder) / ".perdure" / "run" / "server.json"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure", "-w", folder, "serve"], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: file.exists() or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError(f"perdure serve ended with {process.returncode}")
        facts = {"wall_s": time.perf_counter() - began, "cpu_s": cpu_of(process.pid)}
        time.sleep(1.0)
        facts["idle_mb"] = memory_mb(process.pid)
        facts["idle_cpu_s"] = cpu_of(process.pid)
        server = json.loads(file.read_text())
        session = _post(server, "/api/v1/sessions", {})["id"]
        path = f"/api/v1/sessions/{session}/messages?wait=60"
        outcome = _post(server, path, {"text": "Go. [until 0]"})
        if "last entry" not in outcome.get("text", ""):
            raise RuntimeError(str(outcome))
        facts["turn_mb"] = memory_mb(process.pid)
        facts["turn_cpu_s"] = cpu_of(process.pid)
        return facts
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _post(server: dict[str, Any], path: str, body: dict[str, Any]) -> dict[str, Any]:
    address = urlsplit(server["url"])
    connection = HTTPConnection(address.hostname or "", address.port, timeout=90)
    headers = {
        "authorization": f"Bearer {server['token']}",
        "content-type": "application/json",
    }
    connection.request("POST", path, json.dumps(body), headers)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer
