"""Changes of what the machine has mounted."""

from __future__ import annotations

import os
import select

LIST = "/proc/self/mountinfo"


class Mounts:
    """Those of this process's namespace. Each change is told once, to whoever polls `fd` first."""

    TELLING = select.POLLPRI
    """See proc_pid_mounts(5)."""

    def __init__(self) -> None:
        try:
            self.fd = os.open(LIST, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not Linux, or no /proc
            self.fd = -1
            return
        self._poller = select.poll()
        self._poller.register(self.fd, self.TELLING)

    @property
    def are_told(self) -> bool:
        """Changes of them are."""
        return self.fd >= 0

    def have_changed(self) -> bool:
        """Since this was last asked or told."""
        return self.are_told and bool(self._poller.poll(0))
