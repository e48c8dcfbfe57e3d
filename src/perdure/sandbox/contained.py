"""Commands of one session, each inside its walls. What the tools are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .background import Background
from .containment import Confines, Containment
from .following import Outcome
from .planning import Made, plan, writable_of
from .records import Process
from .tail import Stream

if TYPE_CHECKING:
    from .commands import SupervisedCommands


class Contained:
    """Implements tools.Commands."""

    def __init__(
        self,
        commands: SupervisedCommands,
        containment: Callable[[], Containment],
        confines: Callable[[], Confines] | None,
        environment: Mapping[str, str],
        processes: Path,
    ) -> None:
        self._commands, self._containment = commands, containment
        self._confines = confines or (lambda: containment().confines)
        self._environment, self._processes = environment, processes
        self._background = ContainedBackground(
            commands.background, self._contain, lambda: commands.choice.doubt()
        )

    async def run(
        self,
        command: str | Sequence[str],
        *,
        key: str,
        cwd: Path,
        timeout: float,
        on_output: Callable[[Stream, str], None] | None = None,
        resumed: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """See tools.Commands. Raises Unavailable when nothing contains it."""
        outcome = await self._commands.run(
            command,
            key=key,
            cwd=cwd,
            timeout=timeout,
            on_output=on_output,
            resumed=resumed,
            env=env,
            contain=self._contain,
        )
        if outcome.state == "unstarted":
            self._commands.choice.doubt()
        return outcome

    def _contain(self, script: Path | None) -> Made | None:
        """Blocking, the first time."""
        containment = self._containment()
        if containment.confines.backend == "none":
            return None
        means = self._commands.choice.means(containment.confines)
        return plan(containment, means, self._environment, self._processes, script)

    @property
    def online(self) -> bool:
        """See tools.Commands. What comes through the egress is told by the egress."""
        confines = self._confines()
        return confines.backend == "none" or confines.network == "open"

    @property
    def writable(self) -> tuple[Path, ...]:
        """See tools.Commands."""
        if not self._confines().write:  # as most: asked before each call that writes
            return ()
        return writable_of(self._containment(), self._environment)

    @property
    def background(self) -> ContainedBackground:
        return self._background

    def known(self, key: str) -> bool:
        return self._commands.known(key)

    def running(self, key: str) -> bool:
        return self._commands.running(key)

    def forget(self, key: str) -> None:
        self._commands.forget(key)

    def release(self, prefix: str = "") -> None:
        self._commands.release(prefix)

    def hold(self, prefix: str) -> None:
        self._commands.hold(prefix)


class ContainedBackground:
    """Implements tools.Processes: a start is contained, all else is as it was."""

    def __init__(
        self,
        background: Background,
        contain: Callable[[Path | None], Made | None],
        doubt: Callable[[], None],
    ) -> None:
        """`doubt`: one did not start; see `Choice`."""
        self._background, self._contain, self._doubt = background, contain, doubt
        self.all, self.find, self.called = background.all, background.find, background.called
        self.wait, self.unseen = background.wait, background.unseen
        self.send, self.stop = background.send, background.stop

    async def start(
        self,
        session: str,
        command: str,
        *,
        key: str,
        cwd: Path,
        name: str = "",
        notify: str = "",
        terminal: bool = False,
    ) -> Process:
        try:
            process = await self._background.start(
                session,
                command,
                key=key,
                cwd=cwd,
                name=name,
                notify=notify,
                terminal=terminal,
                contain=self._contain,
            )
        except OSError:
            self._doubt()
            raise
        if process.state == "unstarted":
            self._doubt()
        return process
