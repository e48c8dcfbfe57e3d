"""A supervisor that has no command yet, and its child, already apart: see `walls.ready`."""

from __future__ import annotations

import json
import os
import signal
from typing import NoReturn

from ..walls.apart import apart
from ..walls.plan import Traits
from ..walls.ready import Waiting
from .becoming import become, settle_in
from .supervisor import Supervisor, adopt, let_go


class Spare:
    """Seen from the launcher."""

    def __init__(self, traits: Traits, tell: int) -> None:
        """`tell`: see Supervisor. Raises OSError."""
        orders, self._order = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self._order)
            raise
        finally:
            if getattr(self, "pid", -1) != 0:
                os.close(orders)
        if self.pid == 0:
            _stand_by(traits, orders, tell)

    def take(self, folder: bytes) -> bool:
        """Have it supervise this command. False: it is not there any more."""
        try:
            os.write(self._order, folder)
        except OSError:
            return False
        finally:
            os.close(self._order)
        return True

    def dismiss(self) -> None:
        os.close(self._order)


def _stand_by(traits: Traits, orders: int, tell: int) -> NoReturn:
    """In a fork of the launcher: have a child made ready, wait for a command, supervise it, and end."""
    code = 1
    try:
        let_go({orders, tell})
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        adopt()
        above = os.getpid()
        waiting = Waiting(traits)
        if waiting.pid == 0:
            os.close(orders)
            settle_in(above)
            _be_ready(waiting)
        folder = os.read(orders, 1 << 16)  # ends with the launcher
        os.close(orders)
        supervisor = Supervisor(os.fsdecode(folder), tell, waiting)
        if folder and supervisor.claim():
            supervisor.run()
        else:
            waiting.dismiss()
        code = 0
    finally:
        os._exit(code)


def _be_ready(waiting: Waiting) -> NoReturn:
    """In the child of one that stands by. What fails before `accept` is not told: without its word the
    supervisor has another child do it all, and that one tells."""
    try:
        done = apart(waiting.traits, waiting.groups, waiting.files)
        given = waiting.receive()
        if given is None:
            os._exit(0)
        folder, streams, fault = given
        with open(f"{folder}/spec", encoding="utf-8") as file:  # noqa: PTH123
            spec = json.load(file)
        waiting.accept()
        become(spec, streams, waiting.groups, fault, done=done)
    finally:
        os._exit(127)
