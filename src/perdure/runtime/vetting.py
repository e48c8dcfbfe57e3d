"""Whether perdure.yaml, as it is now, may count.

Commands are kept from it by a wall that falls when somebody outside puts another file in its place, as
editors do. So what was changed while a command ran is not believed: it counts once its owner has vouched
for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from perdure.agents import Workspace
from perdure.kernel.errors import ConfigError
from perdure.kernel.labels import Label
from perdure.sandbox import ran_at
from perdure.storage import FileLabels

from .outside import rules_of

MEDDLED = Label(trust="third_party", origins=("command",))


class Vetting:
    def __init__(self, labels: FileLabels, processes: Path) -> None:
        """`processes`: where commands leave their traces."""
        self._labels, self._processes = labels, processes

    def __call__(self, workspace: Workspace) -> None:
        """Raises ConfigError, also for rules of egress that cannot be used, and StorageError."""
        self.author(workspace)
        rules_of(workspace.config.egress, workspace.config.web)

    def author(self, workspace: Workspace) -> None:
        """Raises ConfigError where others than the owner may have written it, and StorageError."""
        file = Path(os.path.realpath(workspace.file))
        hint = f"Look at it. If it is as you want it: perdure label clear {workspace.file}"
        if self._labels.of(file).tainted:
            raise ConfigError(
                "was written with what others said at hand, or while a command ran that could write it",
                file=str(workspace.file),
                hint=hint,
            )
        if self._labels.vouched(file) or not self._during(file):
            return
        self._labels.mark(file, MEDDLED)
        raise ConfigError(
            "was changed while a command ran, which can have written to it then",
            file=str(workspace.file),
            hint=hint,
        )

    def _during(self, file: Path) -> bool:
        try:
            changed = file.stat().st_ctime_ns
        except OSError:
            return True
        return ran_at(self._processes, changed, file)
