"""A reader, run apart: one run of a WebAssembly module that only computes. Uses nothing of Perdure; see
`apart`.

In: a line of JSON (`Limits`), the module, its input. Out: a line of JSON (how it ended), and what it wrote.

The module sees WASI preview 1 with three open files: its input, its output, and a place for complaints.
There is nothing else: no folder, no argument, no variable, no socket, and no clock or dice of this machine.
The time begins in 1970 and goes on by a millisecond at each look; a sleep ends at once; what is random
follows from the module and its input. So the same call always gives the same answer.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MISSING = 3
COMPILING = 1 << 30
"""Bytes of address space for the compiler and what is loaded already, besides the module's memory."""
MAX_COMPLAINTS = 8 << 10
MAX_TABLE = 100_000
MAX_VECTORS = 1_024
MAX_RANDOM = 1 << 16
WASI = ("wasi_snapshot_preview1", "wasi_unstable")
BADF, FAULT, INVAL, NOSYS, SPIPE, NOTCAPABLE = 8, 21, 28, 52, 70, 76
"""Error numbers of WASI."""
DENIED = frozenset(
    ("fd_advise", "fd_allocate", "fd_datasync", "fd_fdstat_set_rights", "fd_filestat_set_size",
     "fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir", "fd_renumber", "fd_sync",
     "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open",
     "path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file",
     "proc_raise", "sock_accept", "sock_recv", "sock_send", "sock_shutdown")
)  # fmt: skip
"""They may be imported, as compilers do without need, and always fail."""


class Exit(Exception):
    """It ended by itself."""


class Flood(Exception):
    """It wrote more than may be kept."""


class Unfit(Exception):
    """The module cannot be run here; why."""


class World:
    """What a module can reach. Its functions have the names and signatures of WASI."""

    def __init__(self, given: bytes, seed: bytes, most: int) -> None:
        self.given, self.read = given, 0
        self.output, self.complaints = bytearray(), bytearray()
        self.most = most
        self.seed, self.drawn = seed, 0
        self.now = 0
        """Nanoseconds since 1970."""
        self.code = 0

    def args_sizes_get(self, at: Memory, count: int, size: int) -> int:
        at.put(count, bytes(4))
        at.put(size, bytes(4))
        return 0

    def args_get(self, at: Memory, pointers: int, texts: int) -> int:
        return 0

    environ_sizes_get, environ_get = args_sizes_get, args_get

    def clock_res_get(self, at: Memory, clock: int, out: int) -> int:
        at.put(out, struct.pack("<Q", 1_000_000))
        return 0

    def clock_time_get(self, at: Memory, clock: int, precision: int, out: int) -> int:
        self.now += 1_000_000
        at.put(out, struct.pack("<Q", self.now))
        return 0

    def random_get(self, at: Memory, out: int, size: int) -> int:
        if size > MAX_RANDOM:
            return INVAL
        self.drawn += 1
        at.put(out, hashlib.shake_256(self.seed + self.drawn.to_bytes(8, "little")).digest(size))
        return 0

    def fd_read(self, at: Memory, fd: int, vectors: int, count: int, out: int) -> int:
        if fd != 0:
            return BADF
        done = 0
        for where, size in at.vectors(vectors, count):
            piece = self.given[self.read : self.read + size]
            at.put(where, piece)
            self.read += len(piece)
            done += len(piece)
        at.put(out, struct.pack("<I", done))
        return 0

    def fd_write(self, at: Memory, fd: int, vectors: int, count: int, out: int) -> int:
        if fd not in (1, 2):
            return BADF
        done = 0
        for where, size in at.vectors(vectors, count):
            done += size
            if fd == 1:
                room = self.most - len(self.output)
                self.output += at.get(where, min(size, room))
                if size > room:
                    raise Flood
            else:
                room = MAX_COMPLAINTS - len(self.complaints)
                self.complaints += at.get(where, min(size, room))
        at.put(out, struct.pack("<I", done & 0xFFFFFFFF))
        return 0

    def fd_close(self, at: Memory, fd: int) -> int:
        return 0 if fd < 3 else BADF

    def fd_fdstat_get(self, at: Memory, fd: int, out: int) -> int:
        if fd > 2:
            return BADF
        may = 1 << 1 if fd == 0 else 1 << 6
        at.put(out, struct.pack("<BxHxxxxQQ", 0, 0, may, 0))
        return 0

    def fd_fdstat_set_flags(self, at: Memory, fd: int, flags: int) -> int:
        return 0 if fd < 3 else BADF

    def fd_filestat_get(self, at: Memory, fd: int, out: int) -> int:
        if fd > 2:
            return BADF
        at.put(out, bytes(64))
        return 0

    def fd_prestat_get(self, at: Memory, fd: int, out: int) -> int:
        return BADF

    def fd_prestat_dir_name(self, at: Memory, fd: int, out: int, size: int) -> int:
        return BADF

    def fd_seek(self, at: Memory, fd: int, offset: int, whence: int, out: int) -> int:
        return SPIPE if fd < 3 else BADF

    def fd_tell(self, at: Memory, fd: int, out: int) -> int:
        return SPIPE if fd < 3 else BADF

    def poll_oneoff(self, at: Memory, wanted: int, out: int, count: int, ready: int) -> int:
        if not 0 < count <= MAX_VECTORS:
            return INVAL
        for n in range(count):
            what = at.get(wanted + 48 * n, 48)
            mark, kind = struct.unpack_from("<QB", what)
            if kind == 0:
                moment, absolute = struct.unpack_from("<Q8xH", what, 24)
                self.now = max(self.now, moment if absolute & 1 else self.now + moment) % (1 << 63)
            at.put(out + 32 * n, struct.pack("<QHB21x", mark, 0, kind))
        at.put(ready, struct.pack("<I", count))
        return 0

    def sched_yield(self, at: Memory) -> int:
        return 0

    def proc_exit(self, at: Memory, code: int) -> None:
        self.code = code
        raise Exit


SIGNATURES = {
    "args_sizes_get": "ii", "args_get": "ii", "environ_sizes_get": "ii", "environ_get": "ii",
    "clock_res_get": "ii", "clock_time_get": "iIi", "random_get": "ii", "fd_read": "iiii",
    "fd_write": "iiii", "fd_close": "i", "fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii",
    "fd_filestat_get": "ii", "fd_prestat_get": "ii", "fd_prestat_dir_name": "iii", "fd_seek": "iIii",
    "fd_tell": "ii", "poll_oneoff": "iiii", "sched_yield": "", "proc_exit": "i",
}  # fmt: skip
"""Of `World`'s functions: `i` for 32 bits, `I` for 64. All but `proc_exit` return an error number."""


class Outside(Exception):
    """An address that the module does not have."""


class Memory:
    """The module's memory, for the length of one call. Every access is checked against its size."""

    def __init__(self, caller: Any) -> None:
        memory = caller.get("memory")
        if memory is None or not hasattr(memory, "data_len"):
            raise Unfit("it exports no memory")
        self._memory, self._caller = memory, caller
        self._size = memory.data_len(caller)

    def get(self, at: int, size: int) -> bytes:
        if at + size > self._size:
            raise Outside
        return bytes(self._memory.read(self._caller, at, at + size)) if size else b""

    def put(self, at: int, data: bytes) -> None:
        if at + len(data) > self._size:
            raise Outside
        if data:
            self._memory.write(self._caller, bytearray(data), at)

    def vectors(self, at: int, count: int) -> Iterator[tuple[int, int]]:
        if count > MAX_VECTORS:
            raise Outside
        for pair in struct.iter_unpack("<II", self.get(at, 8 * count)):
            if sum(pair) > self._size:
                raise Outside
            yield pair


def main() -> int:
    try:
        import wasmtime
    except ImportError:
        return MISSING
    confine = runpy.run_path(str(Path(__file__).with_name("confine.py")))["confine"]
    limits = json.loads(sys.stdin.buffer.readline())
    module = sys.stdin.buffer.read(limits["module"])
    given = sys.stdin.buffer.read()
    confine(limits["seconds"], COMPILING + limits["memory"])
    world = World(given, hashlib.sha256(module + given).digest(), limits["output"])
    told = _run(wasmtime, module, world, limits)
    told["complaints"] = world.complaints.decode("utf-8", "replace")
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + world.output)
    sys.stdout.buffer.flush()
    return 0


def _run(wasmtime: Any, code: bytes, world: World, limits: dict[str, Any]) -> dict[str, Any]:
    """How it ended: `ended`, one of `exit`, `trap`, `fuel`, `flood`, `unfit`; and what there is to tell."""
    store = wasmtime.Store(_engine(wasmtime, limits["memory"]))
    store.set_fuel(limits["fuel"])
    store.set_limits(
        memory_size=limits["memory"],
        table_elements=MAX_TABLE,
        instances=1,
        tables=8,
        memories=1,
    )
    try:
        module = wasmtime.Module(store.engine, code)
        functions = [_function(wasmtime, store, one, world) for one in module.imports]
        if not _starts(wasmtime, module):
            raise Unfit("it exports no function _start without arguments and results")
        if limits["check"]:
            return {"ended": "exit", "code": 0}
        with suppress(Exit):
            wasmtime.Instance(store, module, functions).exports(store)["_start"](store)
        return {"ended": "exit", "code": world.code, "fuel": limits["fuel"] - store.get_fuel()}
    except Flood:
        return {"ended": "flood"}
    except Unfit as why:
        return {"ended": "unfit", "why": str(why)}
    except wasmtime.Trap as trap:
        kind = trap.trap_code
        if kind == wasmtime.TrapCode.OUT_OF_FUEL:
            return {"ended": "fuel"}
        return {"ended": "trap", "why": _words(kind.name if kind else trap.message)}
    except wasmtime.WasmtimeError as error:
        return {"ended": "unfit", "why": " ".join(str(error).split())[:500]}


def _engine(wasmtime: Any, memory: int) -> Any:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.parallel_compilation = False
    # Without the usual gigabytes of reserve, or the system could not limit it.
    config.memory_reservation = memory
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = 0
    config.memory_init_cow = False
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    return wasmtime.Engine(config)


def _function(wasmtime: Any, store: Any, wanted: Any, world: World) -> Any:
    """What an import is given. Raises Unfit for one that nobody has."""
    name = f"{wanted.module}.{wanted.name}"[:200]
    kind = wanted.type
    known = wanted.module in WASI and (wanted.name in SIGNATURES or wanted.name in DENIED)
    if not known or not isinstance(kind, wasmtime.FuncType):
        raise Unfit(f"it imports {name}, and there is nothing but WASI preview 1")
    takes = "".join({"i32": "i", "i64": "I"}.get(str(p), "?") for p in kind.params)
    gives = [str(r) for r in kind.results]
    if gives != ([] if wanted.name == "proc_exit" else ["i32"]) or takes != SIGNATURES.get(
        wanted.name, takes
    ):
        raise Unfit(f"it imports {name} with a signature that is not WASI's")
    if wanted.name in DENIED:
        does: Callable[..., int | None] = _denied
    else:
        does = _checked(getattr(world, wanted.name), takes)
    return wasmtime.Func(store, kind, does, access_caller=True)


def _checked(function: Callable[..., int | None], takes: str) -> Callable[..., int | None]:
    masks = [0xFFFFFFFF if one == "i" else (1 << 64) - 1 for one in takes]

    def call(caller: Any, *arguments: int) -> int | None:
        unsigned = [a & mask for a, mask in zip(arguments, masks, strict=True)]
        try:
            return function(Memory(caller), *unsigned)
        except Outside:
            return FAULT

    return call


def _denied(caller: Any, *arguments: int) -> int:
    return NOTCAPABLE


def _starts(wasmtime: Any, module: Any) -> bool:
    return any(
        one.name == "_start"
        and isinstance(one.type, wasmtime.FuncType)
        and not one.type.params
        and not one.type.results
        for one in module.exports
    )


def _words(text: str) -> str:
    return text.strip().splitlines()[0].replace("_", " ").lower()[:200] if text.strip() else ""


if __name__ == "__main__":
    sys.exit(main())
