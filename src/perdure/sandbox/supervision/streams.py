"""What a command writes, on its way to the disk, and what it is sent, on its way to the command."""

# Paths are texts here: many are handled for every command.
# ruff: noqa: PTH108
from __future__ import annotations

import contextlib
import os
import select
from typing import Literal

MAX_MARKS = 1 << 20
INPUT_PIECE = 4096
"""Bytes of input taken at once; what the command does not read stays with the sender."""
END_OF_INPUT = b"\x04"
"""Ends the input of a command without a terminal; a terminal understands it by itself."""


class Output:
    """Its bytes in the order of arrival, and marks of which stream they came on."""

    def __init__(self, file: int, marks: int, limit: int) -> None:
        """`limit`: bytes kept; more is taken and dropped."""
        self._file, self._marks, self._limit = file, marks, limit
        self.size = self.lines = self.dropped = 0
        self._stream = 0
        self._marked = 0
        self._full = False

    def store(self, stream: int, data: bytes) -> None:
        keep = data if self.size + len(data) <= self._limit else data[: self._limit - self.size]
        if self._full:
            keep = b""
        self.dropped += len(data) - len(keep)
        view = memoryview(keep)
        try:
            if keep and stream != self._stream and self._marked < MAX_MARKS:
                # Before the bytes it is about, so that who follows never takes one stream for another.
                os.write(self._marks, self.size.to_bytes(8, "big") + bytes((stream,)))
                self._stream = stream
                self._marked += 9
            while view:
                written = os.write(self._file, view)
                self.size += written
                self.lines += bytes(view[:written]).count(b"\n")
                view = view[written:]
        except OSError:  # the disk is full: what has been stored stays, the rest is only counted
            self._full = True
            self.dropped += len(view)


class Input:
    """From the fifo of a command's folder to what it reads; `fd`s are -1 when it has ended."""

    def __init__(self, path: str, kind: Literal["pipe", "terminal"]) -> None:
        """Raises OSError."""
        self._path, self._kind = path, kind
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # For both directions, so that it never ends however many senders come and go.
        self.fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.sink = -1
        self._held = b""
        """Taken from the one and not yet by the other."""
        self._last = False
        """After this it ends."""

    def begin(self, sink: int, poller: select.poll) -> None:
        self.sink, self._poller = sink, poller
        os.set_blocking(sink, False)
        poller.register(self.fifo, select.POLLIN)

    def take(self) -> None:
        """Take some, and no more before the command has it."""
        try:
            self._held = os.read(self.fifo, INPUT_PIECE)
        except BlockingIOError:
            return
        if self._kind == "pipe":
            self._held, end, _ = self._held.partition(END_OF_INPUT)
            self._last = bool(end)
        self._poller.unregister(self.fifo)
        self._poller.register(self.sink, select.POLLOUT)

    def give(self) -> None:
        try:
            self._held = self._held[os.write(self.sink, self._held) :] if self._held else b""
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            self._held, self._last = b"", True
        if not self._held:
            self._poller.unregister(self.sink)
            if self._last:
                self.close()
            else:
                self._poller.register(self.fifo, select.POLLIN)

    def close(self) -> None:
        for fd in (self.sink, self.fifo):
            os.close(fd)
        self.fifo = self.sink = -1
        with contextlib.suppress(OSError):
            os.unlink(self._path)
