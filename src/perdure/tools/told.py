"""What a call is told of refusals that its commands did not bring about alone."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.kernel.labels import LEAST, Label

from .seams import Refusals


class Told:
    """The refusals of a session, for one call: keeps the label of what the call was told."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self.label: Label = LEAST

    def mark(self) -> int:
        """Before a command, for `since`."""
        return self._refusals.mark()

    def since(self, mark: int) -> Sequence[str]:
        """One line each. They become part of the call's result, whose label rises by theirs."""
        lines, label = self._refusals.since(mark)
        if lines:
            self.label = self.label.join(label)
        return lines
