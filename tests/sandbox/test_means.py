"""What contains commands here: what works is remembered, what does not is soon tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.errors import PerdureError
from perdure.sandbox import Confines, Containment, SupervisedCommands, Unavailable, means
from perdure.sandbox.means import Choice, Means, Tried


class Machine:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.works, self.tried, self.now = False, 0, 1000.0
        monkeypatch.setattr(means, "attempt", self.attempt)
        monkeypatch.setattr(means, "candidates", lambda wanted: [Means(name="launcher")])
        monkeypatch.setattr(means.time, "monotonic", lambda: self.now)

    def attempt(self, *_: object) -> Tried:
        self.tried += 1
        return Tried(name="launcher", works=self.works, said="contained" if self.works else "late")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_trial_that_failed_is_made_again_and_one_that_worked_is_not(
    machine: Machine, tmp_path: Path
) -> None:
    choice = Choice(tmp_path / "run/sandbox.json", {})
    for _ in range(3):
        with pytest.raises(Unavailable, match="late"):
            choice.means(Confines())
    assert machine.tried == 1
    machine.works = True
    machine.now += 10
    assert choice.means(Confines()).name == choice.means(Confines()).name == "launcher"
    assert machine.tried == 2


async def test_a_background_command_that_did_not_start_has_it_tried_again(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.works = True
    commands = SupervisedCommands(tmp_path / "processes")
    monkeypatch.setattr(
        "perdure.sandbox.contained.plan", lambda *_: (_ for _ in ()).throw(OSError("gone"))
    )
    inside = commands.within(lambda: Containment(session="s_1", workdir=tmp_path, control=()))
    for count in (1, 2):
        with pytest.raises((OSError, PerdureError)):
            await inside.background.start("s_1", "true", key=f"k{count}", cwd=tmp_path)
        assert machine.tried == count
    await commands.close()
