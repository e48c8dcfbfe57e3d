"""What a process says about itself: CPU time of all its threads, memory, and the time on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
"""Numbers by name, and what a later run must be told."""


class Span:
    """CPU and wall time since it was made, or since `lap`."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> tuple[float, float]:
        """(CPU, wall) seconds of the lap that ends."""
        cpu, wall = time.process_time(), time.perf_counter()
        took = (cpu - getattr(self, "_cpu", cpu), wall - getattr(self, "_wall", wall))
        self._cpu, self._wall = cpu, wall
        return took


def memory_mb(pid: int | str = "self") -> float:
    """Resident memory now."""
    return _status(pid, "VmRSS")


def peak_mb() -> float:
    """The most resident memory this program had. Not ru_maxrss: that counts the parent's, too."""
    return _status("self", "VmHWM")


def _status(pid: int | str, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def cpu_of(pid: int) -> float:
    """CPU seconds of another process, all threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> float:
    """Poll; return the wall seconds it took. Raises TimeoutError."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > seconds:
            raise TimeoutError
        time.sleep(0.002)
    return time.perf_counter() - began
