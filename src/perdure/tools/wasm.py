"""Pure tools: WebAssembly modules that turn arguments into a text, and can do nothing else (S6).

The module runs in a process of its own that has nothing and may use little (`wasm_run`). What comes out was
made of the call's arguments, so it has the label of the conversation that thought them up.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import ConfigDict, Field, create_model

from perdure.kernel.events import Json, ToolResult
from perdure.kernel.labels import SELF

from .apart import MISSING, Unreadable, run_apart
from .base import Effect, Tool, ToolContext, failed, ok
from .files import FileProblem, read_regular
from .manifest import MODULES, SUFFIX, Argument, Kind, Limits, Manifest, Wrong, read_manifest
from .taming import tame

RUNNER = Path(__file__).parent / "wasm_run.py"
MAX_MODULE = 16 << 20
"""Bytes of a module."""
MAX_OUTPUT = 1 << 20
"""Bytes that a module may write."""
STARTING = 20.0
"""Seconds besides its own until a run is given up from outside."""
NOT_INSTALLED = "needs wasmtime, which is not installed: pip install 'perdure[wasm]'"
SHOWN = 2_000
"""Characters of its complaints in an error."""

_TYPES: dict[Kind, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list[Any],
    "object": dict[str, Any],
}
_ARRAYS: dict[Kind, Any] = {
    "string": list[str],
    "integer": list[int],
    "number": list[float],
    "boolean": list[bool],
    "array": list[list[Any]],
    "object": list[dict[str, Any]],
}
_SIGNALS: dict[int, Literal["time", "memory"]] = {
    -signal.SIGALRM: "time",
    -signal.SIGXCPU: "time",
    -signal.SIGABRT: "memory",
}
"""What a run died of, by exit code: the clock, the limit on computing, a compiler without memory."""


class WasmTool(Tool):
    """A module with its manifest. Its arguments are fields with aliases, so any name will do."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False, allow_inf_nan=False)

    effects: ClassVar[frozenset[Effect]] = frozenset()
    idempotent = True
    parallel = True

    manifest: ClassVar[Manifest]
    digest: ClassVar[bytes]
    """Of the module and its manifest as they were when this was made of them."""

    @classmethod
    def describe(cls) -> str:
        return cls.manifest.description

    def preview(self, workdir: Path) -> str:
        return "\n".join(f"{k}: {v}" for k, v in self._given().items())

    def binding(self, workdir: Path) -> bytes:
        return type(self).digest

    def _given(self) -> dict[str, Json]:
        """What the model gave, and defaults; without what it left out."""
        given: dict[str, Json] = self.model_dump(mode="json", by_alias=True)
        return {name: value for name, value in given.items() if value is not None}

    async def execute(self, context: ToolContext) -> ToolResult:
        manifest = type(self).manifest
        try:
            module = _module(manifest)
        except FileProblem as problem:
            return failed(f"{manifest.module.name} cannot be read: {problem}")
        if _digest(manifest, module) != type(self).digest:
            return failed(
                f"{manifest.module.name} has changed since it was loaded: it is another tool now, and is "
                "loaded before the next step, if its manifest is right."
            )
        given = json.dumps(self._given(), ensure_ascii=False, allow_nan=False).encode(
            "utf-8", "replace"
        )
        run = await compute(module, given, manifest.limits)
        return msgspec.structs.replace(_result(run, manifest), label=SELF.join(context.label))


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a run of a module ended."""

    ended: Literal["exit", "trap", "fuel", "flood", "unfit", "time", "memory", "broken", "missing"]
    """`flood`: it wrote too much. `unfit`: it is no module that can be run here."""
    why: str = ""
    code: int = 0
    fuel: int = 0
    output: bytes = b""
    complaints: str = ""


class _Told(msgspec.Struct):
    ended: Literal["exit", "trap", "fuel", "flood", "unfit"]
    why: str = ""
    code: int = 0
    fuel: int = 0
    complaints: str = ""


async def compute(module: bytes, given: bytes, limits: Limits, *, check: bool = False) -> Run:
    """Run a module in a process of its own, or only `check` whether it could be run."""
    terms = {
        "module": len(module),
        "fuel": limits.fuel,
        "memory": limits.memory_mb << 20,
        "seconds": limits.seconds,
        "output": MAX_OUTPUT,
        "check": check,
    }
    sent = json.dumps(terms).encode() + b"\n" + module + given
    try:
        code, out = await run_apart(RUNNER, sent, seconds=limits.seconds + STARTING)
    except Unreadable:
        return Run(ended="time")
    if code == MISSING:
        return Run(ended="missing")
    if code != 0:
        return Run(ended=_SIGNALS.get(code, "broken"))
    head, _, output = out.partition(b"\n")
    try:
        told = msgspec.json.decode(head, type=_Told)
    except msgspec.DecodeError:
        return Run(ended="broken")
    return Run(
        ended=told.ended, why=told.why, code=told.code, fuel=told.fuel,
        output=output[:MAX_OUTPUT], complaints=told.complaints,
    )  # fmt: skip


def load(file: Path) -> type[WasmTool]:
    """The tool of a manifest. Compiles nothing. Raises Wrong."""
    manifest = read_manifest(file)
    try:
        module = _module(manifest)
    except FileProblem as problem:
        raise Wrong(f"{manifest.module.name} cannot be read: {problem}") from None
    fields: dict[str, Any] = {
        f"argument_{n}": _field(argument) for n, argument in enumerate(manifest.arguments)
    }
    made = create_model(manifest.name, __base__=WasmTool, __module__=__name__, **fields)
    made.name, made.manifest, made.digest = manifest.name, manifest, _digest(manifest, module)
    made.time_limit = manifest.limits.seconds + 2 * STARTING
    return made


def stamps(file: Path) -> tuple[int, ...]:
    """What tells a changed module from the one before: of all files that may belong to a manifest."""
    found: list[int] = []
    stem = file.name.removesuffix(SUFFIX)
    for suffix in MODULES:
        try:
            stat = file.with_name(stem + suffix).stat()
        except OSError:
            found += (0, -1)
        else:
            found += (stat.st_mtime_ns, stat.st_size)
    return tuple(found)


def installed() -> bool:
    return importlib.util.find_spec("wasmtime") is not None


async def problem_of(tool: type[WasmTool]) -> str:
    """Why calls of it would fail whatever their arguments: its module is compiled. Empty: they would not."""
    try:
        run = await compute(_module(tool.manifest), b"", tool.manifest.limits, check=True)
    except FileProblem as problem:
        return str(problem)
    return "" if run.ended == "exit" else _said(run, tool.manifest)


def _module(manifest: Manifest) -> bytes:
    """Raises FileProblem."""
    return read_regular(manifest.module, MAX_MODULE)


def _digest(manifest: Manifest, module: bytes) -> bytes:
    written = hashlib.sha256(repr(manifest).encode("utf-8", "replace"))
    written.update(hashlib.sha256(module).digest())
    return written.digest()


def _field(argument: Argument) -> tuple[Any, Any]:
    """For pydantic: the type and what is known of it."""
    kind = _ARRAYS[argument.items] if argument.kind == "array" else _TYPES[argument.kind]
    if argument.choices:
        kind = Literal[argument.choices]
    about: dict[str, Any] = {"alias": argument.name}
    for key, value in (
        ("description", argument.description or None),
        ("ge", argument.least),
        ("le", argument.most),
        ("max_length", argument.longest),
    ):
        if value is not None:
            about[key] = value
    if argument.required:
        return kind, Field(**about)
    if argument.default is not None:
        return kind, Field(argument.default, **about)
    return kind | None, Field(None, **about)


def _result(run: Run, manifest: Manifest) -> ToolResult:
    text = run.output.decode("utf-8", "replace")
    if run.ended == "exit" and run.code == 0:
        return ok(text or "(It wrote nothing.)", fuel=run.fuel)
    said = _said(run, manifest)
    if run.complaints.strip():
        said += f"\nIt complained:\n{run.complaints.strip()[:SHOWN]}"
    if text and run.ended in ("exit", "flood"):
        said += f"\nIt wrote:\n{text}"
    return failed(said, "timeout" if run.ended == "time" else "error", ended=run.ended)


def _said(run: Run, manifest: Manifest) -> str:
    name, limits = manifest.name, manifest.limits
    match run.ended:
        case "exit":
            return f"{name} failed with exit code {run.code}."
        case "trap":
            return f"{name} failed: trap, {tame(run.why)}. It may use {limits.memory_mb} MiB of memory."
        case "fuel":
            return f"{name} was stopped: it used up its fuel, {limits.fuel:,}. Give it less to do."
        case "flood":
            return (
                f"{name} was stopped: it wrote more than {MAX_OUTPUT:,} bytes; the rest is cut off."
            )
        case "time":
            return f"{name} was stopped: it did not finish within {limits.seconds} s."
        case "memory":
            return f"{name} was stopped: compiling or running it takes too much memory."
        case "unfit":
            return f"{name}: {manifest.module.name} cannot be run: {tame(run.why, 500)}."
        case "missing":
            return f"{name} {NOT_INSTALLED}"
        case _:
            return f"{name} failed: the WebAssembly engine broke down on it."
