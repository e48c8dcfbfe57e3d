"""How a reader that is run apart gives up what it does not need any more. Stands for itself, as readers do,
which run this file as it is."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress


def confine(seconds: float, memory: int) -> None:
    """From here on the system ends what takes too long, and gives no file, socket or process any more."""
    for what, most in (
        (resource.RLIMIT_CPU, int(seconds) + 2),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        with suppress(ValueError, OSError):  # not every system knows each of them
            resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
