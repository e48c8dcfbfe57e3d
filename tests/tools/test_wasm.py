"""WebAssembly tools compute and do nothing else: they may use little and reach nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perdure.cli.app import perdure
from perdure.kernel.events import (
    ApprovalRequested,
    CallId,
    SessionId,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
)
from perdure.kernel.labels import OWNER, SELF, Label
from perdure.runtime import Runtime, open_runtime
from perdure.tools import Bench, Prepared, Toolbox, apart
from perdure.tools import wasm as wasm_tools
from perdure.tools.schema import parameters
from tests.runtime.house import workspace

from .test_guide import example
from .world import World

try:
    import wasmtime
except ImportError:
    wasmtime = None  # type: ignore[assignment]

needs_wasmtime = pytest.mark.skipif(wasmtime is None, reason="wasmtime is not installed")

READ = """(import "wasi_snapshot_preview1" "fd_read"
  (func $read (param i32 i32 i32 i32) (result i32)))"""
WRITE = """(import "wasi_snapshot_preview1" "fd_write"
  (func $write (param i32 i32 i32 i32) (result i32)))"""
MANIFEST = """description: Does something.
parameters:
  text: {type: string, required: false}
limits: {fuel: 50000000, memory_mb: 8, seconds: 5}
"""
ENDLESS = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'


def body(code: str, *imports: str) -> str:
    """A module whose `_start` is `code`. At 0 it has room for a vector that names 64 to 60064."""
    return f"""(module {" ".join(imports)}
      (memory (export "memory") 1)
      (data (i32.const 0) "\\40\\00\\00\\00\\60\\ea\\00\\00")
      (func (export "_start") {code}))"""


ECHO = body(
    """(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
       (i32.store (i32.const 4) (i32.load (i32.const 8)))
       (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))""",
    READ,
    WRITE,
)


def saying(code: str, *imports: str) -> str:
    """A module that writes a number as 8 hexadecimal digits, lowest first: what `code` leaves."""
    return f"""(module {WRITE} {" ".join(imports)}
      (memory (export "memory") 1)
      (data (i32.const 0) "\\40\\00\\00\\00\\08\\00\\00\\00")
      (func (export "_start") (local $n i32) (local $i i32)
        (local.set $n {code})
        (loop
          (i32.store8 (i32.add (i32.const 64) (local.get $i))
            (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
          (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const 8))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def said(number: int) -> str:
    return "".join(chr(97 + (number >> 4 * n & 15)) for n in range(8))


def put(folder: Path, module: str | bytes, manifest: str = MANIFEST, name: str = "thing") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(module, bytes):
        (folder / f"{name}.wasm").write_bytes(module)
    else:
        (folder / f"{name}.wat").write_text(module)
    path = folder / f"{name}.tool.yaml"
    path.write_text(manifest)
    return path


def opened(world: World) -> Toolbox:
    world.toolbox = Toolbox(folders=[world.workdir.parent / "tools"])
    world.bench = world.open()
    return world.toolbox


async def of(
    world: World, module: str | bytes, manifest: str = MANIFEST, **arguments: Any
) -> ToolResult:
    put(world.workdir.parent / "tools", module, manifest)
    assert not opened(world).errors, world.toolbox.errors
    return await world("thing", **arguments)


def prepared(world: World, tool: str) -> Prepared:
    found = world.bench.prepare(ToolCall(id=CallId("c"), name=tool, arguments={}))
    assert isinstance(found, Prepared)
    return found


@asynccontextmanager
async def playing(
    root: Path, *calls: tuple[str, dict[str, Any]]
) -> AsyncIterator[tuple[Runtime, SessionId, Sequence[object]]]:
    """A runtime whose scripted model has made these calls."""
    replies: list[Any] = [{"calls": [{"tool": t, "arguments": a}]} for t, a in calls]
    (root / "script.yaml").write_text(json.dumps({"replies": [*replies, {"text": "done"}]}))
    runtime = await open_runtime(root)
    try:
        model = f"script:{root / 'script.yaml'}"
        session = (await runtime.create_session(workdir=str(root), model=model)).id
        accepted = await runtime.submit(session, (Text(text="go"),))
        assert await runtime.wait(session, accepted.message, 30)
        yield runtime, session, [r.event for r in await runtime.records(session, 0, 1_000)]
    finally:
        await runtime.close()


# What works


@needs_wasmtime
async def test_it_gets_its_arguments_as_json_and_what_it_writes_is_the_result(world: World) -> None:
    result = await of(world, ECHO, text="grüße")
    assert (result.status, json.loads(result.text)) == ("ok", {"text": "grüße"})
    assert result.data["fuel"] > 0
    assert (await world("thing")).text == "{}"


@needs_wasmtime
async def test_a_binary_module_runs_like_its_text(world: World) -> None:
    binary = bytes(wasmtime.wat2wasm(ECHO))
    assert (await of(world, binary, text="a")).text == '{"text": "a"}'


@needs_wasmtime
async def test_the_same_call_always_gives_the_same_answer(world: World) -> None:
    """Neither the clock nor the dice are this machine's, and a sleep takes no time."""
    clock = """(import "wasi_snapshot_preview1" "clock_time_get"
      (func $clock (param i32 i64 i32) (result i32)))"""
    dice = (
        '(import "wasi_snapshot_preview1" "random_get" (func $dice (param i32 i32) (result i32)))'
    )
    now = saying(
        """(i32.add (call $clock (i32.const 0) (i64.const 0) (i32.const 128))
                    (i32.wrap_i64 (i64.div_u (i64.load (i32.const 128)) (i64.const 1000000))))""",
        clock,
    )
    assert (await of(world, now)).text == said(1)
    drawn = saying(
        "(i32.add (call $dice (i32.const 128) (i32.const 4)) (i32.load (i32.const 128)))", dice
    )
    first = (await of(world, drawn, text="a")).text
    assert first == (await world("thing", text="a")).text != (await world("thing", text="b")).text
    poll = """(import "wasi_snapshot_preview1" "poll_oneoff"
      (func $poll (param i32 i32 i32 i32) (result i32)))"""
    slept = saying(
        """(i64.store (i32.const 152) (i64.const 60000000000))
           (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 512)))
           (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 128)))
           (i32.wrap_i64 (i64.div_u (i64.load (i32.const 128)) (i64.const 1000000)))""",
        clock,
        poll,
    )
    began = time.monotonic()
    assert (await of(world, slept)).text == said(60_001)
    assert time.monotonic() - began < 20


@needs_wasmtime
async def test_a_model_uses_it_through_the_runtime(tmp_path: Path) -> None:
    put(workspace(tmp_path, "plan") / ".perdure" / "tools", ECHO)
    async with playing(tmp_path, ("thing", {"text": "hello"})) as (runtime, session, events):
        (finished,) = [e for e in events if isinstance(e, ToolFinished)]
        assert (finished.result.status, finished.result.text) == ("ok", '{"text": "hello"}')
        assert not await runtime.approvals(session)
        assert not [e for e in events if isinstance(e, ApprovalRequested)]


@needs_wasmtime
async def test_the_guides_example_works_as_it_stands(world: World) -> None:
    manifest, module = example("wasm.md", "yaml"), example("wasm.md", "wat")
    result = await of(world, module, manifest.replace("name: rot13", "name: thing"), text="Uryyb!")
    assert result.status == "ok" and "Hello!" in result.text, result.text


# What it may use


@needs_wasmtime
async def test_fuel_that_is_used_up_ends_it(world: World) -> None:
    result = await of(world, ENDLESS)
    assert result.status == "error" and "used up its fuel, 50,000,000" in result.text


@needs_wasmtime
async def test_an_endless_loop_ends_with_its_time_however_much_fuel_it_has(world: World) -> None:
    manifest = MANIFEST.replace("50000000", "1000000000000").replace("seconds: 5", "seconds: 1")
    began = time.monotonic()
    result = await of(world, ENDLESS, manifest)
    assert result.status == "timeout" and "within 1 s" in result.text
    assert time.monotonic() - began < 15


@needs_wasmtime
async def test_a_stopped_call_leaves_no_process(world: World, monkeypatch: Any) -> None:
    started: list[Any] = []
    real = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> Any:
        started.append(await real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(apart.asyncio, "create_subprocess_exec", noted)
    manifest = MANIFEST.replace("50000000", "1000000000000").replace("seconds: 5", "seconds: 100")
    task = asyncio.ensure_future(of(world, ENDLESS, manifest))
    while not started:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while started[0].returncode is None:
            await asyncio.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


@needs_wasmtime
async def test_memory_grows_to_its_limit_and_no_further(world: World) -> None:
    grown = saying(
        """(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
           (memory.size)"""
    )
    assert (await of(world, grown)).text == said(8 << 4)
    large = ENDLESS.replace('"memory") 1)', '"memory") 60000)')
    result = await of(world, large)
    assert result.status == "error" and "exceeds memory limits" in result.text


@needs_wasmtime
async def test_a_module_that_is_too_much_work_to_compile_is_given_up(world: World) -> None:
    one = "(if (local.get 0) (then (local.set 0 (i32.popcnt (local.get 0)))))"
    bomb = body("(local i32) " + one * 150_000)
    began = time.monotonic()
    result = await of(world, bomb, MANIFEST.replace("seconds: 5", "seconds: 1"))
    assert "within 1 s" in result.text or "too much memory" in result.text
    assert time.monotonic() - began < 15


@needs_wasmtime
async def test_a_flood_is_cut_off(world: World) -> None:
    flood = body(
        "(loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))",
        WRITE,
    )
    result = await of(world, flood)
    assert result.status == "error" and "more than 1,048,576 bytes" in result.text
    assert len(result.text) < 60_000 and result.artifact is not None
    assert world.artifacts.path(result.artifact).stat().st_size < 1_100_000


@needs_wasmtime
@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const 70000)))", "memory out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "integer division by zero"),
        ("(call 0)", "stack overflow"),
    ],
)
async def test_a_trap_is_an_error_that_says_which(world: World, code: str, word: str) -> None:
    result = await of(world, body(code))
    assert result.status == "error" and f"trap, {word}" in result.text


@needs_wasmtime
async def test_an_exit_code_and_complaints_are_told(world: World) -> None:
    leave = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    code = """(i32.store (i32.const 64) (i32.const 0x3f796877)) (i32.store (i32.const 4) (i32.const 4))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
      (call $exit (i32.const 3))"""
    result = await of(world, body(code, WRITE, leave))
    assert result.status == "error"
    assert "exit code 3" in result.text and "why?" in result.text


# What it can reach


@needs_wasmtime
async def test_it_sees_no_variables_and_no_arguments(world: World, monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET_OF_THE_OWNER", "x")
    for what in ("environ_sizes_get", "args_sizes_get"):
        get = f"""(import "wasi_snapshot_preview1" "{what}"
          (func $get (param i32 i32) (result i32)))"""
        code = """(i32.store (i32.const 128) (i32.const 7)) (i32.store (i32.const 132) (i32.const 7))
          (i32.add (call $get (i32.const 128) (i32.const 132))
            (i32.add (i32.load (i32.const 128)) (i32.load (i32.const 132))))"""
        assert (await of(world, saying(code, get))).text == said(0)


@needs_wasmtime
async def test_it_has_no_folder_and_opens_no_file(world: World) -> None:
    prestat = """(import "wasi_snapshot_preview1" "fd_prestat_get"
      (func $prestat (param i32 i32) (result i32)))"""
    folder = saying("(call $prestat (i32.const 3) (i32.const 128))", prestat)
    assert (await of(world, folder)).text == said(8)  # EBADF
    open_ = """(import "wasi_snapshot_preview1" "path_open" (func $open
      (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"""
    code = """(i64.store (i32.const 128) (i64.const 0x7465632f)) (call $open (i32.const 3)
      (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 0) (i64.const -1) (i64.const -1)
      (i32.const 0) (i32.const 160))"""
    assert (await of(world, saying(code, open_))).text == said(76)  # ENOTCAPABLE
    for fd in (0, 3, 4, 9, -1):
        wrote = f"(call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8))"
        assert (await of(world, saying(wrote))).text == said(8)


def test_the_process_it_runs_in_can_open_nothing() -> None:
    """Should it ever break out of its engine."""
    code = f"""import runpy, socket
run = runpy.run_path({str(wasm_tools.RUNNER.with_name("confine.py"))!r})
run["confine"](20, 1 << 30)
for what in (lambda: open("/etc/hosts"), lambda: open("/tmp/x", "w"), socket.socket):
    try:
        what()
    except OSError:
        print("no")
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
    assert ran.stdout.split() == [b"no"] * 3


@needs_wasmtime
async def test_it_has_no_socket(world: World) -> None:
    send = """(import "wasi_snapshot_preview1" "sock_send"
      (func $send (param i32 i32 i32 i32 i32) (result i32)))"""
    code = "(call $send (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 128))"
    assert (await of(world, saying(code, send))).text == said(76)


@needs_wasmtime
async def test_addresses_that_it_does_not_have_are_refused(world: World) -> None:
    """Also those that would be in it, if one forgot how large a number can be."""
    for at, vectors in ((0xFFFFFFFF, 1), (0, 0xFFFFFFFF), (65_532, 1), (0, 1_025)):
        code = f"(call $write (i32.const 1) (i32.const {at}) (i32.const {vectors}) (i32.const 8))"
        assert (await of(world, saying(code))).text == said(21)  # EFAULT
    # A vector that begins inside and ends outside, and the place for the answer outside.
    across = """(i32.store (i32.const 128) (i32.const 65530)) (i32.store (i32.const 132) (i32.const 99))
      (call $write (i32.const 1) (i32.const 128) (i32.const 1) (i32.const 8))"""
    assert (await of(world, saying(across))).text == said(21)
    answer = "(call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 65533))"
    assert (await of(world, saying(answer))).text == said(21)


@needs_wasmtime
@pytest.mark.parametrize(
    ("module", "word"),
    [
        ('(module (import "env" "system" (func)) (func (export "_start")))', "env.system"),
        ('(module (import "env" "memory" (memory 1)) (func (export "_start")))', "env.memory"),
        (
            '(module (import "wasi_snapshot_preview1" "spawn" (func)) (func (export "_start")))',
            "spawn",
        ),
        (
            '(module (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "_start")))',
            "signature",
        ),
        ('(module (memory (export "memory") 1))', "_start"),
        ('(module (func (export "_start") (param i32)))', "_start"),
        ("(module (func (export", "expected"),
        (b"\0asm\1\0\0\0rubbish", "failed to parse"),
        (b"", "failed to parse"),
        (b"\0asm\x0d\0\1\0", "component"),
        (b"\x7fELF\2\1\1\0", "cannot be run"),
    ],
)
async def test_a_module_that_cannot_run_is_refused_and_named(
    world: World, module: str | bytes, word: str
) -> None:
    result = await of(world, module)
    assert result.status == "error" and "cannot be run" in result.text and word in result.text


@needs_wasmtime
def test_agent_check_compiles_modules(tmp_path: Path) -> None:
    tools = workspace(tmp_path) / ".perdure" / "tools"
    put(tools, ECHO)
    shown = CliRunner().invoke(perdure, ["-w", str(tmp_path), "agent", "check"])
    assert "✓ default" in shown.output, shown.output
    put(tools, '(module (import "env" "x" (func)))')
    shown = CliRunner().invoke(perdure, ["-w", str(tmp_path), "agent", "check"])
    assert "✗ default" in shown.output
    assert "thing.tool.yaml" in shown.output and "env.x" in shown.output, shown.output


# Labels and rules


@needs_wasmtime
@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (OWNER, SELF),
        (
            Label(trust="third_party", origins=("web:evil.example",)),
            Label(trust="third_party", origins=("web:evil.example",)),
        ),
        (Label(trust="owner", secrecy="secret"), Label(trust="self", secrecy="secret")),
    ],
)
async def test_what_it_returns_has_the_label_of_the_conversation(
    world: World, context: Label, expected: Label
) -> None:
    put(world.workdir.parent / "tools", ECHO)
    bench = Bench(
        opened(world),
        session=world.bench.session,
        workdir=world.workdir,
        artifacts=world.artifacts,
        commands=world.commands,
        scratch=world.state,
        context=lambda: context,
    )
    result = await world.call("thing", {"text": "x"}, bench=bench)
    assert (result.status, result.label) == ("ok", expected)


@needs_wasmtime
async def test_tools_cannot_write_modules_and_a_changed_one_is_another_tool(
    world: World, tmp_path: Path
) -> None:
    tools = workspace(tmp_path / "house") / ".perdure" / "tools"
    put(tools, ECHO)
    before = (tools / "thing.wat").read_bytes()
    call = ("write", {"path": str(tools / "thing.wat"), "content": "(module)"})
    async with playing(tmp_path / "house", call) as (_, _, events):
        (finished,) = [e for e in events if isinstance(e, ToolFinished)]
        assert finished.result.status == "denied"
    assert (tools / "thing.wat").read_bytes() == before

    # The owner changes it while a call waits: the call does not run what it was not judged for.
    assert (await of(world, ECHO)).status == "ok"
    waiting, old = prepared(world, "thing"), world.toolbox.get("thing")
    put(world.workdir.parent / "tools", body("unreachable"))
    result = await waiting.run(key="s_1.k", emit=world.output.append, resumed=False)
    assert result.status == "error" and "has changed since it was loaded" in result.text
    assert world.toolbox.refresh() and world.toolbox.get("thing") is not old
    assert prepared(world, "thing").binding() != waiting.binding()


# Manifests


def test_arguments_are_what_the_manifest_says(tmp_path: Path) -> None:
    manifest = """name: sum_up
description: >
  Sums
  up.
parameters:
  name: {type: string, description: Whose, max_length: 5}
  count: {type: integer, minimum: 1, maximum: 9, default: 2}
  kind: {type: string, enum: [a, b], required: false}
  many: {type: array, items: number, required: false}
  more: {type: object, required: false}
"""
    put(tmp_path, ECHO, manifest)
    box = Toolbox(folders=[tmp_path])
    tool = box.get("sum_up")
    assert tool is not None and tool.describe() == "Sums up."
    assert tool.only_reads() and tool.parallel and tool.recovers_by() == "rerun"
    schema: Any = parameters(tool)
    assert schema["required"] == ["name"]
    assert list(schema["properties"]) == ["name", "count", "kind", "many", "more"]
    assert schema["properties"]["kind"]["enum"] == ["a", "b"]
    assert schema["properties"]["many"]["items"] == {"type": "number"}
    made: Any = tool.model_validate({"name": "x", "more": {"a": 1}})
    assert made._given() == {"name": "x", "count": 2, "more": {"a": 1}}
    for wrong in ({}, {"name": "xxxxxx"}, {"name": "x", "count": 10}, {"name": "x", "kind": "c"},
                  {"name": "x", "argument_1": 3}, {"name": "x", "many": [float("nan")]}):  # fmt: skip
        with pytest.raises(ValueError):
            tool.model_validate(wrong)


@pytest.mark.parametrize(
    ("manifest", "line", "words"),
    [
        ("description: x\nlimit: {fuel: 1}\n", 2, "did you mean limits?"),
        ("description: x\nlimits:\n  memory: 1\n", 3, "did you mean memory_mb?"),
        ("description: x\nlimits: {memory_mb: 4096}\n", 2, "from 1 to 1,024"),
        ("description: x\nlimits: {fuel: lots}\n", 2, "must be a number"),
        ("description: x\nlimits: {seconds: 0}\n", 2, "from 1 to 300"),
        ("description: x\nparameters:\n  a: {type: sting}\n", 3, "did you mean string?"),
        ("description: x\nparameters:\n  a: {typ: string}\n", 3, "did you mean type?"),
        ("description: x\nparameters:\n  a: {}\n", 3, "type is missing"),
        ("description: x\nparameters:\n  a b: {type: string}\n", 3, "argument's name"),
        ("description: x\nparameters:\n  a: {type: string, minimum: 1}\n", 3, "means nothing"),
        ("description: x\nparameters:\n  a: {type: integer, enum: [1.5]}\n", 3, "whole number"),
        ("description: x\nparameters: [a]\n", 2, "expected a mapping"),
        ("description: x\ndescription: y\n", 2, "given twice"),
        ("name: a b\ndescription: x\n", 1, "cannot be a tool's name"),
        ("name: a\n", 1, "description is missing"),
        ("description: [\n", 2, "is not YAML"),
        ("", 1, "is empty"),
        ("- a\n", 1, "expected a mapping"),
    ],
)
def test_a_wrong_manifest_is_told_with_its_line_and_the_last_good_tool_stays(
    tmp_path: Path, manifest: str, line: int, words: str
) -> None:
    path = put(tmp_path, ECHO)
    box = Toolbox(folders=[tmp_path])
    before = box.get("thing")
    assert before is not None
    path.write_text(manifest)
    box.refresh()
    assert box.get("thing") is before
    (error,) = [e for e in box.errors if wasm_tools.NOT_INSTALLED not in e.message]
    assert (error.file, error.line) == (path, line) and words in error.message, str(error)


def test_a_module_or_manifest_that_stands_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.wasm").write_bytes(b"")
    (tmp_path / "two.tool.yaml").write_text("description: x\n")
    put(tmp_path, ECHO, name="three")
    (tmp_path / "three.wasm").write_bytes(b"")
    (tmp_path / "real.txt").write_text(ECHO)
    (tmp_path / "four.wat").symlink_to(tmp_path / "real.txt")
    (tmp_path / "four.tool.yaml").write_text("description: x\n")
    told = {e.file.name: e.message for e in Toolbox(folders=[tmp_path]).errors}
    assert "one.tool.yaml" in told["one.wasm"]
    assert "no two.wasm or two.wat" in told["two.tool.yaml"]
    assert "remove one" in told["three.tool.yaml"]
    assert "is a link" in told["four.tool.yaml"]


def test_a_changed_module_is_loaded_again_and_a_core_tool_cannot_be_replaced(
    tmp_path: Path,
) -> None:
    put(tmp_path, ECHO)
    put(tmp_path, ECHO, "name: bash\ndescription: x\n", name="other")
    box = Toolbox(folders=[tmp_path])
    before = box.get("thing")
    assert "core tool" in str([e for e in box.errors if e.file.name == "other.tool.yaml"][-1])
    put(tmp_path, ECHO + "\n")
    box.refresh()
    assert box.get("thing") not in (before, None)
    (tmp_path / "thing.tool.yaml").unlink()
    box.refresh()
    assert box.get("thing") is None


# Without the library


async def test_without_the_library_it_is_there_and_says_how_to_install_it(
    world: World, tmp_path: Path, monkeypatch: Any
) -> None:
    runner = tmp_path / "runner.py"
    source = wasm_tools.RUNNER.read_text("utf-8")
    runner.write_text(source.replace("import wasmtime", "import wasmtime_that_is_not_there"))
    monkeypatch.setattr(wasm_tools, "RUNNER", runner)
    monkeypatch.setattr(wasm_tools, "installed", lambda: False)
    put(tmp_path / "tools", ECHO)
    put(tmp_path / "tools", ECHO, name="second")
    box = opened(world)
    assert {"read", "thing", "second"} <= set(box.names())
    assert [e.file.name for e in box.errors] == ["second.tool.yaml", "thing.tool.yaml"]
    assert all("pip install 'perdure[wasm]'" in e.message for e in box.errors)
    result = await world("thing", text="x")
    assert result.status == "error" and "pip install 'perdure[wasm]'" in result.text
    world.put("a.txt", "still here")
    assert "still here" in (await world("read", path="a.txt")).text


def test_the_library_is_not_loaded_into_the_runtime(tmp_path: Path) -> None:
    put(tmp_path, ECHO)
    code = f"""import sys; from pathlib import Path; from perdure.tools import Toolbox
assert Toolbox(folders=[Path({str(tmp_path)!r})]).get("thing")
assert "wasmtime" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
